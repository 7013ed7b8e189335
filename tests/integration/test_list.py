"""`harvester list` on the command line."""

import csv
import json
import sqlite3
from contextlib import closing

import pytest

from harvester.cli.list import PAGE
from harvester.domain.tasks.task import TaskState
from tests.support.scripted_api import task_id
from tests.support.shell import Shell

MANY = PAGE + 3


async def test_more_tasks_than_a_page_are_listed_once_each(shell: Shell) -> None:
    ids = [task_id(number) for number in range(MANY)]
    await shell.add(ids)

    as_ids, as_json = await shell.run("list", "--ids"), await shell.run("list", "--json")

    document = json.loads(as_json.stdout)
    assert as_ids.stdout.splitlines() == ids
    assert [task["task_id"] for task in document["tasks"]] == ids
    assert document["count"] == MANY


async def test_what_matches_nothing_is_said(shell: Shell) -> None:
    await shell.run("migrate")
    empty = await shell.run("list")
    one = task_id(0)
    await shell.add([one])

    ended = await shell.run("list", "--state", "failed,expired", "--json")
    listed = await shell.run("list", "--state", "open", "--csv")

    assert (empty.code, empty.stderr, empty.stdout) == (0, "harvester: harvester.db has no tasks.\n", "")
    assert (ended.code, ended.stderr) == (0, "harvester: No task in harvester.db matches.\n")
    assert json.loads(ended.stdout) == {"tasks": [], "count": 0}
    assert [row["task_id"] for row in csv.DictReader(listed.stdout.splitlines())] == [one]


async def test_text_of_others_cannot_act_on_the_terminal(shell: Shell) -> None:
    await shell.run("migrate")
    with closing(sqlite3.connect(shell.database)) as connection, connection:
        connection.execute("INSERT INTO tasks (task_id) VALUES (?)", ("\x1b[31m" * 20,))

    lines = (await shell.run("list")).stdout.splitlines()

    assert [len(line) <= 80 and line.isprintable() for line in lines] == [True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ids", "--csv"], "--ids, --json and --csv exclude each other. Give one of them."),
        (
            ["--state", "done"],
            f"--state 'done' is no state. Choose from open, {', '.join(TaskState)}.",
        ),
        (
            ["--since", "soon"],
            "--since 'soon' is neither a time nor a date. Write it as 12h, 7d or 2026-05-04T13:02:11Z.",
        ),
        (["--label", "show="], "--label show= has no value. Write it as key=value, such as show=x."),
        (["--reason", ","], "--reason is empty. Give one or more names with commas between them."),
    ],
)
async def test_a_wrong_option_is_refused_in_a_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    ended = await shell.run("list", *arguments)

    assert (ended.code, ended.last_line) == (2, f"harvester: {sentence}")
