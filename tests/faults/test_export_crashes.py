"""Row 63: an export that is killed at any write, fsync or change of a folder leaves a whole file, or none.

A sample of the calls is tried; `make crash` tries every one.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harvester.app.stores import stored_results
from harvester.dataset.export import export
from harvester.dataset.export_parts import ExportOptions, Unheard
from harvester.domain.results.result_filter import ResultFilter
from harvester.records import arrow_files  # noqa: F401  # loaded once, for all processes that are killed
from harvester.records.contents import FileKind
from tests.faults.commands import sample
from tests.faults.tracing import (
    CHANGES,
    KILL,
    WRITES,
    Call,
    calls_in,
    for_each_call,
    injecting,
    run_traced,
    skip_without_strace,
    watching,
)
from tests.support.store_builders import NOW
from tests.support.stored_vectors import Harvested, store
from tests.support.thorough import thorough

POINTS = int(os.environ.get("CRASH_POINTS", "4"))

OWN_CALLS = ("write", "fsync", *(name for name in CHANGES if name not in WRITES))
"""Not the other calls that write: they are SQLite's, whose number differs from run to run."""

FIRST = (Harvested(1), Harvested(2, "marengo3.5", name="news.mp4"))
AGAIN = (replace(FIRST[0], at_ms=NOW + 9_000, seed=1, count=3), Harvested(3, "marengo3.5"), Harvested(4))

Rows = dict[str, list[float]]


def run_export(database: Path, target: Path, model: str | None) -> None:
    options = ExportOptions(
        target=target,
        kind=FileKind(target.suffix) if target.suffix else None,
        wanted=ResultFilter(models=(model,) if model else ()),
        appends=True,
    )
    export(stored_results(database), options, Unheard())


def rows(target: Path) -> Rows:
    """Return the vectors by id, as a reader finds them. Raises AssertionError for an id that is there twice."""
    paths = sorted(target.rglob("*.parquet")) if target.is_dir() else [target] * target.exists()
    found = [row for path in paths for row in pq.ParquetFile(path).read().select(["id", "vector"]).to_pylist()]
    by_id = {row["id"]: row["vector"] for row in found}
    assert len(by_id) == len(found)
    return by_id


def of(*tasks: Harvested) -> Rows:
    return {f"{task.task_id}:{at}": row for task in tasks for at, row in enumerate(task.matrix().tolist())}


def part(rows: Rows, task: Harvested) -> Rows:
    return {key: row for key, row in rows.items() if key.startswith(task.task_id)}


@pytest.mark.parametrize(("name", "model"), [("vectors.parquet", "marengo3.0"), ("vectors", None)])
@pytest.mark.parametrize("is_first", [pytest.param(True, id="first", marks=thorough), pytest.param(False, id="append")])
def test_row_63_whenever_it_is_killed_a_reader_finds_whole_tasks(
    tmp_path: Path, name: str, model: str | None, *, is_first: bool
) -> None:
    skip_without_strace()
    database, before = tmp_path / "harvester.db", tmp_path / "before"
    before.mkdir()
    store(database, *FIRST)
    if not is_first:
        run_export(database, before / name, model)
        store(database, *AGAIN)
    whole = [task for task in (FIRST if is_first else (FIRST[1], *AGAIN)) if model in {None, task.model}]
    old, ends = rows(before / name), list[int]()

    def kill_and_go_on(call: Call, folder: Path) -> None:
        place = folder / "exports"
        shutil.copytree(before, place)
        ended = run_traced(run_export, database, place / name, model, options=injecting(KILL, call))
        # strace counts the calls of each thread, and which thread of Arrow writes differs from run to run.
        assert ended in {-9, 0}, call
        ends.append(ended)
        found = rows(place / name)
        for task in (*FIRST, *AGAIN):
            assert part(found, task) in (part(old, task), part(of(*whole), task)), (call, task)
        if is_first or place.joinpath(name).is_file():
            assert found in ({}, old, of(*whole)), call

        run_export(database, place / name, model)

        assert rows(place / name) == of(*whole), call
        assert [one.name for one in place.iterdir()] == [name], call

    log, undisturbed = tmp_path / "log", tmp_path / "undisturbed"
    shutil.copytree(before, undisturbed)
    assert run_traced(run_export, database, undisturbed / name, model, options=watching(OWN_CALLS), log=log) == 0
    assert rows(undisturbed / name) == of(*whole)
    for_each_call(sample(calls_in(log), POINTS), tmp_path, kill_and_go_on)
    assert -9 in ends
