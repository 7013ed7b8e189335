"""Reads stored vectors for programs: see `harvester.ports.stored_results`."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from harvester.domain.results.result_filter import ResultFilter
from harvester.domain.results.vectors import (
    KnownValues,
    ResultTask,
    Segment,
    StoredVideo,
    VectorBatch,
    VectorSpace,
)
from harvester.store.sqlite import queue
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.queries import Scope
from harvester.store.sqlite.queries import query as statement
from harvester.store.sqlite.sqlite_errors import translating_errors
from harvester.store.sqlite.stored_numbers import matrix_of

GROUP_TASKS = 512
"""Tasks that one statement reads."""

Row = tuple[Any, ...]


class SqliteStoredResults:
    """Reads the database at `path`; each iteration has a connection and a snapshot of its own.

    While an iteration lasts, the write-ahead log keeps what is written meanwhile. Raises StoreError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A path that is wrong is known now, not at the first use.
        with self._snapshot():
            pass

    def spaces(self, wanted: ResultFilter) -> list[tuple[VectorSpace, int]]:
        """Return the spaces of the wanted vectors with their numbers of vectors."""
        with self._snapshot() as connection:
            rows = filtered(connection, "vector_spaces", wanted).fetchall()
        return [(VectorSpace(model, dim), count) for model, dim, count in rows]

    def tasks(self, wanted: ResultFilter) -> Iterator[ResultTask]:
        """Yield the tasks that have wanted vectors."""
        with self._snapshot() as connection:
            for group in _groups(filtered(connection, "tasks_with_vectors", wanted)):
                yield from _result_tasks(connection, group).values()

    def vectors(
        self, wanted: ResultFilter, space: VectorSpace, *, batch_rows: int, exact: bool = False
    ) -> Iterator[VectorBatch]:
        """Yield the wanted vectors of one space."""
        with self._snapshot() as connection:
            # Decoding each text of each row would take longer than reading the vectors: few texts repeat.
            connection.text_factory = bytes
            keys = filtered(connection, "tasks_of_model", wanted, model=space.model_name)
            read = _read(connection, "result_vectors", wanted, keys, dim=space.dim)
            for rows, tasks in _batches(read, batch_rows):
                yield _batch(rows, tasks, space, exact=exact)

    def segments(self, wanted: ResultFilter) -> Iterator[Segment]:
        """Yield the wanted records of all spaces."""
        with self._snapshot() as connection:
            keys = filtered(connection, "tasks_with_vectors", wanted)
            for cursor, tasks in _read(connection, "result_segments", wanted, keys):
                for key, *columns in cursor:
                    yield _segment(tasks[key], *columns)

    def videos(self, wanted: ResultFilter) -> Iterator[StoredVideo]:
        """Yield the wanted tasks."""
        with self._snapshot() as connection:
            for *columns, options, labels, superseded in filtered(connection, "result_videos", wanted):
                yield StoredVideo(*[*columns, load_json(options), load_json(labels), bool(superseded)])

    def known_values(self) -> KnownValues:
        """Return the values of all stored vectors."""
        names = ("known_models", "known_options", "known_scopes", "known_input_types")
        with self._snapshot() as connection:
            return KnownValues(*([value for (value,) in connection.execute(statement(name))] for name in names))

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        with translating_errors(self._path), closing(open_for_reading(self._path)) as connection:
            connection.execute("BEGIN")
            yield connection


def filtered(connection: sqlite3.Connection, name: str, wanted: ResultFilter, **more: Any) -> sqlite3.Cursor:
    """Execute the statement called `name`, with {wanted_task}, and for the tasks that the filter names, if it does."""
    scope = Scope.ALL
    if wanted.task_ids:
        scope = Scope.SELECTED
        queue.select(connection, wanted.task_ids)
    parameters = {
        "models": _listed(wanted.models),
        "input_types": _listed(wanted.input_types),
        "labels": dump_json(list(wanted.labels.items())).decode(),
        "name": wanted.name,
        "since": wanted.since_ms,
        "latest": wanted.latest,
    }
    return connection.execute(scope.query(name), parameters | _segment_parameters(wanted) | more)


