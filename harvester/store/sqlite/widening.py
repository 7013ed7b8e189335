"""Results that were retrieved with a filter: asked for again to hold more, and never to hold less."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from harvester.domain.tasks.records import Settlement
from harvester.domain.tasks.retrieve_options import widened
from harvester.domain.tasks.task import TaskState
from harvester.ports.queue_editor import Widened
from harvester.store.sqlite.foreign_triggers import check_stored
from harvester.store.sqlite.json_columns import dump_json, load_json
from harvester.store.sqlite.queries import query


def widen(connection: sqlite3.Connection, task_ids: Iterable[str], options: Sequence[str], now_ms: int) -> Widened:
    """Make those tasks ready again whose results lack some of `options`; see `QueueEditor.widen`."""
    done = Widened()
    for task_id, key, _, stored, expires_at_ms in _with_result(connection, task_ids):
        wanted = widened(stored, options)
        if wanted is None:
            done.contained.append(task_id)
        elif expires_at_ms <= now_ms:
            done.past_deadline[task_id] = expires_at_ms
        else:
            row = {"id": key, "options": dump_json(wanted).decode()}
            check_stored("tasks", 1, connection.execute(query("ask_again"), row).rowcount)
            done.asked_again.append(task_id)
    return done


def narrower(connection: sqlite3.Connection, task_ids: Iterable[str], options: Sequence[str]) -> list[str]:
    """Return the harvested ones of the tasks that were retrieved without some of `options`."""
    return [
        task_id
        for task_id, _, state, stored, _ in _with_result(connection, task_ids)
        if state is TaskState.HARVESTED and widened(stored, options) is not None
    ]


def _with_result(
    connection: sqlite3.Connection, task_ids: Iterable[str]
) -> Iterator[tuple[str, int, TaskState, Sequence[str], int]]:
    """Yield the tasks with a result of the API: id, row id, state, what it was asked for, deadline in Unix ms."""
    for task_id in dict.fromkeys(task_ids):
        found = connection.execute(query("find_with_result"), {"task_id": task_id}).fetchone()
        if found is not None:
            key, state, stored, expires_at_ms = found
            yield task_id, key, TaskState(state), () if stored is None else load_json(stored), expires_at_ms


def make_room(connection: sqlite3.Connection, settlements: Iterable[Settlement]) -> set[int]:
    """Remove stored results that new ones replace; return the row ids of the tasks whose stored results stay.

    A new result replaces a stored one if it has more segments, and of each option at least as many. A task that ends
    with less is harvested again, as it was.
    """
    ended = {one.task.row_id: one for one in settlements if not one.decision.state.is_open}
    if not ended:
        return set()
    keys = dump_json(list(ended)).decode()
    staying = set()
    for (key,) in connection.execute(query("harvested_before"), {"tasks": keys}).fetchall():
        stored = Counter(dict(connection.execute(query("stored_options"), {"task": key}).fetchall()))
        embeddings = ended[key].embeddings
        new = Counter(() if embeddings is None else embeddings.options)
        if stored < new:
            remove_result(connection, key)
            continue
        staying.add(key)
        if stored != new:
            check_stored("tasks", 1, connection.execute(query("keep_stored"), {"task": key}).rowcount)
    return staying


_STORED_ROWS = (
    *("forget_uncertainties", "forget_embeddings", "forget_segments"),
    *("forget_scopes", "forget_options", "forget_tokens", "forget_video"),
)
"""The statements in order: rows that refer to others first."""


def remove_result(connection: sqlite3.Connection, task_key: int) -> None:
    """Remove all that is stored of the result of a task, by its row id."""
    remove_results(connection, [task_key])


def remove_results(connection: sqlite3.Connection, task_keys: Sequence[int]) -> None:
    """Remove all that is stored of the results of tasks, by their row ids."""
    keys = {"tasks": dump_json(task_keys).decode()}
    for name in _STORED_ROWS:
        connection.execute(query(name), keys)
