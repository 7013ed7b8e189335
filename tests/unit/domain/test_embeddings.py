import copy
from typing import Any

import numpy as np
import pytest

from harvester.domain.tasks.embeddings import (
    Matrix,
    MediaMetadata,
    SegmentRow,
    TaskEmbeddings,
    rebuild,
    segments_holder,
)

VECTOR: Matrix = np.array([0.5, -0.25], "<f4")
V1: dict[str, Any] = {"_id": "1", "video_embedding": {"metadata": {"duration": 18}, "segments": []}, "status": "ready"}
V2: dict[str, Any] = {"_id": "1", "status": "ready", "data": []}


def row(
    start: float | None = 0.0, end: float | None = 6.0, *, layout: int = 0, extra: dict[str, Any] | None = None
) -> SegmentRow:
    return SegmentRow("visual", "clip", start, end, VECTOR, layout, extra)


def rebuilt(layout: tuple[str, ...], one: SegmentRow) -> dict[str, Any]:
    segments: list[dict[str, Any]] = rebuild(copy.deepcopy(V2), [layout], [one])["data"]
    return segments[0]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_matrix_says_how_it_is_stored(dtype: str) -> None:
    matrix: Matrix = np.zeros((3, 5), f"<{dtype}")
    texts: list[str | None] = [None] * 3
    times: list[float | None] = [0.0] * 3
    one = TaskEmbeddings(MediaMetadata(), texts, texts, times, times, matrix, b"{}", [("float",)], [0] * 3)
    assert (one.count, one.dim, one.dtype) == (3, 5, dtype)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (V1, (V1["video_embedding"], "segments")),
        (V2, (V2, "data")),
        ({"data": [], "video_embedding": {"segments": []}}, ({"segments": []}, "segments")),
        ({"video_embedding": None}, None),
        ({"video_embedding": []}, None),
        ({}, None),
    ],
)
def test_the_list_of_segments_is_found_in_both_versions(document: dict[str, Any], expected: object) -> None:
    assert segments_holder(document) == expected


def test_segments_return_to_their_place_in_v1() -> None:
    document = rebuild(copy.deepcopy(V1), [("float",)], [row()])
    assert document["video_embedding"]["segments"][0]["float"] is VECTOR


def test_segments_return_to_their_place_in_v2() -> None:
    assert rebuild(copy.deepcopy(V2), [("embedding",)], [row()])["data"][0]["embedding"] is VECTOR


def test_a_document_without_a_place_for_segments_stays_as_it_is() -> None:
    assert rebuild({"_id": "1"}, [], []) == {"_id": "1"}


def test_fields_return_under_the_received_names_and_in_the_received_order() -> None:
    layout = ("end_offset_time", "float", "embedding_scope", "start_offset_time", "embedding_option")
    assert list(rebuilt(layout, row()).items()) == [
        ("end_offset_time", 6),
        ("float", VECTOR),
        ("embedding_scope", "clip"),
        ("start_offset_time", 0),
        ("embedding_option", "visual"),
    ]


def test_each_segment_has_its_own_layout() -> None:
    rows = [row(layout=1), row(layout=0)]
    segments = rebuild(copy.deepcopy(V2), [("start_sec",), ("end_sec",)], rows)["data"]
    assert segments == [{"end_sec": 6}, {"start_sec": 0}]


def test_unknown_fields_return_with_their_values() -> None:
    one = rebuilt(("end_sec", "mood"), row(extra={"mood": {"calm": [1, None]}}))
    assert one == {"end_sec": 6, "mood": {"calm": [1, None]}}


def test_a_known_name_that_came_twice_returns_with_its_own_value() -> None:
    one = rebuilt(("start_offset_sec", "start_sec"), row(start=1.5, extra={"start_sec": 99}))
    assert one == {"start_offset_sec": 1.5, "start_sec": 99}


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (6.0, "6"),
        (0.0, "0"),
        (21.087732, "21.087732"),
        (None, "None"),
        (2.0**52, "4503599627370496"),
        (1e300, "1e+300"),
    ],
)
def test_times_are_written_as_the_api_writes_them(stored: float | None, written: str) -> None:
    assert str(rebuilt(("start_sec",), row(start=stored))["start_sec"]) == written
