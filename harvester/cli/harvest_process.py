"""Prepares a process for a harvest: descriptors, threads, a log that never blocks it."""

import asyncio
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from harvester.app.stores import open_maintenance
from harvester.cli.streams import MessageStream
from harvester.settings.machine import MachineLimits
from harvester.settings.machine_defaults import excess
from harvester.settings.model import Settings

LOG_CONDITION = "log"


def prepare_process() -> None:
    """Prepare this process for a harvest.

    Raises RuntimeError where no thread can be started.
    """
    raise_open_files()
    if isinstance(sys.stderr, MessageStream):
        sys.stderr.write_in_background()


def raise_open_files() -> None:
    """Raise the soft limit of open files to the hard one, so that idle clients of the pages do not use them up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Some systems allow less than the hard limit says.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def warn_of_excess(settings: Settings, limits: MachineLimits) -> None:
    """Log a warning if the settings let a harvest take more memory than there is."""
    if (why := excess(settings, limits)) is not None:
        structlog.stdlib.get_logger().warning("too little memory for these settings", why=why)


def warn_of_sharing(settings: Settings) -> None:
    """Log a warning if another process has the database open, and the engine of the store has an error then."""
    if (why := open_maintenance(settings.store.path).sharing_risk()) is not None:
        structlog.stdlib.get_logger().warning("two processes share the database", why=why)


@contextmanager
def noting_lost_messages(conditions: dict[str, str]) -> Iterator[None]:
    """During the block, set a condition while the log cannot be written, and then log how many lines were lost."""
    stream, loop, log = sys.stderr, asyncio.get_running_loop(), structlog.stdlib.get_logger()
    if not isinstance(stream, MessageStream):
        yield
        return

    def note() -> None:
        if stream.trouble is not None:
            conditions[LOG_CONDITION] = f"{stream.trouble}; the harvest continues without it"
        elif conditions.pop(LOG_CONDITION, None) is not None:
            log.warning("lines of the log were lost", count=stream.take_lost())

    def call_note() -> None:
        # The writing thread calls this, when the loop may already have ended.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(note)

    stream.on_change = call_note
    note()
    try:
        yield
    finally:
        stream.on_change = lambda: None
