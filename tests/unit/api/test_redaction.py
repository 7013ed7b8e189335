import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from harvester.api.decode.result import decode_retrieval
from harvester.api.redaction import SECRET_CHARACTERS, SecretGuard
from harvester.domain.tasks.outcomes import Failed, Retrieved

KEY = 'tlk_SECRET"01/23\\45'
AS_JSON = json.dumps(KEY)[1:-1]
ESCAPED = "".join(f"\\u{ord(character):04x}" for character in KEY)
FAR = 40 * 1024 * 1024
GUARD = SecretGuard(lambda: KEY)


@pytest.mark.parametrize("written", [AS_JSON, AS_JSON.replace("/", "\\/"), ESCAPED])
@pytest.mark.parametrize(
    "place", ["_id", "model_name", "new field", "option", "scope", "extra", "layout", "nested", "place"]
)
def test_a_key_in_any_stored_text_is_found(place: str, written: str) -> None:
    fields: dict[str, Any] = {
        "embedding_option": "visual",
        "embedding_scope": "clip",
        "start_offset_sec": 0,
        "end_offset_sec": 6,
    }
    fields["quadrant"] = "@place"
    segment = fields | {"float": [0.5], "embedding_option": "@option", "embedding_scope": "@scope", "more": "@extra"}
    document = {
        "_id": "@_id",
        "model_name": "@model_name",
        "status": "ready",
        "@new field": 1,
        "video_embedding": {"metadata": {"deep": [{"er": "@nested"}]}, "segments": [segment | {"@layout": None}]},
    }
    text = json.dumps(document)
    assert "@" + place in text
    for body, expected in ((text, False), (text.replace("@" + place, written), True)):
        outcome = decode_retrieval(body.encode(), None, 1 << 20)
        assert isinstance(outcome, Retrieved)
        assert GUARD.is_in_outcome(outcome) is expected


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("written", [KEY, ESCAPED])
@pytest.mark.parametrize("ahead", [0, 1024 * 1024 - 10, 3_000_000])
def test_a_key_anywhere_in_a_kept_body_is_found(encoding: str | None, written: str, ahead: int) -> None:
    packers: dict[str | None, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    pack = packers.get(encoding, bytes)
    for text, expected in ((written, True), (written[:-1], False)):
        body = pack(b" " * ahead + text.encode() + b" " * 3_000_000)
        assert GUARD.is_in_body(body, encoding, FAR) is expected


def test_a_second_member_is_searched_too() -> None:
    body = gzip.compress(b"nothing") + gzip.compress(KEY.encode())
    assert GUARD.is_in_body(body, "gzip", FAR)


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b" " * 9_000, mtime=0)[:-20]])
def test_a_damaged_body_is_searched_as_far_as_it_goes(body: bytes) -> None:
    assert not GUARD.is_in_body(body, "gzip", FAR)


@pytest.mark.parametrize(("length", "is_searched"), [(SECRET_CHARACTERS - 1, False), (SECRET_CHARACTERS, True)])
def test_a_key_as_short_as_one_for_rehearsals_is_not_searched_for(length: int, *, is_searched: bool) -> None:
    key = "k" * length
    guard, body = SecretGuard(lambda: key), json.dumps({"_id": key, "status": "ready", "data": [{"embedding": [1.5]}]})
    results = [decode_retrieval(body.encode(), None, 1 << 20), Failed(f"No {key}.")]
    found = [*map(guard.is_in_outcome, results), guard.is_in_body(body.encode(), None, FAR), bool(guard.secret())]
    assert found == [is_searched] * 4


def test_the_key_in_use_is_the_one_that_is_searched_for() -> None:
    keys = ["the-key-of-yesterday", "the-key-of-today"]
    guard, outcome = SecretGuard(lambda: keys[0]), Failed(f"No {keys[1]}.")
    assert not guard.is_in_outcome(outcome)
    del keys[0]
    assert guard.is_in_outcome(outcome)
