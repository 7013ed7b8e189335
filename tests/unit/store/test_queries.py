import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harvester.domain.tasks.outcomes import Transient
from harvester.store.sqlite import queries, queue
from harvester.store.sqlite.connection import open_for_writing
from harvester.store.sqlite.queries import load_queries, query
from tests.support.store_builders import add_tasks, claim, object_id, settle_all, settlement

HOT_PATH = (
    "make_due",
    "make_strayed_due",
    "needs_upkeep",
    "due",
    "due_newest",
    "due_overdue",
    "due_expedited",
    "due_selected",
    "first_selected",
    "last_selected",
    "more_than_selected",
    "claim",
    "postpone",
    "renew",
    "release",
    "settle",
    "find_inserted",
    "next_due",
    "next_due_selected",
    "nearest_deadline",
    "nearest_deadline_selected",
    "count_expiring",
    "count_by_state_selected",
    "deadlines_ahead",
    "deadlines_selected",
    "ends_by_reason_selected",
    "last_errors",
    "attempts_of",
    "prune_attempts",
    "find_task",
    "find_listed",
    "oldest_open",
    "retry_task",
    "find_forgettable",
    "forget_attempts",
    "forget_video",
    "forget_task",
    "set_label",
    "unknown_among",
)

IN_ORDER_UP_TO_THE_FIRST = "SCAN tasks USING INDEX tasks_by_arrival"
"""`oldest_open` reads an index in its order and stops after one row."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(open_for_writing(tmp_path_factory.mktemp("empty") / "harvester.db")) as connection:
        # Creates the table of the named tasks.
        queue.select(connection, [])
        yield connection


def test_each_statement_has_a_name_of_its_own() -> None:
    names = re.findall(
        r"^-- name: (.*)$", Path(queries.__file__).with_name("queries.sql").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(names) == sorted(set(names))


@pytest.fixture(scope="module", params=["empty", "filled and analyzed"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(open_for_writing(tmp_path_factory.mktemp("queries") / "harvester.db")) as connection:
        ids = [object_id(number) for number in range(500)]
        if request.param != "empty":
            # Statistics change what SQLite prefers; any program may collect them.
            add_tasks(connection, *ids)
            for task in claim(connection, limit=200):
                settle_all(connection, settlement(task, Transient("reset", "connection_lost")))
            connection.execute("ANALYZE")
        queue.select(connection, ids[:5])
        yield connection


def explain(connection: sqlite3.Connection, name: str, how: str = "EXPLAIN QUERY PLAN") -> list[Any]:
    sql = query(name)
    named = re.findall(r":(\w+)", sql)
    parameters: Any = dict.fromkeys(named, 1) if named else [1] * sql.count("?")
    return connection.execute(f"{how} {sql}", parameters).fetchall()


def plan(connection: sqlite3.Connection, name: str) -> list[str]:
    return [str(step[3]) for step in explain(connection, name)]


@pytest.mark.parametrize("name", load_queries())
def test_every_query_fits_the_schema(empty: sqlite3.Connection, name: str) -> None:
    assert explain(empty, name, "EXPLAIN") != []


def test_every_query_is_asked_for_somewhere() -> None:
    sources = [file.read_text("utf-8") for file in Path(queue.__file__).parent.rglob("*.py")]
    # A name may be put together: "due_selected", or f"{name}_selected".
    asked_for = {
        name
        for name in load_queries()
        if any(f'"{name}"' in source or f'"{name.removesuffix("_selected")}"' in source for source in sources)
    }
    assert asked_for == set(load_queries())


@pytest.mark.parametrize("name", HOT_PATH)
def test_no_query_of_the_hot_path_reads_all_tasks(database: sqlite3.Connection, name: str) -> None:
    scans = [step for step in plan(database, name) if re.search(r"SCAN (tasks|attempts|videos)\b", step)]
    assert [step for step in scans if step != IN_ORDER_UP_TO_THE_FIRST] == []


@pytest.mark.parametrize(
    "name",
    [
        "due",
        "due_newest",
        "due_overdue",
        "nearest_deadline",
        "deadlines_ahead",
        "oldest_open",
        "last_errors",
        "attempts_of",
    ],
)
def test_the_order_comes_from_an_index_and_not_from_sorting_the_queue(database: sqlite3.Connection, name: str) -> None:
    assert [step for step in plan(database, name) if "TEMP B-TREE" in step] == []


@pytest.mark.parametrize("name", ["first_selected", "last_selected", "more_than_selected", "next_due_selected"])
def test_the_selected_among_the_first_tasks_are_found_in_the_order_of_an_index(
    database: sqlite3.Connection, name: str
) -> None:
    steps = plan(database, name)
    assert any(step.startswith("SEARCH tasks USING COVERING INDEX tasks_by_turn") for step in steps)
    assert [step for step in steps if "TEMP B-TREE" in step or "MATERIALIZE" in step] == []


@pytest.mark.parametrize(
    "name",
    [
        "due_selected",
        "nearest_deadline_selected",
        "count_by_state_selected",
        "deadlines_selected",
        "ends_by_reason_selected",
        "troubled_selected",
    ],
)
def test_what_is_asked_of_the_selected_tasks_is_driven_by_their_short_list(
    database: sqlite3.Connection, name: str
) -> None:
    by_key = "SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"
    assert {step for step in plan(database, name) if " tasks " in step} == {by_key}
