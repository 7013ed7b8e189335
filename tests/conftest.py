"""Settings and fixtures of all tests."""

import pytest
from hypothesis import HealthCheck, settings

from tests.support.thorough import IS_THOROUGH

# How long a property takes to draw its examples says something about the machine, not about the program.
settings.register_profile("thorough", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
# The same few examples each time: `make test` does not depend on chance. `make test-all` draws new ones, except in CI,
# where hypothesis itself chooses the same ones each time.
settings.register_profile("default", settings.get_profile("thorough"), max_examples=20, derandomize=True)
settings.load_profile("thorough" if IS_THOROUGH else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes long to `make test-all`."""
    if not IS_THOROUGH:
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="takes long: make test-all"))
