"""Which embedding options a result is asked for, and what is kept of that."""

import pytest

from harvester.domain.tasks.retrieve_options import UNFILTERED_MS, options_to_record, options_to_retrieve
from harvester.domain.tasks.task import RETENTION_MS, Task, TaskState

NOW = 1_760_000_000_000
DEFAULT = ("audio",)


def task(options: tuple[str, ...] | None = None, code: str | None = None, left_ms: int = RETENTION_MS) -> Task:
    return Task(1, "opaque", TaskState.READY, NOW, NOW + left_ms, error_code=code, retrieve_options=options)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (task(), DEFAULT),
        (task(("visual", "transcription")), ("visual", "transcription")),
        (task(()), ()),
        (task(("visual",), "connection_lost", left_ms=1), ("visual",)),
        (task(("visual",), "no_segments"), ()),
        (task(None, "no_segments"), ()),
        (task(("visual",), "embedding_option_refused"), ("visual",)),
        (task(("visual",), "embedding_option_refused", UNFILTERED_MS - 1), ()),
    ],
)
def test_the_task_goes_over_the_setting_and_nothing_is_lost_by_a_filter(one: Task, expected: tuple[str, ...]) -> None:
    assert options_to_retrieve(one, DEFAULT, NOW) == expected


@pytest.mark.parametrize(
    ("one", "asked", "recorded"),
    [
        (task(), (), None),
        (task(()), (), None),
        # A person may have chosen other options meanwhile, so the stored choice may be another one by now.
        (task(("visual",)), ("visual",), ("visual",)),
        (task(), ("visual",), ("visual",)),
        (task(("visual",)), (), ()),
    ],
)
def test_what_was_asked_for_is_recorded_with_every_result_that_was_ever_filtered(
    one: Task, asked: tuple[str, ...], recorded: tuple[str, ...] | None
) -> None:
    assert options_to_record(one, asked) == recorded
