"""Processing times on their way into the database and back."""

import math
import sqlite3

import pytest

from harvester.domain.planning.processing_time import CLASSES, MAX_EVENTS, LifeTable, Observation, ProcessingTimes
from harvester.store.sqlite.processing_times import processing_times, share_processing_times
from harvester.store.sqlite.transaction import in_transaction


def share(connection: sqlite3.Connection, times: ProcessingTimes) -> None:
    fresh = times.take_fresh()
    times.load(in_transaction(connection, lambda connection: share_processing_times(connection, fresh)))


def watched(model_name: str, takes_s: float, count: int = 50) -> ProcessingTimes:
    times = ProcessingTimes()
    for _ in range(count):
        times.observe(model_name, 60.0, takes_s / 2, takes_s, is_finished=True)
    return times


def test_what_was_learned_fades(connection: sqlite3.Connection) -> None:
    for _ in range(5):
        share(connection, watched("marengo3.0", 100.0, count=400))
    known = processing_times(connection)["marengo3.0", 1]
    assert sum(known.finished) == pytest.approx(MAX_EVENTS)


@pytest.mark.parametrize(
    "row", [(CLASSES, 1.0, 1.0), (-1, 1.0, 1.0), (3, -1.0, 1.0), (3, 1.0, -1.0), (3, math.inf, 1.0), (3, 1.0, math.inf)]
)
def test_impossible_counts_are_not_believed(connection: sqlite3.Connection, row: tuple[int, float, float]) -> None:
    connection.execute("INSERT INTO processing_times VALUES ('', 0, ?, ?, ?)", row)
    connection.execute("INSERT INTO processing_times VALUES ('', 0, 5, 2.0, 300.0)")
    expected = LifeTable()
    expected.add([Observation(5, 2.0, 300.0)])
    assert processing_times(connection) == {("", 0): expected}
