"""Store results that come from files: a new task, or one that is open or has ended otherwise, becomes harvested."""

import sqlite3
from collections.abc import Iterable, Sequence

from harvester.domain.tasks.imported import ImportedResult, ImportOutcome, imported_settlement
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import TaskState
from harvester.store.sqlite import queue
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.results import remove_result, settle


def import_results(
    connection: sqlite3.Connection, results: Sequence[ImportedResult], now_ms: int
) -> list[ImportOutcome]:
    """Store a group of results; return the outcome of each. The body of one transaction.

    A task that a process has claimed stays with it, and a harvested task stays as it is, unless the result replaces it.
    """
    outcomes: list[ImportOutcome] = []
    settlements: dict[str, Settlement] = {}
    for result in results:
        is_repeated = result.task_id in settlements
        outcome = ImportOutcome.KNOWN if is_repeated else _taken(connection, result, now_ms)
        if outcome is ImportOutcome.STORED:
            task = queue.task_of(connection.execute(query("due_again"), {"task_id": result.task_id}).fetchone())
            settlements[result.task_id] = imported_settlement(task, result, now_ms)
        outcomes.append(outcome)
    settle(connection, list(settlements.values()))
    return outcomes


def _taken(connection: sqlite3.Connection, result: ImportedResult, now_ms: int) -> ImportOutcome:
    """Queue the task if it is new, and make it ready for the settlement; other outcomes than STORED change nothing."""
    queue.add(connection, [result.task_id], now_ms)
    row = connection.execute(query("find_importable"), {"task_id": result.task_id, "now": now_ms}).fetchone()
    key, state, is_claimed = row
    if state == TaskState.HARVESTED and not result.replaces:
        return ImportOutcome.KNOWN
    if is_claimed:
        return ImportOutcome.CLAIMED
    if state == TaskState.HARVESTED:
        remove_result(connection, key)
    connection.execute(query("begin_import"), {"id": key, "source": result.source})
    return ImportOutcome.STORED


def harvested_among(connection: sqlite3.Connection, task_ids: Iterable[str]) -> set[str]:
    """Return those of the tasks that are harvested."""
    rows = connection.execute(query("harvested_among"), {"task_ids": dump_json(list(task_ids)).decode()})
    return {task_id for (task_id,) in rows}
