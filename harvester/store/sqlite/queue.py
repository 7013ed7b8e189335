"""The task queue: add tasks, make them due, claim them, give them back. Each function is the body of one transaction.

A claim is a lease: the row names its owner, when the lease was taken or renewed, and until when it lasts. Each harvest
frees the tasks of owners that no longer renew their leases (`held_leases`, `free`). `claim`, the fencing number, grows
with each claim; `results.settle` accepts a result only with the number of the last claim.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from harvester.domain.errors import InvalidTaskId
from harvester.domain.planning.poll_times import MAX_POLL_WAIT_MS
from harvester.domain.tasks.due_tasks import DueTasks
from harvester.domain.tasks.records import LONGEST_SLEEP_MS, HeldLeases, Lease
from harvester.domain.tasks.task import Task, TaskState, deadline_ms
from harvester.domain.tasks.task_id import is_content_id, validate_api_task_id
from harvester.store.sqlite.foreign_triggers import check_changed_by_others, check_known
from harvester.store.sqlite.json_columns import dump_json
from harvester.store.sqlite.queries import Scope, query
from harvester.store.sqlite.task_rows import task_of

IMPORT_BATCH = 1000

LONGEST_WAIT_MS = MAX_POLL_WAIT_MS + 3600 * 1000
"""Milliseconds: no task without a claim waits longer than this."""

MISDATED_MS = 60_000
"""Milliseconds: if a wait was set at a time further ahead, that clock was ahead; processes differ by less."""

_OPEN = (TaskState.READY, TaskState.PENDING)

_FOREVER_MS = 2**63 - 1


def add(connection: sqlite3.Connection, task_ids: Iterable[str], now_ms: int) -> int:
    """Queue valid ids, and return how many of them were new."""
    given = list(task_ids)
    rows = (
        {
            "task_id": task_id,
            "added_at": now_ms,
            "expires_at": _first_deadline_ms(task_id, now_ms),
        }
        for task_id in given
    )
    # The statement counts only its own rows; the connection would also count the changes of triggers.
    added = max(0, connection.executemany(query("add"), rows).rowcount)
    if added < len(given):
        check_known(connection, given)
    return added


def _first_deadline_ms(task_id: str, now_ms: int) -> int | None:
    """Return the deadline of a new row; None for the id of an imported body, which is no task to ask about."""
    return None if is_content_id(task_id) else deadline_ms(task_id, created_at_ms=None, added_at_ms=now_ms)


def choose_options(connection: sqlite3.Connection, task_ids: Iterable[str], options: Sequence[str]) -> int:
    """Set what version 1 of the API is asked for, of those tasks that have not ended; return how many there are.

    No options mean everything.
    """
    chosen = dump_json(options).decode()
    rows = ({"task_id": task_id, "options": chosen} for task_id in task_ids)
    return max(0, connection.executemany(query("choose_options"), rows).rowcount)


def import_inserted_rows(connection: sqlite3.Connection, now_ms: int) -> int:
    """Give a deadline to rows that other programs inserted, reject invalid ids; return the number of rows."""
    found = connection.execute(query("find_inserted"), {"limit": IMPORT_BATCH}).fetchall()
    for key, task_id, added_at, created_at in found:
        try:
            validate_api_task_id(task_id)
        except InvalidTaskId as error:
            refusal = {"id": key, "now": now_ms, "code": "task_id_invalid", "message": error.sentence}
            connection.execute(query("reject_inserted"), refusal)
        else:
            expires = deadline_ms(task_id, created_at_ms=created_at, added_at_ms=added_at)
            connection.execute(query("import_inserted"), {"id": key, "expires_at": expires})
    return len(found)


def needs_upkeep(connection: sqlite3.Connection, now_ms: int, *, make_due: bool, lapsed: bool) -> bool:
    """Return whether `import_inserted_rows` or, if `make_due`, the function of that name would change anything."""
    times = {"now": now_ms, "latest_wait": now_ms + LONGEST_WAIT_MS, "latest": now_ms + LONGEST_SLEEP_MS}
    parameters = {**times, "make_due": make_due, "lapsed": lapsed}
    return bool(connection.execute(query("needs_upkeep"), parameters).fetchone()[0])


def select(connection: sqlite3.Connection, task_ids: Iterable[str]) -> None:
    """Restrict this connection's claims and counts to the given tasks, which must have been added."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS selected (task INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.selected")
    connection.executemany(
        "INSERT OR IGNORE INTO temp.selected SELECT id FROM tasks WHERE task_id = ?",
        ((task_id,) for task_id in task_ids),
    )
    # Where another program has collected statistics of `tasks`, SQLite takes a table without them for the larger one.
    connection.execute("ANALYZE temp.selected")


