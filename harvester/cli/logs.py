"""Sets up structlog: to stderr, as text on a terminal, else as JSON, with foreign text escaped."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from harvester.cli.console import printable
from harvester.cli.library_logs import LibraryLogHandler


class _CurrentStderr:
    """Writes to the current `sys.stderr`: a live display replaces it while it runs."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logs(level: str, style: Literal["auto", "console", "json"]) -> None:
    """Log from `level` on, in the given style; `auto` is `console` on a terminal and `json` elsewhere."""
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
        if for_people
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if for_people else "iso", utc=not for_people),
            _harmless,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(_CurrentStderr()),  # type: ignore[arg-type]  # a TextIO in all it uses
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, LibraryLogHandler) for handler in root.handlers):
        root.addHandler(LibraryLogHandler())
        logging.captureWarnings(capture=True)
    # At the end anyio kills its idle worker processes. It races with asyncio's watcher to collect them, and the watcher
    # warns when it loses: "Unknown child process pid 4711, will report returncode 255".
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _harmless(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {
        name: printable(value) if isinstance(value, str) else value
        for name, value in event.items()
        if value is not None
    }
