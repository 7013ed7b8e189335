"""A long body is one file that others can open, with every byte, and gone afterwards."""

import errno
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harvester.api.body_buffer import BodyBuffer
from harvester.ports import spooled_body as module
from harvester.ports.spooled_body import IN_MEMORY_BYTES, BodyFileError, SpooledBody
from tests.support.machine import needs_proc

SECRET = b"tlk_SECRET0123456789"


def received(*pieces: bytes, to_file: bool = True) -> BodyBuffer:
    receiver = BodyBuffer(to_file=to_file, secret=SECRET)
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


@needs_proc
def test_nothing_is_left_open() -> None:
    before = open_descriptors()
    closed, forgotten, given_up = SpooledBody.of(b"1"), SpooledBody.of(b"2"), received(FILLER, b"3")
    closed.close()
    closed.close()
    given_up.close()
    del forgotten
    assert open_descriptors() == before


# Where the kernel refuses files in memory.


def refusing(*refused: int) -> Callable[[str, int], int]:
    """Return a memfd_create that refuses those flags."""
    create = os.memfd_create

    def memfd_create(name: str, flags: int) -> int:
        if flags in refused:
            raise OSError(errno.EACCES, "Permission denied")
        return create(name, flags)

    return memfd_create


@needs_proc
@pytest.mark.parametrize("refused", [(), (os.MFD_CLOEXEC,), (os.MFD_CLOEXEC, os.MFD_CLOEXEC | 8)])
def test_a_long_body_has_a_file_without_a_name_that_another_process_can_open(
    refused: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "memfd_create", refusing(*refused))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    body = SpooledBody.of(b"content")
    read = [sys.executable, "-c", "import sys; print(open(sys.argv[1], 'r+b').read())", body.path]
    assert subprocess.run(read, capture_output=True, check=True).stdout == b"b'content'\n"
    assert list(tmp_path.iterdir()) == []
    # Files in memory have no owner's mode; only this user's processes see them.
    assert len(refused) < 2 or os.fstat(body.fileno()).st_mode & 0o077 == 0
    body.close()


def test_without_proc_the_file_has_a_name_and_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_has_proc", lambda: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    body = SpooledBody.of(b"content")
    assert Path(body.path).read_bytes() == b"content"
    body.close()
    assert list(tmp_path.iterdir()) == []


def test_where_no_file_can_be_made_or_written_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "memfd_create", refusing(os.MFD_CLOEXEC, os.MFD_CLOEXEC | 8))
    monkeypatch.setattr(tempfile, "mkstemp", raising(OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(BodyFileError, match="no file for a long body can be made: Read-only file system"):
        SpooledBody()
    monkeypatch.undo()
    body = SpooledBody()
    monkeypatch.setattr(os, "write", raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(BodyFileError, match="a long body cannot be written: No space left on device"):
        body.write(b"content")


def raising(error: OSError) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
