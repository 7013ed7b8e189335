"""Lines of the list fit 80 columns, and its JSON and CSV give every value back."""

import csv
import json
from dataclasses import replace

import pytest

from harvester.domain.tasks.task import TaskState
from harvester.domain.tasks.task_list import TaskLine
from harvester.reports.task_list import WIDTH, as_csv, as_json, as_text, csv_header

TASK = TaskLine(
    key=1,
    task_id="66f537778d9641fe5a0d101f",
    state=TaskState.FAILED,
    reason="task_failed",
    message='It is "no" video,\nsays the API: \u6771.',
    model_name=None,
    input_type=None,
    input_filename="holiday.mp4",
    input_url=None,
    duration_s=12.5,
    segments=None,
    added_at_ms=1_760_000_000_000,
    ended_at_ms=1_760_000_060_000,
    expires_at_ms=None,
    labels={"show": "a, b"},
)

HARVESTED = replace(TASK, state=TaskState.HARVESTED, reason=None, message=None, model_name="marengo3.0")


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (TASK, "66f537778d9641fe5a0d101f  failed     2025-10-09T08:54  task_failed"),
        (HARVESTED, "66f537778d9641fe5a0d101f  harvested  2025-10-09T08:54  marengo3.0 holiday.mp4"),
        (
            replace(HARVESTED, input_filename="\u6771" * 20),
            "66f537778d9641fe5a0d101f  harvested  2025-10-09T08:54  marengo3.0 " + "\u6771" * 5 + "...",
        ),
        (
            replace(TASK, task_id="x" * 128, reason="r" * 100, state=TaskState.PENDING, ended_at_ms=None),
            f"{'x' * 26}...  pending    2025-10-09T08:53  {'r' * 17}...",
        ),
        (replace(TASK, added_at_ms=0, ended_at_ms=2**62, reason=None), None),
    ],
)
def test_a_line_fits_a_terminal_of_80_columns(task: TaskLine, line: str | None) -> None:
    assert line in (None, as_text(task))
    assert len(as_text(task)) + as_text(task).count("\u6771") <= WIDTH


def test_json_has_the_message_word_for_word() -> None:
    assert as_json(TASK).isascii()
    assert json.loads(as_json(TASK))["message"] == TASK.message


def test_csv_gives_every_value_back() -> None:
    keys = ["season", "show"]

    (row,) = csv.DictReader(f"{csv_header(keys)}\n{as_csv(TASK, keys)}\n".splitlines(keepends=True))

    assert row["message"] == TASK.message
    assert (row["ended_at"], row["expires_at"]) == ("2025-10-09T08:54:20Z", "")
    assert (row["label.season"], row["label.show"]) == ("", "a, b")
