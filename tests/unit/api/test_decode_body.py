import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harvester.api.decode.body import EXCERPT_CHARACTERS, BodyError, contains, decompress, excerpt, parse_object
from harvester.domain.decompression import GZIP_MAGIC
from harvester.domain.tasks.outcomes import Invalid, Transient

MANY = 1 << 20


def refusal_of(body: bytes, encoding: str | None, max_bytes: int = MANY) -> Transient | Invalid:
    with pytest.raises(BodyError) as caught:
        decompress(body, encoding, max_bytes)
    return caught.value.outcome


def syntax_of(body: bytes) -> Transient | Invalid:
    with pytest.raises(BodyError) as caught:
        parse_object(body)
    return caught.value.outcome


# Content that is gzip in turn is a further layer, which is removed too; no JSON begins so.


@given(st.binary(max_size=2_000))
def test_a_compressed_body_comes_back_whole(body: bytes) -> None:
    assume(not body.startswith(GZIP_MAGIC))
    assert decompress(gzip.compress(body), "gzip", MANY) == body


@given(st.binary(max_size=2_000))
def test_deflate_is_understood_too(body: bytes) -> None:
    assume(not body.startswith(GZIP_MAGIC))
    assert decompress(zlib.compress(body), "deflate", MANY) == body


@pytest.mark.parametrize("encoding", [None, "", "identity"])
def test_a_plain_body_passes_unchanged(encoding: str | None) -> None:
    assert decompress(b"{}", encoding, MANY) == b"{}"


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5))
def test_the_members_of_a_gzip_stream_are_joined(parts: list[bytes]) -> None:
    body = b"".join(parts)
    assume(not body.startswith(GZIP_MAGIC))
    assert decompress(b"".join(map(gzip.compress, parts)), "gzip", MANY) == body


def test_the_cap_holds_over_all_members_together() -> None:
    outcome = refusal_of(gzip.compress(b"x" * 60) * 2, "gzip", 100)
    assert outcome == Invalid("The body is larger than api.max_body_bytes (100).", "body_too_large")


def test_thousands_of_members_cost_little() -> None:
    # Each member costs a copy of what follows; what is left after a few is the end of a cut body.
    assert decompress(gzip.compress(b"x") * 5_000, "gzip", MANY) == b"x" * 16


def test_a_last_member_that_was_cut_is_noticed() -> None:
    assert refusal_of((gzip.compress(b"first") * 2)[:-1], "gzip") == Transient(
        "The compressed body was cut.", "body_cut"
    )


@pytest.mark.parametrize("encoding", ["gzip", None])
@pytest.mark.parametrize(("excess", "is_refused"), [(0, False), (1, True)])
def test_the_cap_is_exact(encoding: str | None, excess: int, *, is_refused: bool) -> None:
    body = b"x" * (1_000 + excess)
    sent = gzip.compress(body) if encoding else body
    if is_refused:
        expected = Invalid("The body is larger than api.max_body_bytes (1000).", "body_too_large")
        assert refusal_of(sent, encoding, 1_000) == expected
    else:
        assert decompress(sent, encoding, 1_000) == body


def test_a_gzip_stream_cut_anywhere_is_noticed() -> None:
    whole = gzip.compress(orjson.dumps({"_id": "66f537778d9641fe5a0d101f", "numbers": list(range(50))}))
    refusals = {type(refusal_of(whole[:length], "gzip")) for length in range(len(whole))}
    assert refusals == {Transient}


def test_a_damaged_checksum_is_noticed() -> None:
    whole = bytearray(gzip.compress(b"{}"))
    whole[-6] ^= 1
    assert refusal_of(bytes(whole), "gzip").code == "body_damaged"


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "\x1b[31m"])
def test_an_encoding_that_was_not_asked_for_is_refused_by_name(encoding: str) -> None:
    expected = Transient(f"The answer has the content encoding {encoding!a}.", "unknown_encoding")
    assert refusal_of(b"x", encoding) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body_empty"),
        (b" \r\n", "body_empty"),
        (b"<!DOCTYPE html><html></html>", "not_json"),
        (b"\n <html>", "not_json"),
        (b'[NaN, "x"]', "not_json"),
        (b"null", "not_an_object"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"17", "not_an_object"),
        (b"true", "not_an_object"),
        (b"Bad Gateway", "body_cut"),
        (b"{", "body_cut"),
        (b'{"a": {"b": 1}\n', "body_cut"),
        (b'{"a": "}', "body_cut"),
        ('{"a": "é'.encode()[:-1], "body_cut"),
    ],
)
def test_what_may_be_whole_next_time_is_transient(body: bytes, code: str) -> None:
    outcome = syntax_of(body)
    assert (type(outcome), outcome.code) == (Transient, code)


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        (b"<html><TITLE class='x'> 502\n Bad Gateway </TITLE>", "'502 Bad Gateway'"),
        (b"<html><title>\x1b[2J</title>", "'\\x1b[2J'"),
        (b"<html><title> </title>", "'<html><title> </title>'"),
        (b"<html>no title", "'<html>no title'"),
    ],
)
def test_a_page_is_named_by_its_title(page: bytes, shown: str) -> None:
    assert syntax_of(page) == Transient(f"The answer is a page, not JSON: {shown}.", "not_json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xff"}',
        b'{"a": 01}',
        b"{'a': 1}",
        b'{"a": 1} {"b": 2}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_complete_object_that_is_wrong_is_invalid(body: bytes) -> None:
    outcome = syntax_of(body)
    assert (type(outcome), outcome.code) == (Invalid, "json_invalid")


@pytest.mark.parametrize(("text", "position"), [("NaN", 6), ("Infinity", 6), ("-Infinity", 7), ("nan", 6), ("-inf", 7)])
def test_a_number_that_json_does_not_have_is_named_as_written(text: str, position: int) -> None:
    message = syntax_of(f'{{"a": {text}}}'.encode()).message
    assert message == f"The body is not valid JSON at character {position}: {text} is not a number in JSON."


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.booleans(), st.text(), st.integers(0, 2**63))))
def test_an_object_is_parsed(document: dict[str, object]) -> None:
    assert parse_object(orjson.dumps(document)) == document


@given(st.binary(max_size=1_000))
def test_an_excerpt_is_short_and_safe_to_print(body: bytes) -> None:
    shown = excerpt(body)
    assert shown.removesuffix("…").isascii()
    assert shown.removesuffix("…").isprintable()
    assert len(shown) <= 10 * EXCERPT_CHARACTERS + 3


@given(st.binary(max_size=300), st.sampled_from([None, "gzip", "deflate", "br"]), st.binary(min_size=20, max_size=20))
def test_looking_into_a_body_never_raises(body: bytes, encoding: str | None, text: bytes) -> None:
    assert contains(body, encoding, text) == (text in body)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_text_is_found_in_a_compressed_body_and_in_a_part_of_one(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(b"x" * 1_000 + b"the text" + bytes(range(256)) * 4)
    assert [contains(sent, encoding, b"the text") for sent in (packed, packed[:-8], packed[:5])] == [True, True, False]


def test_a_large_compressed_body_is_not_decompressed_to_find_a_text() -> None:
    bomb = gzip.compress(bytes(1 << 26))
    tracemalloc.start()
    try:
        assert not contains(bomb, "gzip", b"the text")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
