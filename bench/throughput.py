"""Throughput of the whole command against the bare minimum, alternating in one run; prints ratios.

python bench/throughput.py --tasks 60 --duration-s 3600 --runs 5
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resident import resident_bytes

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender: wall seconds, and the peak of the resident memory of all its processes in bytes."""

    wall_s: float
    peak_bytes: int


@contextmanager
def server(tasks: int, duration_s: float) -> Iterator[tuple[str, list[str]]]:
    command = [sys.executable, str(HERE / "serve.py"), "--tasks", str(tasks), "--duration-s", str(duration_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        root = process.stdout.readline().strip()
        yield root, [process.stdout.readline().strip() for _ in range(tasks)]
        process.stdin.close()


def measure(command: list[str | Path], environ: dict[str, str]) -> Run:
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.PIPE, text=True) as process:
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.05):
                peak = max(peak, resident_bytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait()
        wall_s = time.perf_counter() - started
        ended.set()
        watcher.join()
    if process.returncode != 0:
        raise SystemExit(f"{command} failed: {said}")
    return Run(wall_s, peak)


def run_harvester(root: str, ids: Path, folder: Path) -> Run:
    environ = {
        "TWELVELABS_API_KEY": "bench",
        "HARVESTER_API__BASE_URL": f"{root}/v1.3",
        "HARVESTER_RATE__REQUESTS_PER_MINUTE": "0",
        "HARVESTER_STORE__PATH": str(folder / "harvester.db"),
    }
    # Ids on the command itself: queueing them is part of the time.
    return measure([sys.executable, "-m", "harvester", "backfill", "--file", ids], environ)


def run_bare(root: str, ids: Path, folder: Path) -> Run:
    return measure([sys.executable, HERE / "bare.py", root, ids, folder / "bare.db"], {})


CONTENDERS = {"harvester": run_harvester, "bare minimum": run_bare}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--duration-s", type=float, default=3600)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    with server(arguments.tasks, arguments.duration_s) as (root, task_ids), tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.txt"
        ids.write_text("\n".join(task_ids))
        for number in range(arguments.runs):
            for name, contender in CONTENDERS.items():
                place = Path(folder) / f"{name} {number}"
                place.mkdir()
                runs[name].append(contender(root, ids, place))
                for file in place.iterdir():
                    file.unlink()
    report(runs, arguments.tasks * arguments.duration_s / 3600)


def report(runs: dict[str, list[Run]], hours: float) -> None:
    cores = os.cpu_count()
    print(f"{hours:g} h of video, {cores} cores, Python {platform.python_version()}, {platform.machine()}")
    print("contender      video-hours/s min median max     peak MB min median max")
    for name, of_name in runs.items():
        speeds = [hours / run.wall_s for run in of_name]
        peaks = [run.peak_bytes / 1e6 for run in of_name]
        print(f"{name:14} {spread(speeds, '8.2f')}     {spread(peaks, '7.0f')}")
    pairs = zip(runs["harvester"], runs["bare minimum"], strict=True)
    ratios = [bare.wall_s / ours.wall_s for ours, bare in pairs]
    print(f"harvester / bare minimum, pair by pair: {spread(ratios, '.2f')}")


def spread(values: list[float], style: str) -> str:
    return " ".join(format(value, style) for value in (min(values), statistics.median(values), max(values)))


if __name__ == "__main__":
    main()
