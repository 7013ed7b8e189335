import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.tasks import dead_letter
from harvester.domain.tasks.dead_letter import Payload, PayloadError, packed

NOW = 1_760_000_000_000


def unpacked(payload: Payload) -> bytes:
    return b"".join(payload.pieces())


def wrapped(body: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body)
    return zlib.compress(body) if encoding == "deflate" else body


@given(st.binary(max_size=2000), st.sampled_from([None, "gzip", "deflate"]), st.integers(1, 300))
def test_a_kept_body_gives_back_what_was_sent(body: bytes, encoding: str | None, piece: int) -> None:
    payload = packed(wrapped(body, encoding), encoding, NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letter, "PIECE_BYTES", piece)
        pieces = list(payload.pieces())
    assert (b"".join(pieces), payload.is_cut) == (body, False)
    assert all(len(one) <= piece for one in pieces)


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_what_is_kept_is_gzip_whatever_came(encoding: str | None) -> None:
    inside = gzip.decompress(packed(wrapped(b"{}", encoding), encoding, NOW).body)
    assert (zlib.decompress(inside) if encoding == "deflate" else inside) == b"{}"


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_the_decoder_gets_the_body_as_it_came(encoding: str | None) -> None:
    body, received_encoding = packed(wrapped(b"{}", encoding), encoding, NOW).as_received()
    assert (zlib.decompress(body, zlib.MAX_WBITS | 32), received_encoding) == (b"{}", encoding or "gzip")


def test_all_members_of_a_gzip_are_given_back() -> None:
    body = b"".join(gzip.compress(part) for part in (b"one, ", b"", b"two")) + b"what follows is no gzip"
    assert unpacked(packed(body, "gzip", NOW)) == b"one, two"


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_a_body_over_the_cap_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch, encoding: str | None) -> None:
    monkeypatch.setattr(dead_letter, "MAX_PAYLOAD_BYTES", 30)
    body = bytes(range(100))
    payload, shown = packed(wrapped(body, encoding), encoding, NOW), list[bytes]()
    assert payload.is_cut
    if encoding is None:
        assert unpacked(payload) == body[:30]
        return
    with pytest.raises(PayloadError, match="ends in the middle"):
        shown.extend(payload.pieces())
    assert body.startswith(b"".join(shown))


def test_a_body_of_exactly_the_cap_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter, "MAX_PAYLOAD_BYTES", 10)
    assert [packed(b"x" * size, None, NOW).is_cut for size in (10, 11)] == [False, True]


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"x" * 99, mtime=0)[:-4]])
def test_a_damaged_body_is_an_error_of_its_own(body: bytes) -> None:
    with pytest.raises(PayloadError):
        unpacked(Payload(NOW, body))


def test_a_bomb_is_unpacked_in_bounded_memory() -> None:
    payload = packed(gzip.compress(bytes(64 << 20)), "gzip", NOW)
    tracemalloc.start()
    try:
        size = sum(map(len, payload.pieces()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (size, peak < 4 * dead_letter.PIECE_BYTES) == (64 << 20, True)


def test_a_stream_of_countless_members_ends() -> None:
    payload = packed(gzip.compress(b"x") * 5000, "gzip", NOW)
    assert len(unpacked(payload)) == dead_letter.MAX_MEMBERS
