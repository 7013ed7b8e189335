"""Which API version made the tasks of a time: programs make many tasks in one version before they change it."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.domain.tasks.task import ApiVersion

NEIGHBOURS = 4
"""Tasks nearest in time that are compared: one of another program among them does not mislead.

An even number, so that the tasks of two programs that take turns say nothing, instead of the wrong thing each time.
"""

MAX_KNOWN = 1000
"""Tasks that are remembered, the last learned ones."""


@dataclass(slots=True)
class KnownVersions:
    """The creation times (Unix milliseconds) of tasks whose API version is known."""

    _times: list[int] = field(default_factory=list)
    _versions: list[ApiVersion] = field(default_factory=list)
    _order: deque[tuple[int, ApiVersion]] = field(default_factory=deque)
    _counts: Counter[ApiVersion] = field(default_factory=Counter)

    @property
    def has_any(self) -> bool:
        """Whether the version of any task is known."""
        return bool(self._times)

    @property
    def has_both(self) -> bool:
        """Whether tasks of both versions are known."""
        return self._counts["v1"] > 0 and self._counts["v2"] > 0

    def has(self, version: ApiVersion) -> bool:
        """Return whether a task of that version is known."""
        return self._counts[version] > 0

    def load(self, known: Iterable[tuple[int, ApiVersion]]) -> None:
        """Learn from pairs of a creation time and a version, the last learned one last."""
        for created_ms, version in known:
            self.learn(created_ms, version)

    def learn(self, created_ms: int, version: ApiVersion) -> None:
        """Learn that a task of that creation time is of that version; call it once for each task."""
        if len(self._order) == MAX_KNOWN:
            self._forget(*self._order.popleft())
        place = bisect_left(self._times, created_ms)
        self._times.insert(place, created_ms)
        self._versions.insert(place, version)
        self._order.append((created_ms, version))
        self._counts[version] += 1

    def near(self, created_ms: int) -> ApiVersion | None:
        """Return the version of most of the NEIGHBOURS nearest in time; None without any, or if both are as many."""
        if not self.has_both:
            return self._versions[0] if self._versions else None
        place = bisect_left(self._times, created_ms)
        around = range(max(0, place - NEIGHBOURS), min(len(self._times), place + NEIGHBOURS))
        nearest = sorted(around, key=lambda at: abs(self._times[at] - created_ms))[:NEIGHBOURS]
        counted = Counter(self._versions[at] for at in nearest)
        return None if counted["v1"] == counted["v2"] else counted.most_common(1)[0][0]

    def _forget(self, created_ms: int, version: ApiVersion) -> None:
        place = bisect_left(self._times, created_ms)
        while self._versions[place] != version:
            place += 1
        del self._times[place], self._versions[place]
        self._counts[version] -= 1
