"""`harvester pause` and `resume`, and what other commands say meanwhile."""

import json

import pytest

from harvester.domain.tasks.task import TaskState
from tests.support.shell import Shell, stand_in


async def test_a_pause_holds_for_commands_that_start_later(shell: Shell) -> None:
    async with stand_in(tasks=2) as api:
        shell.talks_to(api.base_url)
        first, second = api.catalogue.ids()
        await shell.add([first])

        paused = await shell.run("pause")
        status = await shell.run("status")
        document = json.loads((await shell.run("status", "--json")).stdout)
        plan = await shell.run("plan")
        refused = [await shell.run(*command) for command in (["backfill", second], ["discover"])]
        sent = len(api.requests)
        resumed, again = await shell.run("resume"), await shell.run("resume")
        harvest = await shell.run("backfill")

    assert paused.code == 0
    assert paused.stderr.startswith("Paused since ")
    assert "a pause until then loses embeddings." in paused.last_line
    assert "\nPAUSED since " in status.stdout
    assert plan.stdout.startswith("PAUSED since ")
    assert "nothing of this happens before the end" in plan.stdout
    assert document["paused"]["until_ms"] is None
    for command in refused:
        assert command.code == 1
        assert "no request was sent. `harvester resume` ends the pause; then run it again." in command.last_line
    assert sent == 0
    assert (resumed.code, again.code) == (0, 0)
    assert resumed.stderr.startswith("Resumed, was paused since ")
    assert again.stderr == "Nothing was paused: harvester.db\n"
    assert harvest.code == 0
    assert shell.states() == dict.fromkeys((first, second), TaskState.HARVESTED)


@pytest.mark.parametrize(
    ("time", "sentence"),
    [
        ("soon", "--for 'soon' is not a time. Write it as 90s, 30m, 2h or 1d."),
        ("400d", "--for '400d' is longer than a year. Leave --for out, and end it by hand."),
    ],
)
async def test_a_time_that_is_none_changes_nothing(shell: Shell, time: str, sentence: str) -> None:
    await shell.add(["task"])

    refused = await shell.run("pause", "--for", time)

    assert (refused.code, refused.last_line) == (2, f"harvester: {sentence}")
    assert shell.rows("SELECT * FROM pause") == []


async def test_expedited_tasks_are_put_first_and_others_named(shell: Shell) -> None:
    await shell.add(["first", "second"])

    done = await shell.run("expedite", "first", "unknown")

    assert done.code == 1
    assert done.stderr.splitlines() == [
        "harvester: unknown stays as it is: the database has no such task. Queue it: `harvester add unknown`.",
        "1 task put first: harvester.db",
    ]
    assert shell.rows("SELECT task_id FROM expedited JOIN tasks ON tasks.id = task") == [("first",)]
