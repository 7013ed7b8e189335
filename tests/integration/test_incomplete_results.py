"""A result that lacks something is stored like any other, and every view of it says what it lacks."""

import json
import sqlite3
from contextlib import closing

from tests.support.scripted_api import ScriptedApi, as_json, ready, task_id
from tests.support.shell import Shell

WHOLE, GAPPED = task_id(1), task_id(2)


async def test_an_incomplete_result_is_harvested_with_a_warning(shell: Shell, api: ScriptedApi) -> None:
    document = ready(GAPPED, duration=30, video_embedding_scope=["clip", "video"])
    api.holds(GAPPED, as_json(document))
    api.holds(WHOLE)
    gap = "The clips of visual end at 12 s, but the embedded part of the input ends at 30 s."
    scope = "No segment has the scope video, which the task was made with."

    harvest = await shell.run("backfill", WHOLE, GAPPED, HARVESTER_LOG__LEVEL="info", HARVESTER_LOG__FORMAT="json")
    shown = {one: (await shell.run("show", one)).stdout for one in (WHOLE, GAPPED)}
    given_back = await shell.run("show", GAPPED, "--json")
    status = await shell.run("status")
    verified = await shell.run("verify", "--json")

    lines = [json.loads(line) for line in harvest.stderr.splitlines() if line.startswith("{")]
    logged = {one["task_id"]: one["missing"] for one in lines if one["event"] == "the result is incomplete"}
    assert logged == {GAPPED: [scope, gap]}
    assert (harvest.code, shell.count("harvested")) == (0, 2)
    assert shell.rows("SELECT count(*) FROM segments") == [(4,)]
    assert f"warning       {gap}" in shown[GAPPED]
    assert f"warning       {scope}" in shown[GAPPED]
    assert "warning" not in shown[WHOLE]
    assert json.loads(given_back.stdout) == document
    assert f"incomplete     1 stored result without all parts: `harvester show {GAPPED}` says which" in status.stdout
    assert verified.code == 0
    found = [(one["task_id"], one["text"], one["warning"]) for one in json.loads(verified.stdout)["findings"]]
    assert (GAPPED, f"incomplete: {gap}", True) in found
    assert (GAPPED, f"incomplete: {scope}", True) in found
    assert (None, "stored results without all parts: 1", True) in found
    assert WHOLE not in {one for one, _, _ in found}


async def test_results_of_a_version_that_checked_none_are_checked_by_migrate(shell: Shell, api: ScriptedApi) -> None:
    api.holds(GAPPED, as_json(ready(GAPPED, duration=30)))
    await shell.run("backfill", GAPPED)
    with closing(sqlite3.connect(shell.database)) as connection, connection:
        connection.execute("UPDATE videos SET warnings = NULL, is_checked = 0")

    unchecked = await shell.run("verify")
    migrated = await shell.run("migrate")
    shown = await shell.run("show", GAPPED)
    status = await shell.run("status")
    verified = await shell.run("verify")

    assert (
        "1 of an older version were not checked for missing parts: `harvester migrate` checks them" in unchecked.stdout
    )
    assert migrated.stderr.startswith("1 task of an older version:")
    assert "warning       The clips of visual end at 12 s" in shown.stdout
    assert "incomplete     1 stored result without all parts" in status.stdout
    assert "incomplete: The clips of visual end at 12 s" in verified.stdout
    assert "older version" not in verified.stdout
