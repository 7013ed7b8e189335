"""Collects the ids that a user names; refused lines are reported on stderr, and the rest is used."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from harvester.cli.console import print_error
from harvester.cli.id_files import RefusedLine, read_tasks
from harvester.domain.errors import UsageError
from harvester.domain.tasks.labels import Labels

T = TypeVar("T")

SHOWN_REFUSALS = 5
"""Refused lines that are named one by one."""

EXPECTED = "Give ids as the API returned them, one per line."


class Refusals:
    """The refused lines of a source: their number, and the first ones, or with `keeps_all` all of them."""

    def __init__(self, *, keeps_all: bool = False) -> None:
        self.count = 0
        self.kept: list[RefusedLine] = []
        self._accepted = 0
        self._keeps_all = keeps_all

    def taken_out(self, items: Iterable[T | RefusedLine]) -> Iterator[T]:
        """Yield the others among `items`."""
        for item in items:
            if not isinstance(item, RefusedLine):
                self._accepted += 1
                yield item
                continue
            self.count += 1
            if self._keeps_all or self.count <= SHOWN_REFUSALS:
                self.kept.append(item)

    def tell(self, *, more: str = "") -> None:
        """Name the first ones on stderr; in one sentence what the file looks like if most of its lines are refused.

        `more` says where all of them are.
        """
        if self.is_wrong_file:
            lines = self.count + self._accepted
            print_error(f"{self.count} of {lines} were refused: {self.kept[0].source} {self.likeness}. {EXPECTED}")
            return
        for line in self.kept[:SHOWN_REFUSALS]:
            print_error(f"refused {line}")
        if self.count > SHOWN_REFUSALS:
            print_error(f"and {self.count - SHOWN_REFUSALS} more were refused{more}")

    @property
    def is_wrong_file(self) -> bool:
        """Whether so much of a file was refused that it is probably no list of ids."""
        return self.count > max(SHOWN_REFUSALS, self._accepted) and self.kept[-1].source != "argument"

    @property
    def likeness(self) -> str:
        """What the file looks like, by its first refused line."""
        first = self.kept[0]
        return f"looks like {_kind(first)} (line {first.line}: {first.text[:_QUOTED]!r})"


_QUOTED = 30
"""Characters of a line that are quoted in a sentence about the whole file."""


def _kind(line: RefusedLine) -> str:
    if "not UTF-8" in line.reason:
        return "no text file"
    if line.text.startswith("<"):
        return "HTML or XML"
    if any(delimiter in line.text for delimiter in (";", "\t", r"\t")) or line.text.count(",") > line.text.count(", "):
        return "a table, which needs --column NAME"
    return "prose" if " " in line.text else "a list of something else"


@dataclass(frozen=True, slots=True)
class GivenIds:
    """The named ids without repetitions; None if the user named no source."""

    task_ids: list[str] | None
    refused: int = 0
    labels: Mapping[str, Labels] = field(default_factory=dict)
    """Of tasks by id; none unless they were asked for."""


def collect_task_ids(
    ids: Sequence[str] | None,
    file: Path | None,
    *,
    column: str | None = None,
    field: str | None = None,
    with_labels: bool = False,
) -> GivenIds:
    """Return the ids of the command line and the file, `with_labels` also the rest of rows and objects.

    Raises UsageError if sources were named but hold no ids.
    """
    if not ids and file is None and column is None and field is None:
        return GivenIds(None)
    refusals = Refusals()
    tasks = refusals.taken_out(read_tasks(ids or (), file, column=column, field=field, with_labels=with_labels))
    found: dict[str, None] = {}
    labels: dict[str, Labels] = {}
    for task in tasks:
        found[task.task_id] = None
        add_labels(labels, task.task_id, task.labels)
    if not found:
        raise nothing_acceptable(refusals)
    refusals.tell()
    return GivenIds(list(found), refusals.count, labels)


def nothing_acceptable(refusals: Refusals) -> UsageError:
    """Return the error for sources without a single acceptable id; a few refused lines are named on stderr before."""
    found = f"all {refusals.count} were refused" if refusals.count else "there are none"
    if refusals.is_wrong_file:
        found += f"; {refusals.kept[0].source} {refusals.likeness}"
    else:
        refusals.tell()
    return UsageError(f"No task ids: {found}.", remedy=EXPECTED)


def add_labels(labelled: dict[str, Labels], task_id: str, labels: Labels) -> None:
    """Add the labels of one more row of a task: a later row replaces only values that it has, too."""
    if labels:
        labelled[task_id] = {**labelled.get(task_id, {}), **labels}
