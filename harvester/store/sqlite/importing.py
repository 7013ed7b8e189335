"""Store results that come from files: a new task, or one that is open or has ended otherwise, becomes harvested."""

import sqlite3
import zlib
from collections.abc import Iterable, Sequence

from harvester.domain.tasks.embeddings import TaskEmbeddings
from harvester.domain.tasks.imported import ImportedResult, ImportOutcome, imported_settlement
from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.task import TaskState
from harvester.store.sqlite import queue
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.result_rows import contiguous
from harvester.store.sqlite.results import settle
from harvester.store.sqlite.task_rows import task_of
from harvester.store.sqlite.widening import remove_result


def import_results(
    connection: sqlite3.Connection, results: Sequence[ImportedResult], now_ms: int
) -> list[ImportOutcome]:
    """Store a group of results; return the outcome of each. The body of one transaction.

    A task that a process has claimed stays with it, and a harvested task stays as it is, unless the result replaces it.
    """
    outcomes: list[ImportOutcome] = []
    settlements: dict[str, Settlement] = {}
    for result in results:
        repeated = settlements.get(result.task_id)
        if repeated is not None and repeated.embeddings is not None:
            is_same = _vectors_crc32(repeated.embeddings) == _vectors_crc32(result.embeddings)
            outcomes.append(ImportOutcome.KNOWN if is_same else ImportOutcome.OTHER)
            continue
        outcome = _taken(connection, result, now_ms)
        if outcome is ImportOutcome.STORED:
            task = task_of(connection.execute(query("due_again"), {"task_id": result.task_id}).fetchone())
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
        count, checksum = result.embeddings.count, _vectors_crc32(result.embeddings)
        vectors = {"task": key, "count": count, "vectors_crc32": checksum}
        (is_same,) = connection.execute(query("has_vectors"), vectors).fetchone()
        return ImportOutcome.KNOWN if is_same else ImportOutcome.OTHER
    if is_claimed:
        return ImportOutcome.CLAIMED
    if state == TaskState.HARVESTED:
        remove_result(connection, key)
    connection.execute(query("begin_import"), {"id": key, "source": result.source})
    return ImportOutcome.STORED


def _vectors_crc32(embeddings: TaskEmbeddings) -> int:
    return zlib.crc32(contiguous(embeddings.vectors).data)


def harvested_among(connection: sqlite3.Connection, task_ids: Iterable[str]) -> dict[str, int | None]:
    """Return those of the tasks that are harvested, with the bytes of the file that the last import of it read."""
    return dict(
        connection.execute(query("harvested_among"), {"task_ids": dump_json(list(task_ids)).decode()}).fetchall()
    )
