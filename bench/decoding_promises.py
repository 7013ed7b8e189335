"""The promises of the decoder for any bytes, as a check of one input, and inputs to begin with.

The first byte of an input chooses how the rest is sent. A finding is an exception, an outcome that is not documented, a
result that does not give its JSON back, or memory out of proportion.
"""

import copy
import gzip
import json
import math
import random
import re
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson

from harvester.api.decode.body import decompress
from harvester.api.decode.result import Decoded, decode_retrieval
from harvester.api.list_page import parse_list
from harvester.api.responses import error_outcome, status_outcome
from harvester.domain.limits.endpoint import Endpoint, LimitReport
from harvester.domain.tasks.dead_letter import PayloadError, packed
from harvester.domain.tasks.embeddings import SegmentRow, TaskEmbeddings, rebuild
from harvester.domain.tasks.outcomes import Outcome, Retrieved
from harvester.store.sqlite.json_columns import dump_json, load_json

MAX_BODY_BYTES = 64 * 1024
MAX_PEAK_BYTES = 32 * 1024 * 1024
"""Bytes: five hundred times the cap, because Python spends 64 bytes on each `[]` and some 250 on each small object."""

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"

SENDINGS: list[tuple[str | None, Callable[[bytes], bytes]]] = [
    (None, bytes),
    ("gzip", bytes),
    ("gzip", gzip.compress),
    ("gzip", lambda body: gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :])),
    ("gzip", lambda body: gzip.compress(body)[: -(1 + len(body) % 12)]),
    ("deflate", bytes),
    ("deflate", zlib.compress),
    ("br", bytes),
]
"""Content encodings, and how the bytes are sent with each."""

TOKENS = [
    *("{", "}", "[", "]", ",", ":", '"', "null", "true", "false", "0", "-1", "1e999", "1e-45", "NaN", "\\ud800"),
    *('"status":"ready"', '"status":', '"video_embedding":{"segments":[', '"data":[', '"metadata":{', '"error":'),
    *('"float":[', '"embedding":[', '"start_offset_sec":', '"end_offset_sec":', '"start_sec":', '"end_sec":'),
    *(
        '"embedding_option":',
        '"embedding_scope":',
        '"embedding_uncertainty":[',
        '"start_page_number":',
        '"quadrant":',
        '"chunk_index":',
        '"embedding_dimension":',
        '"usage":{',
        '"video_embedding_scope":',
        '"created_at":',
        '"page_info":{',
        '"code":',
    ),
]

NAMES = sorted({word for token in TOKENS for word in re.findall(r'"([a-z_]+)":', token)} | {"_id", "status", "x", ""})

