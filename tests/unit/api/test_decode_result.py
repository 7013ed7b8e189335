"""Bodies to embeddings: nothing lost, nothing invented, and no bytes that make it raise."""

import gzip
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.decode.result import Decoded, decode_retrieval
from harvester.domain.tasks.embeddings import MediaMetadata, TaskEmbeddings
from harvester.domain.tasks.outcomes import Empty, Failed, Invalid, Processing, Retrieved, Transient
from harvester.domain.tasks.task_document import timestamp_ms
from tests.support.thorough import examples

FIXTURES = Path(__file__).parents[2] / "fixtures"
V1_READY = (FIXTURES / "retrieve_v1_ready.json").read_bytes()
V2_READY = (FIXTURES / "retrieve_v2_ready.json").read_bytes()
MAX_BYTES = 1 << 20
UNCERTAINTY = "data[0].embedding_uncertainty"


def decoded(body: bytes | dict[str, Any], encoding: str | None = None) -> Decoded:
    return decode_retrieval(body if isinstance(body, bytes) else orjson.dumps(body), encoding, MAX_BYTES)


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


# The documented bodies.


def test_the_columns_of_a_documented_result_are_right() -> None:
    one, document = embeddings_of(V1_READY), orjson.loads(V1_READY)
    received = document["video_embedding"]["segments"]
    assert (one.options, one.scopes, one.starts, one.ends, one.vectors.tolist()) == (
        [each["embedding_option"] for each in received],
        [each["embedding_scope"] for each in received],
        [each["start_offset_sec"] for each in received],
        [each["end_offset_sec"] for each in received],
        np.array([each["float"] for each in received], "<f4").tolist(),
    )


def test_the_metadata_of_a_documented_result_are_right() -> None:
    assert embeddings_of(V1_READY).metadata == MediaMetadata(
        model_name="marengo3.0",
        duration=18.0,
        input_filename="01.mp4",
        video_clip_length=6.0,
        scopes=("clip", "video"),
        created_at_ms=1_709_251_200_000,
        input_type="video",
    )


def test_the_metadata_of_a_documented_result_of_v2_are_right() -> None:
    assert embeddings_of((FIXTURES / "retrieve_v2_document_35.json").read_bytes()).metadata == MediaMetadata(
        input_filename="rules.pdf",
        scopes=("local",),
        created_at_ms=1_794_129_056_000,
        input_type="document",
        options=("visual",),
        embedding_dimension=128,
        tokens=(("document", 2210),),
        is_truncated=True,
        truncation_reason="model_context_window",
    )
    audio = embeddings_of((FIXTURES / "retrieve_v2_audio_30.json").read_bytes()).metadata
    assert (audio.start_offset_sec, audio.end_offset_sec, audio.duration) == (0.0, 1800.0, 1800.0)
    assert (audio.options, audio.is_truncated, audio.tokens) == (("audio", "transcription"), None, ())


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ({"input_type": 7, "embedding_dimension": "2", "embedding_options": "visual"}, MediaMetadata()),
        ({"clip_length": 6, "embedding_scopes": ["clip", 7]}, MediaMetadata(video_clip_length=6.0, scopes=("clip",))),
        ({"embedding_dimension": 2**63, "start_offset_sec": None}, MediaMetadata()),
    ],
)
def test_metadata_of_another_type_stay_in_the_document(received: dict[str, Any], expected: MediaMetadata) -> None:
    usage = {"input_tokens": {"video": 7, "audio": 1.5, "text": None}, "truncated": "no", "truncation_reason": 7}
    one = embeddings_of(v2({"embedding": [0.5, 1.5]}, metadata=received, usage=usage))
    assert one.metadata == replace(expected, tokens=(("video", 7),))


@pytest.mark.parametrize("name", ["retrieve_v2_processing.json", "status_v1_processing.json"])
def test_a_documented_task_that_is_not_finished_is_processing(name: str) -> None:
    assert decoded((FIXTURES / name).read_bytes()) == Processing("processing")


def test_a_compressed_body_is_decompressed() -> None:
    assert isinstance(decoded(gzip.compress(V1_READY), "gzip"), Retrieved)


