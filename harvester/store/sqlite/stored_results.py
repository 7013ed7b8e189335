"""Reads stored vectors for programs: see `harvester.ports.stored_results`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harvester.domain.results.result_filter import ResultFilter
from harvester.domain.results.vectors import (
    KnownValues,
    ResultTask,
    Segment,
    StoredVideo,
    TaskColumns,
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

    def likely_space(self, wanted: ResultFilter) -> tuple[VectorSpace, int] | None:
        """Return the space of one wanted task, and how many vectors the wanted tasks have."""
        if wanted.options or wanted.scopes:
            return None
        with self._snapshot() as connection:
            models = filtered(connection, "likely_space", wanted).fetchall()
        if len(models) != 1 or models[0][1] is None:
            return None
        ((model, dim, count),) = models
        return VectorSpace(model, dim), count

    def tasks(self, wanted: ResultFilter) -> Iterator[ResultTask]:
        """Yield the tasks that have wanted vectors."""
        with self._snapshot() as connection:
            for group in _groups(connection, filtered(connection, "tasks_with_vectors", wanted)):
                yield from group.tasks

    def vectors(
        self, wanted: ResultFilter, space: VectorSpace, *, batch_rows: int, exact: bool = False
    ) -> Iterator[VectorBatch]:
        """Yield the wanted vectors of one space."""
        with self._snapshot() as connection:
            # Decoding each text of each row would take longer than reading the vectors: few texts repeat.
            connection.text_factory = bytes
            groups = _groups(connection, filtered(connection, "tasks_of_model", wanted, model=space.model_name))
            read = _read(connection, "result_vectors", wanted, groups, dim=space.dim)
            for rows in _batches(read, batch_rows):
                yield rows.batch(space, exact=exact)

    def segments(self, wanted: ResultFilter) -> Iterator[Segment]:
        """Yield the wanted records of all spaces."""
        with self._snapshot() as connection:
            groups = _groups(connection, filtered(connection, "tasks_with_vectors", wanted))
            for cursor, of_group in _read(connection, "result_segments", wanted, groups):
                tasks = list(of_group)
                for place, *columns in cursor:
                    yield _segment(tasks[place], *columns)

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


class _Group(NamedTuple):
    """Tasks that follow each other in the order of harvest."""

    keys: str
    """Their row ids, as a JSON list."""
    tasks: TaskColumns


def _groups(connection: sqlite3.Connection, ordered: sqlite3.Cursor) -> Iterator[_Group]:
    while found := ordered.fetchmany(GROUP_TASKS):
        keys, *columns = zip(*found, strict=True)
        # Rows that outlive their use are work for Python's garbage collector.
        del found
        group = dump_json(keys).decode()
        labels: list[dict[str, str]] = [{} for _ in keys]
        for place, name, value in connection.execute(statement("result_labels"), {"tasks": group}):
            labels[place][_text(name)] = _text(value)
        ids, models, media, names, urls, *numbers = columns
        texts = _decoded(ids), _texts(models), _texts(media), _decoded(names), _decoded(urls)
        yield _Group(group, TaskColumns([*texts, *numbers, labels]))


def _read(
    connection: sqlite3.Connection, name: str, wanted: ResultFilter, groups: Iterator[_Group], **more: Any
) -> Iterator[tuple[sqlite3.Cursor, TaskColumns]]:
    """Yield the rows of the tasks' wanted segments, for one group of tasks after the other."""
    parameters = _segment_parameters(wanted) | more
    for group in groups:
        yield connection.execute(statement(name), {"tasks": group.keys, **parameters}), group.tasks


class _Columns:
    """Rows on their way into a batch, as columns, and their tasks."""

    def __init__(self) -> None:
        self.count = 0
        self._tasks = TaskColumns.of(())
        self._index: list[Any] = []
        self._pieces: list[list[tuple[Any, ...]]] = []

    def add(self, rows: list[Row], of_group: TaskColumns) -> None:
        """Add rows of tasks that no former row is of; a row begins with the place of its task in the group."""
        places, *columns = zip(*rows, strict=True)
        in_group = np.array(places, np.int32)
        begins = np.concatenate([[True], in_group[1:] != in_group[:-1]])
        self._index.append(np.cumsum(begins, dtype=np.int32) + (len(self._tasks) - 1))
        self._tasks += of_group.taken(in_group[begins].tolist())
        self._pieces.append(columns)
        self.count += len(rows)

    def batch(self, space: VectorSpace, *, exact: bool) -> VectorBatch:
        """Return them all."""
        tasks, task_index = self._tasks, np.concatenate(self._index)
        columns = map(chain.from_iterable, zip(*self._pieces, strict=True)) if self._pieces[1:] else self._pieces[0]
        positions, options, scopes, starts, ends, pages, last_pages, quadrants, chunks, vectors = map(tuple, columns)
        return VectorBatch(
            space=space,
            matrix=matrix_of(vectors, space.dim, exact=exact, task_id=lambda row: tasks[task_index[row]].task_id),
            tasks=tasks,
            task_index=task_index,
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


def _batches(read: Iterator[tuple[sqlite3.Cursor, TaskColumns]], batch_rows: int) -> Iterator[_Columns]:
    """Yield the rows of full batches, the last one excepted."""
    batch = _Columns()
    for cursor, tasks in read:
        while found := cursor.fetchmany(batch_rows - batch.count):
            batch.add(found, tasks)
            del found
            if batch.count == batch_rows:
                yield batch
                batch = _Columns()
    if batch.count:
        yield batch


def _texts(column: Sequence[bytes | str | None]) -> Sequence[str | None]:
    """Return the texts of a column that has few different ones."""
    texts = {raw: _text(raw) for raw in set(column)}
    return [texts[raw] for raw in column]


def _decoded(column: Sequence[bytes | str | None]) -> Sequence[str | None]:
    """Return the texts of a column whose values hardly repeat."""
    return [raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw for raw in column]


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _segment(task: ResultTask, position: int, *columns: Any) -> Segment:
    before = f"{task.task_id}:{position}", task.task_id, position, task.model_name, task.input_type
    after = task.input_filename, task.input_url, task.duration, task.harvested_at, task.labels
    everything: list[Any] = [*before, *columns, *after]
    return Segment(*everything)
