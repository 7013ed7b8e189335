"""The fixtures of the integration tests: a fault is met by the installed command, too; and what holds in every test."""

import resource
from collections.abc import Iterator

import pytest

from tests.faults.invariants import MAX_MEBIBYTES
from tests.integration.conftest import api, shell

__all__ = ["api", "memory_is_bounded", "shell"]


@pytest.fixture(autouse=True)
def memory_is_bounded() -> Iterator[None]:
    """Under any fault, no command that ends in a test has grown beyond the bound, and no worker of it."""
    before = peak_mebibytes(resource.RUSAGE_CHILDREN)
    yield
    # A process begins as a copy of the one that starts it, which may have grown with the tests before.
    allowed = max(MAX_MEBIBYTES, before, peak_mebibytes(resource.RUSAGE_SELF))
    assert peak_mebibytes(resource.RUSAGE_CHILDREN) <= allowed


def peak_mebibytes(who: int) -> float:
    """Return the largest peak of one process: of this one, or of those that it started and that have ended."""
    return resource.getrusage(who).ru_maxrss / 1024
