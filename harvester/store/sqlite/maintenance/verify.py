"""Verify the content of a database; reads only."""

import sqlite3
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from harvester.domain.tasks.task import OPEN_STATES
from harvester.ports.maintenance import Finding
from harvester.reports.formats import counted
from harvester.store.sqlite.content import StoredContent, VectorRow, read_content, vectors_of
from harvester.store.sqlite.json_columns import load_json
from harvester.store.sqlite.migrations import applied_versions
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.schema import schema_problems

UNIT_NORM_TOLERANCE = 1e-3

SHORTENED_DIMENSIONS = frozenset({128, 256})
"""Numbers of a vector of Marengo 3.5 that is the beginning of a longer one, so that its length is not 1."""


def verify(connection: sqlite3.Connection, *, deep: bool = False, schema: bool = True) -> Iterator[Finding]:
    """Yield findings about structure, schema, counts, dimensions and lengths; with `deep` about every value."""
    yield from verify_structure(connection)
    if schema:
        yield from (Finding(f"schema: {text}") for text in schema_problems(connection, applied_versions(connection)))
    yield from _relations(connection)
    if deep:
        yield from _numbers(connection)


def verify_structure(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield findings about the file itself, at any schema."""
    for (text,) in connection.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield Finding(f"SQLite: {text}", is_malformed=True)
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Finding(f"row {row} of {table} belongs to no row of {parent}")


def _relations(connection: sqlite3.Connection) -> Iterator[Finding]:
    for (task_id,) in connection.execute(query("harvested_without_video")):
        yield Finding("harvested, but nothing is stored", task_id, is_damage=True)
    for task_id, state in connection.execute(query("video_without_harvest")):
        if state in OPEN_STATES:
            text = f"the task is {state}: its stored result stays until it is retrieved again"
            yield Finding(text, task_id, is_warning=True)
        else:
            yield Finding(f"embeddings are stored, but the task is {state}", task_id)
    for task_id, expected, segments, vectors, positions in connection.execute(query("miscounted_segments")):
        counted = f"{segments} segments up to position {positions - 1} and {vectors} vectors"
        yield Finding(f"{expected} segments were received, {counted} are stored", task_id, is_damage=True)
    for task_id, position, dim, dtype, length in connection.execute(query("wrong_lengths")):
        yield Finding(f"vector {position}: {length} bytes are not {dim} numbers of {dtype}", task_id, is_damage=True)
    for task_id, smallest, largest in connection.execute(query("mixed_dimensions")):
        yield Finding(f"vectors of {smallest} to {largest} numbers in one video", task_id, is_damage=True)
    for task_id, position in connection.execute(query("wrong_uncertainties")):
        text = f"uncertainty {position}: not as many numbers as the vector, or bytes of another length"
        yield Finding(text, task_id, is_damage=True)
    yield from _incomplete(connection)
    yield from _filtered(connection)
    yield from _gaps(connection)


def _gaps(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield how many results of an older version are not brought up to date, and how many have no model."""
    uncovered, unchecked = connection.execute(query("count_of_older_version")).fetchone()
    if uncovered:
        text = f"{uncovered} of an older version lack columns of this one: `harvester migrate` fills them in"
        yield Finding(text, is_warning=True)
    if unchecked:
        text = f"{unchecked} of an older version were not checked for missing parts: `harvester migrate` checks them"
        yield Finding(text, is_warning=True)
    (unnamed,) = connection.execute(query("count_without_model")).fetchone()
    if unnamed:
        why = "their vectors cannot be compared with others; `harvester show` says why"
        text = f"{counted(unnamed, 'result')} without a known model: {why}"
        yield Finding(text, is_warning=True)


def _incomplete(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield what the stored results lack, and how many they are: it was missing when they came."""
    count = 0
    for task_id, warnings in connection.execute(query("incomplete_results")):
        count += 1
        yield from (Finding(f"incomplete: {text}", task_id, is_warning=True) for text in load_json(warnings))
    if count:
        yield Finding(f"stored results without all parts: {count}", is_warning=True)


def _filtered(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield how many results were retrieved for some of the embedding options only."""
    (count,) = connection.execute(query("count_filtered")).fetchone()
    if count:
        text = f"stored results that hold only some of the embedding options: {count}"
        yield Finding(text, is_warning=True)


def _numbers(connection: sqlite3.Connection) -> Iterator[Finding]:
    for task, task_id in connection.execute(query("stored_videos")).fetchall():
        check = _NumberCheck()
        stored = read_content(connection, task, task_id, check.passing(vectors_of(connection, task)))
        if stored.vectors_crc32 != stored.content.video["vectors_crc32"]:
            yield Finding("the vectors are not those that were received (checksum)", task_id, is_damage=True)
        elif stored.is_right is False:
            yield _other_content(connection, stored)
        if not check.is_finite:
            yield Finding("a vector holds a number that is not finite", task_id, is_damage=True)
        if not check.is_unit:
            yield Finding("vectors are not of unit length", task_id, is_warning=True)


class _NumberCheck:
    """Checks the numbers of vectors while they are read."""

    def __init__(self) -> None:
        self.is_finite = self.is_unit = True

    def passing(self, rows: Iterable[VectorRow]) -> Iterator[VectorRow]:
        """Yield the rows unchanged, and check their vectors."""
        for row in rows:
            yield row
            _, dim, dtype, vector = row
            if dtype not in ("f4", "f8") or not isinstance(vector, bytes) or len(vector) % int(dtype[1]):
                # The row is damaged and has no whole numbers; the checksums report it.
                continue
            numbers = np.frombuffer(vector, f"<{dtype}").astype(np.float64)
            if not np.isfinite(numbers).all():
                self.is_finite = False
            elif dim not in SHORTENED_DIMENSIONS and abs(_length(numbers) - 1) > UNIT_NORM_TOLERANCE:
                self.is_unit = False


def _other_content(connection: sqlite3.Connection, stored: StoredContent) -> Finding:
    task_id, received_id = stored.content.task_id, stored.received_id
    if stored.is_right_for(received_id):
        # To download the result again under the wrong id would lose it. If both tasks exist, their results are swapped.
        is_swapped = connection.execute(query("find_task"), {"task_id": received_id}).fetchone() is not None
        text = f"what is stored belongs to the task {received_id}"
        remedy = "" if is_swapped else "; tasks.task_id was changed: set it to that id"
        return Finding(text + remedy, task_id, is_damage=is_swapped)
    return Finding("metadata or segments are not those that were received (checksum)", task_id, is_damage=True)


def _length(numbers: NDArray[np.float64]) -> float:
    # With huge numbers the result is infinite, and numpy would print a warning.
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(numbers))
