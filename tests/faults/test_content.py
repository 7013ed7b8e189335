"""Rows 46 to 49: what is given back is what was received, or it is said that it is not."""

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest

from harvester.simulator import Fault
from tests.faults.harvests import rejections
from tests.faults.invariants import assert_kept
from tests.integration.shell import Shell, stand_in

DAMAGES = (
    "UPDATE segments SET embedding_option = 'visuam' WHERE position = 1 AND task = 1",
    "UPDATE segments SET end_offset_sec = end_offset_sec + 2 WHERE position = 0 AND task = 2",
    "UPDATE videos SET document = replace(document, 'marengo3.0', 'marengo2.0') WHERE task = 3",
)
"""As one flipped bit each does."""

NO_FLOAT = {
    "underflow": "segments[0].float[0]: a number too small for a floating-point number.",
    "integer_between_floats": "segments[0].float[0]: an integer that no floating-point number equals.",
}


async def given_back(shell: Shell, task_id: str) -> Any:
    """Return what `show --json` prints, every number as a Decimal."""
    shown = await shell.run("show", task_id, "--json")
    assert shown.code == 0, shown.stderr
    return json.loads(shown.stdout, parse_float=Decimal, parse_int=Decimal)


def change(shell: Shell, *statements: str) -> None:
    """Change the database as any other program may."""
    with closing(sqlite3.connect(shell.database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def test_row_46_damage_outside_of_the_vectors_is_found_and_repaired(shell: Shell) -> None:
    async with stand_in(tasks=5, duration_s=12) as api:
        shell.talks_to(api.base_url)
        assert (await shell.run("backfill", *api.catalogue.ids())).code == 0
        damaged = {task_id for (task_id,) in shell.rows("SELECT task_id FROM tasks WHERE id IN (1, 2, 3)")}
        change(shell, *DAMAGES)

        found = await shell.run("verify", "--deep", "--json")

        assert found.code == 1
        assert {one["task_id"] for one in json.loads(found.stdout)["findings"]} == damaged
        repaired = await shell.run("verify", "--deep", "--repair")
        assert repaired.code == 0, repaired.stdout
        assert {task_id for task_id, state in shell.states().items() if state == "pending"} == damaged
        assert (await shell.run("backfill")).code == 0
        assert_kept(shell, api)


async def test_row_46_what_an_older_version_stored_gets_its_checksum(shell: Shell) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        shell.talks_to(api.base_url)
        assert (await shell.run("backfill", *api.catalogue.ids())).code == 0
        change(shell, "UPDATE videos SET content_blake2b = NULL")
        assert "3 of an older version" in (await shell.run("verify")).stdout

        migrated = await shell.run("migrate")

        assert "3 tasks of an older version: checksum computed." in migrated.stderr
        change(shell, DAMAGES[0])
        assert (await shell.run("verify", "--deep")).code == 1


@pytest.mark.parametrize("duration_s", [12, 120], ids=["decoded in place", "decoded in a worker"])
async def test_row_49_numbers_that_no_float_gives_back_are_given_back_as_they_were_sent(
    shell: Shell, duration_s: float
) -> None:
    async with stand_in(tasks=3, duration_s=duration_s) as api:
        api.faults.add(Fault(kind="exact_numbers"))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)
        video = (await given_back(shell, api.catalogue.ids()[0]))["video_embedding"]
        numbers = [str(video["metadata"][name]) for name in ("checksum", "gain", "rate")]
        assert numbers == ["123456789012345678901234567890", "1E-400", "0.1234567890123456789"]
        assert video["segments"][0]["frame_hash"] == 2**128 - 1


async def test_row_49_a_number_of_a_vector_that_is_near_no_float_is_refused_with_the_reason(shell: Shell) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        hit = dict(zip(api.catalogue.ids(), NO_FLOAT, strict=False))
        for task_id, kind in hit.items():
            api.faults.add(Fault(kind=kind, tasks=(task_id,)))

        told = await rejections(shell, api, hit)

        assert {task_id: NO_FLOAT[kind] for task_id, kind in hit.items()} == told
