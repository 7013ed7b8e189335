"""A long body as a file that worker processes can open.

Each received piece is written at once. If it were joined in memory, the body would exist twice for a moment, and a
third time on its way to the worker.
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
