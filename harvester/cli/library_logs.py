"""Logs the messages of libraries as events of one line each, without the bytes that clients have sent.

aiohttp and asyncio log tracebacks that contain bytes of any client of the port: these may look like lines of the log,
contain escapes for the terminal, or the token of a request that was too long.
"""

import logging
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import structlog

EVERY_S = 60.0
"""Seconds between two lines about the same problem."""

_MAX_KINDS = 200
_MAX_CHARACTERS = 120


@dataclass(slots=True)
class _Seen:
    next_at: float
    left_out: int = 0


class LibraryLogHandler(logging.Handler):
    """Turns a record of `logging` into an event with its origin and the class of the error, never the error's text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: dict[tuple[str, ...], _Seen] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record, unless the same was logged within `EVERY_S`."""
        error = record.exc_info[1] if record.exc_info else None
        # The message without its arguments; only the first line, because asyncio shows objects in the others.
        message = str(record.msg).partition("\n")[0][:_MAX_CHARACTERS]
        kind = type(error).__name__ if error is not None else None
        now, key = time.monotonic(), (record.name, message, kind or "")
        seen = self._seen.get(key)
        if seen is not None and now < seen.next_at:
            seen.left_out += 1
            return
        if len(self._seen) >= _MAX_KINDS:
            self._seen.clear()
        self._seen[key] = _Seen(now + EVERY_S)
        log = structlog.stdlib.get_logger()
        left_out = seen.left_out if seen is not None and seen.left_out else None
        (log.error if record.levelno >= logging.ERROR else log.warning)(
            "a library reports a problem",
            library=record.name,
            message=message,
            error=kind,
            where=_where(error),
            repeated=left_out,
        )


def _where(error: BaseException | None) -> str | None:
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None
