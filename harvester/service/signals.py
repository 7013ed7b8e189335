"""Signals outside of a harvest: from the first line of the program until a harvest listens, and after it.

The kernel drops a signal that PID 1 has no handler for, and Python would answer Ctrl-C during an import with a
traceback. So the handlers are installed before anything else is imported. This module imports nothing heavy.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_LISTENED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_INIT_PID = 1


class _Noted:
    """Signals that have come: a first Ctrl-C, and a SIGHUP that no command has handled yet."""

    is_interrupted = False
    is_hung_up = False


def listen() -> None:
    """Let each signal that asks for the end end the process at once, with exit code 128 plus the signal's number.

    Only SIGHUP waits until it is known which command runs: to the daemon it means "read the settings again". Signals
    that the starter of this process ignores stay ignored (nohup).
    """
    for number in _LISTENED:
        # The kernel writes a core for SIGQUIT, unless this is PID 1.
        if _is_ignored(number) or (number == signal.SIGQUIT and os.getpid() != _INIT_PID):
            continue
        signal.signal(number, _note_hangup if number == signal.SIGHUP else leave)


def behave_as_usual() -> None:
    """Set handlers for short commands: Ctrl-C unwinds, a second one ends at once, other signals kill as elsewhere."""
    if not _is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, _interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if not _is_ignored(number):
            signal.signal(number, leave if os.getpid() == _INIT_PID else signal.SIG_DFL)
    if _Noted.is_hung_up:
        leave(signal.SIGHUP)


def end_on_hangup() -> None:
    """Let SIGHUP end this command, as SIGTERM does; also one that came while the program started."""
    if not _is_ignored(signal.SIGHUP):
        signal.signal(signal.SIGHUP, leave)
    if _Noted.is_hung_up:
        leave(signal.SIGHUP)


def take_hangup() -> bool:
    """Return whether SIGHUP came since the start, or since the last time this was asked."""
    is_hung_up, _Noted.is_hung_up = _Noted.is_hung_up, False
    return is_hung_up


def leave(number: int, _frame: FrameType | None = None) -> None:
    """End this process at once. Nothing is lost: SQLite rolls back an open transaction."""
    os._exit(128 + number)


@contextmanager
def handled(numbers: Iterable[int], handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Let `handler` handle these signals while the block runs, without a moment in which nothing does."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)


def is_ignored_hangup() -> bool:
    """Return whether the starter of this process wants it to outlive its terminal (nohup)."""
    return _is_ignored(signal.SIGHUP)


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def _note_hangup(_number: int, _frame: FrameType | None) -> None:
    _Noted.is_hung_up = True


def _interrupt(number: int, _frame: FrameType | None) -> None:
    if _Noted.is_interrupted:
        leave(number)
    _Noted.is_interrupted = True
    raise KeyboardInterrupt