def _segment_parameters(wanted: ResultFilter) -> dict[str, Any]:
    """Return the parameters of {wanted_segment}."""
    return {"options": _listed(wanted.options), "scopes": _listed(wanted.stored_scopes)}


def _listed(values: Sequence[str]) -> str | None:
    return dump_json(list(values)).decode() if values else None


def _groups(keys: sqlite3.Cursor) -> Iterator[str]:
    """Yield the row ids of the tasks, as JSON lists; all of them take 8 bytes each."""
    found = array("q", chain.from_iterable(keys))
    for first in range(0, len(found), GROUP_TASKS):
        yield dump_json(found[first : first + GROUP_TASKS].tolist()).decode()


def _result_tasks(connection: sqlite3.Connection, group: str) -> dict[int, ResultTask]:
    labels: dict[int, dict[str, str]] = {}
    for key, name, value in connection.execute(statement("result_labels"), {"tasks": group}):
        labels.setdefault(key, {})[_text(name)] = _text(value)
    found: list[Any] = connection.execute(statement("result_tasks"), {"tasks": group}).fetchall()
    keys, *columns = zip(*found, strict=True)
    texts, numbers = columns[:5], columns[5:]
    rows: Any = zip(*map(_texts, texts), *numbers, (labels.get(key, {}) for key in keys), strict=True)
    return {key: ResultTask(*row) for key, row in zip(keys, rows, strict=True)}


def _read(
    connection: sqlite3.Connection, name: str, wanted: ResultFilter, keys: sqlite3.Cursor, **more: Any
) -> Iterator[tuple[sqlite3.Cursor, dict[int, ResultTask]]]:
    """Yield the rows of the tasks' wanted segments, for one group of tasks after the other."""
    for group in _groups(keys):
        cursor = connection.execute(statement(name), {"tasks": group, **_segment_parameters(wanted), **more})
        yield cursor, _result_tasks(connection, group)


def _batches(
    groups: Iterator[tuple[sqlite3.Cursor, dict[int, ResultTask]]], batch_rows: int
) -> Iterator[tuple[list[Row], dict[int, ResultTask]]]:
    """Yield full batches of rows, the last one excepted, with at least their tasks."""
    rows: list[Row] = []
    tasks: dict[int, ResultTask] = {}
    for cursor, of_group in groups:
        tasks |= of_group
        while found := cursor.fetchmany(batch_rows - len(rows)):
            rows += found
            if len(rows) == batch_rows:
                yield rows, tasks
                # What follows is of this group, or of later ones.
                rows, tasks = [], dict(of_group)
    if rows:
        yield rows, tasks


def _batch(rows: list[Row], known: dict[int, ResultTask], space: VectorSpace, *, exact: bool) -> VectorBatch:
    keys, positions, options, scopes, starts, ends, pages, last_pages, quadrants, chunks, vectors = zip(
        *rows, strict=True
    )
    key_column = np.array(keys, np.int64)
    begins = np.concatenate([[True], key_column[1:] != key_column[:-1]])
    return VectorBatch(
        space=space,
        matrix=matrix_of(vectors, space.dim, exact=exact, task_id=lambda row: known[keys[row]].task_id),
        tasks=[known[key] for key in key_column[begins].tolist()],
        task_index=(np.cumsum(begins) - 1).astype(np.int32),
        positions=np.array(positions, np.int64),
        options=_texts(options),
        scopes=_texts(scopes),
        starts=np.array(starts, np.float64),
        ends=np.array(ends, np.float64),
        start_pages=pages,
        end_pages=last_pages,
        quadrants=_texts(quadrants),
        chunk_indexes=chunks,
    )


def _texts(column: Sequence[str | bytes | None]) -> Sequence[str | None]:
    texts = {raw: _text(raw) for raw in set(column)}
    return [texts[raw] for raw in column]


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _segment(task: ResultTask, position: int, *columns: Any) -> Segment:
    before = f"{task.task_id}:{position}", task.task_id, position, task.model_name, task.input_type
    after = task.input_filename, task.input_url, task.duration, task.harvested_at, task.labels
    everything: list[Any] = [*before, *columns, *after]
    return Segment(*everything)
