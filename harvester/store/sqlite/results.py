"""Store the results of attempts: the task's row and its embeddings change in the same transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from harvester.domain.tasks.dead_letter import packed
from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import Task, TaskState
from harvester.store.sqlite.attempts import insert_attempts
from harvester.store.sqlite.dead_letters import store_payload
from harvester.store.sqlite.foreign_triggers import check_changed_by_others, check_stored
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.result_rows import ResultRows, describe, is_complete, listed_metadata
from harvester.store.sqlite.row_batches import write_rows
from harvester.store.sqlite.widening import make_room

_ENDS_WITH_BODY = (TaskState.REJECTED, TaskState.EXPIRED)


def settle(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[bool]:
    """Store each settlement; return for each whether it was accepted. The body of one transaction.

    A stale result (another process has claimed the task since) and a repeated one are not accepted and change nothing.
    A task with a stored result keeps it unless the new one holds more, see `make_room`.
    """
    accepted = _accepted(connection, settlements)
    kept = list(compress(settlements, accepted))
    _update_tasks(connection, kept)
    insert_attempts(connection, [(settlement.task.row_id, settlement.attempt) for settlement in kept])
    staying = make_room(connection, kept)
    kept = [settlement for settlement in kept if settlement.task.row_id not in staying]
    for settlement in kept:
        _keep_beside(connection, settlement)
    _insert_embeddings(
        connection, [settlement for settlement in kept if settlement.decision.state is TaskState.HARVESTED]
    )
    _insert_warnings(connection, kept)
    return accepted


def _accepted(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[bool]:
    """Return which settlements are neither stale nor repeated, in the store or in the group."""
    seen = dump_json([(one.task.row_id, one.task.claim, one.task.task_id) for one in settlements]).decode()
    (found,) = connection.execute(query("settleable"), {"seen": seen}).fetchone()
    places = sorted(map(int, found.split(","))) if found else []
    # The first of several settlements of one task uses up the claim.
    first = {settlements[place].task.row_id: place for place in reversed(places)}
    return [first.get(one.task.row_id) == place for place, one in enumerate(settlements)]


def _update_tasks(connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> None:
    updated = write_rows(connection, "settle", [_task_row(one) for one in settlements])
    if updated != len(settlements):
        for one in settlements:
            check_changed_by_others(connection, one.task, is_due=False)
        check_stored("tasks", len(settlements), updated)


def _keep_beside(connection: sqlite3.Connection, settlement: Settlement) -> None:
    if settlement.decision.state.is_open and settlement.metadata is not None:
        keep_metadata(connection, settlement.task, settlement.metadata, settlement.settled_at_ms)
    if settlement.decision.state in _ENDS_WITH_BODY and settlement.body:
        store_payload(
            connection, settlement.task.row_id, packed(settlement.body, settlement.encoding, settlement.attempt.at_ms)
        )


def _task_row(settlement: Settlement) -> tuple[Any, ...]:
    """Return the values of the statement `settle`, in its order."""
    decision, problem = settlement.decision, settlement.decision.problem
    return (
        settlement.task.row_id,
        decision.state,
        decision.next_attempt_at_ms if decision.state.is_open else 0,
        settlement.settled_at_ms,
        decision.expires_at_ms,
        decision.created_at_ms,
        None if decision.state.is_open else settlement.settled_at_ms,
        int(settlement.charged),
        decision.failures,
        decision.gone,
        decision.invalid,
        decision.unfinished_at_ms,
        decision.doubted_at_ms,
        decision.version,
        decision.denied_by,
        decision.other_id,
        decision.seen_with,
        None if settlement.retrieve_options is None else dump_json(settlement.retrieve_options).decode(),
        *((problem.code, problem.message, settlement.settled_at_ms) if problem else (None, None, None)),
    )


def keep_metadata(connection: sqlite3.Connection, task: Task, metadata: MediaMetadata, now_ms: int) -> bool:
    """Store what the API says about the video of an open task; fields that are None stay unchanged.

    Return False if the task is not open any more.
    """
    described = {
        "task": task.row_id,
        "task_id": task.task_id,
        "now": now_ms,
        "model_name": metadata.model_name,
        "duration": metadata.duration,
        "input_filename": metadata.input_filename,
        "input_url": metadata.input_url,
        "input_type": metadata.input_type,
    }
    return connection.execute(query("store_listed"), described).rowcount > 0


def _insert_warnings(connection: sqlite3.Connection, settlements: Iterable[Settlement]) -> None:
    """Store what the results lack."""
    rows = [
        {"task": one.task.row_id, "now": one.settled_at_ms, "warnings": dump_json(one.warnings).decode()}
        for one in settlements
        if one.warnings
    ]
    if rows:
        connection.executemany(query("set_warnings"), rows)


def _insert_embeddings(connection: sqlite3.Connection, settlements: Iterable[Settlement]) -> None:
    """Store results, with the rows of all small ones in few statements."""
    results = {one.task.row_id: (one, one.embeddings) for one in settlements if one.embeddings is not None}
    listed = _listed(connection, {key: embeddings.metadata for key, (_, embeddings) in results.items()})
    rows = ResultRows()
    for key, (settlement, embeddings) in results.items():
        described = describe(embeddings, settlement.task.task_id, settlement.settled_at_ms, listed.get(key))
        rows.add(key, described)
    rows.insert(connection)


def _listed(connection: sqlite3.Connection, described: dict[int, MediaMetadata]) -> dict[int, MediaMetadata]:
    """Return what the list says about those results that do not say all of it themselves."""
    incomplete = [key for key, metadata in described.items() if not is_complete(metadata)]
    if not incomplete:
        return {}
    found = connection.execute(query("listed_for"), {"tasks": dump_json(incomplete).decode()})
    return {key: listed_metadata(*columns) for key, *columns in found}
