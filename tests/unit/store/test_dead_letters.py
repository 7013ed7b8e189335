import sqlite3

from harvester.domain.tasks.outcomes import Empty, Failed, Invalid, NotFound, Outcome
from harvester.domain.tasks.task import DAY_MS, TaskState
from harvester.store.sqlite.dead_letters import dead_letters, load_payload
from harvester.store.sqlite.migrations import load_migrations, migrate
from tests.support.store_builders import NOW, add_tasks, claim, claim_new, object_id, row_counts, settle_all, settlement

WEEK_MS = 7 * DAY_MS


def test_what_could_not_be_stored_is_kept_when_the_task_ends(connection: sqlite3.Connection) -> None:
    outcome = Invalid("odd")
    for number in range(3):
        add_tasks(connection, object_id(0))
        (task,) = claim(connection, now_ms=NOW + number * DAY_MS)
        settle_all(connection, settlement(task, outcome, now_ms=NOW + number * DAY_MS, body=b'{"status":"ready"}'))
    (dead_letter,) = dead_letters(connection)
    payload = load_payload(connection, dead_letter.key)
    assert (dead_letter.task_id, dead_letter.state, dead_letter.is_cut) == (object_id(0), TaskState.REJECTED, False)
    assert payload is not None
    assert (payload.received_at_ms, b"".join(payload.pieces())) == (NOW + 2 * DAY_MS, b'{"status":"ready"}')


def test_an_empty_result_past_the_deadline_is_kept_too(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    settle_all(connection, settlement(task, Empty(), now_ms=NOW + WEEK_MS, body=b"{}"))
    assert [dead_letter.state for dead_letter in dead_letters(connection)] == [TaskState.EXPIRED]


def test_other_ends_keep_no_body(connection: sqlite3.Connection) -> None:
    outcomes: list[Outcome] = [Failed("no"), NotFound("no")]
    tasks = [claim_new(connection, number) for number in range(2)]
    for task, outcome in zip(tasks, outcomes, strict=True):
        settle_all(connection, settlement(task, outcome, now_ms=NOW + WEEK_MS))
    assert (row_counts(connection)["payloads"], dead_letters(connection)) == (0, [])


def test_a_task_that_was_put_back_is_not_among_those_that_ended(connection: sqlite3.Connection) -> None:
    task = claim_new(connection)
    settle_all(connection, settlement(task, Empty(), now_ms=NOW + WEEK_MS, body=b"{}"))
    connection.execute("UPDATE tasks SET state = 'pending'")
    assert dead_letters(connection) == []


def test_bodies_that_an_older_version_cut_without_a_word_are_recognised() -> None:
    known = load_migrations()
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, [migration for migration in known if migration.version < 6])
    sizes = (16 * 1024 * 1024 - 1, 16 * 1024 * 1024)
    for number, size in enumerate(sizes):
        connection.execute("INSERT INTO tasks (id, task_id) VALUES (?, ?)", (number, object_id(number)))
        connection.execute("INSERT INTO payloads VALUES (?, 0, zeroblob(?))", (number, size))
    migrate(connection, known)
    assert connection.execute("SELECT is_cut, encoding FROM payloads ORDER BY task").fetchall() == [
        (0, None),
        (1, None),
    ]
    connection.close()
