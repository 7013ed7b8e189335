"""Reading vectors takes the memory of a batch, however many tasks there are."""

from pathlib import Path

import pytest

from harvester.domain.results.result_filter import ResultFilter
from harvester.domain.results.vectors import VectorBatch, VectorSpace
from harvester.store.sqlite import stored_results
from tests.support.stored_vectors import Harvested, store


def test_tasks_of_earlier_batches_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [Harvested(number, count=3) for number in range(1, 13)]
    store(tmp_path / "harvester.db", *tasks)
    monkeypatch.setattr(stored_results, "GROUP_TASKS", 2)
    held: list[int] = []
    make_batch = stored_results._Columns.batch

    def noting(columns: stored_results._Columns, space: VectorSpace, *, exact: bool) -> VectorBatch:
        batch = make_batch(columns, space, exact=exact)
        held.append(len(batch.tasks))
        return batch

    monkeypatch.setattr(stored_results._Columns, "batch", noting)
    reader = stored_results.SqliteStoredResults(tmp_path / "harvester.db")
    batches = list(reader.vectors(ResultFilter(), VectorSpace("marengo3.0", 8), batch_rows=7))

    # 7 rows are of 4 tasks at most, where the first one has begun in the batch before.
    assert max(held) <= 4
    read = [
        f"{batch.tasks[task].task_id}:{at}"
        for batch in batches
        for task, at in zip(batch.task_index, batch.positions, strict=True)
    ]
    assert read == [f"{task.task_id}:{at}" for task in tasks for at in range(3)]
