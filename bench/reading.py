"""Reading all vectors: harvester.open(...).vectors() beside a bare loop from sqlite3 into a preallocated matrix.

    python -m bench.reading [--pairs 9] [--folder DIR]

Pairs alternate which side is first; the table has medians, and the median of the pairs' ratios. The bare loop reads the
view `segment_vectors`, with task, start and end of each vector beside the matrix, as any program needs them.
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import harvester
from harvester.domain.tasks.outcomes import Retrieved
from harvester.store.sqlite.connection import open_for_writing
from tests.support.store_builders import NOW, add_tasks, claim, embeddings_of, object_id, settle_all, settlement

DIM = 512
WORKLOADS = {"one-hour videos": (40, 1200), "small tasks": (20_000, 2)}
"""Tasks, and vectors of each."""


def fill(path: Path, tasks: int, vectors: int) -> None:
    rng = np.random.default_rng(0)
    with closing(open_for_writing(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for first in range(0, tasks, 500):
            add_tasks(connection, *(object_id(number) for number in range(first, min(tasks, first + 500))))
            for task in claim(connection, limit=500):
                found = embeddings_of(rng.standard_normal((vectors, DIM)).astype(np.float32))
                found = replace(found, options=["visual", "audio"] * (vectors // 2))
                settle_all(connection, settlement(task, Retrieved(found), now_ms=NOW))


def bare(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        where = "FROM segment_vectors WHERE model_name = 'marengo3.0'"
        (count,) = connection.execute(f"SELECT count(*) {where}").fetchone()
        matrix = np.empty((count, DIM), np.float32)
        columns = []
        rows = connection.execute(f"SELECT task_id, start_offset_sec, end_offset_sec, vector {where}")
        for row, (task_id, start, end, vector) in enumerate(rows):
            matrix[row] = np.frombuffer(vector, "<f4")
            columns.append((task_id, start, end))
    return matrix


def ours(path: Path) -> Any:
    with harvester.open(path) as data:
        table = data.vectors(model="marengo3.0")
        _ = table.task_ids, table.starts, table.ends
        return table.matrix


def seconds(read: Callable[[Path], Any], path: Path) -> tuple[float, Any]:
    began = time.perf_counter()
    matrix = read(path)
    return time.perf_counter() - began, matrix


def compare(path: Path, pairs: int) -> tuple[float, float, float, int]:
    """Return the medians of both sides (s), the median ratio bare/ours, and the number of vectors."""
    times: dict[Callable[[Path], Any], list[float]] = {bare: [], ours: []}
    matrix: Any = None
    for pair in range(-1, pairs):
        for read in (bare, ours) if pair % 2 else (ours, bare):
            took, matrix = seconds(read, path)
            if pair >= 0:
                times[read].append(took)
    ratios = [one / other for one, other in zip(times[bare], times[ours], strict=True)]
    return statistics.median(times[bare]), statistics.median(times[ours]), statistics.median(ratios), len(matrix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    print("| workload | vectors | bare loop | vectors() | bare / vectors() |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, (tasks, vectors) in WORKLOADS.items():
            path = Path(folder) / f"{tasks}.db"
            fill(path, tasks, vectors)
            bare_s, ours_s, ratio, count = compare(path, arguments.pairs)
            print(f"| {name} | {count:,} | {bare_s:.2f} s | {ours_s:.2f} s | {ratio:.2f} |")


if __name__ == "__main__":
    main()
