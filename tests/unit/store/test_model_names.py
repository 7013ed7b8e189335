"""What SQLite does so that a page names the models of results: right checksums, short transactions, no long reads."""

import sqlite3
from dataclasses import replace

import pytest

from harvester.domain.tasks.embeddings import MediaMetadata
from harvester.domain.tasks.listing import ListedTask
from harvester.domain.tasks.outcomes import Ready, Retrieved
from harvester.store.sqlite.counts import model_gaps
from harvester.store.sqlite.maintenance.verify import verify
from harvester.store.sqlite.model_names import (
    BATCH_SEGMENTS,
    Named,
    batches,
    name_models,
    nameable,
    unnamed_results,
)
from harvester.store.sqlite.queries import Scope, query
from tests.support.store_builders import NOW, claim_new, embeddings, object_id, settle_all, settlement

ENTRY = ListedTask(object_id(0), Ready(), MediaMetadata("marengo3.5", 12.5))


def harvest_without_model(connection: sqlite3.Connection, number: int = 0) -> int:
    task = claim_new(connection, number)
    whole = embeddings(count=4)
    nameless = replace(whole, metadata=replace(whole.metadata, model_name=None))
    assert settle_all(connection, settlement(task, Retrieved(nameless))) == [True]
    return task.row_id


def damage(connection: sqlite3.Connection) -> list[str]:
    return [finding.text for finding in verify(connection, deep=True) if finding.is_damage]


def test_a_result_with_another_content_than_its_checksum_stays_damaged(connection: sqlite3.Connection) -> None:
    """A new checksum would confirm the damage."""
    harvest_without_model(connection)
    connection.execute("UPDATE segments SET start_offset_sec = 7 WHERE position = 1")
    (found,) = damage(connection)
    assert name_models(connection, nameable(connection, [ENTRY]), NOW) == 0
    assert damage(connection) == [found]
    assert connection.execute("SELECT model_name, model_source, model_asked_at FROM videos").fetchall() == [
        (None, None, NOW)
    ]


def test_a_model_that_another_process_has_stored_meanwhile_stays(connection: sqlite3.Connection) -> None:
    harvest_without_model(connection)
    seen_before = nameable(connection, [ENTRY])
    other = replace(ENTRY, metadata=MediaMetadata("marengo3.0"))
    assert name_models(connection, nameable(connection, [other]), NOW) == 1
    assert name_models(connection, seen_before, NOW) == 0
    assert connection.execute("SELECT model_name, model_source FROM videos").fetchall() == [("marengo3.0", "list")]
    assert damage(connection) == []


def test_an_imported_result_is_not_in_the_list(connection: sqlite3.Connection) -> None:
    harvest_without_model(connection)
    connection.execute("UPDATE tasks SET source = 'bedrock'")
    assert nameable(connection, [ENTRY]) == []
    assert model_gaps(connection).results == 1


def test_a_result_of_an_older_version_is_first_filled_in_from_what_is_stored(connection: sqlite3.Connection) -> None:
    harvest_without_model(connection)
    connection.execute("UPDATE videos SET content_form = 1")
    assert nameable(connection, [ENTRY]) == []
    assert unnamed_results(connection, NOW, Scope.ALL, limit=1) == []


@pytest.mark.parametrize(
    ("segments", "groups"),
    [([1] * 50, 1), ([BATCH_SEGMENTS // 2] * 5, 3), ([BATCH_SEGMENTS + 1] * 2, 2), ([], 0)],
)
def test_one_transaction_reads_the_rows_of_few_segments(segments: list[int], groups: int) -> None:
    named = [Named(number, "", count, ENTRY) for number, count in enumerate(segments)]
    found = list(batches(named))
    assert (len(found), [one for batch in found for one in batch]) == (groups, named)


@pytest.mark.parametrize("name", ["is_any_unnamed", "find_unnamed", "unnamed", "content_embeddings"])
def test_no_statement_reads_all_results(connection: sqlite3.Connection, name: str) -> None:
    parameters = {"task_id": "", "now": 0, "retention": 0, "pause": 0, "limit": 1, "task": 1}
    plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + query(name), parameters)]
    scans = [step for step in plan if step.startswith("SCAN")]
    assert all(step.startswith(("SCAN CONSTANT", "SCAN (subquery")) or "videos_without_model" in step for step in scans)
    if name == Scope.ALL.query("unnamed"):
        assert any("(model_asked_at=?)" in step for step in plan)
