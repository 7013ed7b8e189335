"""The words of `harvester show` name the model and its source, or say why it is unknown."""

from typing import Any

import pytest

from harvester.domain.tasks.task_reports import SegmentGroup, TaskDetails
from harvester.reports.result_text import result_lines

VIDEO: dict[str, Any] = dict.fromkeys(
    (
        *("model_name", "model_source", "model_asked_at", "input_type", "input_filename", "input_url", "duration"),
        *("video_clip_length", "start_offset_sec", "end_offset_sec", "is_truncated", "truncation_reason"),
        *("created_at", "updated_at"),
    )
) | {"segment_count": 2}


def lines(source: str = "api", groups: tuple[SegmentGroup, ...] = (), **video: Any) -> list[str]:
    details = TaskDetails({"source": source}, None, [], list(groups), [])
    return list(result_lines(details, VIDEO | video))


@pytest.mark.parametrize(
    ("source", "video", "expected"),
    [
        ("api", {"model_name": "m", "model_source": "answer"}, "m"),
        ("api", {"model_name": "m", "model_source": None}, "m"),
        ("api", {"model_name": "m", "model_source": "list"}, "m, by the account's list"),
        ("api", {"model_name": "m", "model_source": "inferred"}, "m, the only model that makes such a result"),
        ("file", {"model_name": "m", "model_source": "given"}, "m, as given at the import"),
        ("file", {}, "unknown: neither the imported file nor the import names it"),
        ("api", {}, "unknown: the API names it only in its list; `harvester run` and `backfill` look it up"),
        (
            "api",
            {"model_asked_at": 1_760_000_000_000},
            "unknown: the API names it only in its list, which did not show this task at 2025-10-09 08:53:20Z",
        ),
    ],
)
def test_the_model_is_named_with_its_source(source: str, video: dict[str, Any], expected: str) -> None:
    assert lines(source, **video)[0] == f"model         {expected}"


def test_a_truncated_result_is_a_warning() -> None:
    warning = "warning       the model has read only a part of the input"
    assert f"{warning} (too long)" in lines(is_truncated=1, truncation_reason="too long")
    assert warning in lines(is_truncated=1)
    assert not any(line.startswith("warning") for line in lines(is_truncated=0))


def test_only_media_with_a_length_have_one() -> None:
    assert any(line.startswith("duration") for line in lines(input_type="audio"))
    assert not any(line.startswith("duration") for line in lines(input_type="document"))
    assert "embedded      5 s to - of the input" in lines(start_offset_sec=5.0)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (SegmentGroup("visual", "clip", 2, 0.0, 12.5, 512, "f4"), "visual, clip: 0 s to 12.5 s, 512 numbers of f4"),
        (SegmentGroup(None, None, 2, None, None, 4, "f8"), "-, -: - to -, 4 numbers of f8"),
        (
            SegmentGroup("visual", "page", 2, None, None, 4, "f8", start_page=1, end_page=9),
            "visual, page: pages 1 to 9, 4 numbers of f8",
        ),
        (
            SegmentGroup("text", "chunk", 2, None, None, 4, "f8", first_chunk=0, last_chunk=1, uncertain=2),
            "text, chunk: chunks 0 to 1, 4 numbers of f8, 2 with uncertainty",
        ),
    ],
)
def test_segments_are_placed_by_time_page_or_chunk(group: SegmentGroup, expected: str) -> None:
    assert lines(groups=(group,))[-1] == f"       2 {expected}"
