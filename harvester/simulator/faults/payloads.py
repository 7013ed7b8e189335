"""Faults of the payload: results that are wrong in one place. Pure functions of the JSON text."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from aiohttp import web

from harvester.simulator.dialects import Dialect
from harvester.simulator.faults.answers import answered
from harvester.simulator.faults.model import Occasion, Serve

DEPTH = 5_000
DIGITS = 5_000
BEYOND_FLOAT32 = 1 + 2.0**-40
"""A factor that needs more digits than a float32 has."""

HOSTILE_NAME = "=cmd|'/c calc'!A1\x1b[31m\u202egpj.exe\u202c<script>alert(1)</script>\r\n\x07.mp4"

_FIRST_NUMBER = re.compile(rb'("(?:float|embedding)":\[)[^,\]]+')

Change = Callable[[bytes, Dialect], bytes]
"""Changes the text of a result; the dialect knows the names in it."""


def spoilt(change: Change) -> Serve:
    """Return a function that applies `change` to the text of a result, if there is something that it changes."""

    def serve(occasion: Occasion) -> web.Response | None:
        if occasion.answer.status != 200 or occasion.dialect.results not in occasion.body:
            return None
        changed = change(occasion.body, occasion.dialect)
        return None if changed == occasion.body else answered(occasion, changed)

    return serve


def first_number(written: bytes) -> Change:
    """Return a function that replaces the first number of the first vector by `written`."""
    return lambda body, _dialect: _FIRST_NUMBER.sub(lambda found: found[1] + written, body, count=1)


def lone_surrogate(body: bytes, dialect: Dialect) -> bytes:
    """Put half of a character into a text."""
    first = re.compile(rb'("%s":)"[^"]*"' % dialect.first_text.encode())
    return first.sub(lambda found: found[1] + b'"\\ud800"', body, count=1)


def deep(body: bytes, _dialect: Dialect) -> bytes:
    """Add lists that are nested `DEPTH` levels deep."""
    return body[:-1] + b',"nested":' + b"[" * DEPTH + b"]" * DEPTH + b"}"


def exact_numbers(body: bytes, dialect: Dialect) -> bytes:
    """Add numbers to the metadata and to a segment that no floating-point number represents."""
    numbers = b'"checksum":123456789012345678901234567890,"gain":1e-400,"rate":0.1234567890123456789,'
    with_metadata = body.replace(b'"metadata":{', b'"metadata":{' + numbers, 1)
    vector = b'"%s":[' % dialect.vector.encode()
    return with_metadata.replace(vector, b'"frame_hash":340282366920938463463374607431768211455,' + vector, 1)


def duplicate_key(body: bytes, dialect: Dialect) -> bytes:
    """Name another model (or, in version 2, another id) at the end of the result than at its beginning."""
    return body[:-1] + (b',"model_name":"another"}' if dialect.version == "v1" else b',"_id":"another"}')


def duplicate_key_in_metadata(body: bytes, dialect: Dialect) -> bytes:
    """Give the length of the video (or, in version 2, the type of the input) twice."""
    again = b'"duration":1,' if dialect.version == "v1" else b'"input_type":"another",'
    return body.replace(b'"metadata":{', b'"metadata":{' + again, 1)


def duplicate_key_in_segment(body: bytes, dialect: Dialect) -> bytes:
    """Give one segment two vectors."""
    vector = b'"%s":[' % dialect.vector.encode()
    return body.replace(vector, vector + b"0.5]," + vector, 1)


def segments(change: Callable[[list[dict[str, Any]], Dialect], None]) -> Change:
    """Return a function that applies `change` to the list of segments; all other numbers stay as written."""

    def changed(body: bytes, dialect: Dialect) -> bytes:
        document = orjson.loads(body)
        change(dialect.parts(document), dialect)
        return orjson.dumps(document)

    return changed


def uneven(found: list[dict[str, Any]], dialect: Dialect) -> None:
    """Make the last vector one number longer."""
    found[-1][dialect.vector].append(0.5)


def empty_vector(found: list[dict[str, Any]], dialect: Dialect) -> None:
    """Leave a vector without numbers."""
    found[0][dialect.vector] = []


def missing_time(found: list[dict[str, Any]], dialect: Dialect) -> None:
    """Leave a segment without its beginning, if it has one."""
    if found[0].get(dialect.start) is not None:
        del found[0][dialect.start]


def negative_time(found: list[dict[str, Any]], dialect: Dialect) -> None:
    """Let a segment begin before the video, if it has a beginning."""
    if found[-1].get(dialect.start) is not None:
        found[-1][dialect.start] = -1


def no_segments(found: list[dict[str, Any]], _dialect: Dialect) -> None:
    """Leave nothing."""
    found.clear()


def doubles(found: list[dict[str, Any]], dialect: Dialect) -> None:
    """Give each vector more digits than float32 holds; see `as_doubles`."""
    for segment in found:
        segment[dialect.vector] = [number * BEYOND_FLOAT32 for number in segment[dialect.vector]]


def as_doubles(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the vectors that the kind `doubles` sends in place of these, float64[n, dim]."""
    written = orjson.loads(orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY))
    return np.array(written, dtype=np.float64) * BEYOND_FLOAT32


def hostile_name(occasion: Occasion) -> web.Response | None:
    """Give the file a name that is dangerous to show; `value` is another such name."""

    def change(body: bytes, dialect: Dialect) -> bytes:
        document = orjson.loads(body)
        dialect.about(document)["input_filename"] = occasion.value(HOSTILE_NAME)
        return orjson.dumps(document)

    return spoilt(change)(occasion)
