"""`--watch`: refreshes a report in place on a terminal, and repeats it in a pipe."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harvester.cli.console import print_data, printable, wrapped
from harvester.domain.errors import StoreError
from harvester.reports.formats import shown_time

ReadLines = Callable[[], list[str]]


class _Stopped(Exception):  # noqa: N818  # reads as what it is
    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number


def watch(read_lines: ReadLines, every_s: float) -> int:
    """Show the lines that `read_lines` returns, repeatedly, until a signal; return the exit code for the signal.

    Raises StoreError if the first call fails; a later failure is shown, and the next call may succeed.
    """
    with _raising_on_signals():
        try:
            pictures = _pictures(read_lines, every_s)
            if sys.stdout.isatty():
                _show_in_place(pictures, every_s)
            else:
                _print_one_after_the_other(pictures)
        except _Stopped as stopped:
            return stopped.exit_code
    return 0


def _pictures(read_lines: ReadLines, every_s: float) -> Iterator[list[str]]:
    yield read_lines()
    while True:
        time.sleep(every_s)
        try:
            lines = read_lines()
        except StoreError as error:
            lines = [str(error)]
        yield lines


def _show_in_place(pictures: Iterator[list[str]], every_s: float) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    # The last picture stays on the screen.
    with Live(console=console, auto_refresh=False) as live:
        for lines in pictures:
            head = f"{_now()}, every {every_s:g} s; Ctrl-C ends"
            # The width may have changed since the last picture.
            text = "\n".join([head, "", *(wrapped(printable(line), console.width) for line in lines)])
            live.update(Text(text, overflow="fold"), refresh=True)


def _print_one_after_the_other(pictures: Iterator[list[str]]) -> None:
    for number, lines in enumerate(pictures):
        if number:
            print_data("")
        for line in [_now(), *lines]:
            print_data(line)


def _now() -> str:
    return shown_time(time.time_ns() // 1_000_000)


@contextmanager
def _raising_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block, so that the terminal gets its cursor back."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # set by no Python code
                signal.signal(number, handler)
