"""Libraries that only some programs use."""

from importlib import import_module
from typing import Any

from harvester.domain.errors import UsageError

_INSTALLED_BY = {
    "pyarrow": "'twelvelabs-harvester[parquet]'",
    "pandas": "pandas",
    "polars": "polars",
}
"""What to install, by the name of the module."""


def library(name: str, what: str) -> Any:
    """Import an optional library; `what` needs it. Raises UsageError that names the installation."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UsageError(
            f"{what} needs {name}, which is not installed.", remedy=f"Run `pip install {_INSTALLED_BY[name]}`."
        ) from None
