"""`harvester backup` beside a working daemon, as a user calls it."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.shell import Gate, Shell, stand_in, until

AN_ID = "66f537778d9641fe5a0d101f"
NOWHERE = '[server]\nlisten = ""\n'


def rows(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


async def test_a_backup_is_made_while_the_daemon_works_and_can_be_worked_on(shell: Shell) -> None:
    (shell.folder / "harvester.toml").write_text(NOWHERE)
    gate = Gate(let_through=5)
    async with stand_in(gate, tasks=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        daemon = await shell.start("run", HARVESTER_HARVEST__LEASE_S="3")
        await until(lambda: shell.count("harvested") == 5)

        made = await shell.run("backup", "copy.db", "--json")
        gate.open()
        await until(lambda: shell.count("harvested") == 12)
        daemon.signal(signal.SIGTERM)
        ended = await daemon.ended()

        copy, report = shell.folder / "copy.db", json.loads(made.stdout)
        assert (made.code, ended.code) == (0, 143), made.stderr + ended.stderr
        assert (report["path"], report["bytes"]) == ("copy.db", copy.stat().st_size)
        assert report["tasks"]["harvested"] == 5
        assert rows(copy, "SELECT count(*) FROM tasks WHERE state = 'harvested'") == [(5,)]
        assert (await shell.run("verify", "--deep", "--db", "copy.db")).code == 0

        # The restored database takes up where the copy was made, as soon as the copied claims have run out.
        restored = await shell.run("backfill", "--db", "copy.db")
        assert restored.code == 0, restored.stderr
        assert rows(copy, "SELECT DISTINCT state FROM tasks") == [("harvested",)]


async def test_it_says_what_it_did_and_replaces_nothing_by_itself(shell: Shell) -> None:
    await shell.add([AN_ID])

    first = await shell.run("backup", "copy.db")
    again = await shell.run("backup", "copy.db")
    forced = await shell.run("backup", "copy.db", "--force")

    assert (first.code, first.stdout) == (0, "")
    assert first.stderr.startswith("copy.db holds 1 tasks, ")
    assert (again.code, again.stderr) == (
        2,
        "harvester: 'copy.db' exists. Give another file, or replace it with --force.\n",
    )
    assert forced.code == 0


async def test_trouble_with_the_database_ends_with_4_and_leaves_no_file(shell: Shell) -> None:
    absent = await shell.run("backup", "copy.db")
    shell.database.write_text("no database\n" * 100)
    foreign = await shell.run("backup", "copy.db")

    assert (absent.code, foreign.code) == (4, 4)
    assert "There is no database at 'harvester.db'." in absent.stderr
    assert "is not a SQLite database" in foreign.stderr
    assert [path.name for path in shell.folder.iterdir()] == ["harvester.db"]


async def test_a_signal_leaves_nothing_behind(shell: Shell) -> None:
    await shell.add([AN_ID])
    with closing(sqlite3.connect(shell.database)) as connection, connection:
        # Some hundred megabytes take longer than the signal.
        connection.execute(
            "INSERT INTO payloads (task, received_at, body) SELECT id, 0, zeroblob(300000000) FROM tasks"
        )
    backup = await shell.start("backup", "copy.db")
    await until(lambda: any(shell.folder.glob(".harvester-backup-*/copy.db")))
    backup.signal(signal.SIGTERM)

    assert (await backup.ended()).code in {143, 0}
    assert list(shell.folder.glob(".harvester-backup-*")) == []
