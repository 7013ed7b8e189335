from typing import get_args

import pytest

from harvester.domain.tasks.outcomes import (
    Empty,
    Failed,
    Invalid,
    InvalidRequest,
    Misrouted,
    NotFound,
    Outcome,
    Processing,
    Ready,
    Refused,
    Retrieved,
    Throttled,
    Transient,
    UnknownHere,
)

STORED_KINDS: dict[type[Outcome], str] = {
    Ready: "ready",
    Retrieved: "retrieved",
    Processing: "processing",
    Failed: "failed",
    NotFound: "gone",
    UnknownHere: "unknown_here",
    Empty: "empty",
    InvalidRequest: "unacceptable",
    Throttled: "throttled",
    Refused: "refused",
    Transient: "transient",
    Misrouted: "misrouted",
    Invalid: "invalid",
}
"""The values of `attempts.outcome` in existing databases, and of the label `outcome` of metrics."""


def test_the_kinds_are_the_values_that_databases_and_metrics_hold() -> None:
    assert {outcome: outcome.kind for outcome in get_args(Outcome)} == STORED_KINDS


@pytest.mark.parametrize("outcome", [Ready(), Processing()])
def test_an_outcome_without_trouble_has_neither_code_nor_message(outcome: Outcome) -> None:
    assert (outcome.code, outcome.message) == (None, None)
