"""`harvester forget` on the command line, beside the list of the account and other programs."""

import pytest

from tests.support.scripted_api import task_id
from tests.support.shell import Shell, stand_in


async def test_discover_leaves_forgotten_tasks_out_until_they_are_named(shell: Shell) -> None:
    async with stand_in(tasks=2) as api:
        shell.talks_to(api.base_url)
        await shell.run("discover")
        first, second = shell.states()
        forgotten = await shell.run("forget", first)
        dry, found = await shell.run("discover", "--dry-run"), await shell.run("discover")
        after = set(shell.states())
        await shell.add([first])
        harvested = await shell.run("backfill")

    assert (forgotten.code, forgotten.stderr) == (0, "1 task forgotten: harvester.db\n")
    assert (dry.code, dry.stdout, found.code) == (0, "", 0)
    assert after == {second}
    assert (harvested.code, set(shell.states().values())) == (0, {"harvested"})


async def test_what_was_not_named_needs_a_yes(shell: Shell) -> None:
    one, two, three = (task_id(number) for number in range(3))
    await shell.run("add", one, two, "--label", "show=news")
    await shell.add([three])

    refused = await shell.run("forget", "--label", "show=news", "--state", "open")
    assert (refused.code, len(shell.states())) == (2, 3)
    assert refused.last_line == "harvester: This would forget 2 tasks, 2 of them open. Add --yes."
    done = await shell.run("forget", "--label", "show=news", "--state", "open", "--yes")
    none = await shell.run("forget", "--older-than", "30d")

    assert (done.code, done.stderr) == (0, "2 tasks forgotten: harvester.db\n")
    assert (none.code, none.stderr) == (0, "0 tasks forgotten: harvester.db\n")
    assert set(shell.states()) == {three}
    assert shell.rows("SELECT count(*) FROM task_labels") == [(0,)]


async def test_ids_that_are_unknown_or_no_ids_are_named(shell: Shell) -> None:
    one = task_id(0)
    await shell.add([one])

    ended = await shell.run("forget", one, "unknown-id", "no id!")

    assert ended.code == 1
    assert ended.stderr.splitlines()[1:] == [
        "harvester: The task unknown-id is not in harvester.db.",
        "1 task forgotten: harvester.db",
    ]
    again = await shell.run("forget", one)
    assert (again.code, again.stderr) == (0, "0 tasks forgotten, 1 forgotten before: harvester.db\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Nothing to forget was named."),
        (["a", "--state", "failed"], "Ids and conditions exclude each other."),
    ],
)
async def test_ids_or_conditions_are_needed(shell: Shell, arguments: list[str], sentence: str) -> None:
    ended = await shell.run("forget", *arguments)

    remedy = "Give ids, or one or more of --older-than 30d, --state failed, --label show=x."
    assert (ended.code, ended.last_line) == (2, f"harvester: {sentence} {remedy}")
