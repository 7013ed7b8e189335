"""A database with harvested tasks of several models and media, as exports and programs read it."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from harvester.domain.tasks.outcomes import Retrieved
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.widening import remove_result
from tests.support.store_builders import NOW, add_tasks, claim, embeddings_of, object_id, settle_all, settlement

OPTIONS = ("visual", "audio")


@dataclass(frozen=True)
class Harvested:
    """A task to store: `count` vectors of `dim` numbers, in turn visual and audio."""

    number: int
    model: str | None = "marengo3.0"
    count: int = 4
    dim: int = 8
    name: str | None = "holiday.mp4"
    input_type: str | None = "video"
    labels: Mapping[str, str] = field(default_factory=dict)
    at_ms: int = NOW
    seed: int = 0

    @property
    def task_id(self) -> str:
        return object_id(self.number)

    def matrix(self) -> Any:
        rng = np.random.default_rng((self.number, self.seed))
        matrix = rng.standard_normal((self.count, self.dim)).astype(np.float32)
        return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def store(path: Path, *tasks: Harvested) -> None:
    """Store the results; a task that is stored already is harvested again."""
    if not path.exists():
        path.write_bytes(_empty())
    with closing(open_for_writing(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for task in tasks:
            _store(connection, task)


@cache
def _empty() -> bytes:
    """Return a database without tasks; making one takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "harvester.db"
        with closing(open_for_writing(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def _store(connection: sqlite3.Connection, task: Harvested) -> None:
    add_tasks(connection, task.task_id)
    connection.execute(
        "UPDATE tasks SET state = 'pending', ended_at = NULL, next_attempt_at = 0 WHERE task_id = ?", (task.task_id,)
    )
    (claimed,) = claim(connection, now_ms=task.at_ms)
    remove_result(connection, claimed.row_id)
    result = embeddings_of(task.matrix())
    metadata = replace(
        result.metadata,
        model_name=task.model,
        input_filename=task.name,
        input_type=task.input_type,
    )
    options: Sequence[str] = [OPTIONS[at % 2] for at in range(task.count)]
    outcome = Retrieved(replace(result, metadata=metadata, options=list(options)))
    assert settle_all(connection, settlement(claimed, outcome, now_ms=task.at_ms)) == [True]
    for key, value in task.labels.items():
        connection.execute(
            "INSERT OR REPLACE INTO labels SELECT id, ?, ? FROM tasks WHERE task_id = ?", (key, value, task.task_id)
        )
