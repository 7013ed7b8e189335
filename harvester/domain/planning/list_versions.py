"""Which version's list shows which tasks: probably both show all, but that is not documented."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.tasks.task import ApiVersion, Task, other_version

LIST_REFUSED_S = 3600.0
"""Seconds for which a version's list is not asked after the API has refused it, if that of the other is available."""


@dataclass(slots=True)
class ListVersions:
    """Learns which version's list shows which tasks; each shows those that were made in that version."""

    _shows_both: set[ApiVersion] = field(default_factory=set)
    _refused_until: dict[ApiVersion, float] = field(default_factory=dict)

    def of(self, task: Task, versions: ApiVersions, now: float = 0.0) -> ApiVersion:
        """Return the version whose list is asked about the task at `now` (monotonic seconds)."""
        for version in (versions.first, other_version(versions.first)):
            if version in self._shows_both and not self._is_refused(version, now):
                return version
        own = versions.of(task)
        is_other_better = self._is_refused(own, now) and not self._is_refused(other_version(own), now)
        return other_version(own) if is_other_better else own

    def shows(self, task: Task, asked: ApiVersion, versions: ApiVersions, *, shows_any: bool) -> bool:
        """Return whether the list of the version `asked` would show the task, so that its absence says something.

        `shows_any`: the page shows some of the tasks that it was asked about.
        """
        if asked in self._shows_both:
            return True
        return versions.of(task) == asked and (task.version is not None or shows_any or versions.known.has_any)

    def learn(self, asked: ApiVersion, shown: Iterable[Task]) -> None:
        """Learn from the tasks that a page of the version `asked` has shown."""
        if any(task.version == other_version(asked) for task in shown):
            self._shows_both.add(asked)

    def refused(self, asked: ApiVersion, now: float) -> bool:
        """Record that the API refuses that list; return whether the other one is left to ask."""
        self._refused_until[asked] = now + LIST_REFUSED_S
        return not self._is_refused(other_version(asked), now)

    def _is_refused(self, version: ApiVersion, now: float) -> bool:
        return now < self._refused_until.get(version, 0.0)
