"""What holds for all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

# How long a property takes to draw its examples says something about the machine, not about the program.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes long to `make test-all`."""
    if "TEST_ALL" not in os.environ:
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="takes long: make test-all"))
