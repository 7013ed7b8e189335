"""Measure a command with all its worker processes: wall time, processor time, memory.

Memory is the proportional set size (PSS: pages that processes share count once) of the process and its descendants,
with the files in memory that they hold open and have not mapped. Read 20 times a second.
"""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SAMPLE_S = 0.05
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command: seconds on the wall, seconds of processor time, peak of the memory in bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def tree(root: int) -> Iterator[int]:
    """Yield the process and its descendants."""
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        with suppress(*GONE):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())


def memory_bytes(root: int) -> int:
    """Return the memory of a process and its descendants."""
    total, files = 0, dict[int, int]()
    for pid in tree(root):
        with suppress(*GONE):
            fields = dict(line.split(":", 1) for line in _lines(pid, "smaps_rollup") if ":" in line)
            total += sum(int(fields[name].split()[0]) * 1024 for name in ("Pss_Anon", "Pss_File"))
            files.update(_files_in_memory(pid))
    return total + sum(files.values())


def _files_in_memory(pid: int) -> Iterator[tuple[int, int]]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(*GONE):
            if descriptor.readlink().name.startswith("memfd:"):
                status = descriptor.stat()
                yield status.st_ino, status.st_blocks * 512


def _lines(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}").read_text().splitlines()


class Watcher:
    """Watches a process and its descendants from a thread, until the block ends."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._cpu_s: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_s(self) -> float:
        """The processor time of all processes, up to the last reading."""
        return sum(self._cpu_s.values())

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            for pid in tree(self._root):
                with suppress(*GONE):
                    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                    self._cpu_s[pid] = (int(user) + int(system)) * TICK_S
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self._root))


def measure(command: Sequence[str | Path], environ: Mapping[str, str]) -> Run:
    """Run the command to its end; it must succeed."""
    started = time.perf_counter()
    with (
        subprocess.Popen(
            command, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process,
        Watcher(process.pid) as watcher,
    ):
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait()
        wall_s = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"{command} failed: {said}")
    return Run(wall_s, watcher.cpu_s, watcher.peak_bytes)