ODDITIES: list[Any] = [
    *(None, True, False, [], {}, [[]], [0.5, True], [0.5, None], [1, 2, 3], [1e300, 1e-300], [[1]], {"float": [1]}),
    *(
        0,
        -1,
        6,
        2**53 + 1,
        -(2**63),
        2**64,
        10**400,
        0.1,
        -0.0,
        1e-45,
        3.4028235e38,
        1e39,
        math.inf,
        -math.inf,
        math.nan,
    ),
    *("", "ready", "failed", "processing", "x" * 70, "\ud800", "\x00", "\u202e", "clip", "=1+1"),
    *("2024-09-26T10:29:19.968Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "2024-W01-1"),
]


def check(data: bytes) -> Outcome:
    """Check every promise for one input and return the decoder's outcome. Raises AssertionError."""
    encoding, send = SENDINGS[data[0] % len(SENDINGS) if data else 0]
    body = send(data[1:])
    outcome = decode_retrieval(body, encoding, MAX_BODY_BYTES)
    assert isinstance(outcome, Decoded), outcome
    if isinstance(outcome, Retrieved):
        _check_result(outcome.embeddings, decompress(body, encoding, MAX_BODY_BYTES))
    _check_small_answers(body, encoding)
    _check_kept(body, encoding)
    return outcome


def _check_result(one: TaskEmbeddings, received: bytes) -> None:
    assert one.vectors.shape == (one.count, one.dim)
    assert one.dtype in ("f4", "f8")
    assert given_back(one) == orjson.loads(received), "the JSON that is given back is not the one that was received"


def given_back(one: TaskEmbeddings) -> Any:
    """Go through everything that is stored, as `harvester show --json` does, and return the parsed JSON."""
    document: Any = rebuild(load_json(one.document.decode()), one.layouts, list(segment_rows(one)))
    return orjson.loads(dump_json(document))


def segment_rows(one: TaskEmbeddings) -> Iterator[SegmentRow]:
    """Yield the stored rows of the segments of a result."""
    received = one.uncertainties
    uncertain = {} if received is None else dict(zip(received.positions, received.vectors, strict=True))
    columns = zip(one.options, one.scopes, one.starts, one.ends, one.vectors, one.layout_of, strict=True)
    optional = zip_longest(one.start_pages, one.end_pages, one.quadrants, one.chunk_indexes, [None] * one.count)
    for position, (row, (*places, _)) in enumerate(zip(columns, optional, strict=True)):
        yield SegmentRow(*row, one.extras.get(position), *places, uncertain.get(position))


def _check_small_answers(body: bytes, encoding: str | None) -> None:
    status_outcome(body, encoding)
    parse_list(body, encoding)
    for status in (400, 404, 503):
        error_outcome(Endpoint.RETRIEVE, status, body, encoding, LimitReport())


def _check_kept(body: bytes, encoding: str | None) -> None:
    payload = packed(body, encoding, 0)
    try:
        size = 0
        for piece in payload.pieces():
            size += len(piece)
            if size > 16 * MAX_BODY_BYTES:
                break
    except PayloadError:
        pass


def check_with_memory(data: bytes) -> None:
    """Do the same, and check the peak of memory."""
    tracemalloc.start()
    try:
        check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_PEAK_BYTES, f"{peak} bytes for an input of {len(data)}"


def mutated(data: bytes, rng: random.Random) -> bytes | None:
    """Return the JSON of an input with an odd value in it; None if it has no JSON. Other changes break the syntax."""
    try:
        document = json.loads(data[1:])
        for _ in range(rng.randint(1, 3)):
            document = _with_oddity(document, rng)
        return bytes([rng.choice(data[:1] or b"\0")]) + json.dumps(document).encode()
    except (ValueError, RecursionError):
        return None


def _with_oddity(document: Any, rng: random.Random) -> Any:
    places = [place for place in _places(document, []) if place]
    if not places or rng.random() < 0.02:
        return rng.choice(ODDITIES)
    *way, last = rng.choice(places)
    owner = document
    for step in way:
        owner = owner[step]
    match rng.randrange(5):
        case 0:
            owner[last] = rng.choice(ODDITIES)
        case 1:
            del owner[last]
        case 2:
            owner[last] = [owner[last]] * rng.randint(1, 3)
        case 3 if isinstance(owner, dict):
            owner[rng.choice(NAMES)] = copy.deepcopy(owner[last])
        case 3:
            owner.append(copy.deepcopy(owner[last]))
        case _:
            owner[last] = copy.deepcopy(_at(document, rng.choice(places)))
    return document


def _places(value: Any, way: list[Any]) -> Iterator[list[Any]]:
    """Yield the path of each value; in long lists only of the first ones."""
    yield way
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, [*way, name])
    elif isinstance(value, list):
        for place, inner in enumerate(value[:4]):
            yield from _places(inner, [*way, place])


def _at(document: Any, way: list[Any]) -> Any:
    for step in way:
        document = document[step]
    return document


def seeds() -> dict[str, bytes]:
    """Return the documented bodies, in each way of sending, and odd ones."""
    bodies = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.json"))}
    bodies |= {f"{name}-plain": json.dumps(json.loads(body)).encode() for name, body in bodies.items()}
    bodies["nested"] = b'{"status":"ready","data":[{"embedding":[1],"x":' + b"[" * 200 + b"]" * 200 + b"}]}"
    bodies["page"] = b"<html><body>502 Bad Gateway</body></html>"
    found = {f"{name}-{way}": bytes([way]) + body for name, body in bodies.items() for way in range(len(SENDINGS))}
    # Compressed bytes, for the ways that send them unchanged.
    packed_up = {f"{name}-packed": b"\x01" + gzip.compress(body) for name, body in bodies.items()}
    return found | packed_up
