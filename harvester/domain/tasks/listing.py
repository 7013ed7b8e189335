"""Values about the tasks that a page of the account's list names."""

from dataclasses import dataclass

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.outcomes import Failed, Processing, Ready


@dataclass(frozen=True, slots=True)
class ListedTask:
    """One entry of the list; `outcome` is what a status call would have said."""

    task_id: str
    outcome: Ready | Failed | Processing
    metadata: MediaMetadata

    @property
    def created_at_ms(self) -> int | None:
        """When the task was created, in Unix milliseconds."""
        return self.metadata.created_at_ms
