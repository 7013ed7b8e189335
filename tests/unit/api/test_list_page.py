"""Pages of the list: the documented one, and others that may come."""

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.list_page import MAX_LIST_BYTES, list_parameters, parse_list
from harvester.domain.planning.list_reader import ListPage, ListQuery
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Failed, Processing, Ready, Transient

DOCUMENTED_PATH = Path(__file__).parents[2] / "fixtures" / "list_v1.json"
DOCUMENTED = DOCUMENTED_PATH.read_bytes()
DOCUMENTED_V2 = DOCUMENTED_PATH.with_name("list_v2.json").read_bytes()
TASK_ID = "66f537778d9641fe5a0d101f"
CREATED = "2024-09-26T10:29:19.968Z"
CREATED_MS = 1_727_346_559_968


def page(*entries: Any, **page_info: Any) -> ListPage:
    parsed = parse_list(orjson.dumps({"data": entries, "page_info": page_info}), None)
    assert isinstance(parsed, ListPage)
    return parsed


def entry(**fields: Any) -> dict[str, Any]:
    return {"_id": TASK_ID, "status": "ready", **fields}


def only(**fields: Any) -> ListedTask:
    (task,) = page(entry(**fields)).tasks
    return task


def test_the_documented_page_is_read() -> None:
    parsed = parse_list(DOCUMENTED, None)
    assert isinstance(parsed, ListPage)
    assert (parsed.count, parsed.total_results, parsed.limit_per_page) == (3, 3, 10)
    assert parsed.tasks[0] == ListedTask(
        TASK_ID,
        Processing("processing", CREATED_MS),
        MediaMetadata("marengo3.0", 13.4400001, "01.mp4", None, 6.0, ("clip",), CREATED_MS, input_type="video"),
    )


def test_the_documented_page_of_every_medium_is_read() -> None:
    parsed = parse_list(DOCUMENTED_V2, None)
    assert isinstance(parsed, ListPage)
    described = [one.metadata for one in parsed.tasks]
    assert [(one.model_name, one.input_type, one.input_filename or one.input_url) for one in described] == [
        ("marengo3.5", "video", "match.mp4"),
        ("marengo3.5", "document", "rules.pdf"),
        ("marengo3.0", "audio", "https://media.example/talk.mp3"),
        ("marengo3.5", "image", "https://media.example/logo.png"),
        ("marengo3.5", "document", "notes.md"),
        ("marengo3.5", "image", "poster.png"),
    ]
    assert [(one.options, one.scopes) for one in described][1:4] == [
        (("visual",), ("local",)),
        (("audio", "transcription"), ("clip",)),
        (("visual",), ("asset",)),
    ]
    assert (described[2].duration, described[2].start_offset_sec, described[2].end_offset_sec) == (1800.0, 0.0, 1800.0)


@pytest.mark.parametrize("medium", ["video", "audio"])
def test_a_clip_length_is_read_by_its_medium(medium: str) -> None:
    holder = {f"{medium}_embedding": {"metadata": {f"{medium}_clip_length": 6}}}
    assert only(**holder).metadata == MediaMetadata(video_clip_length=6.0, input_type=medium)


def test_a_compressed_page_is_read() -> None:
    assert parse_list(gzip.compress(DOCUMENTED), "gzip") == parse_list(DOCUMENTED, None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Ready()),
        ({"status": "failed"}, Failed("The platform gives no reason.")),
        ({"status": "failed", "error": {"message": "No sound."}}, Failed("No sound.")),
        ({"status": "queued", "created_at": CREATED}, Processing("queued", CREATED_MS)),
        ({"status": None}, Processing("NoneType")),
        ({"status": [7]}, Processing("list")),
    ],
)
def test_an_entry_means_what_a_status_call_would_mean(fields: dict[str, Any], expected: object) -> None:
    assert only(**fields).outcome == expected


def test_metadata_of_v2_is_read() -> None:
    metadata = only(metadata={"duration": 7, "input_url": "https://example.org/a.mp4"}, audio_embedding={}).metadata
    assert (metadata.duration, metadata.input_url) == (7.0, "https://example.org/a.mp4")


@pytest.mark.parametrize("created_at", [None, 7, "yesterday", "", "0000-00-00T00:00:00Z"])
def test_a_time_that_is_none_is_left_out(created_at: Any) -> None:
    assert only(created_at=created_at).created_at_ms is None


@pytest.mark.parametrize(
    "bad",
    [None, 7, "text", [], {}, {"_id": None}, {"_id": 7}, {"_id": ""}, {"_id": "../admin"}, {"_id": "a\x1b[2J"}],
)
def test_an_entry_without_an_acceptable_id_is_only_counted(bad: Any) -> None:
    parsed = page(bad, entry())
    assert ([task.task_id for task in parsed.tasks], parsed.count) == ([TASK_ID], 2)


@pytest.mark.parametrize("claim", [None, "7", 7.5, True, [], {}])
def test_claims_that_are_no_numbers_are_left_out(claim: Any) -> None:
    parsed = page(total_results=claim, limit_per_page=claim)
    assert (parsed.total_results, parsed.limit_per_page) == (None, None)


@pytest.mark.parametrize("page_info", [None, [], "text", 7])
def test_a_page_without_page_info_is_read(page_info: Any) -> None:
    body = orjson.dumps({"data": [entry()], "page_info": page_info})
    assert parse_list(body, None) == ListPage([ListedTask(TASK_ID, Ready(), MediaMetadata())], 1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body_empty"),
        (b"<html>", "not_json"),
        (b"null", "not_an_object"),
        (b"[]", "not_an_object"),
        (b'{"data":[{', "body_cut"),
        (b'{"data":[]x}', "json_invalid"),
        (b"{}", "not_a_list"),
        (b'{"data":null}', "not_a_list"),
        (b'{"data":{}}', "not_a_list"),
        (b'{"data":"' + b"x" * MAX_LIST_BYTES + b'"}', "body_too_large"),
    ],
)
def test_what_is_no_list_will_be_asked_for_again(body: bytes, code: str) -> None:
    parsed = parse_list(body, None)
    assert isinstance(parsed, Transient)
    assert parsed.code == code


def test_a_decompression_bomb_is_stopped_at_the_cap() -> None:
    parsed = parse_list(gzip.compress(b" " * (MAX_LIST_BYTES * 4)), "gzip")
    assert isinstance(parsed, Transient)
    assert parsed.code == "body_too_large"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
names = st.sampled_from(["_id", "status", "created_at", "model_name", "video_embedding", "audio_embedding", "metadata"])


@given(st.lists(values | st.dictionaries(names, values)), values)
def test_no_entry_breaks_a_page(entries: list[Any], page_info: Any) -> None:
    parsed = parse_list(orjson.dumps({"data": entries, "page_info": page_info}), None)
    assert isinstance(parsed, ListPage)
    assert parsed.count == len(entries)


def test_the_parameters_are_the_documented_ones() -> None:
    assert list_parameters(ListQuery(CREATED_MS, CREATED_MS + 40, page=2, page_limit=49)) == {
        "started_at": "2024-09-26T10:29:19Z",
        "ended_at": "2024-09-26T10:29:20Z",
        "page": "2",
        "page_limit": "49",
    }
    assert "ended_at" not in list_parameters(ListQuery(CREATED_MS))


@pytest.mark.parametrize("far", [-(10**18), 10**18])
def test_a_window_beyond_all_calendars_is_cut(far: int) -> None:
    assert list_parameters(ListQuery(far, far))["ended_at"] in {"1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"}
