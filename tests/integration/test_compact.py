"""`harvester compact` beside a working daemon, as a user calls it."""

import json
import signal

from tests.support.scripted_api import task_id
from tests.support.shell import Gate, Shell, stand_in, until

NOWHERE = '[server]\nlisten = ""\n'


async def test_space_is_given_back_beside_a_daemon_that_goes_on(shell: Shell) -> None:
    (shell.folder / "harvester.toml").write_text(NOWHERE)
    database = shell.folder / "harvester.db"
    gate = Gate(let_through=8)
    async with stand_in(gate, tasks=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        daemon = await shell.start("run")
        await until(lambda: shell.count("harvested") == 8)
        await shell.run("forget", "--state", "harvested", "--yes")
        inode = database.stat().st_ino

        made = await shell.run("compact", "--json")
        again = await shell.run("compact")
        gate.open()
        await until(lambda: shell.count("harvested") == 4)
        daemon.signal(signal.SIGTERM)
        ended = await daemon.ended()

    report = json.loads(made.stdout)
    assert (made.code, again.code, ended.code) == (0, 0, 143), made.stderr + again.stderr + ended.stderr
    assert again.last_line == "There is nothing to give back."
    assert report["after"]["database_bytes"] <= report["database_bytes"] - report["free_inside_bytes"]
    assert database.stat().st_ino == inode
    assert (await shell.run("verify", "--deep")).code == 0


async def test_a_mistyped_path_makes_no_file_and_a_dry_run_changes_nothing(shell: Shell) -> None:
    await shell.add([task_id(0)])
    before = (shell.folder / "harvester.db").read_bytes()

    missing = await shell.run("compact", "--db", "harvster.db")
    dry = await shell.run("compact", "--dry-run")

    assert (missing.code, missing.last_line[:48]) == (4, "harvester: There is no database at 'harvster.db'"[:48])
    assert not (shell.folder / "harvster.db").exists()
    assert (dry.code, dry.last_line) == (0, "There is nothing to give back.")
    assert (shell.folder / "harvester.db").read_bytes() == before
