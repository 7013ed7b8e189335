"""A long body is one file that others can open, with every byte, and gone afterwards."""

import gc
from pathlib import Path

import pytest

from harvester.api.received import IN_MEMORY_BYTES, LargeBody, Receiver

SECRET = b"tlk_SECRET0123456789"


def received(*pieces: bytes, to_file: bool = True) -> Receiver:
    receiver = Receiver(to_file=to_file, secret=SECRET)
    for piece in pieces:
        receiver.add(piece)
    return receiver


def open_descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_short_body_stays_in_memory() -> None:
    receiver = received(b"1" * (IN_MEMORY_BYTES - 1), b"2")
    assert (receiver.in_memory()[-2:], receiver.file, receiver.size) == (b"12", None, IN_MEMORY_BYTES)


def test_a_long_body_is_in_the_file_byte_for_byte() -> None:
    pieces = [bytes([number]) * 40_000 for number in range(5)]
    receiver = received(*pieces)
    assert receiver.file is not None
    assert (Path(receiver.file.path).read_bytes(), receiver.in_memory()) == (b"".join(pieces), b"")
    assert (len(receiver.file), receiver.size, receiver.file.beginning(3)) == (200_000, 200_000, b"\0\0\0")


def test_what_is_needed_here_stays_in_memory_however_long() -> None:
    receiver = received(b"1" * 200_000, b"2", to_file=False)
    assert (len(receiver.in_memory()), receiver.file) == (200_001, None)


FILLER = b"x" * IN_MEMORY_BYTES


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((FILLER, b"y" + SECRET), True),
        ((FILLER, FILLER, SECRET[:7], SECRET[7:]), True),
        ((FILLER, FILLER, *(bytes([byte]) for byte in SECRET), FILLER), True),
        ((SECRET, FILLER), True),
        ((FILLER, SECRET[:-1], FILLER, SECRET[-1:]), False),
    ],
)
def test_a_secret_is_found_however_the_body_arrives(pieces: tuple[bytes, ...], *, expected: bool) -> None:
    file = received(*pieces).file
    assert file is not None
    assert file.holds_secret is expected


def test_nothing_is_left_open() -> None:
    before = open_descriptors()
    closed, forgotten, given_up = LargeBody.of(b"1"), LargeBody.of(b"2"), received(FILLER, b"3")
    closed.close()
    closed.close()
    given_up.close()
    del forgotten
    assert open_descriptors() == before
