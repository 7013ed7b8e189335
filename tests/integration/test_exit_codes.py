"""Usage errors (2) and a refused key (3): one sentence with the remedy, and nothing done before."""

from collections.abc import Sequence

import pytest

from harvester.simulator import Simulator, SimulatorSettings
from tests.integration.shell import KEY, Ended, Shell, retrieved, stand_in

AN_ID = "66f537778d9641fe5a0d101f"
API_MESSAGE = (
    "API Key is either invalid or expired. Check your API key or generate a new one from the dashboard"
    " (api_key_invalid)."
)


def assert_one_sentence(ended: Ended, *parts: str) -> None:
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    *before, sentence = ended.stderr.splitlines()
    assert all(line.startswith("harvester: refused ") for line in before), ended.stderr
    assert sentence.startswith("harvester: ")
    assert [part for part in parts if part not in sentence] == [], sentence


@pytest.mark.parametrize(
    ("arguments", "environ", "parts"),
    [
        ([], {"HARVESTER_HARVEST__CONCURRENCY": "0"}, ["harvest.concurrency = '0'", "a whole number from 1 to 256"]),
        (["--file", "missing.txt"], {}, ["missing.txt cannot be read: No such file", "Give a file"]),
        (["../admin", "a?b"], {}, ["No task ids: all 2 were refused", "Give ids as the API returned them"]),
        (["--file", "/dev/null"], {}, ["No task ids: there are none", "Give ids as the API returned them"]),
        (["--deadline", "soon"], {}, ["--deadline 'soon' is not a time", "Write it as 90s, 30m, 2h or 1d"]),
        (["--config", "missing.toml"], {}, ["missing.toml", "does not exist", "Correct the path"]),
    ],
)
async def test_what_cannot_be_worked_with_ends_with_2(
    shell: Shell, arguments: Sequence[str], environ: dict[str, str], parts: Sequence[str]
) -> None:
    ended = await shell.run("backfill", *arguments, **environ)

    assert ended.code == 2
    assert_one_sentence(ended, *parts)
    assert KEY not in ended.stderr
    assert list(shell.folder.iterdir()) == []


async def test_an_unknown_option_ends_with_2(shell: Shell) -> None:
    ended = await shell.run("backfill", "--no-wiat")

    assert (ended.code, ended.stdout) == (2, "")
    assert "--no-wiat" in ended.stderr
    assert "--no-wait" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_wrong_key_stops_at_the_start_with_3_and_touches_no_task(shell: Shell) -> None:
    async with Simulator(SimulatorSettings(tasks=30, age_s=3600, key="another")) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())
        columns = "task_id, state, next_attempt_at, expires_at, attempts, failures, error_code, lease_owner, ended_at"
        before = shell.rows(f"SELECT {columns} FROM tasks")

        ended = await shell.run("backfill")

        assert ended.code == 3
        assert f"harvester: The API refuses the key: {API_MESSAGE}" in ended.last_line
        assert "Check TWELVELABS_API_KEY or api.key_file." in ended.last_line
        assert KEY not in ended.stderr
        assert "Traceback" not in ended.stderr
        assert before == shell.rows(f"SELECT {columns} FROM tasks")
        assert len(api.requests) <= 8  # those under way


async def test_some_tasks_that_ended_otherwise_end_with_1(shell: Shell) -> None:
    async with stand_in(tasks=3, failed_ratio=1) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        ended = await shell.run("backfill")

        assert (ended.code, retrieved(api)) == (1, api.catalogue.ids())
        assert "3 failed: the platform could not embed these; submit them again" in ended.stderr


async def test_a_bug_ends_with_70_and_the_traceback_is_shown_on_demand(shell: Shell) -> None:
    shell.sabotage(
        "import harvester.domain.task_ids\n"
        "def broken(task_id):\n    raise RuntimeError('broken for the test')\n"
        "harvester.domain.task_ids.validate_task_id = broken\n"
    )

    plain = await shell.run("show", AN_ID)
    debug = await shell.run("show", AN_ID, "--debug")

    assert (plain.code, debug.code) == (70, 70)
    assert plain.stderr == (
        "harvester: unexpected error, RuntimeError: broken for the test. Run again with --debug to see where.\n"
    )
    assert "Traceback" in debug.stderr
    assert debug.last_line == "harvester: unexpected error, RuntimeError: broken for the test."