def make_due(connection: sqlite3.Connection, now_ms: int, *, lapsed: bool = True) -> None:
    """Make tasks due whose wait is over and, with `lapsed`, tasks whose lease has ended by now.

    Also make tasks due that wait longer than is possible: their time was set while the clock was ahead.
    """
    for state in _OPEN:
        connection.execute(query("make_due"), {"state": state, "now": now_ms, "lapsed": lapsed})
        latest = {"latest_wait": now_ms + LONGEST_WAIT_MS, "latest": now_ms + LONGEST_SLEEP_MS, "lapsed": lapsed}
        connection.execute(query("make_strayed_due"), {"state": state, **latest})


def is_any_misdated(connection: sqlite3.Connection, now_ms: int) -> bool:
    """Return whether a task waits too long because the clock that set its time was ahead; reads all that wait."""
    statement = query("is_any_misdated")
    return any(connection.execute(statement, _misdated(state, now_ms)).fetchone()[0] for state in _OPEN)


def make_misdated_due(connection: sqlite3.Connection, now_ms: int) -> int:
    """Make those tasks due; return how many there were."""
    statement = query("make_misdated_due")
    return sum(connection.execute(statement, _misdated(state, now_ms)).rowcount for state in _OPEN)


def _misdated(state: TaskState, now_ms: int) -> dict[str, Any]:
    return {"state": state, "now": now_ms, "latest": now_ms + MISDATED_MS}


def make_all_due(connection: sqlite3.Connection, scope: Scope) -> None:
    """Make all waiting tasks due, whether their time has come or not."""
    connection.execute(scope.query("make_open_due"))


def release_held(connection: sqlite3.Connection, limit: int, scope: Scope) -> int:
    """Make due up to `limit` tasks that wait for a confirmation, the nearest deadline first; return how many."""
    return connection.execute(scope.query("release_held"), {"limit": limit}).rowcount


def due(
    connection: sqlite3.Connection, now_ms: int, scope: Scope = Scope.ALL, *, limit: int, newest: bool = True
) -> DueTasks:
    """Return up to `limit` due tasks of each open state, the nearest deadline first and those past theirs last.

    With `newest`, also return up to `limit` of the newest pending tasks if there are more: old tasks that hang must not
    hide them.
    """
    read_first, read_newest = (_first_selected, _newest_selected) if scope is Scope.SELECTED else (_first, _newest)
    found = {state: read_first(connection, state, now_ms, limit) for state in _OPEN}
    pending = found[TaskState.PENDING]
    is_whole = all(len(tasks) < limit for tasks in found.values())
    # Tasks past their deadline come last: if one of them was read, so were all tasks in time.
    if newest and len(pending) == limit and not pending[-1].is_past_deadline(now_ms):
        known = {task.row_id for task in pending}
        last = read_newest(connection, TaskState.PENDING, now_ms, limit)
        pending = [*pending, *(task for task in reversed(last) if task.row_id not in known)]
    ready, first = found[TaskState.READY], _expedited(connection, scope, limit)
    if first:
        ready, pending = _with_first(ready, first, TaskState.READY), _with_first(pending, first, TaskState.PENDING)
    return DueTasks(ready, pending, is_whole, frozenset(task.row_id for task in first))


def _expedited(connection: sqlite3.Connection, scope: Scope, limit: int) -> list[Task]:
    return [task_of(row) for row in connection.execute(scope.query("due_expedited"), {"limit": limit})]


def _with_first(tasks: list[Task], first: list[Task], state: TaskState) -> list[Task]:
    """Return the tasks, and those of `first` in that state that are not among them."""
    known = {task.row_id for task in tasks}
    return [*(task for task in first if task.state is state and task.row_id not in known), *tasks]


def _first(connection: sqlite3.Connection, state: TaskState, now_ms: int, limit: int) -> list[Task]:
    tasks = _rows(connection, "due", state, now=now_ms, limit=limit)
    if len(tasks) < limit:
        tasks += _rows(connection, "due_overdue", state, now=now_ms, limit=limit - len(tasks))
    return tasks


def _newest(connection: sqlite3.Connection, state: TaskState, now_ms: int, limit: int) -> list[Task]:
    return _rows(connection, "due_newest", state, now=now_ms, limit=limit)


def _first_selected(connection: sqlite3.Connection, state: TaskState, now_ms: int, limit: int) -> list[Task]:
    """Search the first due tasks for selected ones; search the selection only if too many others are due before."""
    tasks: list[Task] = []
    for part in _in_time(now_ms), _overdue(now_ms):
        tasks += _rows(connection, "first_selected", state, limit=limit - len(tasks), **part)
        if len(tasks) == limit:
            break
        if _are_others_due(connection, state, part):
            return _rows(connection, "due_selected", state, now=now_ms, limit=limit, direction=1)
    return tasks


def _newest_selected(connection: sqlite3.Connection, state: TaskState, now_ms: int, limit: int) -> list[Task]:
    part = _in_time(now_ms)
    tasks = _rows(connection, "last_selected", state, limit=limit, **part)
    if len(tasks) < limit and _are_others_due(connection, state, part):
        tasks = _rows(connection, "due_selected", state, now=now_ms, limit=limit, direction=-1)
    return tasks


def _in_time(now_ms: int) -> dict[str, int]:
    return {"after": max(0, now_ms), "until": _FOREVER_MS}


