"""Pages of the list: read the rows that a page names, and store the decisions, one page in one transaction."""

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from harvester.domain.tasks.listing import ListedChange, ListedRow, ListSettlement, new_task
from harvester.domain.tasks.records import Attempt, Decision
from harvester.domain.tasks.task import Task
from harvester.store.sqlite.attempts import insert_attempts
from harvester.store.sqlite.foreign_triggers import check_stored
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.queue import defer
from harvester.store.sqlite.results import keep_metadata
from harvester.store.sqlite.task_rows import task_of

NOT_UNFINISHED = "not unfinished"
"""The outcome for a task that a page of all unfinished ones does not show."""


def listed_rows(connection: sqlite3.Connection, task_ids: Iterable[str]) -> dict[str, ListedRow]:
    """Return the rows of those tasks that are stored or were forgotten, by task id."""
    named, statement, rows = list(task_ids), query("find_listed"), {}
    for task_id in named:
        found = connection.execute(statement, {"task_id": task_id}).fetchone()
        if found is not None:
            is_claimed, *columns = found
            rows[task_id] = ListedRow(task_of(tuple(columns)), bool(is_claimed))
    unknown = dump_json([task_id for task_id in named if task_id not in rows]).decode()
    for (task_id,) in connection.execute(query("forgotten_among"), {"task_ids": unknown}):
        rows[task_id] = ListedRow(new_task(task_id, 0), is_claimed=False, is_forgotten=True)
    return rows


def apply_list_page(connection: sqlite3.Connection, page: ListSettlement) -> list[bool]:
    """Store the changes by a page; return for each whether it was stored. The body of one transaction.

    A change is not stored if the row is no longer as it was read: another process has settled, claimed or deleted it
    since. Claimed tasks are given back unless the page has settled them.
    """
    claimed = {task.row_id for task in page.claimed}
    stored = [
        _store(connection, change, page.at_ms, charged=change.task.row_id in claimed and page.attempt is not None)
        for change in page.changes
    ]
    settled = {task.row_id for task in page.finished}
    for change, is_stored in zip(page.changes, stored, strict=True):
        if is_stored and change.task.row_id in claimed:
            _insert_attempt(connection, change.task, page.attempt, change.listed.outcome.kind)
        # A page adds nothing about a task that is known to be ready: give it back.
        if is_stored and change.decision is not None:
            settled.add(change.task.row_id)
    for task in page.finished:
        row = {"id": task.row_id, "task_id": task.task_id, "claim": task.claim}
        if connection.execute(query("infer_ready"), row).rowcount:
            _insert_attempt(connection, task, page.attempt, NOT_UNFINISHED)
    defer(connection, ((task, 0) for task in page.claimed if task.row_id not in settled))
    return stored


def _insert_attempt(connection: sqlite3.Connection, task: Task, attempt: Attempt | None, outcome: str) -> None:
    if attempt is not None:
        insert_attempts(connection, [(task.row_id, replace(attempt, outcome=outcome))])


def _store(connection: sqlite3.Connection, change: ListedChange, now_ms: int, *, charged: bool) -> bool:
    task, decision = change.task, change.decision
    if decision is None:
        return keep_metadata(connection, task, change.listed.metadata, now_ms)
    if change.is_new:
        key = _insert_task(connection, task, decision, now_ms)
        if key is None:
            return False
        task = replace(task, row_id=key)
    elif not connection.execute(query("update_listed"), _update(task, decision, now_ms, charged=charged)).rowcount:
        return False
    keep_metadata(connection, task, change.listed.metadata, now_ms)
    return True


def _insert_task(connection: sqlite3.Connection, task: Task, decision: Decision, now_ms: int) -> int | None:
    """Return the row id of the new task; None if another process has queued it since."""
    # Not the id of the last inserted row: a trigger may have inserted another one, or none.
    inserted = connection.execute(query("queue_listed"), _columns(task, decision, now_ms)).fetchone()
    if inserted is not None:
        return int(inserted[0])
    check_stored("tasks", 1, len(listed_rows(connection, [task.task_id])))
    return None


def _update(task: Task, decision: Decision, now_ms: int, *, charged: bool) -> dict[str, Any]:
    return {
        **_columns(task, decision, now_ms),
        "id": task.row_id,
        "claim": task.claim,
        "state_read": task.state,
        "charged": int(charged),
        "failures": decision.failures,
        "gone": decision.gone,
        "invalid": decision.invalid,
    }


def _columns(task: Task, decision: Decision, now_ms: int) -> dict[str, Any]:
    problem = decision.problem
    return {
        "task_id": task.task_id,
        "state": decision.state,
        "created_at": decision.created_at_ms,
        "expires_at": decision.expires_at_ms,
        "ended_at": None if decision.state.is_open else now_ms,
        "next_attempt_at": decision.next_attempt_at_ms if decision.state.is_open else 0,
        "error_code": problem.code if problem else None,
        "error_message": problem.message if problem else None,
        "error_at": now_ms if problem else None,
        "unfinished_at": decision.unfinished_at_ms,
        "doubted_at": decision.doubted_at_ms,
        "api_version": decision.version,
        "denied_by": decision.denied_by,
        "seen_with": decision.seen_with,
        "now": now_ms,
    }
