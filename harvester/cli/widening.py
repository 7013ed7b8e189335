"""Results that were retrieved with a filter and are named with a wider --retrieve: what the commands say about them."""

from dataclasses import dataclass, field

from harvester.cli.console import print_error, print_note
from harvester.ports.queue_editor import Widened
from harvester.reports.formats import counted, shown_time


@dataclass(slots=True)
class WideningReport:
    """How many results are asked for again, and how many stay as they are; the first of these by id."""

    asked_again_ids: list[str] = field(default_factory=list)
    contained: int = 0
    past_deadline: int = 0
    unchanged: int = 0
    """Results that were asked for again and hold no more than before."""
    _contained_id: str = ""
    _past: tuple[str, int] = ("", 0)

    def add(self, widened: Widened) -> None:
        """Count one batch of ids."""
        if widened.contained and not self.contained:
            self._contained_id = widened.contained[0]
        if widened.past_deadline and not self.past_deadline:
            self._past = next(iter(widened.past_deadline.items()))
        self.asked_again_ids += widened.asked_again
        self.contained += len(widened.contained)
        self.past_deadline += len(widened.past_deadline)

    def tell(self) -> None:
        """Print to stderr how many results stay as they are and why, and how many are asked for again.

        One line for each: whoever runs a backfill again names thousands of harvested tasks.
        """
        if self.contained:
            stays = _staying(self._contained_id, self.contained)
            print_error(f"{stays}: what is stored holds already what --retrieve names.")
        if self.past_deadline:
            task_id, at_ms = self._past
            stays = _staying(task_id, self.past_deadline)
            print_error(f"{stays}: the platform keeps results until the deadline, {shown_time(at_ms)}, which is past.")
        if self.asked_again_ids:
            count = counted(len(self.asked_again_ids), "harvested task")
            print_note(f"{count} to retrieve again; what is stored stays until then.")

    def as_json(self) -> dict[str, int]:
        """Return the counts as fields of a JSON document."""
        return {
            "retrieve_again": len(self.asked_again_ids),
            "already_held": self.contained,
            "past_deadline": self.past_deadline,
        }


def _staying(task_id: str, count: int) -> str:
    return f"{task_id} stays as it is" if count == 1 else f"{task_id} and {count - 1} more stay as they are"
