import sqlite3
from pathlib import Path

import numpy as np

from harvester.domain.tasks.outcomes import Retrieved
from harvester.store.sqlite.disk_estimate import BYTES_FOR_AN_HOUR, forecast
from tests.support.store_builders import add_tasks, claim_new, embeddings_of, object_id, settle_all, settlement


def test_while_nothing_is_stored_each_open_task_counts_as_an_hour_of_video(connection: sqlite3.Connection) -> None:
    add_tasks(connection, *(object_id(number) for number in range(3)))
    expected = forecast(connection)
    assert (expected.open_tasks, expected.is_measured) == (3, False)
    assert expected.bytes == 3 * BYTES_FOR_AN_HOUR


def test_later_the_mean_of_what_is_stored_counts_and_ended_tasks_do_not(
    connection: sqlite3.Connection, path: Path
) -> None:
    vectors = np.ones((400, 512), dtype=np.float32)
    for number in range(10):
        settle_all(connection, settlement(claim_new(connection, number), Retrieved(embeddings_of(vectors))))
    add_tasks(connection, object_id(100), object_id(101))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    expected = forecast(connection)

    assert (expected.open_tasks, expected.is_measured) == (2, True)
    assert expected.bytes == 2 * (path.stat().st_size // 10)
