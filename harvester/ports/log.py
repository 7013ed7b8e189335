"""The log of a harvest: events with fields.

The commands configure structlog for all of the process. In a program that uses the harvest as a library nothing is
configured, and structlog would print to stdout: there the events go to `logging`, as the logger `harvester`.
"""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import structlog

LOGGER = "harvester"
"""The name of the logger of `logging`. Records have the fields of the event as `record.harvester`."""

_is_library: ContextVar[bool] = ContextVar("harvester_is_library", default=False)


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return a log that chooses its place at each event."""
    return cast("structlog.stdlib.BoundLogger", _Log())


@contextmanager
def logging_as_library() -> Iterator[None]:
    """In the block, and in tasks that begin in it, send events to `logging`; other tasks of the process are untouched.

    Without a handler of the program's own they go nowhere.
    """
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        # Otherwise `logging` prints warnings to stderr where no program has configured it.
        logger.addHandler(logging.NullHandler())
    token = _is_library.set(True)
    try:
        yield
    finally:
        _is_library.reset(token)


class _Log:
    """Has the methods of a structlog logger."""

    def __getattr__(self, name: str) -> Any:
        log = _to_logging() if _is_library.get() else structlog.stdlib.get_logger()
        return getattr(log, name)


def _to_logging() -> Any:
    return structlog.wrap_logger(
        logging.getLogger(LOGGER),
        processors=[structlog.stdlib.filter_by_level, _as_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )


def _as_record(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, dict[str, Any]]]:
    message = str(event.pop("event"))
    fields = {name: value for name, value in event.items() if value is not None}
    # ascii(): texts of the API may hold line breaks and escapes.
    shown = "".join(f" {name}={value!a}" for name, value in fields.items())
    return (message + shown,), {"extra": {LOGGER: fields}}
