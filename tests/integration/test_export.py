"""`harvester export` as a user calls it, and the programs that read its files."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import lancedb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from harvester.cli.main import run
from tests.support.shell import Shell, until
from tests.support.stored_vectors import OPTIONS, Harvested, store

HOLIDAY = Harvested(1, labels={"show": "news", "season": "3"})
FILM = Harvested(2, name="film.mp4", count=2)
OTHER = Harvested(3, "marengo3.5", count=3, dim=4, name="other.mp4")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run `harvester export` in this process, on a database with three tasks; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "harvester.db", HOLIDAY, FILM, OTHER)

    def export(*arguments: str) -> tuple[int, str, str]:
        code = run(["export", *arguments])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return export


def matrix(*tasks: Harvested) -> list[list[float]]:
    return [row for task in tasks for row in task.matrix().tolist()]


def test_duckdb_reads_a_file_and_a_folder(export: Run) -> None:
    assert export("--model", "marengo3.0", "v.parquet")[0] == 0
    assert export("v/")[0] == 0

    with duckdb.connect() as db:
        found = db.execute("SELECT vector, labels['show'], harvested_at FROM 'v.parquet' ORDER BY id").fetchall()
        assert [list(row[0]) for row in found] == matrix(HOLIDAY, FILM)
        assert [row[1] for row in found] == ["news"] * 4 + [None] * 2
        assert round(found[0][2].timestamp() * 1000) == HOLIDAY.at_ms
        grouped = db.execute(
            "SELECT model, dim, count(*) FROM read_parquet('v/**/*.parquet', hive_partitioning = true)"
            " GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        assert grouped == [("marengo3.0", 8, 6), ("marengo3.5", 4, 3)]
        nearest = db.execute(
            "SELECT id FROM 'v.parquet' ORDER BY array_cosine_similarity(vector::FLOAT[8], ?::FLOAT[8]) DESC LIMIT 1",
            [matrix(FILM)[1]],
        ).fetchone()
        assert nearest == (f"{FILM.task_id}:1",)


def test_polars_reads_a_file_and_a_folder(export: Run) -> None:
    assert export("--model", "marengo3.0", "v.parquet")[0] == 0
    assert export("--model", "marengo3.0", "v.arrow")[0] == 0
    assert export("--model", "marengo3.0", "v.jsonl")[0] == 0
    assert export("v/")[0] == 0

    frame = pl.read_parquet("v.parquet")
    assert frame["vector"].dtype == pl.Array(pl.Float32, 8)
    assert frame["vector"].to_numpy().tolist() == matrix(HOLIDAY, FILM)
    assert pl.read_ipc("v.arrow")["vector"].to_numpy().tolist() == matrix(HOLIDAY, FILM)
    assert pl.read_ndjson("v.jsonl")["embedding_option"].to_list() == [*OPTIONS, *OPTIONS, *OPTIONS]
    lazy = pl.scan_parquet("v/**/*.parquet", hive_partitioning=True).filter(pl.col("model") == "marengo3.5")
    assert lazy.select("position").collect()["position"].to_list() == [0, 1, 2]


def test_pandas_reads_a_file_and_a_folder(export: Run) -> None:
    assert export("--model", "marengo3.0", "v.parquet")[0] == 0
    assert export("--model", "marengo3.5", "--model", "marengo3.5", "v/")[0] == 0

    frame = pd.read_parquet("v.parquet")
    assert np.stack(frame["vector"]).tolist() == matrix(HOLIDAY, FILM)
    assert frame["start_offset_sec"].tolist() == [0, 6, 12, 18, 0, 6]
    assert dict(frame["labels"][0]) == HOLIDAY.labels
    assert str(frame["harvested_at"].dtype) == "datetime64[ms, UTC]"
    assert pd.read_parquet("v")["model"].tolist() == ["marengo3.5"] * 3


def test_lancedb_takes_a_file(export: Run, tmp_path: Path) -> None:
    assert export("--model", "marengo3.0", "v.parquet")[0] == 0

    table = lancedb.connect(tmp_path / "lance").create_table("harvester_marengo3_0_8", pq.read_table("v.parquet"))
    search: Any = table.search(matrix(FILM)[1])
    (hit,) = search.metric("cosine").limit(1).to_list()

    assert (hit["id"], hit["input_filename"]) == (f"{FILM.task_id}:1", "film.mp4")


def test_numpy_and_json_read_theirs(export: Run) -> None:
    assert export("--task", HOLIDAY.task_id, "v.npz")[0] == 0
    assert export("--label", "season=3", "v.jsonl")[0] == 0

    with np.load("v.npz") as arrays:
        assert arrays["vectors"].tolist() == matrix(HOLIDAY)
        assert arrays["task_id"].tolist() == [HOLIDAY.task_id] * 4
    records = [json.loads(line) for line in Path("v.jsonl").read_text("utf-8").splitlines()]
    assert np.array([record["vector"] for record in records], np.float32).tolist() == matrix(HOLIDAY)
    assert records[0]["labels"] == HOLIDAY.labels


def test_json_lines_go_to_stdout(export: Run) -> None:
    code, out, err = export("--model", "marengo3.5", "-")

    records = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [record["id"] for record in records] == [f"{OTHER.task_id}:{at}" for at in range(3)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--option", "visual"], 3),
        (["--scope", "clip", "--option", "visual,audio"], 6),
        (["--name", "film*"], 2),
        (["--label", "show=news", "--input-type", "video"], 4),
        (["--task", f"{FILM.task_id},{HOLIDAY.task_id}"], 6),
        (["--since", "2025-10-09"], 6),
        (["--latest"], 6),
    ],
)
def test_filters_choose_the_vectors(export: Run, filters: list[str], expected: int) -> None:
    code, out, err = export("v.parquet", "--model", "marengo3.0", "--json", *filters)

    assert code == 0, err
    assert json.loads(out)["vectors"] == expected == pq.read_metadata("v.parquet").num_rows


def test_it_says_what_it_did(export: Run) -> None:
    first = export("v/")
    again = export("v/", "--append")
    store(Path("harvester.db"), Harvested(4, name="new.mp4"))
    added = export("v/", "--append")

    assert re.fullmatch(r"v/: 9 vectors of 3 tasks, 2 files, \d.* in \d.*\.\n", first[2]), first
    assert again == (0, "", "v/: nothing is new.\n")
    assert re.fullmatch(r"v/: 4 vectors of 1 task, \d.* in \d.*\.\n", added[2]), added


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["v.csv"], "'v.csv' has an ending that is no kind of file. Choose from .parquet, .arrow, .npz, .jsonl;"),
        (["v.parquet"], "cannot be compared, so one file does not hold them all. Choose one with --model marengo3.0,"),
        (["v.parquet", "--model", "marengo2.7"], "No stored vector matches. There are vectors of marengo3.0 with 8"),
        (["v.parquet", "--append", "--force"], "--append and --force exclude each other."),
        (["-", "--json"], "'-' goes with neither --json nor --append nor --force."),
        (["v.parquet", "--since", "yesterday"], "--since 'yesterday' is neither a time nor a date."),
        (["v.parquet", "--task", "no id!"], "The task id 'no id!' contains something other than"),
        (["nowhere/v.parquet"], "The folder of 'nowhere/v.parquet' does not exist."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_makes_no_file(export: Run, arguments: list[str], said: str) -> None:
    code, out, err = export(*arguments)

    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert [path.name for path in Path().iterdir() if "harvester.db" not in path.name] == []


def test_a_mistyped_database_makes_no_file(export: Run, tmp_path: Path) -> None:
    code, _, err = export("v.parquet", "--db", "harvetser.db")

    assert code == 4
    assert "There is no database at 'harvetser.db'." in err
    assert not (tmp_path / "harvetser.db").exists()
    assert not (tmp_path / "v.parquet").exists()


def test_a_newer_schema_is_refused(export: Run) -> None:
    with closing(sqlite3.connect("harvester.db")) as connection, connection:
        connection.execute("UPDATE schema_migrations SET version = 999 WHERE version = 1")

    code, _, err = export("v.parquet", "--model", "marengo3.0")

    assert code == 4
    assert "newer" in err
    assert not Path("v.parquet").exists()


def test_without_pyarrow_it_says_what_to_install(export: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    code, _, err = export("v.parquet", "--model", "marengo3.0")
    others = [export(name, "--model", "marengo3.0")[0] for name in ("v.npz", "v.jsonl")]

    assert (code, others) == (2, [0, 0])
    assert "pip install 'twelvelabs-harvester[parquet]'" in err


def test_neither_another_command_nor_json_lines_load_pyarrow(tmp_path: Path) -> None:
    store(tmp_path / "harvester.db", HOLIDAY)
    code = (
        "import sys; from harvester.cli.main import run;"
        "assert run(['status']) == 0; assert 'numpy' not in sys.modules;"
        "assert run(['export', 'v.jsonl']) == 0; assert 'pyarrow' not in sys.modules"
    )

    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr


async def test_a_signal_leaves_nothing_behind(shell: Shell) -> None:
    store(shell.database, *(Harvested(number, count=2000, dim=1024) for number in range(1, 9)))
    export = await shell.start("export", "v.npz")
    await until(lambda: any(shell.folder.glob(".harvester-export-*/*")))
    export.signal(signal.SIGTERM)

    assert (await export.ended()).code == 143
    assert [path.name for path in shell.folder.iterdir() if "harvester.db" not in path.name] == []
