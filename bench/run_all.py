"""Runs every bench and writes `bench/RESULTS.md`: half an hour on two cores, which should have nothing else to do."""

import datetime as dt
import os
import platform
import sqlite3
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import claims
import memory
import responsiveness
import start
import throughput
from contenders import CONTENDERS

RESULTS = Path(__file__).parent / "RESULTS.md"
LIBRARIES = ("aiohttp", "anyio", "aiosqlite", "numpy", "orjson", "twelvelabs")

BENCHES: tuple[Callable[[], str], ...] = (
    lambda: throughput.compare(throughput.SHAPES["long"], 5, list(CONTENDERS)),
    lambda: throughput.compare(throughput.SHAPES["small"], 5, list(CONTENDERS)),
    lambda: memory.compare(5, 1),
    lambda: responsiveness.report(5),
    lambda: start.compare(11),
    claims.report,
)


def machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{dt.datetime.now(dt.UTC).date()}: {os.cpu_count()} cores ({platform.machine()}), "
        f"{memory_gb:.0f} GB, {platform.system()} {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {libraries}."
    )


def main() -> None:
    intro = (
        "Written by `make bench`. Three numbers are minimum, median and maximum over the runs; the contenders\n"
        "take turns. The server runs on the same machine, in its own process. Memory is the proportional set size\n"
        "over all processes of a contender, with files in memory."
    )
    parts = ["# Results", intro, machine()]
    for bench in BENCHES:
        parts.append(bench())
        print(parts[-1], end="\n\n", flush=True)
    RESULTS.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
