"""Kills and errors at chosen system calls, by strace; and the list of the calls that a program makes."""

import ctypes
import multiprocessing
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.support.machine import skip_unless_works

WRITES = ("write", "pwrite64", "ftruncate", "fdatasync", "fsync")
"""System calls that change the contents of files. SQLite also changes the index of its log in memory."""

CHANGES = (*WRITES, "?link", "linkat", "?rename", "renameat", "renameat2", "?unlink", "unlinkat")
"""The same, and calls that change a folder, except creation: the calls after it are tried anyway.

A question mark: not every processor's kernel has it.
"""

KILL = "signal=SIGKILL"

PATIENCE_S = 60

_SIGN = "getppid"
_SIGN_VALUE = 2_000_000_000  # no process has that number
_PR_SET_PTRACER = 0x59616D61

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    ["tests.faults.tracing", "tests.faults.small_harvest", "tests.faults.test_export_crashes"]
)

_children = threading.Lock()
"""Each start looks after all children, and would take the exit code of one that another thread waits for."""


@dataclass(frozen=True, slots=True)
class Call:
    """The n-th call of that name in its thread, counted from 1."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} {self.number}"


def skip_without_strace() -> None:
    """Skip the test, and say why, where nothing can be traced."""
    skip_unless_works(traced(["true"], watching(WRITES)), "strace (Debian's package), to kill at system calls")


def traced(command: Iterable[str], options: Iterable[str], *, log: Path | None = None) -> list[str]:
    """Return the command under strace with these options; its output and exit code stay those of the command."""
    return ["strace", "-f", "-qq", "-o", str(log or "/dev/null"), *options, "--", *command]


def run_traced(action: Callable[..., Any], *arguments: Any, options: Iterable[str], log: Path | None = None) -> int:
    """Run a function in a process of its own under strace; return the exit code, negative for a signal."""
    process = _forks.Process(target=_when_traced, args=(action, arguments))
    with _children:
        process.start()
    sign = ["-e", f"inject={_SIGN}:retval={_SIGN_VALUE}"]
    command = ["strace", "-qq", "-o", str(log or "/dev/null"), "-p", str(process.pid), *options, *sign]
    try:
        tracer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        code = _exit_code(process)
    except BaseException:
        process.kill()
        raise
    assert code is not None, f"not traced: {tracer.stderr}"
    return code


def _exit_code(process: ForkServerProcess) -> int | None:
    """Return the exit code of a process whose tracer has ended; if it still runs, kill it and return None."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        with _children:
            if process.exitcode is not None:
                return process.exitcode
        time.sleep(0.001)
    process.kill()
    return None


def _when_traced(action: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Where only descendants may be traced, an exception must be asked for; where not, this fails and does no harm.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0)
    while os.getppid() != _SIGN_VALUE:
        time.sleep(0.001)
    action(*arguments)


def watching(calls: Iterable[str]) -> list[str]:
    """Return options that only write the calls down, with the paths of their files."""
    return ["-y", "-e", f"trace={','.join([*calls, _SIGN])}"]


def injecting(what: str, call: Call, *, and_later: bool = False) -> list[str]:
    """Return options that let `what` happen at one call: KILL before it is carried out, `error=…` instead of it.

    With `and_later` also at all later ones of that name.
    """
    when = f"{call.number}+" if and_later else str(call.number)
    return [*watching([call.name]), "-e", f"inject={call.name}:{what}:when={when}"]


def only_on(database: Path) -> list[str]:
    """Return options that leave out the calls which do not concern the files that SQLite keeps a database in."""
    return [option for suffix in ("", "-wal", "-shm", "-journal") for option in ("-P", f"{database}{suffix}")]


def calls_in(log: Path, *, within: Path | None = None) -> list[Call]:
    """Return the calls that strace wrote down, in their order; all of one thread, as strace counts by thread.

    `within`: only those on files in that folder. SQLite also writes files elsewhere, of which a killed process leaves
    nothing, so a kill there finds what one at the call before has found.
    """
    counted: dict[str, int] = {}
    calls, threads = [], set()
    for line in log.read_text(errors="replace").splitlines():
        found = re.match(r"(?:(\d+) +)?(\w+)\(", line)
        if found and found[2] != _SIGN:
            counted[found[2]] = counted.get(found[2], 0) + 1
            threads.add(found[1])
            if within is None or f"{within.resolve()}/" in line:
                calls.append(Call(found[2], counted[found[2]]))
    assert len(threads) == 1, threads
    return calls


def for_each_call(calls: Iterable[Call], folder: Path, action: Callable[[Call, Path], None]) -> None:
    """Run `action` for each call, two at a time, in a new folder named after the call."""

    def in_a_folder(call: Call) -> None:
        (folder / str(call)).mkdir()
        action(call, folder / str(call))
        shutil.rmtree(folder / str(call))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(in_a_folder, calls))
