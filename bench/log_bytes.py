"""How many bytes of write-ahead log a small task costs the daemon, at a steady rate of requests.

A reader keeps its transaction open, so that no byte of the log is overwritten: the log grows by each written byte.

python bench/log_bytes.py [--per-minute 1200] [--seconds 15] [--runs 3]
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from contenders import environ, server
from tables import spread, table

GOAL_KB = 100
WARM_UP_S = 4.0
TASK_S = 6.0
OPTIONS = "visual"
"""One clip of one option: a segment of scope `clip`, and one of scope `asset`."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The harvested tasks of one run, and the bytes that it has written to the log meanwhile."""

    tasks: int
    log_bytes: int
    commits: int


def count(per_minute: int, seconds: float) -> Counted:
    """Let a daemon harvest small tasks for that time, and count."""
    tasks = round(per_minute / 60 * (seconds + 2 * WARM_UP_S)) + 100
    with server(tasks, TASK_S, OPTIONS) as served, tempfile.TemporaryDirectory() as folder:
        database, ids = Path(folder) / "harvester.db", Path(folder) / "ids.txt"
        ids.write_text("\n".join(served.task_ids))
        variables = os.environ | environ(served.root, database)
        variables |= {"HARVESTER_RATE__REQUESTS_PER_MINUTE": str(per_minute), "HARVESTER_SERVER__LISTEN": ""}
        command = [sys.executable, "-m", "harvester"]
        subprocess.run([*command, "add", "--file", ids], env=variables, check=True, capture_output=True)
        with subprocess.Popen([*command, "run"], env=variables, stderr=subprocess.DEVNULL) as daemon:
            time.sleep(WARM_UP_S)
            counted = count_behind_a_reader(database, seconds)
            daemon.terminate()
        return counted


def count_behind_a_reader(database: Path, seconds: float) -> Counted:
    log = database.with_name(database.name + "-wal")
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        before = harvested(reader)
        start = log.stat().st_size
        time.sleep(seconds)
        with closing(sqlite3.connect(database)) as now:
            tasks, end = harvested(now) - before, log.stat().st_size
    return Counted(tasks, end - start, commits(log, start, end))


def harvested(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM tasks WHERE state = 'harvested'").fetchone()[0])


def commits(log: Path, start: int, end: int) -> int:
    """Count the frames that end a transaction: https://www.sqlite.org/fileformat.html, section 4.1."""
    count = 0
    with log.open("rb") as file:
        header = file.read(32)
        frame = 24 + int.from_bytes(header[8:12], "big")
        for position in range(32, end - frame + 1, frame):
            file.seek(position + 4)
            count += position >= start and int.from_bytes(file.read(4), "big") != 0
    return count


def report(runs: int, per_minute: int = 1200, seconds: float = 15.0) -> str:
    """Return the result as Markdown."""
    counted = [count(per_minute, seconds) for _ in range(runs)]
    row = (
        str(per_minute),
        spread([run.tasks for run in counted], ".0f"),
        spread([run.log_bytes / run.tasks / 1000 for run in counted], ".0f"),
        spread([run.commits / run.tasks for run in counted]),
    )
    heads = ["requests a minute", f"tasks in {seconds:g} s", "KB of log per task", "commits per task"]
    return (
        f"## Log\n\nTasks of two segments.\n\n{table(heads, [row])}\n\n- goal: at most {GOAL_KB} KB at 1,200 a minute"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--per-minute", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    print(report(arguments.runs, arguments.per_minute, arguments.seconds))


if __name__ == "__main__":
    main()
