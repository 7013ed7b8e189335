"""`docs/faults.md` holds each row to a test, and each kind of the stand-in to a row."""

import re
from pathlib import Path

from harvester.simulator.faults.kinds import KINDS

FOLDER = Path(__file__).resolve().parent
TABLE = (FOLDER.parents[1] / "docs" / "faults.md").read_text("utf-8")
ROWS = {int(row): line for line, row in re.findall(r"^(\| (\d+) \|.*)$", TABLE, re.MULTILINE)}


def names_by_row() -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for file in FOLDER.glob("test_*.py"):
        for name in re.findall(r"^(?:async )?def (test_row_\w+)\(", file.read_text("utf-8"), re.MULTILINE):
            for number in re.findall(r"(?:row|and)_(\d\d)(?=_)", name):
                found.setdefault(int(number), set()).add(f"{file.name}::{name}")
    return found


def test_the_table_has_every_row_in_its_order() -> None:
    # 58 to 60 are about daily operation.
    assert list(ROWS) == [*range(1, 58), 61, 62, 63]


def test_each_row_has_a_test_and_each_test_a_row() -> None:
    assert ROWS.keys() == names_by_row().keys()


def test_the_kinds_of_the_stand_in_stand_in_their_rows() -> None:
    named = {(row, kind) for row, line in ROWS.items() for kind in re.findall(r"`(\w+)`", line.split("|")[3])}
    assert {(row, name) for name, kind in KINDS.items() for row in kind.rows} == named
