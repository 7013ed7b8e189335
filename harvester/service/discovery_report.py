"""The result of a pass over the account's list of tasks."""

from dataclasses import dataclass, field

from harvester.domain.tasks.outcomes import Refused
from harvester.service.list_settlement import Queued


@dataclass(slots=True)
class DiscoveryReport:
    """The result of one pass over the list. `problem` says why it may be incomplete; tasks it found are queued anyway.

    `invalid` counts entries whose id is not acceptable, once for each time they are listed.
    """

    requests: int = 0
    queued: Queued = field(default_factory=Queued)
    invalid: int = 0
    newest_ms: int | None = None
    problem: str | None = None
    refusal: Refused | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the whole list was read."""
        return self.problem is None and self.refusal is None

    @property
    def listed(self) -> int:
        """The number of tasks in the list."""
        return len(self.queued.new_ids) + self.queued.known

    def add_wider(self, other: "DiscoveryReport") -> None:
        """Merge the report of a later pass that went farther back: it met the tasks again that this pass had queued."""
        other.queued.known -= len(self.queued.new_ids)
        other.queued.new_ids[:0] = self.queued.new_ids
        other.queued.new_states += self.queued.new_states
        other.queued.moved += self.queued.moved
        self.requests += other.requests
        self.queued, self.invalid, self.newest_ms = other.queued, other.invalid, other.newest_ms
        self.problem, self.refusal = other.problem, other.refusal
