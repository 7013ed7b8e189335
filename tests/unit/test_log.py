"""The log goes to structlog in commands, and to `logging` in programs that use the harvest as a library."""

import logging

import pytest
from structlog.testing import capture_logs

from harvester.ports.log import get_logger, logging_as_library

log = get_logger()


def test_a_command_logs_as_structlog_is_configured() -> None:
    with capture_logs() as logged:
        log.bind(task_id="a").info("harvested", segments=3)

    assert logged == [{"event": "harvested", "task_id": "a", "segments": 3, "log_level": "info"}]


def test_a_library_logs_to_logging_and_escapes_foreign_text(caplog: pytest.LogCaptureFixture) -> None:
    with logging_as_library(), capture_logs() as others, caplog.at_level(logging.INFO, "harvester"):
        log.bind(task_id="a", trace_id=None).warning("100 %", reason="new\nline")
        log.debug("too detailed")

    (record,) = caplog.records
    assert record.getMessage() == "100 % task_id='a' reason='new\\nline'"
    assert vars(record)["harvester"] == {"task_id": "a", "reason": "new\nline"}
    assert (record.name, record.levelno, others) == ("harvester", logging.WARNING, [])


def test_a_library_without_a_handler_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        with logging_as_library():
            log.error("trouble")
    finally:
        root.handlers = handlers

    assert capfd.readouterr() == ("", "")
