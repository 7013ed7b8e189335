"""Fetches the embeddings that TwelveLabs computes.

A program may rely on the names in `__all__`; every other name in this package may change. Importing this loads no HTTP
client, no numpy and no database.
"""

from harvester._version import __version__
from harvester.domain.errors import (
    HarvesterError,
    InvalidTaskId,
    KeyRefusedError,
    MachineError,
    MovedFileError,
    NewerSchemaError,
    NotOursError,
    PausedError,
    StoreBusyError,
    StoreError,
    UsageError,
)

__all__ = [
    "HarvesterError",
    "InvalidTaskId",
    "KeyRefusedError",
    "MachineError",
    "MovedFileError",
    "NewerSchemaError",
    "NotOursError",
    "PausedError",
    "StoreBusyError",
    "StoreError",
    "UsageError",
    "__version__",
]
