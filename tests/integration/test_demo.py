"""`harvester demo`, once: it takes as long as it says."""

import sqlite3
from contextlib import closing

from tests.support.shell import Shell


async def test_the_demo_tells_the_whole_story_and_leaves_a_sound_database(shell: Shell) -> None:
    for name in ("TWELVELABS_API_KEY", "HARVESTER_RATE__REQUESTS_PER_MINUTE"):
        del shell.environ[name]

    demo = await shell.run("demo", "--folder", "tmp")
    verified = await shell.run("verify", "--deep", "--db", "tmp/harvester.db")

    assert demo.code == 0, demo.stderr
    steps = ["$ harvester add", "$ harvester backfill", "$ harvester status", "$ harvester verify", "Now try"]
    assert sorted(steps, key=demo.stderr.index) == steps
    assert "Traceback" not in demo.stderr
    assert (verified.code, verified.stdout) == (0, "")
    with closing(sqlite3.connect(shell.folder / "tmp" / "harvester.db")) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM tasks GROUP BY state"))
        scopes = {scope for (scope,) in connection.execute("SELECT embedding_scope FROM segments")}
    assert states.keys() <= {"harvested", "failed"}
    assert sum(states.values()) == 30
    assert scopes == {"clip", "asset", "page", "chunk"}
