"""Models of stored results that their tasks' entries in the account's list name; no answer about the task does."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask, UnnamedResult
from harvester.domain.tasks.models import ModelSource
from harvester.domain.tasks.task import RETENTION_MS, Task
from harvester.store.sqlite.content import read_content, without_vectors
from harvester.store.sqlite.queries import Scope, query
from harvester.store.sqlite.task_rows import task_of

PAUSE_MS = 3600 * 1000
"""Milliseconds: the shortest time after which the list is asked again for the model of a result."""

BATCH_SEGMENTS = 8192
"""Segments of the results that one transaction names: their checksums read each row of `embeddings`."""

_FILLED = ("duration", "input_filename", "input_url", "input_type")
"""The columns that an entry fills in where they are NULL, named as the fields of MediaMetadata."""


@dataclass(frozen=True, slots=True)
class Named:
    """A stored result without a model, and the entry of the list that names it."""

    task: int
    task_id: str
    segment_count: int
    entry: ListedTask


def unnamed_results(connection: sqlite3.Connection, now_ms: int, scope: Scope, *, limit: int) -> list[UnnamedResult]:
    """Return results for whose models the list should be asked; see `harvester.ports.store.ModelStore`."""
    parameters = {"now": now_ms, "retention": RETENTION_MS, "pause": PAUSE_MS, "limit": limit}
    rows = connection.execute(scope.query("unnamed"), parameters)
    return [UnnamedResult(task_of(columns), harvested_at) for harvested_at, *columns in rows]


def nameable(connection: sqlite3.Connection, entries: Iterable[ListedTask]) -> list[Named]:
    """Return the results without a model that an entry names. Only reads."""
    (is_any,) = connection.execute(query("is_any_unnamed")).fetchone()
    found = []
    for entry in entries if is_any else ():
        if entry.metadata.model_name is not None:
            row = connection.execute(query("find_unnamed"), {"task_id": entry.task_id}).fetchone()
            if row is not None:
                task, task_id, segment_count = row
                found.append(Named(task, task_id, segment_count, entry))
    return found


def batches(named: Sequence[Named]) -> Iterator[list[Named]]:
    """Yield the results in groups that one transaction names."""
    batch: list[Named] = []
    segments = 0
    for one in named:
        if batch and segments + one.segment_count > BATCH_SEGMENTS:
            yield batch
            batch, segments = [], 0
        batch.append(one)
        segments += one.segment_count
    if batch:
        yield batch


def name_models(connection: sqlite3.Connection, named: Sequence[Named], now_ms: int) -> int:
    """Store the models of these results; return of how many. The body of one transaction.

    The new checksum covers what was filled in; it is computed only if the old one is right, so that it confirms no
    damage.
    """
    count = 0
    for one in named:
        stored = read_content(connection, one.task, one.task_id, without_vectors(connection, one.task))
        if stored.content.video["model_name"] is not None:
            continue
        if not stored.is_right:
            connection.execute(query("model_not_listed"), {"task": one.task, "now": now_ms})
            continue
        filled = _filled_in(stored.content.video, one.entry.metadata)
        content = replace(stored.content, video=stored.content.video | filled)
        row = {"task": one.task, "content_blake2b": content.checksum(), **filled}
        count += connection.execute(query("name_model"), row).rowcount
    return count


def models_not_listed(connection: sqlite3.Connection, tasks: Iterable[Task], now_ms: int) -> None:
    """Record when the list was asked for the models of these results in vain. The body of one transaction."""
    rows = [{"task": task.row_id, "now": now_ms} for task in tasks]
    connection.executemany(query("model_not_listed"), rows)


def _filled_in(video: dict[str, Any], metadata: MediaMetadata) -> dict[str, Any]:
    """Return the columns that the entry names or fills in; what the result says of itself stays."""
    return {"model_name": metadata.model_name, "model_source": ModelSource.LIST} | {
        name: getattr(metadata, name) if video[name] is None else video[name] for name in _FILLED
    }
