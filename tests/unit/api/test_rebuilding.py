"""The stored result gives the received JSON back, whatever its version, order and unknown fields."""

import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.decoding_promises import given_back
from harvester.api.decode.result import Decoded, decode_retrieval
from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.outcomes import Invalid, Retrieved
from tests.support.thorough import examples

FIXTURES = Path(__file__).parents[2] / "fixtures"
V1_READY = (FIXTURES / "retrieve_v1_ready.json").read_bytes()
V2_READY = (FIXTURES / "retrieve_v2_ready.json").read_bytes()


def decoded(body: bytes | dict[str, Any]) -> Decoded:
    return decode_retrieval(body if isinstance(body, bytes) else orjson.dumps(body), None, 1 << 20)


def embeddings_of(body: bytes | dict[str, Any]) -> TaskEmbeddings:
    outcome = decoded(body)
    assert isinstance(outcome, Retrieved), outcome
    return outcome.embeddings


def segment(**changes: Any) -> dict[str, Any]:
    fields = {"embedding_option": "visual", "embedding_scope": "clip", "end_offset_sec": 6, "float": [0.5, 0.25]}
    return fields | {"start_offset_sec": 0} | changes


def v1(*segments: Any, **changes: Any) -> dict[str, Any]:
    return {"_id": "1", "status": "ready", "video_embedding": {"segments": list(segments)}} | changes


def v2(*segments: Any, **changes: Any) -> dict[str, Any]:
    return {"_id": "1", "status": "ready", "data": list(segments)} | changes


@pytest.mark.parametrize("name", [one.name for one in FIXTURES.glob("retrieve_v*.json")])
def test_a_documented_body_comes_back_as_it_was_received(name: str) -> None:
    body = (FIXTURES / name).read_bytes()
    outcome = decoded(body)
    if not isinstance(outcome, Retrieved):
        assert orjson.loads(body)["status"] != "ready"
    else:
        assert given_back(outcome.embeddings) == orjson.loads(body)


def test_the_fields_of_a_documented_result_are_in_columns_and_not_among_the_extras() -> None:
    pages = embeddings_of((FIXTURES / "retrieve_v2_document_35.json").read_bytes())
    assert list(zip(pages.start_pages, pages.end_pages, pages.quadrants, strict=True))[3:7] == [
        (2, 2, "bottom_left"),
        (2, 2, "bottom_right"),
        (1, 1, None),
        (1, 1, "top_left"),
    ]
    assert (pages.chunk_indexes, pages.uncertainties, pages.extras) == ((), None, {})
    chunks = embeddings_of((FIXTURES / "retrieve_v2_text_chunks_35.json").read_bytes())
    assert (chunks.chunk_indexes, chunks.start_pages, chunks.extras) == ([2, 0, 1], (), {})
    video = embeddings_of((FIXTURES / "retrieve_v2_video_35.json").read_bytes())
    assert video.uncertainties is not None
    assert (video.uncertainties.positions, video.uncertainties.vectors.shape) == ([0, 1, 2, 3], (4, 128))
    assert (video.uncertainties.vectors[0, 0], video.extras) == (0.038387123, {})


float32s = st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda number: float(f"{number:.6g}"))
doubles = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | doubles | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
seconds = st.integers(0, 10**6) | st.floats(0, allow_nan=False, allow_infinity=False)
extra_fields = st.dictionaries(st.text(max_size=6).map("x".__add__), json_values, max_size=3)


texts = st.none() | st.text(max_size=6)
options = st.fixed_dictionaries({}, optional={"embedding_option": texts, "embedding_scope": texts})


optional_fields = st.fixed_dictionaries(
    {},
    optional={
        "start_page_number": st.none() | st.integers(1, 9) | json_values,
        "end_page_number": st.none() | st.integers(1, 9) | json_values,
        "quadrant": st.none() | st.sampled_from(["top_left", ""]) | json_values,
        "chunk_index": st.none() | st.integers(0, 9) | json_values,
    },
)
no_lists = json_values.filter(lambda value: not isinstance(value, list))


