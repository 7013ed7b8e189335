import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.domain.decompression import DamagedStreamError, Decompressor


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def read(stream: Decompressor, sent: bytes, chunk_bytes: int) -> list[bytes]:
    chunks = (sent[start : start + chunk_bytes] for start in range(0, len(sent), chunk_bytes))
    return [piece for chunk in chunks for piece in stream.content(chunk)]


@given(st.lists(st.binary(max_size=600), min_size=1, max_size=4), st.integers(1, 300), st.integers(1, 300))
def test_the_content_is_the_same_however_the_stream_arrives(parts: list[bytes], chunk: int, piece: int) -> None:
    stream = Decompressor(max_members=9, piece_bytes=piece, next_begins=b"\x1f")
    pieces = read(stream, b"".join(map(gzip.compress, parts)), chunk)
    assert (b"".join(pieces), stream.is_whole, stream.is_followed) == (b"".join(parts), True, False)
    assert all(0 < len(one) <= piece for one in pieces)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate])
def test_the_beginning_says_what_the_stream_is(pack: Callable[[bytes], bytes]) -> None:
    assert read(Decompressor(max_members=1), pack(b"the content"), 1 << 20) == [b"the content"]


def test_raw_deflate_is_damage_where_it_is_not_allowed() -> None:
    with pytest.raises(DamagedStreamError, match="incorrect header check"):
        read(Decompressor(max_members=1, allows_raw=False), raw_deflate(b"the content"), 1 << 20)


@given(st.integers(1, 700), st.integers(1, 300))
def test_no_more_than_the_cap_is_made_over_all_members(cap: int, chunk: int) -> None:
    stream = Decompressor(max_members=9, max_bytes=cap, piece_bytes=50, next_begins=b"\x1f")
    content = b"".join(read(stream, gzip.compress(b"a" * 300) + gzip.compress(b"b" * 300), chunk))
    assert content == (b"a" * 300 + b"b" * 300)[:cap]


@pytest.mark.parametrize(
    ("max_members", "follows", "content", "is_followed"),
    [
        (2, b"", b"onetwo", False),
        (1, b"", b"one", True),
        (9, b"what is no gzip", b"onetwo", True),
        (2, gzip.compress(b"three", mtime=0), b"onetwo", True),
    ],
)
def test_what_follows_the_last_member_is_not_read(
    max_members: int, follows: bytes, content: bytes, *, is_followed: bool
) -> None:
    stream = Decompressor(max_members=max_members)
    assert b"".join(stream.content(gzip.compress(b"one") + gzip.compress(b"two") + follows)) == content
    assert (stream.is_whole, stream.is_followed) == (True, is_followed)


@given(st.integers(0, 60))
def test_a_stream_that_was_cut_is_not_whole(length: int) -> None:
    sent = gzip.compress(b"the content", mtime=0)
    stream = Decompressor(max_members=1)
    list(stream.content(sent[:length]))
    assert stream.is_whole == (length >= len(sent))


def test_damage_is_reported_after_the_members_before_it() -> None:
    pieces = Decompressor(max_members=2).content(gzip.compress(b"one") + b"\x1f\x8b" + b"\xff" * 9)
    assert next(pieces) == b"one"
    with pytest.raises(DamagedStreamError):
        next(pieces)