@pytest.mark.parametrize("start", ["start_offset_sec", "start_offset_time"])
@pytest.mark.parametrize("end", ["end_offset_sec", "end_offset_time"])
def test_both_documented_names_of_offsets_are_understood(start: str, end: str) -> None:
    one = embeddings_of(v1({"float": [1], start: 1.5, end: 21.087732}))
    assert (one.starts, one.ends) == ([1.5], [21.087732])


def test_in_v2_everything_but_the_vector_may_be_null() -> None:
    nulls = dict.fromkeys(["embedding_option", "embedding_scope", "start_sec", "end_sec"])
    one = embeddings_of(v2({"embedding": [0.5]} | nulls))
    assert (one.options, one.scopes, one.starts, one.ends) == ([None], [None], [None], [None])


# Errors, by their place.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_offset_sec": None}, "segments[1].start_offset_sec: missing"),
        ({"start_offset_sec": -0.001}, "segments[1].start_offset_sec: -0.001 is not a time in the video"),
        ({"start_offset_sec": "0"}, "segments[1].start_offset_sec: str instead of seconds"),
        ({"start_offset_sec": True}, "segments[1].start_offset_sec: bool instead of seconds"),
        ({"end_offset_sec": None}, "segments[1].end_offset_sec: missing"),
        ({"end_offset_sec": -6}, "segments[1].end_offset_sec: -6 is not a time in the video"),
        ({"end_offset_sec": [6]}, "segments[1].end_offset_sec: list instead of seconds"),
        ({"end_offset_sec": 2**53 + 1}, "segments[1].end_offset_sec: 9007199254740993 is not a time in the video"),
        ({"embedding_option": 7}, "segments[1].embedding_option: int instead of a text"),
        ({"embedding_scope": ["clip"]}, "segments[1].embedding_scope: list instead of a text"),
        ({"float": [0.5]}, "segments[1].float: 1 numbers, expected 2"),
        ({"float": [0.5, True]}, "segments[1].float[1]: bool instead of a number"),
        ({"float": None}, "segments[1].float: no numbers"),
    ],
)
def test_a_wrong_segment_rejects_the_whole_result(changes: dict[str, Any], message: str) -> None:
    assert decoded(v1(segment(), segment(**changes), segment())) == Invalid(f"{message}.", "segments_invalid")


@pytest.mark.parametrize("name", ["start_offset_sec", "end_offset_sec", "float"])
def test_in_v1_a_segment_without_time_or_vector_is_invalid(name: str) -> None:
    broken = segment()
    del broken[name]
    expected = "no numbers" if name == "float" else "missing"
    assert decoded(v1(segment(), broken)) == Invalid(f"segments[1].{name}: {expected}.", "segments_invalid")


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({"embedding": [1], "start_sec": -1}, "data[0].start_sec: -1 is not a time in the video"),
        ({"embedding": [1], "end_sec": "6"}, "data[0].end_sec: str instead of seconds"),
        ({"start_sec": 0}, "data[0].embedding: no numbers"),
        ([1], "data[0]: not an object"),
        ({"embedding": [1, 2], "embedding_uncertainty": [1]}, f"{UNCERTAINTY}: 1 numbers, expected 2 as in the vector"),
        ({"embedding": [1], "embedding_uncertainty": []}, f"{UNCERTAINTY}: 0 numbers, expected 1 as in the vector"),
        ({"embedding": [1], "embedding_uncertainty": ["1"]}, f"{UNCERTAINTY}[0]: str instead of a number"),
        ({"embedding": [1], "embedding_uncertainty": [None]}, f"{UNCERTAINTY}[0]: NoneType instead of a number"),
    ],
)
def test_in_v2_the_place_has_the_names_of_v2(one: Any, message: str) -> None:
    assert decoded(v2(one)) == Invalid(f"{message}.", "segments_invalid")


def test_a_wrong_uncertainty_is_named_by_its_segment() -> None:
    segments = [{"embedding": [1]}, {"embedding": [1], "embedding_uncertainty": [True]}]
    message = "data[1].embedding_uncertainty[0]: bool instead of a number."
    assert decoded(v2(*segments)) == Invalid(message, "segments_invalid")