def _overdue(now_ms: int) -> dict[str, int]:
    return {"after": 0, "until": now_ms}


def _are_others_due(connection: sqlite3.Connection, state: TaskState, part: dict[str, int]) -> bool:
    return bool(connection.execute(query("more_than_selected"), {"state": state, **part}).fetchone()[0])


def _rows(connection: sqlite3.Connection, name: str, state: TaskState, **parameters: int) -> list[Task]:
    return [task_of(row) for row in connection.execute(query(name), {"state": state, **parameters})]


def claim(connection: sqlite3.Connection, lease: Lease, tasks: Iterable[Task]) -> list[Task]:
    """Claim the tasks that no process has claimed since they were read as due; return them as claimed."""
    seen = {task.row_id: task for task in tasks}
    seen_claims = dump_json([[task.row_id, task.claim, task.task_id] for task in seen.values()]).decode()
    (found,) = connection.execute(query("unclaimed"), {"seen": seen_claims}).fetchone()
    unclaimed = [seen[int(row_id)] for row_id in found.split(",")] if found else []
    row_ids = dump_json([task.row_id for task in unclaimed]).decode()
    if connection.execute(query("claim"), {**_lease_row(lease), "ids": row_ids}).rowcount != len(unclaimed):
        for task in unclaimed:
            check_changed_by_others(connection, task, is_due=True)
    return [replace(task, claim=task.claim + 1) for task in unclaimed]


def _lease_row(lease: Lease) -> dict[str, Any]:
    return {"owner": lease.owner, "lease_until": lease.until_ms, "at": lease.at_ms}


def postpone(connection: sqlite3.Connection, tasks: Iterable[tuple[Task, int]], now_ms: int) -> None:
    """Let tasks without a claim wait until the given times (Unix milliseconds)."""
    rows = [{**_as_read(task), "until": until_ms, "now": now_ms} for task, until_ms in tasks]
    connection.executemany(query("postpone"), rows)


def renew(connection: sqlite3.Connection, lease: Lease) -> int:
    """Prolong every claim of the owner; return how many there are."""
    return connection.execute(query("renew"), _lease_row(lease)).rowcount


def held_leases(connection: sqlite3.Connection) -> list[HeldLeases]:
    """Return the claims of each owner."""
    return [HeldLeases(*row) for row in connection.execute(query("held_leases"))]


def free(connection: sqlite3.Connection, dead: Iterable[HeldLeases]) -> int:
    """Make the tasks of dead owners due, unless these have renewed their leases since; return how many."""
    statement = query("free")
    return sum(connection.execute(statement, {"owner": one.owner, "until": one.until_ms}).rowcount for one in dead)


def defer(connection: sqlite3.Connection, tasks: Iterable[tuple[Task, int]]) -> None:
    """Give claimed tasks back, each due again at the given time (Unix milliseconds)."""
    rows = [{**_as_read(task), "until": until_ms} for task, until_ms in tasks]
    connection.executemany(query("defer"), rows)


def _as_read(task: Task) -> dict[str, Any]:
    return {"id": task.row_id, "task_id": task.task_id, "claim": task.claim}


def release(connection: sqlite3.Connection, owner: str) -> int:
    """Give every claim of the owner back, due at once; return how many there were."""
    return connection.execute(query("release"), {"owner": owner}).rowcount


def retry(
    connection: sqlite3.Connection,
    *,
    task_ids: Iterable[str] = (),
    states: Iterable[TaskState] = (),
    options: Sequence[str] | None = None,
) -> int:
    """Put ends other than `harvested` back to `pending`; return how many. `options` as with `choose_options`."""
    chosen = None if options is None else dump_json(options).decode()
    rows = ({"task_id": task_id, "options": chosen} for task_id in task_ids)
    cursor = connection.executemany(query("retry_task"), rows)
    put_back = max(0, cursor.rowcount)
    for state in states:
        if state is not TaskState.HARVESTED and not state.is_open:
            put_back += connection.execute(query("retry_state"), {"state": state, "options": chosen}).rowcount
    return put_back


def not_ended(connection: sqlite3.Connection, task_ids: Iterable[str]) -> dict[str, TaskState | None]:
    """Return the tasks that `retry` does not change, each with its state, None for an unknown one."""
    states: dict[str, TaskState | None] = {}
    for task_id in task_ids:
        found = connection.execute(query("find_task"), {"task_id": task_id}).fetchone()
        state = None if found is None else TaskState(found[2])
        if state is None or state.is_open or state is TaskState.HARVESTED:
            states[task_id] = state
    return states


def claim_ended(connection: sqlite3.Connection, lease: Lease, task_id: str) -> Task | None:
    """Put an ended task back to `pending` and claim it at once; None if it is no longer ended."""
    if retry(connection, task_ids=[task_id]) == 0:
        return None
    found = connection.execute(query("due_again"), {"task_id": task_id}).fetchone()
    return next(iter(claim(connection, lease, [task_of(found)])), None)
