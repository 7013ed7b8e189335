"""Runs every bench and writes `bench/RESULTS.md`: the machine should have nothing else to do.

`--only` runs some of them; the other sections of the file stay as they are.
"""

import argparse
import datetime as dt
import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import claims
import export
import imports
import log_bytes
import memory
import responsiveness
import start
import throughput
from contenders import CONTENDERS

RESULTS = Path(__file__).parent / "RESULTS.md"
LIBRARIES = ("aiohttp", "anyio", "aiosqlite", "numpy", "orjson", "twelvelabs")


def requests() -> str:
    """Count requests on virtual time; as a module, because of its name. It reports its progress on stderr."""
    command = [sys.executable, "-m", "bench.requests", "--seeds", "5"]
    counted = subprocess.run(command, cwd=RESULTS.parent.parent, stdout=subprocess.PIPE, text=True, check=True).stdout
    return (
        "## Requests\n\nOn virtual time, the real scheduler and store against a model of the API: the same seeds, the\n"
        "same numbers. Each heading says of how many seeds the figures are the median; where they differ, the least\n"
        f"and the most follow. The goals are those of the strategy `auto`.\n\n{counted.strip()}"
    )


def reading() -> str:
    """Read all vectors; as a module, because it shares builders with the tests."""
    command = [sys.executable, "-m", "bench.reading"]
    table = subprocess.run(command, cwd=RESULTS.parent.parent, stdout=subprocess.PIPE, text=True, check=True).stdout
    return (
        "## Reading\n\nMedians of nine alternating pairs. The bare loop reads id, start, end and vector of each\n"
        "record into a preallocated matrix; `vectors()` reads every column of the common record.\n\n"
        f"{table.strip()}\n\n- goal: at least 0.8 of the bare loop's speed"
    )


BENCHES: dict[str, Callable[[], str]] = {
    "throughput": lambda: throughput.compare(throughput.SHAPES["long"], 5, list(CONTENDERS)),
    "gzip": lambda: throughput.compare(throughput.SHAPES["gzip"], 5, list(CONTENDERS)),
    "small": lambda: throughput.compare(throughput.SHAPES["small"], 5, list(CONTENDERS)),
    "log": lambda: log_bytes.report(3),
    "requests": requests,
    "memory": lambda: memory.compare(5),
    "responsiveness": lambda: responsiveness.report(5),
    "queue": claims.report,
    "start": lambda: start.compare(11),
    "import": lambda: imports.compare(1000, 3),
    "export": lambda: export.compare(9),
    "reading": reading,
}


def machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{dt.datetime.now(dt.UTC).date()}: {os.cpu_count()} cores ({platform.machine()}), "
        f"{memory_gb:.0f} GB, {platform.system()} {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {libraries}."
    )


def sections() -> dict[str, str]:
    """Return the sections of the present file by the name of their bench."""
    text = RESULTS.read_text("utf-8") if RESULTS.exists() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n\n(.*?)(?=\n\n<!--|\Z)", text.rstrip("\n"), re.DOTALL))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=BENCHES, default=list(BENCHES))
    known = sections()
    for name in parser.parse_args().only:
        known[name] = f"{BENCHES[name]()}\n\n{machine()}"
        print(known[name], end="\n\n", flush=True)
        written = [f"<!-- {name} -->\n\n{known[name]}" for name in BENCHES if name in known]
        RESULTS.write_text("\n\n".join(["# Results", INTRO, *written]) + "\n", "utf-8")


INTRO = """Written by `make bench`. Three numbers are minimum, median and maximum over the runs; contenders take turns.
The server runs on the same machine, in its own process. Memory is the proportional set size over all processes of a
contender, with files in memory."""


if __name__ == "__main__":
    main()
