"""What libraries log, as events of the log: a line for each, and not what others have sent.

aiohttp and asyncio write tracebacks, and into them the bytes of any client of the port: lines that look like those of
the log, escapes for the terminal, and the token of a request that was a little too long.
"""

import logging
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import structlog

EVERY_S = 60.0
"""How often the same is logged."""

_MAX_KINDS = 200
_MAX_CHARACTERS = 120


@dataclass(slots=True)
class _Seen:
    next_at: float
    left_out: int = 0


class LibraryLogHandler(logging.Handler):
    """Turns a record of `logging` into an event: where it comes from and the kind of the error, never its text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: dict[tuple[str, ...], _Seen] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, unless the same was logged a moment ago."""
        error = record.exc_info[1] if record.exc_info else None
        # The message before anything is put into it, and of asyncio's the first line: the others show objects.
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
