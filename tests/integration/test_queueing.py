"""`harvester add`: what is new, what is known, what is refused and why."""

import json
import time

import pytest

from tests.support.scripted_api import task_id
from tests.support.shell import Shell

FIRST, SECOND, THIRD = (task_id(number) for number in range(3))

PLAIN = f"# exported yesterday\n{FIRST}\n\n{SECOND}\n../admin\n{FIRST}\n"
CSV = f'title,task_id\nholiday,{FIRST}\n"a, b",{SECOND}\nbroken,a?b\nagain,{FIRST}\n'
JSON_LINES = f'{{"_id": "{FIRST}"}}\n{{"_id": "{SECOND}"}}\n{{"id": 7}}\n{{"_id": "{FIRST}"}}\n'


def queued(shell: Shell) -> set[str]:
    return set(shell.states())


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("ids.txt", PLAIN, "ids.txt:5: The task id '../admin' contains something other than letters"),
        ("ids.csv", CSV, "ids.csv:4: The task id 'a?b' contains something other than letters"),
        ("ids.jsonl", JSON_LINES, "ids.jsonl:3: this is not an object with a text field 'task_id' or '_id' or 'id'"),
        ("windows.txt", f"\ufeff{PLAIN}".replace("\n", "\r\n"), "windows.txt:5: The task id '../admin' contains"),
    ],
)
async def test_a_file_is_read_in_the_format_that_its_name_says(
    shell: Shell, name: str, text: str, refusal: str
) -> None:
    (shell.folder / name).write_text(text, newline="")

    ended = await shell.run("add", "--file", name)

    refused, summary = ended.stderr.splitlines()
    assert (ended.code, ended.stdout) == (1, "")
    assert refused.startswith(f"harvester: refused {refusal}")
    assert summary == "2 new, 1 known, 1 refused: harvester.db"
    assert queued(shell) == {FIRST, SECOND}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], PLAIN),
        (["--column", "task_id"], CSV),
        ([], JSON_LINES),
        (["--field", "task"], JSON_LINES.replace("_id", "task")),
    ],
)
async def test_stdin_takes_every_format(shell: Shell, options: list[str], text: str) -> None:
    ended = await shell.run("add", "--file", "-", *options, "--json", stdin=text)

    document = json.loads(ended.stdout)
    (line,) = document.pop("refused_lines")
    assert (ended.code, document) == (1, {"new": 2, "known": 1, "refused": 1})
    assert (line["file"], line["line"] > 0, line["reason"] in ended.stderr) == ("stdin", True, True)
    assert queued(shell) == {FIRST, SECOND}


async def test_known_ids_stay_as_they_are(shell: Shell) -> None:
    await shell.add([FIRST, SECOND])
    before = shell.rows("SELECT * FROM tasks ORDER BY id")

    again = await shell.run("add", FIRST, SECOND)
    more = await shell.run("add", FIRST, THIRD)

    assert (again.code, again.stderr) == (0, "0 new, 2 known, 0 refused: harvester.db\n")
    assert (more.code, more.stderr) == (0, "1 new, 1 known, 0 refused: harvester.db\n")
    assert before == shell.rows("SELECT * FROM tasks ORDER BY id")[:2]


async def test_ten_thousand_ids_are_queued_and_reported_in_one_line(shell: Shell) -> None:
    ids = [task_id(number) for number in range(10_000)]

    ended = await shell.run("add", "--file", "-", stdin="\n".join(ids))

    assert (ended.code, ended.stderr) == (0, "10000 new, 0 known, 0 refused: harvester.db\n")
    assert set(ids) == queued(shell)


