"""Usage errors (2) and a refused key (3): one sentence with the remedy, and nothing done before."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from harvester.cli.main import run
from harvester.simulator import Simulator, SimulatorSettings
from tests.support.shell import KEY, Ended, Shell, retrieved, stand_in

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


async def test_a_list_without_a_single_id_gives_the_document_as_well(shell: Shell) -> None:
    ended = await shell.run("add", "../admin", "a?b", "--retrieve", "visual", "--json")

    document = json.loads(ended.stdout)
    assert (ended.code, ended.last_line.partition(":")[2]) == (
        2,
        " No task ids: all 2 were refused. Give ids as the API returned them, one per line.",
    )
    assert (document["new"], document["refused"], document["retrieve_again"]) == (0, 2, 0)
    assert [line["text"] for line in document["refused_lines"]] == ["../admin", "a?b"]
    assert list(shell.folder.iterdir()) == []


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
        assert "  30 still to do: 30 pending.\n" in ended.stderr  # and no advice to run it again
        assert KEY not in ended.stderr
        assert "Traceback" not in ended.stderr
        assert before == shell.rows(f"SELECT {columns} FROM tasks")
        assert len(api.requests) <= 8  # those under way


async def test_some_tasks_that_ended_otherwise_end_with_1(shell: Shell) -> None:
    async with stand_in(tasks=3, failed_ratio=1) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        ended = await shell.run("backfill")

        # Each says so twice before it has ended.
        assert (ended.code, retrieved(api)) == (1, sorted(2 * api.catalogue.ids()))
        assert "3 failed: the platform could not embed these; submit them again" in ended.stderr

        again = await shell.run("backfill", "--json")
        document = json.loads(again.stdout)

        assert (again.code, retrieved(api)) == (1, sorted(2 * api.catalogue.ids()))
        assert "3 failed: the platform could not embed these; submit them again" in again.stderr
        assert (document["exit_reason"], document["harvested_ids"], document["open"]) == ("ended_otherwise", [], [])
        assert sorted(one["task_id"] for one in document["ended_otherwise"]) == sorted(api.catalogue.ids())


async def test_a_refused_key_still_gives_the_document(shell: Shell) -> None:
    async with Simulator(SimulatorSettings(tasks=2, age_s=3600, key="another")) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids(), "--json")

        document = json.loads(ended.stdout)
        assert (ended.code, document["exit_code"], document["exit_reason"]) == (3, 3, "key_refused")
        assert sorted(one["task_id"] for one in document["open"]) == sorted(api.catalogue.ids())


async def test_a_bug_ends_with_70_and_the_traceback_is_shown_on_demand(shell: Shell) -> None:
    shell.sabotage(
        "import harvester.domain.tasks.task_id\n"
        "def broken(task_id):\n    raise RuntimeError('broken for the test')\n"
        "harvester.domain.tasks.task_id.validate_task_id = broken\n"
    )

    plain = await shell.run("show", AN_ID)
    debug = await shell.run("show", AN_ID, "--debug")

    assert (plain.code, debug.code) == (70, 70)
    assert plain.stderr == (
        "harvester: unexpected error, RuntimeError: broken for the test. Run again with --debug to see where.\n"
    )
    assert "Traceback" in debug.stderr
    assert debug.last_line == "harvester: unexpected error, RuntimeError: broken for the test."


@pytest.mark.parametrize("command", ["status", "backfill", "discover --dry-run", "verify", "plan", "backup copy.db"])
async def test_a_database_that_cannot_be_reached_ends_with_4(shell: Shell, command: str) -> None:
    ended = await shell.run(*command.split(), "--db", "a" * 300)

    assert ended.code == 4
    assert_one_sentence(ended, "cannot be reached: File name too long", "Check the permissions of its folders")


async def test_a_backup_that_cannot_be_reached_ends_with_2(shell: Shell) -> None:
    await shell.add([AN_ID])
    ended = await shell.run("backup", "a" * 300)

    assert ended.code == 2
    assert_one_sentence(ended, "cannot be had: File name too long", "Give another file")


async def test_the_doctor_tells_of_a_database_that_cannot_be_reached(shell: Shell) -> None:
    # On this machine, so that no certificate authorities are needed.
    shell.talks_to("http://127.0.0.1:9/v1.3")
    ended = await shell.run("doctor", "--offline", "--db", "a" * 300)

    assert (ended.code, "Traceback" in ended.stderr) == (1, False)
    assert "cannot be reached: File name too long" in ended.stdout
    assert "1 failure, " in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status", "--db", "mine.db"], 4),
        (["add", "--file", "mine.txt"], 2),
        (["status", "--config", "mine.toml"], 2),
        (["simulate", "--faults", "mine.toml"], 2),
    ],
)
def test_what_opens_a_file_reports_that_it_may_not_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    # The superuser may read any file, so only a check before the file is opened is denied here.
    monkeypatch.setattr(os, "access", lambda *_args, **_kwargs: False)
    (tmp_path / arguments[-1]).write_bytes(b"\xff no file that could be used, and more than the header of a database")

    assert run(arguments) == code
    message = capsys.readouterr().err
    assert message.startswith("harvester: ")
    assert "Usage" not in message
