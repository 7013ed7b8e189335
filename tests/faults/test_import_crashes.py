"""Row 62: an import that is killed at any moment leaves whole results, and the next one stores the others."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell, until
from tests.support.thorough import thorough

FILES = 300
VECTORS = 20

_VECTORS = "SELECT task_id, position, vector FROM segment_vectors ORDER BY task_id, position"
_TASKS = "SELECT * FROM tasks WHERE state = 'harvested' ORDER BY id"


def output(number: int) -> bytes:
    """An output of Bedrock unlike the others."""
    vector = [position / 512 for position in range(511)]
    return json.dumps(
        {
            "data": [
                {"embedding": [*vector, number], "embeddingOption": "visual", "startSec": index, "endSec": index + 1}
                for index in range(VECTORS)
            ]
        }
    ).encode()


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(statement).fetchall()
    except sqlite3.OperationalError:
        # The process was killed before it made the tables.
        return []


@pytest.mark.parametrize(
    "stored", [1, pytest.param(0, marks=thorough), pytest.param(FILES // 3, marks=thorough), FILES // 2]
)
async def test_row_62_a_killed_import_leaves_whole_results_and_the_next_one_stores_the_rest(
    shell: Shell, stored: int
) -> None:
    (shell.folder / "bodies").mkdir()
    for number in range(FILES):
        (shell.folder / "bodies" / f"{number:03}.json").write_bytes(output(number))
    arguments = ("import", "bodies", "--model", "marengo3.0", "--json")

    running = await shell.start(*arguments)
    await until(lambda: shell.database.exists() and len(rows(shell.database, _TASKS)) >= stored)
    running.kill()
    killed = await running.ended()
    tasks, vectors = rows(shell.database, _TASKS), rows(shell.database, _VECTORS)
    checked = await shell.run("verify", "--deep") if tasks else None
    second = json.loads((await shell.run(*arguments)).stdout)

    assert killed.code == -9
    assert checked is None or checked.code == 0, checked
    assert stored <= len(tasks) < FILES
    assert len(vectors) == VECTORS * len(tasks)
    assert (second["stored"], second["known"], second["bad"]) == (FILES - len(tasks), len(tasks), 0)
    assert set(tasks) <= set(rows(shell.database, _TASKS))
    assert set(vectors) <= set(rows(shell.database, _VECTORS))
    assert (await shell.run("verify", "--deep")).code == 0
    assert len(rows(shell.database, _VECTORS)) == VECTORS * FILES