async def test_of_many_refused_lines_the_first_ones_are_shown(shell: Shell) -> None:
    ids = "".join(f"{task_id(number)}\n" for number in range(30))

    ended = await shell.run("add", "--file", "-", stdin=ids + "a b\n" * 22)

    lines = ended.stderr.splitlines()
    assert ended.code == 1
    assert lines[0].startswith("harvester: refused stdin:31: The task id 'a b' contains")
    assert lines[5:] == [
        "harvester: and 17 more were refused (see --json)",
        "30 new, 0 known, 22 refused: harvester.db",
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Call me Ishmael. Some years ago", "prose (line 1: 'Call me Ishmael. Some years ag')"),
        ("<p>hello</p>", "HTML or XML (line 1: '<p>hello</p>')"),
        ("a;b;c", "a table, which needs --column NAME (line 1: 'a;b;c')"),
    ],
)
async def test_a_file_that_is_no_list_of_ids_gets_one_sentence(shell: Shell, line: str, kind: str) -> None:
    (shell.folder / "book.txt").write_text(f"{line}\n" * 1000)

    ended = await shell.run("add", "--file", "book.txt")
    beside = await shell.run("add", FIRST, "--file", "book.txt")

    expected = "Give ids as the API returned them, one per line."
    whole = f"harvester: No task ids: all 1000 were refused; book.txt looks like {kind}. {expected}\n"
    assert (ended.code, ended.stderr) == (2, whole)
    assert beside.code == 1
    assert beside.stderr.splitlines() == [
        f"harvester: 1000 of 1001 were refused: book.txt looks like {kind}. {expected}",
        "1 new, 0 known, 1000 refused: harvester.db",
    ]


async def test_a_hostile_line_is_shown_harmless(shell: Shell) -> None:
    ended = await shell.run("add", FIRST, "--file", "-", stdin="\x1b[2J\u202eevil\n")

    assert ended.code == 1
    assert r"'\x1b[2J\u202eevil'" in ended.stderr
    assert not set("\x1b\u202e") & set(ended.stderr)


async def test_nothing_acceptable_is_a_usage_error_and_creates_nothing(shell: Shell) -> None:
    ended = await shell.run("add", "../admin")

    assert (ended.code, ended.stdout) == (2, "")
    assert "No task ids: all 1 were refused." in ended.last_line
    assert not shell.database.exists()


async def test_two_adds_at_once_queue_the_union(shell: Shell) -> None:
    files = {"one.txt": range(3000), "two.txt": range(1500, 4500)}
    for name, numbers in files.items():
        (shell.folder / name).write_text("\n".join(f"{number:024x}" for number in numbers))

    started = [await shell.start("add", "--file", name) for name in files]
    ended = [await one.ended() for one in started]

    assert [one.code for one in ended] == [0, 0], ended
    assert {f"{number:024x}" for number in range(4500)} == queued(shell)


async def test_retry_names_what_it_leaves_alone(shell: Shell) -> None:
    await shell.add([FIRST])
    ended = await shell.run("retry", FIRST, "unheard-of")
    listed = await shell.run("retry", FIRST, "unheard-of", "--json")
    nothing_kept = await shell.run("retry", "--from-kept")

    assert ended.stderr.splitlines() == [
        f"harvester: {FIRST} stays as it is: it is pending.",
        "harvester: unheard-of stays as it is: the database has no such task.",
        "0 tasks pending again.",
    ]
    assert (ended.code, listed.code, (await shell.run("retry", FIRST)).code) == (1, 1, 0)
    assert json.loads(listed.stdout)["left"] == {FIRST: "pending", "unheard-of": None}
    assert nothing_kept.stderr.startswith("harvester: No body is kept: there is nothing to decode.\n")


@pytest.mark.parametrize(
    ("left_s", "verdict"),
    [
        ([3600], "URGENT: open tasks reach their deadline within a day. Keep `harvester backfill` running."),
        ([-3600, 3600], "URGENT: open tasks reach their deadline within a day. Keep `harvester backfill` running."),
        ([-3600, 5 * 86_400], "2 tasks still to do, none lost."),
        ([-3600], "1 task still to do, none lost."),
    ],
)
async def test_urgent_is_what_can_still_be_saved(shell: Shell, left_s: list[int], verdict: str) -> None:
    ids = [f"{int(time.time()) - 7 * 86_400 + left:08x}{number:016x}" for number, left in enumerate(left_s)]
    await shell.add(ids)

    ended = await shell.run("status")

    assert ended.stdout.splitlines()[0] == verdict
    assert ("overdue        1 open task past the deadline" in ended.stdout) == (-3600 in left_s)
