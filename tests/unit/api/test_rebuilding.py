"""The stored result gives the received JSON back, whatever its version, order and unknown fields."""

import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.decode.result import Decoded, decode_retrieval
from harvester.domain.tasks.embeddings import SegmentRow, TaskEmbeddings, rebuild
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


def given_back(one: TaskEmbeddings) -> Any:
    """Go through everything that is stored, as `harvester show --json` does, and return the parsed JSON."""
    columns = zip(one.options, one.scopes, one.starts, one.ends, one.vectors, one.layout_of, strict=True)
    rows = [
        SegmentRow(option, scope, start, end, vector, layout, one.extras.get(position))
        for position, (option, scope, start, end, vector, layout) in enumerate(columns)
    ]
    document = rebuild(orjson.loads(one.document), one.layouts, rows)
    return orjson.loads(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))


def segment(**changes: Any) -> dict[str, Any]:
    fields = {"embedding_option": "visual", "embedding_scope": "clip", "end_offset_sec": 6, "float": [0.5, 0.25]}
    return fields | {"start_offset_sec": 0} | changes


def v1(*segments: Any, **changes: Any) -> dict[str, Any]:
    return {"_id": "1", "status": "ready", "video_embedding": {"segments": list(segments)}} | changes


def v2(*segments: Any, **changes: Any) -> dict[str, Any]:
    return {"_id": "1", "status": "ready", "data": list(segments)} | changes


@pytest.mark.parametrize("body", [V1_READY, V2_READY])
def test_a_documented_result_comes_back_as_it_was_received(body: bytes) -> None:
    assert given_back(embeddings_of(body)) == orjson.loads(body)


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


def times_of(start: str, end: str) -> st.SearchStrategy[dict[str, Any]]:
    if start == "start_sec":
        return st.fixed_dictionaries({}, optional={start: st.none() | seconds, end: st.none() | seconds})
    return st.fixed_dictionaries({start: seconds, end: seconds})


@st.composite
def lists_of_segments(draw: st.DrawFn, vector: str, names: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Draw segments of one dimension, each with its own fields, in its own order."""
    numbers, dim = draw(st.sampled_from([float32s, doubles])), draw(st.integers(1, 4))
    vectors = st.fixed_dictionaries({vector: st.lists(numbers, min_size=dim, max_size=dim)})
    segments = []
    for _ in range(draw(st.integers(1, 6))):
        fields = draw(extra_fields) | draw(options) | draw(times_of(*draw(st.sampled_from(names)))) | draw(vectors)
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
