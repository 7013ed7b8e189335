"""Everything at once: every fault of the stand-in, kills and restarts, on one database; then checks of the result.

Usage: python -m bench.chaos [--seed N] [--minutes M] [--tasks N] [--folder DIR]

Thousands of small tasks are harvested by `backfill` and `run`, alone and together, which are killed, stopped and paused
at random, while the stand-in misbehaves by docs/faults.example.toml. It ends when every task has ended, or when the
time is over. Then: no task lost, no row twice, stored as sent, no end without a reason, memory bounded, no traceback.
The seed, which is printed, gives the same faults and blows again; their effect depends on the machine as well.
"""

import argparse
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from harvester.simulator import SimulatorSettings
from harvester.simulator.faults.payloads import as_doubles
from harvester.simulator.requests import VideoRequest
from harvester.simulator.tasks import draw_task
from harvester.simulator.vectors import embeddings_of
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.maintenance.verify import verify

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "docs" / "faults.example.toml"
KEY = "tlk_CHAOS_0123456789"
LEASE_S = 2.0
STOP_S = 30.0
MAX_MEBIBYTES = 400
MAX_REJECTED = 0.05
"""Share of all tasks: those that the rules spoil for good, and those that they hit three times in a row."""

VIDEO_S = 4.0
EXPECTED_CODES = {0, 1, 129, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
"""With the negative ones, a signal ends a command by default: before its handlers are set, or after its end."""


@dataclass(slots=True)
class Chaos:
    """One run: its folder, its random numbers, and its blows so far."""

    folder: Path
    seed: int
    tasks: int
    rng: random.Random
    settings: SimulatorSettings
    environ: dict[str, str]
    blows: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    commands: int = 0

    @property
    def database(self) -> Path:
        return self.folder / "harvester.db"

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        self.commands += 1
        said = self.folder / f"{self.commands:04d}-{arguments[0]}.log"
        with said.open("wb") as file:
            return self._spawn(arguments, file), said

    def _spawn(self, arguments: tuple[str, ...], file: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "harvester", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )

    def ended(self, process: subprocess.Popen[bytes], said: Path, expected: set[int]) -> None:
        """Wait for the end, and record what no command may do."""
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.problems.append(f"{said.name} did not stop within {STOP_S:g} s")
            return
        text = said.read_text("utf-8", "replace")
        if code not in expected:
            self.problems.append(f"{said.name} ended with {code}: {text[-300:]}")
        if "Traceback" in text or KEY in text:
            self.problems.append(f"{said.name} shows a traceback or the key")

    def open_tasks(self) -> int:
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            statement = "SELECT count(*) FROM tasks WHERE state IN ('pending', 'ready')"
            return int(connection.execute(statement).fetchone()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=None, help="kept; without it a temporary one is removed")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}, {given.tasks} tasks, {given.minutes:g} minutes at most", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        problems = run(folder, seed, given.tasks, time.monotonic() + given.minutes * 60)
    for problem in problems:
        print(f"FAILED: {problem}")
    if problems:
        print(f"Again with: make chaos SEED={seed} MINUTES={given.minutes:g}")
    return 1 if problems else 0


