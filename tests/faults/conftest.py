"""The fixtures of the integration tests: a fault is met by the installed command, too."""

from tests.integration.conftest import api, shell

__all__ = ["api", "shell"]
