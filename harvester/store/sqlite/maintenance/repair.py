"""Return damaged tasks to `pending` if the platform still has their results; list the others unchanged."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from harvester.domain.tasks.records import Attempt
from harvester.ports.maintenance import Damaged, Examination, Finding
from harvester.store.sqlite.attempts import insert_attempts
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.queries import query
from harvester.store.sqlite.transaction import in_transaction
from harvester.store.sqlite.widening import remove_result

DAMAGED = "stored_damaged"
ENDPOINT = "verify"
"""Takes the place of the endpoint in the task's history."""


def examine(connection: sqlite3.Connection) -> Examination:
    """Verify everything in one snapshot, so that findings and fencing numbers match."""
    connection.execute("BEGIN")
    try:
        findings = list(verify(connection, deep=True))
        return Examination(findings, _damaged(connection, findings))
    finally:
        connection.execute("ROLLBACK")


def repair(connection: sqlite3.Connection, damaged: Sequence[Damaged], now_ms: int) -> list[Damaged]:
    """Remove the stored result of each task and make it pending, one transaction each; return the repaired ones.

    A task stays unchanged if the platform has dropped its result, if that came from a file, or if its row has changed
    since `examine`.
    """
    within_deadline = [one for one in damaged if one.can_be_had(now_ms)]
    return [one for one in within_deadline if in_transaction(connection, _putting_back(one, now_ms))]


def _damaged(connection: sqlite3.Connection, findings: Iterable[Finding]) -> list[Damaged]:
    texts: dict[str, list[str]] = {}
    for finding in findings:
        if finding.is_damage and finding.task_id is not None:
            texts.setdefault(finding.task_id, []).append(finding.text)
    found = (
        (connection.execute(query("find_damaged"), {"task_id": task_id}).fetchone(), lines)
        for task_id, lines in texts.items()
    )
    return [Damaged(row[0], row[1], row[2], row[3], row[4], lines) for row, lines in found if row is not None]


def _putting_back(one: Damaged, now_ms: int) -> Callable[[sqlite3.Connection], bool]:
    def body(connection: sqlite3.Connection) -> bool:
        message = f"What was stored was damaged and has been removed: {one.summary}."
        parameters = {"id": one.key, "claim": one.claim, "now": now_ms, "code": DAMAGED, "message": message}
        if connection.execute(query("put_back_damaged"), parameters).rowcount == 0:
            return False
        remove_result(connection, one.key)
        attempt = Attempt(at_ms=now_ms, endpoint=ENDPOINT, outcome="damaged", code=DAMAGED, message=message)
        insert_attempts(connection, [(one.key, attempt)])
        return True

    return body
