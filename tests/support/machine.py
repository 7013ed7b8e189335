"""What this machine has of that which some tests need, and the reasons for which these are skipped without it."""

import functools
import os
import pty
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FULL = Path("/dev/full")


def _has_terminals() -> bool:
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError:
        return False
    return True


needs_terminal = pytest.mark.skipif(not _has_terminals(), reason="needs a pseudo-terminal: /dev/ptmx and /dev/pts")

_HAS_PROC = Path("/proc/self/fd").exists()
_LOOK_AT_PROCESSES = "needs /proc, to look at processes"

needs_proc = pytest.mark.skipif(not _HAS_PROC, reason=_LOOK_AT_PROCESSES)


def _root_is_a_mount() -> bool:
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(line.split()[4] == "/" for line in lines)


needs_mounts = pytest.mark.skipif(
    not _root_is_a_mount(), reason="needs /proc, and a root that is a mount point, as it is not in a chroot"
)

needs_full_device = pytest.mark.skipif(not FULL.exists(), reason="needs Linux's full device, /dev/full")


def skip_without_proc() -> None:
    """Skip the test, and say why, where no process can be looked at."""
    if not _HAS_PROC:
        pytest.skip(_LOOK_AT_PROCESSES)


def skip_unless_works(command: Iterable[str], needed: str) -> None:
    """Skip the test, and say what is needed, unless the command ends with 0."""
    if problem := _problem(*command):
        pytest.skip(f"needs {needed}: {problem}")


def skip_without_pid_namespaces() -> None:
    """Skip the test, and say why, where no process can become the PID 1 of a namespace."""
    skip_unless_works(("unshare", "-p", "-f", "--mount-proc", "true"), "root and unshare, for a PID of 1")


@contextmanager
def mounted(source: Path | str, place: Path, *options: str) -> Iterator[None]:
    """Mount something at a place that exists, such as a file elsewhere; skip the test where that is not allowed."""
    if problem := _why_not("mount", *options, str(source), str(place)):
        pytest.skip(f"needs root and the right to mount: {problem}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """Mount so much memory as a file system; skip the test where that is not allowed."""
    place.mkdir()
    with mounted("tmpfs", place, "-t", "tmpfs", "-o", f"size={megabytes}m"):
        yield


def enlarge_disk(place: Path, megabytes: int) -> None:
    """Give a mounted small disk more space."""
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", place], check=True)


@functools.cache
def _problem(*command: str) -> str:
    return _why_not(*command)


def _why_not(*command: str) -> str:
    """Run a command; return why it fails, nothing if it does not."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if ended.returncode == 0 else ended.stderr.strip() or f"{command[0]} ends with {ended.returncode}"
