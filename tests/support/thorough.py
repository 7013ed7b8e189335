"""Leaves slow cases to `make test-all`: those that take the same path as another one, and most examples."""

import os

import pytest
from hypothesis import settings

IS_THOROUGH = "TEST_ALL" in os.environ
"""Whether this run is one of `make test-all`."""

SHARE = 5
"""Examples: `make test` draws one in this many."""

thorough = pytest.mark.thorough
"""Marks a test, or a case of one, for `make test-all` only."""


def examples(many: int) -> settings:
    """Return settings for a property that needs another number of examples than most; `make test` draws a part."""
    return settings(max_examples=many if IS_THOROUGH else max(10, many // SHARE))
