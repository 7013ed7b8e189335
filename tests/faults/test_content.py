"""Rows 46 to 49: what is given back is what was received, or it is said that it is not."""

import json
from decimal import Decimal
from typing import Any

import pytest

from harvester.simulator import Fault
from tests.faults.harvests import rejections
from tests.faults.invariants import assert_kept
from tests.integration.shell import Shell, stand_in

NO_FLOAT = {
    "underflow": "segments[0].float[0]: a number too small for a floating-point number.",
    "integer_between_floats": "segments[0].float[0]: an integer that no floating-point number equals.",
}


async def given_back(shell: Shell, task_id: str) -> Any:
    """Return what `show --json` prints, every number as a Decimal."""
    shown = await shell.run("show", task_id, "--json")
    assert shown.code == 0, shown.stderr
    return json.loads(shown.stdout, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.parametrize("duration_s", [12, 1800], ids=["decoded in place", "decoded in a worker"])
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
