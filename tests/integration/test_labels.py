"""Labels on the command line: columns of CSV, `add --label`, `harvester label`, `show` and the view."""

import json

import pytest

from tests.support.scripted_api import task_id
from tests.support.shell import Shell, stand_in

FIRST, SECOND = task_id(0), task_id(1)

REFUSED_KEY = "The label key '{}' is empty, or has '=' or a character that cannot be shown."

LABELS = "SELECT task_id, key, value FROM task_labels ORDER BY 1, 2"


async def test_columns_of_a_csv_file_become_labels(shell: Shell) -> None:
    csv = f'show,task_id,,season,own=name,show\nnews,{FIRST},x,3,y,z\n"Tom, Jerry",{SECOND},x,,y,z\n,{FIRST},x,3,y,z\n'
    (shell.folder / "m.csv").write_text(csv)

    added = await shell.run("add", "--file", "m.csv", "--label", "season=4", "--label", "from=m.csv")

    assert added.code == 0
    assert added.stderr.splitlines()[:-1] == [
        f"harvester: m.csv: a column is left out of the labels. {REFUSED_KEY.format('own=name')}",
        "harvester: m.csv: only the first of the columns 'show' becomes a label.",
    ]
    assert shell.rows(LABELS) == [
        (FIRST, "from", "m.csv"),
        (FIRST, "season", "4"),
        (FIRST, "show", "news"),
        (SECOND, "from", "m.csv"),
        (SECOND, "season", "4"),
        (SECOND, "show", "Tom, Jerry"),
    ]


async def test_labels_are_set_shown_and_removed(shell: Shell) -> None:
    await shell.add([FIRST, SECOND])

    labelled = await shell.run("label", FIRST, "show=a=b", "season=3", SECOND, "missing-task")
    shown = await shell.run("show", FIRST)
    removed = await shell.run("label", FIRST, "show=")

    assert labelled.code == 1
    assert labelled.stderr.splitlines() == [
        "harvester: The task missing-task is not in harvester.db. Queue it: `harvester add missing-task`.",
        "2 tasks labelled: harvester.db",
    ]
    assert "labels        season=3\n              show=a=b\n" in shown.stdout
    assert removed.code == 0
    assert shell.rows(LABELS) == [(FIRST, "season", "3"), (SECOND, "season", "3"), (SECOND, "show", "a=b")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["label", FIRST], "No labels were given. Write `harvester label ID show=x`; `show=` removes it."),
        (["label", "show=x"], "No tasks were given. Write `harvester label ID show=x`; `show=` removes it."),
        (["label", FIRST, "show=x", "show=y"], "The label 'show' is given two values. Give one value for each key."),
        (["add", FIRST, "--label", "show"], "The label 'show' has no '='. Write labels as key=value, such as show=x."),
        (
            ["add", FIRST, "--label", "=x"],
            f"{REFUSED_KEY.format('')} Write labels as key=value, such as show=x.",
        ),
    ],
)
async def test_what_is_no_label_is_refused_in_a_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    ended = await shell.run(*arguments)

    assert (ended.code, ended.last_line) == (2, f"harvester: {sentence}")
    assert not shell.database.exists()


async def test_backfill_takes_the_labels_of_its_file(shell: Shell) -> None:
    async with stand_in(tasks=1) as api:
        shell.talks_to(api.base_url)
        (one,) = api.catalogue.ids()
        (shell.folder / "ids.jsonl").write_text(json.dumps({"id": one, "show": "news"}))

        harvest = await shell.run("backfill", "--file", "ids.jsonl")

    assert (harvest.code, shell.states()) == (0, {one: "harvested"}), harvest.stderr
    assert shell.rows("SELECT task_id, key, value FROM task_labels") == [(one, "show", "news")]


async def test_the_url_of_a_task_is_no_label(shell: Shell) -> None:
    await shell.add([FIRST])

    labelled = await shell.run("label", f"https://api.twelvelabs.io/v1.3/embed/tasks/{FIRST}?a=b", "show=news")

    assert labelled.code == 0, labelled.stderr
    assert shell.rows(LABELS) == [(FIRST, "show", "news")]
