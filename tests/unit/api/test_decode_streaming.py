"""Reading a large body piece by piece gives what reading it as a whole gives, whatever it holds."""

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.decode.body import decompressed
from harvester.api.decode.result import Decoded, decode_file, decode_retrieval
from harvester.api.decode.streaming import split
from harvester.domain.tasks.embeddings import Matrix
from harvester.domain.tasks.outcomes import Invalid, Retrieved
from tests.support.thorough import examples

CAP_BYTES = 1 << 24


def numbers(rows: int, dim: int = 8) -> list[list[float]]:
    matrix = np.random.default_rng(3).standard_normal((rows, dim)).astype("<f4")
    received: list[list[float]] = orjson.loads(orjson.dumps(matrix, option=orjson.OPT_SERIALIZE_NUMPY))
    return received


def segment(vector: Any, **changes: Any) -> dict[str, Any]:
    return {"embedding_option": "visual", "end_offset_sec": 6, "float": vector, "start_offset_sec": 0} | changes


def v1(*segments: Any, **changes: Any) -> bytes:
    return orjson.dumps({"_id": "1", "status": "ready", "video_embedding": {"segments": list(segments)}} | changes)


def v2(*segments: Any) -> bytes:
    return orjson.dumps({"_id": "1", "status": "ready", "data": list(segments)})


def uncertain(vector: Any, uncertainty: Any) -> dict[str, Any]:
    return {"embedding": vector, "embedding_uncertainty": uncertainty, "start_sec": 1, "end_sec": 2}


REGULAR = v1(*(segment(vector) for vector in numbers(100)))
UNCERTAIN = v2(uncertain([0.5], [0.5]))
DOUBLES = numbers(100)
DOUBLES[70][3] = 0.1234567890123456

SPLITTABLE = {
    "v1": REGULAR,
    "v2": v2(*({"embedding": vector, "start_sec": 1, "end_sec": 2} for vector in numbers(70))),
    "spaced": REGULAR.replace(b'"float":[', b'"float" : [ ').replace(b",", b", "),
    "one vector of doubles among others": v1(*(segment(vector) for vector in DOUBLES)),
    "whole numbers": v1(*(segment([0, 1, 2**40, -3]) for _ in range(3))),
    "unknown fields": v1(*(segment([0.5], confidence={"a": [1]}, other=index) for index in range(3))),
    "both names": v1(segment([0.5], embedding=[1.5])),
    "text that looks like a vector": v1(segment([0.5], embedding_scope='x,"float":[1.5]'), note='"float":[2.5]'),
    "uncertainties": v2(*(uncertain(*pair) for pair in zip(numbers(100), numbers(100)[::-1], strict=True))),
    "uncertainties before the vectors": v2(*({"embedding_uncertainty": row, "embedding": row} for row in numbers(40))),
    "some uncertainties": v2(*(uncertain(row, row if index % 3 else None) for index, row in enumerate(numbers(40)))),
    "no uncertainty but null": v2(*(uncertain(row, None) for row in numbers(3))),
    "short uncertainties": v2(*(uncertain(row, row[1:]) for row in numbers(3))),
    "double uncertainties": v2(*(uncertain(*pair) for pair in zip(numbers(100), DOUBLES, strict=True))),
    "doubtful ends": v1(segment([0.5], start_offset_sec=9), segment([0.5], end_offset_sec=None)),
}

