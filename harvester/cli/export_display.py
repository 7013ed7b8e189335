"""Shows a running export: a bar with the time that is left on a terminal, a line now and then in a pipe."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harvester.cli.console import stderr_console
from harvester.dataset.export_parts import ExportListener
from harvester.reports.formats import shown_duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_EVERY_S = 10.0


class ExportDisplay(ExportListener):
    """Writes to stderr."""

    def __init__(self) -> None:
        self._total = 0
        self._unit = "vectors"
        self._done = 0
        self._began = self._spoke = time.monotonic()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator["ExportDisplay"]:
        """Show the progress during the block."""
        if not sys.stderr.isatty():
            yield self
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415  # 60 ms, for terminals only

        columns = (TextColumn("exporting"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, TimeRemainingColumn(), console=stderr_console(), transient=True) as self._progress:
            yield self

    def begin(self, total: int, unit: str) -> None:
        """Show that there is so much to write."""
        self._total, self._unit, self._done = total, unit, 0
        self._began = self._spoke = time.monotonic()
        if self._progress is not None:
            self._bar = self._progress.add_task(unit, total=total)

    def wrote(self, vectors: int, tasks: int) -> None:
        """Show that so much more is written."""
        self._done += vectors if self._unit == "vectors" else tasks
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, completed=self._done)
        elif self._progress is None and time.monotonic() - self._spoke >= PLAIN_EVERY_S:
            self._spoke = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)  # noqa: T201

    def _line(self) -> str:
        left_s = (self._spoke - self._began) * (self._total - self._done) / max(self._done, 1)
        left = f", {shown_duration(left_s)} left" if self._done <= self._total else ""
        return f"{self._done:,} of {self._total:,} {self._unit} written{left}"
