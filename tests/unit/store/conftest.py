import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harvester.store.sqlite.connection import open_for_writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "harvester.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_for_writing(path)) as connection:
        yield connection


@pytest.fixture
def other(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """A second process's connection to the same file."""
    del connection
    with closing(open_for_writing(path)) as other:
        yield other