def test_vectors_of_another_dimension_than_the_metadata_say_are_rejected() -> None:
    body = v2({"embedding": [0.5, 0.25]}, metadata={"embedding_dimension": 128})
    message = "data[0].embedding: 2 numbers, but metadata.embedding_dimension is 128."
    assert decoded(body) == Invalid(message, "segments_invalid")


# Answers that are neither a result nor an error.


@pytest.mark.parametrize(
    ("status", "shown"),
    [("queued", "queued"), ("x" * 999, "x" * 64), ("", ""), (7, "int"), (False, "bool"), ([[]], "list")],
)
def test_an_unknown_status_means_not_finished(status: Any, shown: str) -> None:
    body = v1(status=status, created_at="2024-09-26T10:29:19.968Z")
    assert decoded(body) == Processing(shown, created_at_ms=1_727_346_559_968)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"error": {"message": "Too short."}}, "Too short."),
        ({"error": "Too short."}, "Too short."),
        ({"message": "Too short."}, "Too short."),
        ({"error": None, "reason": "Too short."}, "Too short."),
        ({"error": {"message": "x" * 10**5}}, "x" * 4_000),
        ({}, "The platform gives no reason."),
    ],
)
def test_a_failed_task_keeps_the_apis_reason(fields: dict[str, Any], message: str) -> None:
    assert decoded({"_id": "1", "status": "failed"} | fields) == Failed(message)


def test_the_message_of_a_failed_task_says_what_kind_of_failure_it_is() -> None:
    message = "The embedding result is no longer available and cannot be retrieved."
    body = {"_id": "1", "status": "failed", "data": None, "error": {"message": message}}
    assert decoded(body) == Failed(message, "result_expired")


@pytest.mark.parametrize("body", [{"code": "busy"}, {"error": {"code": "busy", "message": "Wait."}}])
def test_an_error_with_status_200_keeps_its_code(body: dict[str, Any]) -> None:
    assert decoded(body).code == "busy"


@pytest.mark.parametrize(
    "body",
    [v1(), v2(), v2(data=None), v1(video_embedding=None), v1(video_embedding={}), {"status": "ready"}, v1(status=None)],
)
def test_ready_without_segments_is_empty(body: dict[str, Any]) -> None:
    assert decoded(body) == Empty()


def test_segments_without_a_status_are_a_result() -> None:
    assert embeddings_of(v1(segment(), status=None)).count == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html><body>502 Bad Gateway</body></html>", "not_json"),
        (b"null", "not_an_object"),
        (b"[]", "not_an_object"),
        (b"{}", "not_a_task"),
        (b'{"code": "too_many_requests", "message": "Later."}', "too_many_requests"),
        (b'{"code": 7}', "not_a_task"),
        (b'{"code":' + b"[" * 1_000 + b"]" * 1_000 + b"}", "not_a_task"),
    ],
)
def test_a_body_that_is_no_task_is_transient(body: bytes, code: str) -> None:
    outcome = decoded(body)
    assert isinstance(outcome, Transient)
    assert outcome.code == code


# Cut and hostile bodies.


@pytest.mark.parametrize("body", [V1_READY, V2_READY, orjson.dumps(orjson.loads(V1_READY), option=orjson.OPT_INDENT_2)])
@pytest.mark.parametrize("suffix", [b"", b"\n"])
def test_a_body_that_was_cut_anywhere_is_transient(body: bytes, suffix: bytes) -> None:
    body = body.rstrip()
    assert {type(decoded(body[:length] + suffix)) for length in range(len(body))} == {Transient}


def test_a_text_that_was_cut_within_a_character_is_transient() -> None:
    body = '{"status":"ready","input_filename":"Ünïcödé 🎬"}'.encode()
    assert {type(decoded(body[:length])) for length in range(len(body))} == {Transient}


