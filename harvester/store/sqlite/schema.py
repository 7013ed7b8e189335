"""Compare a database with the schema of this program, because damage and other programs may change it."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cache
from typing import Any

from harvester.store.sqlite.migrations import RECORDS, load_migrations, statements

Objects = dict[tuple[str, str], str | None]
"""The SQL of each table, index and view, by kind and name; None for the indexes that come with a constraint."""

_OBJECTS = "SELECT type, name, sql FROM sqlite_schema"
_COLUMNS = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?)'


def has_our_objects(connection: sqlite3.Connection, versions: Iterable[int]) -> bool:
    """Return whether the database has all objects of those migrations; more objects do not matter."""
    expected, _ = _made_by(frozenset(versions))
    return expected.keys() <= _objects(connection).keys()


def schema_problems(connection: sqlite3.Connection, versions: Iterable[int]) -> Iterator[str]:
    """Yield each difference from those migrations. More objects, and more columns at the end, are no difference."""
    expected, columns = _made_by(frozenset(versions))
    found = _objects(connection)
    for (kind, name), sql in expected.items():
        if (kind, name) not in found:
            yield f"the {kind} {name} is missing"
        elif kind == "table":
            if _columns(connection, name)[: len(columns[name])] != columns[name]:
                yield f"the table {name} has other columns"
        elif _normal(found[kind, name]) != _normal(sql):
            yield f"the {kind} {name} is another one"


def _normal(sql: str | None) -> str:
    return " ".join(str(sql or "").split())


def _objects(connection: sqlite3.Connection) -> Objects:
    return {(kind, name): sql for kind, name, sql in connection.execute(_OBJECTS)}


def _columns(connection: sqlite3.Connection, table: str) -> list[Any]:
    return connection.execute(_COLUMNS, (table,)).fetchall()


@cache
def _made_by(versions: frozenset[int]) -> tuple[Objects, dict[str, list[Any]]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(RECORDS)
        for migration in load_migrations():
            if migration.version in versions:
                for statement in statements(migration.sql):
                    connection.execute(statement)
        made = _objects(connection)
        return made, {name: _columns(connection, name) for kind, name in made if kind == "table"}
