"""`verify --deep --repair`: what is damaged and can be retrieved again is harvested again; the rest is reported."""

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing

import pytest

from harvester.simulator import Simulator
from tests.support.damage import corrupt_page
from tests.support.shell import Shell, retrieved, stand_in

DAMAGE = "UPDATE embeddings SET vector = zeroblob(length(vector)) WHERE position = 3 AND task = ?"


async def harvested(shell: Shell, api: Simulator) -> Sequence[str]:
    shell.talks_to(api.base_url)
    ended = await shell.run("backfill", *api.catalogue.ids())
    assert ended.code == 0, ended.stderr
    return api.catalogue.ids()


def change(shell: Shell, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(shell.database)) as connection:
        connection.execute(statement, parameters)
        connection.commit()


def key_of(shell: Shell, task_id: str) -> int:
    return int(shell.rows("SELECT id FROM tasks WHERE task_id = ?", task_id)[0][0])


async def test_what_is_damaged_is_harvested_again_and_what_is_lost_is_listed(shell: Shell) -> None:
    async with stand_in(tasks=3) as api:
        mended, lost, sound = await harvested(shell, api)
        for one in (mended, lost):
            change(shell, DAMAGE, key_of(shell, one))
        change(shell, "UPDATE tasks SET expires_at = ? WHERE task_id = ?", round(time.time() * 1000) - 1, lost)
        checksum = "the vectors are not those that were received (checksum)"

        rehearsed = await shell.run("verify", "--deep")
        assert set(shell.states().values()) == {"harvested"}
        repaired = await shell.run("verify", "--deep", "--repair")
        story = await shell.run("show", mended)
        states = shell.states()
        harvest = await shell.run("backfill")
        after = await shell.run("verify", "--deep", "--repair", "--json")

        assert (rehearsed.code, repaired.code) == (1, 1)
        assert f"error: {mended}: {checksum}" in rehearsed.stdout
        assert f"repaired: {mended}: {checksum}; pending again, deadline 20" in repaired.stdout
        assert f"error: {lost}: {checksum}" in repaired.stdout
        assert f"lost: {lost}: past its deadline, " in repaired.stdout
        assert f"error: {mended}" not in repaired.stdout
        assert "1 task pending again" in repaired.stderr
        assert "docs/howto/operations.md" in repaired.stderr
        assert states == {mended: "pending", lost: "harvested", sound: "harvested"}
        assert "stored_damaged: What was stored was damaged and has been removed: the vectors" in story.stdout
        assert harvest.code == 0
        assert retrieved(api) == sorted([mended, mended, lost, sound])
        report = json.loads(after.stdout)
        assert {lost} == {one["task_id"] for one in report["findings"] if not one["warning"]}
        assert (report["ok"], report["repaired"], report["lost"]) == (False, [], [lost])


async def test_after_a_full_repair_the_database_is_sound(shell: Shell) -> None:
    async with stand_in(tasks=2) as api:
        mended, _ = await harvested(shell, api)
        change(shell, "DELETE FROM segments WHERE task = ?", key_of(shell, mended))

        repaired = await shell.run("verify", "--deep", "--repair", "--json")

        assert repaired.code == 0
        report = json.loads(repaired.stdout)
        assert (report["ok"], [one["task_id"] for one in report["repaired"]], report["lost"]) == (True, [mended], [])


async def test_a_malformed_file_is_not_touched(shell: Shell) -> None:
    async with stand_in(tasks=2) as api:
        ids = await harvested(shell, api)
        change(shell, DAMAGE, key_of(shell, ids[0]))
        # An index that lacks rows: readable, and yet not a database to write to.
        with closing(sqlite3.connect(shell.database)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_schema SET sql = replace(sql, 'error_at IS NOT NULL', 'error_at IS NULL')"
                " WHERE name = 'tasks_by_error'"
            )
            connection.commit()
        before = shell.database.read_bytes()

        repaired = await shell.run("verify", "--deep", "--repair")

        assert repaired.code == 1
        assert "error: SQLite: " in repaired.stdout
        assert "repaired: " not in repaired.stdout
        assert "SQLite reports a damaged file: nothing was changed. Restore a backup" in repaired.stderr
        assert before == shell.database.read_bytes()


async def test_a_file_that_cannot_be_read_is_not_touched(shell: Shell) -> None:
    async with stand_in(tasks=2) as api:
        await harvested(shell, api)
        corrupt_page(shell.database)
        before = shell.database.read_bytes()

        repaired = await shell.run("verify", "--deep", "--repair")

        assert (repaired.code, repaired.stdout) == (4, "")
        assert "is damaged. Restore a backup" in repaired.stderr
        assert before == shell.database.read_bytes()


@pytest.mark.parametrize("options", [[], ["--json"]])
async def test_repairing_needs_a_deep_check(shell: Shell, options: list[str]) -> None:
    ended = await shell.run("verify", "--repair", *options)

    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == "harvester: --repair needs --deep. Run `harvester verify --deep --repair`.\n"


async def test_a_task_with_many_findings_takes_a_few_lines_and_a_program_gets_them_all(shell: Shell) -> None:
    async with stand_in(tasks=1) as api:
        (one,) = await harvested(shell, api)
        change(shell, "UPDATE embeddings SET dim = 5")
        vectors = len(shell.rows("SELECT 1 FROM embeddings"))
        assert vectors > 3

        verified = await shell.run("verify")
        listed = await shell.run("verify", "--json")
        repaired = await shell.run("verify", "--deep", "--repair")
        story = await shell.run("show", one)

    lines = verified.stdout.splitlines()
    assert lines[0] == f"error: {one}: vector 0: 2048 bytes are not 5 numbers of f4"
    assert lines[3:] == [f"error: {one}: and {vectors - 3} more; --json lists them"]
    assert f"{vectors} errors" in verified.stderr
    assert len(json.loads(listed.stdout)["findings"]) == vectors
    for said in (repaired.stdout, story.stdout):
        assert "vector 2: 2048 bytes are not 5 numbers of f4; and" in said
        assert "vector 3:" not in said
