"""Shows a running import: a bar on a terminal, a line now and then in a pipe, and each file that cannot be stored."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.cli.console import print_error, print_wrapped, printable, stderr_console
from harvester.domain.tasks.imported import ImportOutcome
from harvester.reports.formats import counted, shown_bytes
from harvester.service.body_files import path_text
from harvester.service.body_import import ImportListener, ImportProgress

REFRESH_S = 0.2
PLAIN_EVERY_S = 10.0


class ImportDisplay(ImportListener):
    """Writes to stderr. With `keeps_results` it also keeps what became of each file, for a program."""

    def __init__(self, *, keeps_results: bool) -> None:
        self.progress = ImportProgress()
        self.results: list[dict[str, str]] = []
        self.problems: list[dict[str, str]] = []
        self._keeps_results = keeps_results
        self._last_id = ""
        self._above_bar: Console | None = None

    def begin(self, progress: ImportProgress, *, total: int) -> None:
        """Show this import of so many files."""
        self.progress, self.progress.total = progress, total

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show the progress during the block."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._show, name="display")
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def _show(self) -> None:
        console = stderr_console()
        if not console.is_terminal:
            while True:
                await anyio.sleep(PLAIN_EVERY_S)
                print(self._line(), file=sys.stderr, flush=True)  # noqa: T201
        with Live(console=console, auto_refresh=False, transient=True) as live:
            self._above_bar = live.console
            try:
                while True:
                    live.update(self._picture(), refresh=True)
                    await anyio.sleep(REFRESH_S)
            finally:
                self._above_bar = None

    def on_result(self, path: Path, task_id: str, outcome: ImportOutcome) -> None:
        """Keep what became of the file."""
        self._last_id = task_id
        if self._keeps_results:
            self.results.append({"file": path_text(path), "task_id": task_id, "outcome": outcome.value})

    def on_problem(self, path: Path, problem: str) -> None:
        """Name the file and the reason."""
        if self._keeps_results:
            self.problems.append({"file": path_text(path), "problem": problem})
        text = f"{path_text(path)}: {problem}"
        if self._above_bar is None:
            print_error(text)
        else:
            print_wrapped(f"harvester: {printable(text)}", self._above_bar)

    def summary(self, skipped: int) -> str:
        """Return what became of the files, in one line; of a single one with its id."""
        progress = self.progress
        facts = [f"{progress.stored} stored", f"{progress.known} known", f"{progress.bad} bad"]
        if skipped:
            facts.append(f"{counted(skipped, 'other file')} skipped")
        if progress.total == 1 and not progress.bad:
            facts.append(f"the task is {self._last_id}")
        return ", ".join(facts)

    def _line(self) -> str:
        progress = self.progress
        return (
            f"{progress.done}/{progress.total} files: {progress.stored} stored, {progress.known} known, "
            f"{progress.bad} bad, {shown_bytes(progress.bytes_read)} read"
        )

    def _picture(self) -> Table:
        progress, head = self.progress, Table.grid(padding=(0, 2))
        head.add_row(
            Text("importing", style="bold"),
            ProgressBar(total=max(progress.total, 1), completed=progress.done, width=20),
            Text(f"{progress.done}/{progress.total}"),
            Text(f"{progress.known} known, {progress.bad} bad"),
            Text(shown_bytes(progress.bytes_read)),
        )
        return head
