import io
import json
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harvester.cli.console import (
    print_data,
    print_error,
    print_json,
    print_note,
    print_report,
    print_wrapped,
    printable,
    stderr_console,
    wrapped,
)

HARMFUL: tuple[Literal["Cc", "Cf", "Cs", "Zl", "Zp"], ...] = ("Cc", "Cf", "Cs", "Zl", "Zp")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nb\tc\x00", r"a\r\nb\tc\x00"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u2028b", r"a\u2028b"),
        ("\ufeffid", r"\ufeffid"),
        ("bad\udcff", r"bad\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("動画　一.mp4", "動画　一.mp4"),
        ("Grüße 🎬", "Grüße 🎬"),
    ],
)
def test_what_acts_on_a_terminal_becomes_a_visible_escape(text: str, shown: str) -> None:
    assert shown == printable(text)


@given(st.text(st.characters(), max_size=50))
def test_nothing_harmful_is_left(text: str) -> None:
    assert not [character for character in printable(text) if unicodedata.category(character) in HARMFUL]


@given(st.text(st.characters(exclude_categories=HARMFUL)))
def test_everything_else_is_left_as_it_is(text: str) -> None:
    assert text == printable(text)


@given(st.text(st.characters()))
def test_escaping_twice_changes_nothing_more(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(st.text(st.characters()))
def test_what_is_left_can_be_written_as_utf_8(text: str) -> None:
    printable(text).encode("utf-8")


def test_errors_go_to_stderr_in_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("cannot read \x1b[2Jx\ny")

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "harvester: cannot read \\x1b[2Jx\\ny\n")


def test_data_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    print_data("x\u202ey")
    print_json({"name": "x\u202e\x1b", "path": object})

    first, _, document = capsys.readouterr().out.partition("\n")
    assert first == r"x\u202ey"
    assert document.isascii()
    assert json.loads(document)["name"] == "x\u202e\x1b"


def test_the_console_takes_markup_in_foreign_text_literally(capsys: pytest.CaptureFixture[str]) -> None:
    stderr_console().print("[red]clip[/red] :tada:")

    assert capsys.readouterr().err == "[red]clip[/red] :tada:\n"


LONG = (
    "  3 failed: submit the same input again, as it is (as 6b0df42213254bbae9f90388: The task failed. Try again later.)"
)


def test_a_long_line_is_broken_at_words_with_a_hanging_indent() -> None:
    lines = wrapped(LONG, 60).split("\n")

    assert max(map(len, lines)) <= 60
    assert [line[:5] for line in lines[1:]] == [f"    {line[4]}" for line in lines[1:]]
    assert " ".join(line.strip() for line in lines) == LONG.strip()
    assert wrapped(f"no {'x' * 100}", 60) == f"no\n  {'x' * 100}"


def test_lines_are_broken_on_a_terminal_only() -> None:
    terminal, pipe = (
        Console(file=io.StringIO(), force_terminal=is_terminal, width=60, markup=False, highlight=False)
        for is_terminal in (True, False)
    )
    for console in (terminal, pipe):
        print_wrapped(LONG, console)
    assert terminal.file.getvalue() == f"{wrapped(LONG, 60)}\n"  # type: ignore[attr-defined]
    assert pipe.file.getvalue() == f"{LONG}\n"  # type: ignore[attr-defined]


def test_an_error_is_broken_at_words_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    print_error("refused line 3: it contains something other than letters")
    assert capsys.readouterr().err == "harvester: refused line 3: it contains\n  something other than letters\n"
    print_note("Paused since 12:00: no process sends requests.")
    assert capsys.readouterr().err == "Paused since 12:00: no process sends\n  requests.\n"


def test_a_report_is_broken_at_words_on_a_terminal_and_as_it_is_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    line = "stored         7 segments of 1.0 h"
    print_report(line)
    assert capsys.readouterr().out == f"{line}\n"

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_report(line)
    print_report("")
    assert capsys.readouterr().out == "stored         7\n  segments of 1.0 h\n\n"