IRREGULAR = {
    "not a document": b"[1,2]",
    "nothing": b"",
    "processing": orjson.dumps({"status": "processing", "filler": "x" * 10_000}),
    "no segments": v1(),
    "a bool": v1(segment([0.5, 1.0]), segment([0.5, True])),
    "a text with a bracket": v1(segment([0.5, "]"])),
    "nested": v1(segment([[0.5], 1.0])),
    "empty": v1(segment([])),
    "uneven": v1(segment([0.5, 0.5]), segment([0.5])),
    "uneven groups": v1(*(segment(vector) for vector in (*numbers(32, 8), *numbers(32, 9)))),
    "too large a whole number": v1(segment([2**53 + 1])),
    "not finite": v1(segment([0.5])).replace(b"0.5", b"1e999"),
    "missing": v1(segment([0.5]), {"start_offset_sec": 0, "end_offset_sec": 1}),
    "null": v1(segment([0.5]), segment(None)),
    "not an object": v1(segment([0.5]), 3),
    "elsewhere": v1(segment(3), note={"float": [0.5]}),
    "elsewhere too": v1(segment([0.5]), note={"float": [0.5]}),
    "in an unknown field": v1(segment([0.5], other={"float": [1.5]})),
    "a name that ends like it": v1(segment([0.5], **{'other"float': [1.5]})),
    "the other name first": v1({"embedding": [0.5], "float": [1.5], "start_offset_sec": 0, "end_offset_sec": 6}),
    "twice": REGULAR.replace(b'"float":', b'"float":[7.5],"float":', 1),
    "twice, the last without a vector": REGULAR.replace(b'],"start', b'],"float":1,"start', 1),
    "two spacings": REGULAR.replace(b'"float":', b'"float": ', 7).replace(b'"float": ', b'"float":', 3),
    "a forged place": v1(segment(9_137_462_805_000_000_000), note={"float": [0.5]}),
    "an escaped key": REGULAR.replace(b'"float"', b'"f\\u006coat"', 1),
    "cut in a vector": REGULAR[: len(REGULAR) // 2],
    "cut after a vector": REGULAR[: REGULAR.rindex(b"]}}") - 40],
    "a page": b"<html>" + b"x" * 5_000,
    "not UTF-8": REGULAR.replace(b'"visual"', b'"\xff"', 1),
    "more after the end": REGULAR + b"{}",
    "one short uncertainty": v2(*(uncertain(row, row[index:]) for index, row in enumerate(numbers(2)))),
    "an uncertainty of another type": v2(uncertain([0.5], [0.5]), uncertain([0.5], "high")),
    "an empty uncertainty": v2(uncertain([0.5], [])),
    "an uncertainty in an unknown field": v2(uncertain([0.5], None) | {"other": {"embedding_uncertainty": [0.5]}}),
    "an uncertainty elsewhere": v2(uncertain([0.5], [0.5])).replace(
        b'"ready",', b'"ready","embedding_uncertainty":[1],'
    ),
    "an uncertainty that repeats": UNCERTAIN.replace(b"}]", b',"embedding_uncertainty":[1]}]'),
    "uncertainties with other spacing": v2(uncertain([0.5], [0.5]))
    .replace(b'"embedding_un', b' "embedding_un')
    .replace(b'ty":', b'ty" :'),
    "no comma": REGULAR.replace(b',"float"', b'"float"', 1),
}


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    yield from (body[start : start + size] for start in range(0, len(body), size))


def comparable(outcome: Decoded) -> Any:
    if not isinstance(outcome, Retrieved):
        return outcome
    one = outcome.embeddings
    fields = {name: getattr(one, name) for name in one.__slots__ if name not in ("vectors", "uncertainties")}
    uncertainties = one.uncertainties and (one.uncertainties.positions, *comparable_matrix(one.uncertainties.vectors))
    return fields, *comparable_matrix(one.vectors), uncertainties


def comparable_matrix(matrix: Matrix) -> Any:
    return matrix.dtype, matrix.shape, matrix.tobytes()


@pytest.mark.parametrize("size", [1 << 20, 61])
@pytest.mark.parametrize("body", SPLITTABLE.values(), ids=SPLITTABLE)
def test_a_regular_body_is_read_in_pieces(body: bytes, size: int) -> None:
    assert split(pieces(body, size)) is not None


@pytest.mark.parametrize("body", IRREGULAR.values(), ids=IRREGULAR)
def test_an_irregular_body_is_left_to_be_read_as_a_whole(body: bytes) -> None:
    assert split([body]) is None


def test_a_number_that_equals_a_placeholder_is_no_vector() -> None:
    """The 513th placeholder is the first that a float equals, which may be written without its digits."""
    vector, equal = [1.5, 2.5], b"9.137462805000000512e18"
    segments = [*(segment(vector) for _ in range(512)), {"x": {"float": vector}, "float": "here"}]
    body = v1(*segments).replace(b'"here"', equal)
    assert split([body]) is None
    assert isinstance(decode_file(io.BytesIO(body), None, CAP_BYTES), Invalid)


@pytest.mark.parametrize("body", [*SPLITTABLE.values(), *IRREGULAR.values()], ids=[*SPLITTABLE, *IRREGULAR])
def test_pieces_mean_what_the_whole_means(body: bytes) -> None:
    expected = decode_retrieval(body, None, CAP_BYTES)
    assert comparable(decode_file(io.BytesIO(body), None, CAP_BYTES)) == comparable(expected)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("name", ["v1", "one vector of doubles among others", "twice", "cut in a vector"])
def test_compressed_pieces_mean_what_the_whole_means(name: str, encoding: str) -> None:
    body = (SPLITTABLE | IRREGULAR)[name]
    sent = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    expected = comparable(decode_retrieval(body, None, CAP_BYTES))
    assert comparable(decode_file(io.BytesIO(sent), encoding, CAP_BYTES)) == expected


@examples(200)
@given(st.data(), st.sampled_from([*SPLITTABLE.values()]))
def test_pieces_mean_what_the_whole_means_after_any_damage(data: st.DataObject, body: bytes) -> None:
    place = data.draw(st.integers(0, len(body) - 1))
    inserted = data.draw(
        st.sampled_from([b'"', b"\\", b"[", b"]", b"{", b"}", b",", b"0", b"true", b'"float":[1]', b""])
    )
    damaged = body[:place] + inserted + body[place + data.draw(st.integers(0, 12)) :]
    expected = comparable(decode_retrieval(damaged, None, CAP_BYTES))
    assert comparable(decode_file(io.BytesIO(damaged), None, CAP_BYTES)) == expected


@pytest.mark.parametrize(
    "sent",
    [
        gzip.compress(REGULAR)[:-20],
        gzip.compress(REGULAR)[:5000] + b"damage" + gzip.compress(REGULAR)[5000:],
        gzip.compress(REGULAR[:900]) + gzip.compress(REGULAR[900:]),
        gzip.compress(REGULAR) + b"more",
        b"plain",
    ],
    ids=["cut", "damaged", "two members", "more after the end", "not compressed"],
)
def test_a_compressed_stream_of_another_kind_is_read_as_a_whole(sent: bytes) -> None:
    expected = decode_retrieval(sent, "gzip", CAP_BYTES)
    assert comparable(decode_file(io.BytesIO(sent), "gzip", CAP_BYTES)) == comparable(expected)


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_the_cap_on_a_body_holds_for_pieces_too(encoding: str | None) -> None:
    sent = gzip.compress(REGULAR) if encoding else REGULAR
    expected = decode_retrieval(sent, encoding, len(REGULAR) - 1)
    assert not isinstance(expected, Retrieved)
    assert decode_file(io.BytesIO(sent), encoding, len(REGULAR) - 1) == expected


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"1.5,", b'{"a":1},'])
def test_a_body_that_parsing_would_blow_up_is_refused_before(unit: bytes) -> None:
    regular = v1(*(segment(vector) for vector in numbers(2, 8)))
    body = b'{"x": [%b 0],%b' % (unit * (24_000_000 // len(unit)), regular[1:])
    tracemalloc.start()
    outcome = decode_file(io.BytesIO(gzip.compress(body, 1)), "gzip", len(body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(outcome, Invalid)
    assert outcome.code == "body_too_large"
    assert peak < 4 * len(body)


def test_a_large_compressed_body_comes_in_pieces() -> None:
    body = b"0" * 10_000_000
    received = list(decompressed(io.BytesIO(gzip.compress(body)), "gzip", CAP_BYTES))
    assert (b"".join(received), max(map(len, received)) < 1_000_000) == (body, True)


@pytest.mark.parametrize("is_uncertain", [False, True])
def test_a_large_body_takes_little_more_memory_than_its_vectors(*, is_uncertain: bool) -> None:
    body = v2(*(uncertain(vector, vector if is_uncertain else None) for vector in numbers(1200, 512)))
    tracemalloc.start()
    parts = split(pieces(body, 1 << 18))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert parts is not None
    extracted = parts.vectors.nbytes + (parts.uncertainties.nbytes if parts.uncertainties is not None else 0)
    assert peak < 3 * extracted < len(body) * 1.3
