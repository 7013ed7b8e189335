"""Faults of the payload: results that are wrong in one place. Pure functions of the JSON text."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from aiohttp import web

from harvester.simulator.faults.answers import answered
from harvester.simulator.faults.model import Occasion, Serve

DEPTH = 5_000
DIGITS = 5_000
BEYOND_FLOAT32 = 1 + 2.0**-40
"""A factor that needs more digits than a float32 has."""

HOSTILE_NAME = "=cmd|'/c calc'!A1\x1b[31m\u202egpj.exe\u202c<script>alert(1)</script>\r\n\x07.mp4"

_FIRST_NUMBER = re.compile(rb'("float":\[)[^,\]]+')
_FIRST_MODEL = re.compile(rb'("model_name":)"[^"]*"')


def spoilt(change: Callable[[bytes], bytes]) -> Serve:
    """Return a function that applies `change` to the text of a result."""

    def serve(occasion: Occasion) -> web.Response | None:
        if occasion.answer.status != 200 or b'"segments":[' not in occasion.body:
            return None
        return answered(occasion, change(occasion.body))

    return serve


def first_number(written: bytes) -> Callable[[bytes], bytes]:
    """Return a function that replaces the first number of the first vector by `written`."""
    return lambda body: _FIRST_NUMBER.sub(lambda found: found[1] + written, body, count=1)


def lone_surrogate(body: bytes) -> bytes:
    """Put half of a character into a text."""
    return _FIRST_MODEL.sub(lambda found: found[1] + b'"\\ud800"', body, count=1)


def deep(body: bytes) -> bytes:
    """Add lists that are nested `DEPTH` levels deep."""
    return body[:-1] + b',"nested":' + b"[" * DEPTH + b"]" * DEPTH + b"}"


def exact_numbers(body: bytes) -> bytes:
    """Add numbers to the metadata and to a segment that no floating-point number represents."""
    numbers = b'"checksum":123456789012345678901234567890,"gain":1e-400,"rate":0.1234567890123456789,'
    with_metadata = body.replace(b'"metadata":{', b'"metadata":{' + numbers, 1)
    return with_metadata.replace(b'"float":[', b'"frame_hash":340282366920938463463374607431768211455,"float":[', 1)


def duplicate_key(body: bytes) -> bytes:
    """Name another model at the end of the result than at its beginning."""
    return body[:-1] + b',"model_name":"another"}'


def duplicate_key_in_metadata(body: bytes) -> bytes:
    """Give the length of the video twice."""
    return body.replace(b'"metadata":{', b'"metadata":{"duration":1,', 1)


def duplicate_key_in_segment(body: bytes) -> bytes:
    """Give one segment two vectors."""
    return body.replace(b'"float":[', b'"float":[0.5],"float":[', 1)


def segments(change: Callable[[list[dict[str, Any]]], None]) -> Callable[[bytes], bytes]:
    """Return a function that applies `change` to the list of segments; all other numbers stay as written."""

    def changed(body: bytes) -> bytes:
        document = orjson.loads(body)
        change(document["video_embedding"]["segments"])
        return orjson.dumps(document)

    return changed


def uneven(found: list[dict[str, Any]]) -> None:
    """Make the last vector one number longer."""
    found[-1]["float"].append(0.5)


def empty_vector(found: list[dict[str, Any]]) -> None:
    """Leave a vector without numbers."""
    found[0]["float"] = []


def missing_time(found: list[dict[str, Any]]) -> None:
    """Leave a segment without its beginning."""
    del found[0]["start_offset_sec"]


def negative_time(found: list[dict[str, Any]]) -> None:
    """Let a segment begin before the video."""
    found[-1]["start_offset_sec"] = -1


def no_segments(found: list[dict[str, Any]]) -> None:
    """Leave nothing."""
    found.clear()


def doubles(found: list[dict[str, Any]]) -> None:
    """Give each vector more digits than float32 holds; see `as_doubles`."""
    for segment in found:
        segment["float"] = [number * BEYOND_FLOAT32 for number in segment["float"]]


def as_doubles(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the vectors that the kind `doubles` sends in place of these, float64[n, dim]."""
    written = orjson.loads(orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY))
    return np.array(written, dtype=np.float64) * BEYOND_FLOAT32


def hostile_name(occasion: Occasion) -> web.Response | None:
    """Give the file a name that is dangerous to show; `value` is another such name."""

    def change(body: bytes) -> bytes:
        document = orjson.loads(body)
        document["video_embedding"]["metadata"]["input_filename"] = occasion.value(HOSTILE_NAME)
        return orjson.dumps(document)

    return spoilt(change)(occasion)