def run(folder: Path, seed: int, tasks: int, ends_at: float) -> list[str]:
    settings = SimulatorSettings(
        tasks=tasks, seed=seed, duration_s=(VIDEO_S, VIDEO_S), processing_median_s=0.01, processing_sigma=0, age_s=3600
    )
    rng = random.Random(seed)  # noqa: S311  # chaos, not secrets
    chaos = Chaos(folder, seed, tasks, rng, settings, environment())
    with stand_in(chaos) as (base_url, ids):
        chaos.environ["HARVESTER_API__BASE_URL"] = base_url
        process, said = chaos.start("add", "--file", str(ids))
        chaos.ended(process, said, {0})
        while chaos.open_tasks() and time.monotonic() < ends_at:
            strike(chaos)
        peak_mebibytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        served = ask(base_url, "faults")
        requests = len(ask(base_url, "requests"))
    report(chaos, served, requests, peak_mebibytes)
    if peak_mebibytes > MAX_MEBIBYTES:
        chaos.problems.append(f"a process took {peak_mebibytes:.0f} MiB")
    return [*chaos.problems, *findings(chaos, set(ids.read_text().split()))]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "TWELVELABS_"))}
    return kept | {
        "TWELVELABS_API_KEY": KEY,
        "HARVESTER_RATE__REQUESTS_PER_MINUTE": "0",
        "HARVESTER_API__READ_TIMEOUT_S": "1",
        "HARVESTER_API__MAX_BODY_BYTES": str(16 * 1024 * 1024),
        "HARVESTER_HARVEST__LEASE_S": f"{LEASE_S:g}",
        "HARVESTER_HARVEST__CONCURRENCY": "16",
        "HARVESTER_SERVER__LISTEN": "127.0.0.1:0",
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def stand_in(chaos: Chaos) -> Iterator[tuple[str, Path]]:
    """Run the stand-in as a process of its own; yield its address and a file with its ids."""
    rules, ids, said = (chaos.folder / name for name in ("faults.toml", "ids.txt", "simulate.log"))
    rules.write_text(RULES.read_text("utf-8").replace("seed = 1\n", f"seed = {chaos.seed}\n", 1))
    options = {
        "--tasks": chaos.tasks,
        "--seed": chaos.seed,
        "--duration-s": f"{VIDEO_S:g}",
        "--processing-s": "0.01,0",
        "--age-s": 3600,
        "--spread-s": 3000,
        "--key": KEY,
        "--faults": rules,
        "--port": 0,
    }
    command = [sys.executable, "-m", "harvester", "simulate", "--print-ids"]
    command += [str(part) for option in options.items() for part in option]
    with ids.open("wb") as out, said.open("wb") as errors:
        process = subprocess.Popen(command, env=chaos.environ, stdout=out, stderr=errors)
    try:
        yield listening(process, said), ids
    finally:
        process.terminate()
        process.wait(STOP_S)


def listening(process: subprocess.Popen[bytes], said: Path) -> str:
    while process.poll() is None:
        words = said.read_text("utf-8").split()
        if "Ctrl-C" in words:
            return words[2]
        time.sleep(0.05)
    raise SystemExit(said.read_text("utf-8"))


def ask(base_url: str, what: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{base_url.removesuffix('/v1.3')}/simulator/{what}", timeout=STOP_S) as answer:  # noqa: S310  # loopback
        counts: dict[str, int] = orjson.loads(answer.read())
    return counts


def strike(chaos: Chaos) -> None:
    """Start one or two commands, let them work for a while, and end them in one of the possible ways."""
    rng = chaos.rng
    kinds = rng.choices((["backfill"], ["run"], ["backfill", "run"], ["backfill", "discover"]), (4, 3, 2, 1))[0]
    started = [chaos.start(kind) for kind in kinds]
    until = time.monotonic() + rng.uniform(0.3, 8.0)
    while time.monotonic() < until and any(process.poll() is None for process, _ in started):
        time.sleep(0.05)
    for process, said in started:
        blow = rng.choice(("kill", "term", "int", "hangup", "twice", "pause"))
        if process.poll() is None:
            chaos.blows[blow] += 1
            hit(process, blow)
        chaos.ended(process, said, EXPECTED_CODES)


def hit(process: subprocess.Popen[bytes], blow: str) -> None:
    """End a command: at once, gracefully, both, or after a pause longer than its lease."""
    if blow == "pause":
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(LEASE_S * 1.2)
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.3)
    if blow == "kill":
        # Only the command is killed: its workers must notice.
        process.kill()
        return
    if blow == "hangup":
        # The terminal closes: a backfill drains, and a daemon reads its settings again.
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
    process.send_signal(signal.SIGINT if blow == "int" else signal.SIGTERM)
    if blow == "twice":
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)


def report(chaos: Chaos, served: dict[str, int], requests: int, peak_mebibytes: float) -> None:
    with closing(sqlite3.connect(chaos.database)) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM tasks GROUP BY state"))
    blows = ", ".join(f"{count} {blow}" for blow, count in sorted(chaos.blows.items()))
    print(f"{chaos.commands} commands; {blows}")
    print(f"{requests} requests, {sum(served.values())} of them faulty, {len(served)} kinds: {served}")
    print(f"states {states}; largest process {peak_mebibytes:.0f} MiB")


def findings(chaos: Chaos, ids: set[str]) -> Iterator[str]:
    """Yield what is wrong with the database."""
    with closing(open_for_reading(chaos.database)) as connection:
        states = dict(connection.execute("SELECT task_id, state FROM tasks"))
        if lost := ids - states.keys():
            yield f"{len(lost)} tasks are lost, as {min(lost)}"
        others = {task_id: state for task_id, state in states.items() if state in ("failed", "missing", "expired")}
        if others:
            yield f"ended without a reason: {dict(list(others.items())[:5])}"
        rejected = dict(connection.execute("SELECT task_id, error_message FROM tasks WHERE state = 'rejected'"))
        if len(rejected) > MAX_REJECTED * len(states) or not all(rejected.values()):
            yield f"{len(rejected)} rejected: {Counter(rejected.values()).most_common(3)}"
        yield from (f"{one.task_id}: {one.text}" for one in verify(connection, deep=True) if not one.is_warning)
        for task_id in (task_id for task_id, state in states.items() if state == "harvested"):
            if not is_as_sent(chaos, connection, task_id):
                yield f"{task_id} is not stored as it was sent"
    if any(KEY.encode() in file.read_bytes() for file in chaos.folder.glob("harvester.db*")):
        yield "the key is in the database"


def is_as_sent(chaos: Chaos, connection: sqlite3.Connection, task_id: str) -> bool:
    """Compare a task's rows with what the stand-in computes for this seed and id."""
    settings = chaos.settings
    request = VideoRequest(
        model=settings.model, options=settings.embedding_options, clip_length_s=settings.clip_length_s
    )
    sent = embeddings_of(settings.seed, draw_task(settings, task_id, request, 0), request.options)
    rows = connection.execute(
        "SELECT embedding_option, embedding_scope, start_offset_sec, end_offset_sec, dtype, vector FROM segment_vectors"
        " WHERE task_id = ? ORDER BY position",
        (task_id,),
    ).fetchall()
    is_double = bool(rows) and rows[0][4] == "f8"
    vectors = as_doubles(sent.vectors).astype("<f8") if is_double else sent.vectors.astype("<f4")
    expected = [
        (*place, "f8" if is_double else "f4", vector.tobytes())
        for *place, vector in zip(
            sent.options, sent.scopes, sent.start_offsets_s, sent.end_offsets_s, vectors, strict=True
        )
    ]
    return expected == rows


if __name__ == "__main__":
    sys.exit(main())