def test_a_compressed_body_that_was_cut_anywhere_is_transient() -> None:
    body = gzip.compress(V1_READY)
    assert {type(decoded(body[:length], "gzip")) for length in range(len(body))} == {Transient}


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5_000, '"\\ud800"', '"\\udc00\\ud800"']
)
@pytest.mark.parametrize("template", ['"float":[0.5,@]', '"float":[0.5],"extra":@', '"float":[0.5],"end_offset_sec":@'])
def test_what_json_does_not_allow_is_invalid(template: str, number: str) -> None:
    one = "{" + template.replace("@", number) + ',"start_offset_sec":0,"end_offset_sec":6}'
    body = f'{{"status":"ready","video_embedding":{{"segments":[{one}]}}}}'.encode()
    assert isinstance(decoded(body), Invalid)


@pytest.mark.parametrize("depth", [300, 1_000, 2_000, 100_000])
@pytest.mark.parametrize(
    "template",
    [
        '{"status":"ready","x":@,"video_embedding":{"segments":[#]}}',
        '{"status":"ready","video_embedding":{"metadata":@,"segments":[#]}}',
        '{"status":"ready","video_embedding":{"segments":[#,{"x":@,"float":[1],"start_offset_sec":0,"end_offset_sec":1}]}}',
        '{"status":"ready","video_embedding":{"segments":[{"float":@,"start_offset_sec":0,"end_offset_sec":1}]}}',
        '{"status":"ready","video_embedding":{"segments":[{"float":[1],"start_offset_sec":@,"end_offset_sec":1}]}}',
        '{"status":"ready","video_embedding":{"segments":[@]}}',
    ],
)
def test_nesting_hundreds_deep_is_invalid(template: str, depth: int) -> None:
    flat = '{"float":[1],"start_offset_sec":0,"end_offset_sec":1}'
    body = template.replace("#", flat).replace("@", "[" * depth + "]" * depth).encode()
    assert isinstance(decoded(body), Invalid)


@pytest.mark.parametrize("status", ["ready", "x"])
@pytest.mark.parametrize("key", ["status", "code", "error", "message", "created_at", "data", "video_embedding"])
def test_nesting_in_any_known_field_never_raises(key: str, status: str) -> None:
    body = f'{{"status":"{status}","{key}":{"[" * 1_000}{"]" * 1_000}}}'.encode()
    assert isinstance(decoded(body), Decoded)


def test_a_decompression_bomb_is_invalid_and_takes_no_memory() -> None:
    bomb = gzip.compress(bytes(100 * MAX_BYTES))
    tracemalloc.start()
    try:
        outcome = decoded(bomb, "gzip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (outcome, peak < 4 * MAX_BYTES) == (
        Invalid(f"The body is larger than api.max_body_bytes ({MAX_BYTES}).", "body_too_large"),
        True,
    )


@examples(150)
@given(st.binary(max_size=400), st.sampled_from([None, "gzip", "deflate", "br"]))
def test_no_bytes_make_it_raise(body: bytes, encoding: str | None) -> None:
    assert isinstance(decode_retrieval(body, encoding, 200), Decoded)


@examples(150)
@given(st.integers(0, len(V1_READY) - 1), st.binary(min_size=1, max_size=3))
def test_no_damage_to_a_result_makes_it_raise(place: int, damage: bytes) -> None:
    assert isinstance(decoded(V1_READY[:place] + damage + V1_READY[place + len(damage) :]), Decoded)


doubles = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@examples(150)
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["status", "code", "error", "data", "video_embedding", "metadata", "created_at"], json_values
        ),
    )
)
def test_no_json_makes_it_raise(document: dict[str, Any]) -> None:
    assert isinstance(decoded(document), Decoded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-09-26T10:29:19.968Z", 1_727_346_559_968),
        ("2024-09-26T10:29:19Z", 1_727_346_559_000),
        ("2024-09-26T12:29:19+02:00", 1_727_346_559_000),
        ("2024-09-26T10:29:19", 1_727_346_559_000),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_727_346_559, None),
        ("9999-99-99T00:00:00Z", None),
    ],
)
def test_times_are_read_as_rfc_3339(text: Any, expected: int | None) -> None:
    assert timestamp_ms(text) == expected
