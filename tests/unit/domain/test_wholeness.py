"""The parts that a result lacks; a whole one lacks nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.wholeness import missing_parts
from tests.support.thorough import examples

Row = tuple[str | None, str | None, float | None, float | None]


def result(rows: Sequence[Row], **described: Any) -> TaskEmbeddings:
    """Return a result of these segments: option, scope, start and end in seconds."""
    options, scopes, starts, ends = zip(*rows, strict=True)
    return TaskEmbeddings(
        metadata=MediaMetadata(**described),
        options=options,
        scopes=scopes,
        starts=starts,
        ends=ends,
        vectors=np.ones((len(rows), 2), "<f4"),
        document=b"{}",
        layouts=[()],
        layout_of=[0] * len(rows),
    )


def paged(pages: Sequence[tuple[int | None, int | None]] = (), chunks: Sequence[int | None] = ()) -> TaskEmbeddings:
    count = max(len(pages), len(chunks))
    return TaskEmbeddings(
        metadata=MediaMetadata(scopes=("local",), options=("text",)),
        options=["text"] * count,
        scopes=["chunk" if chunks else "page"] * count,
        starts=[None] * count,
        ends=[None] * count,
        vectors=np.ones((count, 2), "<f4"),
        document=b"{}",
        layouts=[()],
        layout_of=[0] * count,
        start_pages=[start for start, _ in pages],
        end_pages=[end for _, end in pages],
        chunk_indexes=chunks,
    )


def clips(option: str | None, *numbers: int, length: float = 6.0) -> list[Row]:
    return [(option, "clip", number * length, (number + 1) * length) for number in numbers]


@pytest.mark.parametrize(
    ("rows", "described", "missing"),
    [
        (clips("visual", 0, 1, 3), {}, ["The clips of visual have a gap from 12 s to 18 s."]),
        (
            [*clips("visual", 0, 1, 2, 3), *clips("audio", 1, 3)],
            {},
            ["The clips of audio have 2 gaps, the first from 0 s to 6 s."],
        ),
        (clips(None, 0, 2), {}, ["The clips without an option have a gap from 6 s to 12 s."]),
        (
            clips("visual", 0, 1),
            {"duration": 92.4},
            ["The clips of visual end at 12 s, but the embedded part of the input ends at 92.4 s."],
        ),
        (
            [*clips("visual", 0, 1), *clips("audio", 0, 1, 2)],
            {"duration": 19.9},
            ["The clips of visual end at 12 s, but the embedded part of the input ends at 19.9 s."],
        ),
        (
            [*clips("visual", 1, 2), ("visual", "video", 0.0, 18.0)],
            {"duration": 600},
            ["The clips of visual have a gap from 0 s to 6 s."],
        ),
        (
            clips("visual", 2, 3),
            {"duration": 600, "start_offset_sec": 6.0, "end_offset_sec": 24.0},
            ["The clips of visual have a gap from 6 s to 12 s."],
        ),
        (
            [("visual", "clip", None, None)] * 3,
            {"duration": 30.0, "video_clip_length": 6.0},
            ["There are 3 clips of visual, but 30 s make 5 of 6 s."],
        ),
        (
            clips("visual", 0, 1, length=12),
            {"duration": 24.0, "video_clip_length": 6.0},
            ["There are 2 clips of visual, but 24 s make 4 of 6 s."],
        ),
        (
            clips("visual", 0),
            {"options": ("visual", "audio")},
            ["No segment has the option audio, which the task was made with."],
        ),
        (
            clips("visual", 0),
            {"scopes": ("clip", "video", "asset")},
            [
                "No segment has the scope video, which the task was made with.",
                "No segment has the scope asset, which the task was made with.",
            ],
        ),
        (
            [("visual", "asset", None, None)],
            {"scopes": ("local",)},
            ["No segment has the scope local, which the task was made with."],
        ),
    ],
)
def test_each_part_that_is_missing_is_named(rows: list[Row], described: dict[str, Any], missing: list[str]) -> None:
    assert list(missing_parts(result(rows, **described))) == missing


@pytest.mark.parametrize(
    ("rows", "described"),
    [
        # Version 1 drops a last clip that is shorter than two seconds.
        (clips("visual", 0, 1), {"duration": 13.999, "video_clip_length": 6.0}),
        # A part of the video, which version 1 does not describe.
        (clips("visual", 5, 6), {"duration": 600.0, "video_clip_length": 6.0}),
        ([*clips("visual", 5, 6), ("visual", "video", 30.0, 42.0)], {"duration": 600.0, "scopes": ("clip", "video")}),
        (clips("visual", 5, 6), {"duration": 600.0, "start_offset_sec": 30.0, "end_offset_sec": 42.0}),
        (clips("visual", 0, 1), {"duration": 11.2, "end_offset_sec": 3600.0}),
        # Clips of other lengths, with a hair's breadth between them.
        (
            [("visual", "clip", 0.0, 3.337), ("visual", "clip", 3.3375, 9.0), ("visual", "clip", 8.5, 12.0)],
            {"duration": 12.5},
        ),
        ([("visual", "asset", None, None)], {"scopes": ("asset",), "options": ("visual",)}),
        ([("visual", "page", None, None)], {"scopes": ("local",)}),
        ([(None, None, None, None)], {"options": ("visual",), "scopes": ("clip",)}),
        (clips("fused", 0), {"options": ("visual", "audio")}),
        (clips("visual", 0), {}),
    ],
)
def test_a_whole_result_lacks_nothing(rows: list[Row], described: dict[str, Any]) -> None:
    assert missing_parts(result(rows, **described)) == ()


def test_an_option_that_was_not_asked_for_is_not_missing() -> None:
    one = result(clips("visual", 0), options=("visual", "audio", "transcription"))
    assert missing_parts(one, ["visual"]) == ()
    assert missing_parts(one, ["visual", "audio"]) == (
        "No segment has the option audio, which the task was made with.",
    )


@pytest.mark.parametrize(
    ("one", "missing"),
    [
        (paged([(2, 2), (1, 1), (1, 1), (None, None)]), []),
        (paged([(1, 3), (4, 4)]), []),
        (paged([(7, 7), (9, 9)]), ["No segment has page 8."]),
        (paged([(1, None), (4, 10**15)]), ["No segment has page 2, nor 1 more of the pages up to 1000000000000000."]),
        (paged(chunks=[2, 0, 1]), []),
        (paged(chunks=[3, 1, None]), ["No segment has chunk 0, nor 1 more of the chunks up to 3."]),
    ],
)
def test_a_missing_page_or_piece_of_text_is_named(one: TaskEmbeddings, missing: list[str]) -> None:
    assert list(missing_parts(one)) == missing


@given(
    st.floats(2.0, 4_000.0),
    st.floats(2.0, 10.0),
    st.sets(st.sampled_from(["visual", "audio", "transcription"]), min_size=1),
    st.floats(0.0, 500.0),
    st.sampled_from(["metadata", "segment"]),
)
@examples(100)
def test_a_result_with_every_clip_lacks_nothing_whatever_its_lengths(
    length_s: float, clip_s: float, options: set[str], begin_s: float, described_by: str
) -> None:
    end_s, starts = begin_s + length_s, [begin_s + number * clip_s for number in range(int(length_s / clip_s) + 1)]
    spans = [(start, min(start + clip_s, end_s)) for start in starts]
    rows: list[Row] = [(option, "clip", *span) for option in options for span in spans if span[1] - span[0] > 1.999]
    described: dict[str, Any] = (
        {"start_offset_sec": begin_s, "end_offset_sec": end_s} if described_by == "metadata" else {}
    )
    whole: list[Row] = [] if described_by == "metadata" else [(option, "video", begin_s, end_s) for option in options]
    one = result(
        [*rows, *whole] or [(None, None, None, None)], duration=end_s + 60, video_clip_length=clip_s, **described
    )
    assert missing_parts(one) == ()


NAMES = st.sampled_from([None, "visual", "fused", "clip", "video", "asset", "local", "page", "odd"])
SECONDS = st.none() | st.floats(0.0, 2.0**53) | st.sampled_from([0.0, 1e-320, 6.0])
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    rows=st.lists(st.tuples(NAMES, NAMES, SECONDS, SECONDS), min_size=1, max_size=6),
    described=st.fixed_dictionaries(
        {
            "duration": NUMBERS,
            "video_clip_length": NUMBERS,
            "start_offset_sec": NUMBERS,
            "end_offset_sec": NUMBERS,
            "options": st.lists(NAMES.filter(bool), max_size=3).map(tuple),
            "scopes": st.lists(NAMES.filter(bool), max_size=3).map(tuple),
        }
    ),
)
@examples(500)
def test_whatever_the_api_says_the_answer_is_sentences(rows: list[Row], described: dict[str, Any]) -> None:
    for sentence in missing_parts(result(rows, **described)):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
