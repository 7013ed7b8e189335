"""Which version's list shows which tasks: each shows its own; whether it shows the others, too, is not documented."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from harvester.domain.planning.api_versions import ApiVersions
from harvester.domain.planning.list_reader import ListPage
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.task import ApiVersion, Task, other_version

LIST_REFUSED_S = 3600.0
"""Seconds for which a version's list is not asked after the API has refused it, if that of the other is available."""

SEPARATE_OMISSIONS = 3
"""Tasks of the other version that pages must omit between other entries, before the lists count as separate."""

MAX_OMITTED = 100_000
"""Tasks: the most for which the lists that omitted them are remembered."""


@dataclass(slots=True)
class ListVersions:
    """Learns which version's list shows which tasks; each shows those that were made in that version."""

    _shows_both: set[ApiVersion] = field(default_factory=set)
    _refused_until: dict[ApiVersion, float] = field(default_factory=dict)
    _omissions: int = 0
    _omitted_by: dict[int, set[ApiVersion]] = field(default_factory=dict)

    @property
    def is_separate(self) -> bool:
        """Whether pages have shown that a version's list does not show the tasks of the other version."""
        return self._omissions >= SEPARATE_OMISSIONS and not self._shows_both

    @property
    def is_decided(self) -> bool:
        """Whether pages have shown that the lists are separate, or that one shows the tasks of both versions."""
        return self.is_separate or bool(self._shows_both)

    def of(self, task: Task, versions: ApiVersions, now: float = 0.0) -> ApiVersion:
        """Return the version whose list is asked about the task at `now` (monotonic seconds)."""
        return self.candidates(task, versions, now)[0]

    def candidates(self, task: Task, versions: ApiVersions, now: float = 0.0) -> tuple[ApiVersion, ...]:
        """Return the versions whose lists may show the task, the likeliest first, at `now` (monotonic seconds).

        While it is unknown which list shows the task, both may, except the one that has omitted it.
        """
        for version in (versions.first, other_version(versions.first)):
            if version in self._shows_both and not self._is_refused(version, now):
                return (version,)
        own, omitted_by = versions.of(task), self._omitted_by.get(task.row_id, ())
        both = (own, other_version(own))
        likely = tuple(one for one in both if one not in omitted_by) or both
        likely = likely if self.needs_entry(task, versions) else likely[:1]
        return self._available(likely, now) or self._available(both, now) or likely

    def needs_entry(self, task: Task, versions: ApiVersions) -> bool:
        """Return whether only an entry says something about the task, because its absence may be due to its version.

        With tasks of both versions, that is so until its version is known, or a list is known to show both.
        """
        if self._shows_both or not versions.known.has_both:
            return False
        return task.version is None or not self.is_separate

    def shows(self, task: Task, asked: ApiVersion, versions: ApiVersions, *, shows_any: bool) -> bool:
        """Return whether the list of the version `asked` would show the task, so that its absence says something.

        `shows_any`: the page shows some of the tasks that it was asked about.
        """
        if asked in self._shows_both or task.version == asked:
            return True
        if task.version is not None or versions.known.has(other_version(asked)):
            return False
        return versions.of(task) == asked and (shows_any or versions.known.has(asked))

    def identified(self, asked: ApiVersion, page: ListPage) -> ListPage:
        """Return the page with the version of each entry, if the list of the version `asked` shows only its own."""
        if not self.is_separate:
            return page
        return replace(page, tasks=[replace(one, version=one.version or asked) for one in page.tasks])

    def learn(self, asked: ApiVersion, shown: Iterable[Task], entries: Iterable[ListedTask] = ()) -> None:
        """Learn from a page of the version `asked`: its `entries`, and those of them that are tasks of ours."""
        other = other_version(asked)
        if any(task.version == other for task in shown) or any(one.version == other for one in entries):
            self._shows_both.add(asked)

    def learn_omissions(self, asked: ApiVersion, omitted: Collection[Task]) -> None:
        """Learn that a page of all states has entries before and after the `omitted` tasks."""
        self._omissions += sum(task.version == other_version(asked) for task in omitted)

    def is_elsewhere(self, task: Task, asked: ApiVersion) -> bool:
        """Record that a page of the version `asked` omits the task; return whether the other list is left to ask."""
        omitted_by = self._omitted_by.pop(task.row_id, set())
        is_elsewhere = not omitted_by
        if len(self._omitted_by) == MAX_OMITTED:
            del self._omitted_by[next(iter(self._omitted_by))]
        self._omitted_by[task.row_id] = omitted_by | {asked}
        return is_elsewhere

    def forget(self, task: Task) -> None:
        """Drop what is known of a task that has finished, or that a page shows."""
        self._omitted_by.pop(task.row_id, None)

    def refused(self, asked: ApiVersion, now: float) -> bool:
        """Record that the API refuses that list; return whether the other one is left to ask."""
        self._refused_until[asked] = now + LIST_REFUSED_S
        return not self._is_refused(other_version(asked), now)

    def _available(self, asked: Iterable[ApiVersion], now: float) -> tuple[ApiVersion, ...]:
        return tuple(one for one in asked if not self._is_refused(one, now))

    def _is_refused(self, version: ApiVersion, now: float) -> bool:
        return now < self._refused_until.get(version, 0.0)
