"""`harvester demo`, once: it takes as long as it says."""

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from tests.support.shell import Shell


def typed(shell: Shell, command: str) -> str:
    """Run a printed command as a person does, where no `sqlite3` is installed; return its output."""
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=shell.folder,
        env=shell.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_the_demo_tells_the_whole_story_and_ends_with_commands_that_work(shell: Shell, tmp_path: Path) -> None:
    del shell.environ["TWELVELABS_API_KEY"]
    # Started as by a person whose settings would change the harvest, and who has no `sqlite3`.
    shell.starts_cold = True
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    shell.environ["PATH"] = str(nothing)

    demo = await shell.run("demo", "--folder", "a b's", HARVESTER_HARVEST__STRATEGY="status")
    verified = await shell.run("verify", "--deep", "--db", "a b's/harvester.db")

    assert demo.code == 0, demo.stderr
    steps = ["$ harvester add", "$ harvester backfill", "$ harvester status", "$ harvester verify", "Now try"]
    assert sorted(steps, key=demo.stderr.index) == steps
    assert "Traceback" not in demo.stderr
    # The same on each run; how many pages were asked for depends on the machine.
    assert re.search(r"Harvested 29 tasks \(1902 segments, 5\.3 MB\) with 3[2-5] requests", demo.stderr), demo.stderr
    assert "1 failed" in demo.stderr
    assert (verified.code, verified.stdout) == (0, "")
    with closing(sqlite3.connect(shell.folder / "a b's" / "harvester.db")) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM tasks GROUP BY state"))
        scopes = {scope for (scope,) in connection.execute("SELECT embedding_scope FROM segments")}
    assert states == {"harvested": 29, "failed": 1}
    assert scopes == {"clip", "asset", "page", "chunk"}
    show, query = (line.strip() for line in demo.stderr.partition("files of the demo:\n")[2].splitlines()[:2])
    assert "harvested" in typed(shell, show)
    assert typed(shell, query).count("(") == 5
    own = demo.stderr.partition("with your own account:\n")[2].splitlines()
    assert [line.rpartition(" harvester ")[2] for line in own] == ["init", "discover", "backfill"]
    for line in own:
        assert "Usage: harvester" in typed(shell, f"{line} --help")
