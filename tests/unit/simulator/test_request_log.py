from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.simulator.request_log import RequestLog, RequestRecord


def record(**changes: Any) -> RequestRecord:
    known: dict[str, Any] = {
        "at": 1_700_000_000.25,
        "method": "GET",
        "path": "/v1.3/embed/tasks",
        "query": "page=2",
        "endpoint": "list",
        "task_id": None,
        "status": 200,
        "bytes": 512,
    }
    return RequestRecord(**{**known, **changes})


def test_requests_are_counted_by_endpoint_and_status() -> None:
    log = RequestLog()
    for one in (record(), record(status=429), record(endpoint="status")):
        log.append(one)
    assert (len(log), log.count("list"), log.count(status=429), log.count("status", 200)) == (3, 2, 1, 1)


def test_each_request_is_a_line_in_the_file_as_soon_as_it_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    with RequestLog(file) as log:
        log.append(record())
        assert orjson.loads(file.read_bytes()) == {
            "at": 1_700_000_000.25,
            "method": "GET",
            "path": "/v1.3/embed/tasks",
            "query": "page=2",
            "endpoint": "list",
            "task_id": None,
            "status": 200,
            "bytes": 512,
            "fault": None,
        }


def test_a_file_is_continued_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    for _ in range(2):
        with RequestLog(file) as log:
            log.append(record())
    assert len(file.read_bytes().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), RequestLog(tmp_path / "missing" / "log"):
        pass


def test_a_cleared_log_counts_from_zero() -> None:
    log = RequestLog()
    log.append(record())
    log.clear()
    assert list(log) == []
