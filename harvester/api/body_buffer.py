"""Store the body of an answer: a short one as `bytes`, a long one as a file that worker processes can open.

Each received piece of a long body is written at once. If it were joined in memory, the body would exist twice for a
moment, and a third time on its way to the worker.
"""

import errno
import os
import tempfile
from pathlib import Path
from typing import Self

IN_MEMORY_BYTES = 128 * 1024
"""Bytes: longer bodies go into a file. A minute of video is this long and decodes faster than a worker receives it."""


class BodyFileError(OSError):
    """This machine has no room for a long body."""


class SpooledBody:
    """An anonymous file that is deleted when it is closed or no longer referenced. Raises BodyFileError.

    On Linux the file is in memory, but not in /dev/shm, because containers have only 64 MB of it. If the kernel refuses
    this, and on other systems, it is a temporary file of the user.
    """

    def __init__(self) -> None:
        self._size = 0
        # Set first, because `__del__` needs them if no descriptor is left.
        self._descriptor, self.path, self._is_named = -1, "", False
        try:
            self._descriptor, self.path, self._is_named = _anonymous_file()
        except OSError as error:
            raise BodyFileError(error.errno, f"no file for a long body can be made: {error.strerror}") from error
        self.holds_secret = False
        """Whether the file contains the secret that the receiver searched for."""

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Return a file with that content. Raises BodyFileError."""
        body = cls()
        body.write(content)
        return body

    def write(self, content: bytes) -> None:
        """Append to the file. Raises BodyFileError."""
        view = memoryview(content)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except OSError as error:
                raise BodyFileError(error.errno, f"a long body cannot be written: {error.strerror}") from error
            view = view[written:]
            self._size += written

    def beginning(self, count: int) -> bytes:
        """Return up to `count` bytes from the beginning."""
        return os.pread(self._descriptor, min(count, self._size), 0)

    def fileno(self) -> int:
        """Return the descriptor; memory mapped from it stays valid after `close`."""
        return self._descriptor

    def close(self) -> None:
        """Delete the file. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            if self._is_named:
                Path(self.path).unlink(missing_ok=True)

    def __len__(self) -> int:
        return self._size

    def __del__(self) -> None:
        self.close()


class BodyBuffer:
    """Collects the pieces of one body. With `to_file` a long body goes into `file`, which is searched for `secret`."""

    def __init__(self, *, to_file: bool, secret: bytes = b"") -> None:
        self._to_file = to_file
        self._secret = secret
        self._pieces: list[bytes] = []
        self._last = b""
        self.file: SpooledBody | None = None
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Add the next piece. Raises BodyFileError."""
        self.size += len(piece)
        self._pieces.append(piece)
        if self._to_file and self.size > IN_MEMORY_BYTES:
            if self.file is None:
                self.file = SpooledBody()
            self._write(self.file, self.in_memory())
            self._pieces.clear()

    def in_memory(self) -> bytes:
        """Return the bytes that are not in the file."""
        return b"".join(self._pieces)

    def close(self) -> None:
        """Delete the file, if there is one."""
        if self.file is not None:
            self.file.close()

    def _write(self, file: SpooledBody, piece: bytes) -> None:
        file.write(piece)
        if self._secret and not file.holds_secret:
            # The secret may begin in one piece and end in the next.
            searched = self._last + piece
            file.holds_secret = self._secret in searched
            self._last = searched[max(0, len(searched) - len(self._secret) + 1) :]


def _anonymous_file() -> tuple[int, str, bool]:
    """Return a descriptor, the path by which a worker process opens it, and whether the file has a name of its own."""
    if not _has_proc():
        # Not Linux, or /proc is not mounted: another process can open the file only by its name.
        return *tempfile.mkstemp(prefix="harvester-body-"), True
    descriptor = _memory_file()
    if descriptor is None:
        descriptor, name = tempfile.mkstemp(prefix="harvester-body-")
        Path(name).unlink()
    return descriptor, f"/proc/{os.getpid()}/fd/{descriptor}", False


def _memory_file() -> int | None:
    """Return a file in memory; None if the kernel, or a filter of system calls, refuses it."""
    # With vm.memfd_noexec = 2 the kernel allows only files that can never be executed; older kernels lack the flag.
    for flags in (os.MFD_CLOEXEC, os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL):
        try:
            return os.memfd_create("harvester-body", flags)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
    return None


def _has_proc() -> bool:
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()


_MFD_NOEXEC_SEAL = 8
