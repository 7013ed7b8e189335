"""An export to Parquet beside a bare loop of sqlite3 and pyarrow, and the memory of both; they alternate."""

import argparse
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
from processes import Run, measure
from tables import spread, table

from harvester.store.sqlite.connection import open_for_writing

SHAPES = {"one-hour videos": (40, 1800), "small tasks": (40_000, 3)}
"""Tasks, and vectors of each: an hour has 600 clips with three options."""

OPTIONS = ("visual", "audio", "transcription")
DIM, CLIP_S, NOW_MS = 512, 6.0, 1_760_000_000_000
GOAL, GOAL_MB = 0.7, 300
PLAIN, OURS = "sqlite3 and pyarrow, no checks", "harvester export"
HERE = Path(__file__).parent


def fill(path: Path, tasks: int, vectors: int) -> None:
    """Make a database of harvested tasks."""
    rng = np.random.default_rng(0)
    with closing(open_for_writing(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for key in range(1, tasks + 1):
            matrix = rng.standard_normal((vectors, DIM)).astype("<f4")
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
            _store(connection, key, matrix)
        connection.execute("COMMIT")


def _store(connection: sqlite3.Connection, key: int, matrix: np.ndarray) -> None:
    count = len(matrix)
    connection.execute(
        "INSERT INTO tasks (id, task_id, state, ended_at, expires_at, created_at) VALUES (?, ?, 'harvested', ?, ?, ?)",
        (key, f"{key:024x}", NOW_MS + key, NOW_MS, NOW_MS),
    )
    connection.execute(
        "INSERT INTO videos (task, model_name, duration, input_filename, input_type, harvested_at, segment_count,"
        " vectors_crc32, document, layouts) VALUES (?, 'marengo3.0', ?, ?, 'video', ?, ?, 0, '{}', '[]')",
        (key, count / len(OPTIONS) * CLIP_S, f"video {key}.mp4", NOW_MS + key, count),
    )
    connection.executemany(
        "INSERT INTO segments (task, position, embedding_option, embedding_scope, start_offset_sec, end_offset_sec)"
        " VALUES (?, ?, ?, 'clip', ?, ?)",
        (
            (key, at, OPTIONS[at % len(OPTIONS)], at // len(OPTIONS) * CLIP_S, (at // len(OPTIONS) + 1) * CLIP_S)
            for at in range(count)
        ),
    )
    connection.executemany(
        "INSERT INTO embeddings (task, position, dim, dtype, vector) VALUES (?, ?, ?, 'f4', ?)",
        ((key, at, DIM, vector.tobytes()) for at, vector in enumerate(matrix)),
    )


def compare(runs: int) -> str:
    """Return the result as Markdown."""
    rows, lines = [], [f"- goal: at least {GOAL} of the bare loop's speed, at most {GOAL_MB} MB at any size"]
    for shape, (tasks, vectors) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "harvester.db"
            fill(database, tasks, vectors)
            measured = alternate(database, Path(folder), runs)
        rows += [
            (
                f"{name}: {tasks:,} {shape}",
                spread([tasks * vectors / run.wall_s for run in of_name], ",.0f"),
                spread([run.cpu_s for run in of_name], ".1f"),
                spread([run.peak_bytes / 1e6 for run in of_name], ".0f"),
            )
            for name, of_name in measured.items()
        ]
        ratios = [plain.wall_s / ours.wall_s for plain, ours in zip(measured[PLAIN], measured[OURS], strict=True)]
        lines.append(f"- {shape}, speed of the export / of the bare loop, pair by pair: {spread(ratios)}")
    heads = ("", "vectors a second", "processor s", "memory, MB")
    title = f"Least, median and most of {runs} pairs; vectors of {DIM} numbers, zstd and byte-stream-split for both."
    return "\n".join(["## Export to Parquet", "", title, "", table(heads, rows), "", *lines])


def alternate(database: Path, folder: Path, runs: int) -> dict[str, list[Run]]:
    """Run both in turn; the first pair, which fills the cache of files, does not count."""
    measured: dict[str, list[Run]] = {PLAIN: [], OURS: []}
    for number in range(runs + 1):
        target = folder / f"{number}.parquet"
        command = [sys.executable, "-m", "harvester", "export", target, "--db", database]
        pair = {
            PLAIN: measure(
                [sys.executable, HERE / "plain_export.py", database, folder / f"plain {number}.parquet"], {}
            ),
            OURS: measure(command, {}),
        }
        for name, run in pair.items() if number else ():
            measured[name].append(run)
        for path in folder.glob("*.parquet"):
            path.unlink()
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    print(compare(parser.parse_args().runs))


if __name__ == "__main__":
    main()
