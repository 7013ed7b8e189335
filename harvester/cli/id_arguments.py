"""Collects the ids that a user names; refused lines are reported on stderr, and the rest is used."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harvester.cli.console import print_error
from harvester.cli.id_files import RefusedLine, read_task_ids
from harvester.domain.errors import UsageError

T = TypeVar("T")

SHOWN_REFUSALS = 20


class Refusals:
    """Counts the refused lines of a source, and reports the first ones on stderr."""

    def __init__(self) -> None:
        self.count = 0

    def taken_out(self, items: Iterable[T | RefusedLine]) -> Iterator[T]:
        """Yield the others among `items`."""
        for item in items:
            if not isinstance(item, RefusedLine):
                yield item
                continue
            self.count += 1
            if self.count <= SHOWN_REFUSALS:
                print_error(f"refused {item}")
            elif self.count == SHOWN_REFUSALS + 1:
                print_error("further refused lines are counted, not shown")


@dataclass(frozen=True, slots=True)
class GivenIds:
    """The named ids without repetitions; None if the user named no source."""

    task_ids: list[str] | None
    refused: int = 0


def collect_task_ids(
    ids: Sequence[str] | None, file: Path | None, *, column: str | None = None, field: str | None = None
) -> GivenIds:
    """Return the ids of the command line and the file. Raises UsageError if sources were named but hold none."""
    if not ids and file is None and column is None and field is None:
        return GivenIds(None)
    refusals = Refusals()
    found = dict.fromkeys(refusals.taken_out(read_task_ids(ids or (), file, column=column, field=field)))
    if not found:
        raise nothing_acceptable(refusals.count)
    return GivenIds(list(found), refusals.count)


def nothing_acceptable(refused: int) -> UsageError:
    """Return the error for sources without a single acceptable id."""
    found = f"all {refused} were refused" if refused else "there are none"
    return UsageError(f"No task ids: {found}.", remedy="Give ids as the API returned them, one per line.")