def times_of(start: str, end: str) -> st.SearchStrategy[dict[str, Any]]:
    if start == "start_sec":
        return st.fixed_dictionaries({}, optional={start: st.none() | seconds, end: st.none() | seconds})
    return st.fixed_dictionaries({start: seconds, end: seconds})


@st.composite
def lists_of_segments(draw: st.DrawFn, vector: str, names: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Draw segments of one dimension, each with its own fields, in its own order."""
    numbers, dim = draw(st.sampled_from([float32s, doubles])), draw(st.integers(1, 4))
    lists = st.lists(numbers, min_size=dim, max_size=dim)
    vectors = st.fixed_dictionaries({vector: lists}, optional={"embedding_uncertainty": lists | no_lists})
    segments = []
    for _ in range(draw(st.integers(1, 6))):
        fields = draw(extra_fields) | draw(options) | draw(times_of(*draw(st.sampled_from(names)))) | draw(vectors)
        fields |= draw(optional_fields)
        segments.append(dict(draw(st.permutations(list(fields.items())))))
    return segments


@st.composite
def results(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a result of either version: names of either page, absent options, nulls, unknown fields, any order."""
    unknown = draw(extra_fields)
    if draw(st.booleans()):
        return unknown | v2(*draw(lists_of_segments("embedding", [("start_sec", "end_sec")])))
    names = [("start_offset_sec", "end_offset_sec"), ("start_offset_time", "end_offset_time")]
    segments = draw(lists_of_segments("float", names))
    return unknown | v1(video_embedding=unknown | {"metadata": draw(extra_fields), "segments": segments})


@examples(250)
@given(results())
def test_any_result_comes_back_as_it_was_received(document: dict[str, Any]) -> None:
    body = orjson.dumps(document)
    assert given_back(embeddings_of(body)) == orjson.loads(body)


def test_unknown_fields_survive_at_every_level() -> None:
    segments = [segment(mood="calm"), segment(), segment(x={"y": [1]}), segment(start_sec="another start")]
    body = v1(task=1, video_embedding={"segments": segments, "metadata": {"fps": 25}, "z": None})
    assert given_back(embeddings_of(body)) == body


@pytest.mark.parametrize(
    "text",
    [
        "[0.1234567890123456789,1]",
        "[36893488147419103233,0.5]",
        "[1e-400,1]",
        "18446744073709551617",
        "0.10000000000000000001",
    ],
)
def test_an_uncertainty_that_a_float_would_alter_is_given_back_as_its_text(text: str) -> None:
    segments = [{"embedding": [0.5, 0.25], "embedding_uncertainty": "@"}, {"embedding": [0.5, 0.25]}]
    body = orjson.dumps(v2(*segments)).replace(b'"@"', text.encode())
    outcome = decoded(body)
    if not isinstance(outcome, Invalid):
        assert isinstance(outcome, Retrieved)
        assert str(given_back(outcome.embeddings)) == str(orjson.loads(body))
        extra = outcome.embeddings.extras[0]["embedding_uncertainty"]
        assert extra.text.replace(" ", "") == text


@pytest.mark.parametrize("depth", [1, 100, *range(240, 260)])
def test_nesting_is_accepted_only_where_it_can_be_given_back(depth: int) -> None:
    body = orjson.dumps(v1(segment(x="@"))).replace(b'"@"', b"[" * depth + b"]" * depth)
    outcome = decoded(body)
    if not isinstance(outcome, Invalid):
        assert isinstance(outcome, Retrieved)
        assert given_back(outcome.embeddings) == orjson.loads(body)


@pytest.mark.parametrize(
    "body",
    [V1_READY, v1(), v1(status="x"), v1(status="failed"), v1(segment(float=[])), b"", v1(segment(x=[[1]]))],
)
def test_an_outcome_crosses_a_process_boundary(body: bytes | dict[str, Any]) -> None:
    outcome = decoded(body)
    returned = pickle.loads(pickle.dumps(outcome))
    if isinstance(outcome, Retrieved):
        returned, outcome = given_back(returned.embeddings), given_back(outcome.embeddings)
    assert returned == outcome
