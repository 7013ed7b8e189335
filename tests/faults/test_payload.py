"""Rows 15 to 19: the payload is bad. It is stopped or rejected whole, with the reason, and nothing else suffers."""

from harvester.simulator import Fault, Simulator
from tests.faults.harvests import rejections
from tests.faults.invariants import MAX_MEBIBYTES, assert_kept, measure_memory, peak_mebibytes
from tests.support.shell import Shell, stand_in

FEW = 4

SPOILT = {
    "row 16": {"deep": "The body is not valid JSON at character"},
    "row 17": {
        "nan": "The body is not valid JSON at character",
        "too_large_number": "The body is not valid JSON at character",
        "long_integer": "The body is not valid JSON at character",
        "lone_surrogate": "The body is not valid JSON at character",
        "duplicate_key": "The answer gives the key 'model_name' twice in one object.",
        "duplicate_key_in_metadata": "The answer gives the key 'duration' twice in one object.",
        "duplicate_key_in_segment": "The answer gives the key 'float' twice in one object.",
    },
    "row 18": {
        "uneven": ".float: 513 numbers, expected 512.",
        "empty_vector": "segments[0].float: no numbers.",
        "missing_time": "segments[0].start_offset_sec: missing.",
        "negative_time": ".start_offset_sec: -1 is not a time in the video.",
    },
}


async def assert_rejected(shell: Shell, api: Simulator, reasons: dict[str, str]) -> None:
    hit = dict(zip(api.catalogue.ids(), reasons, strict=False))
    for task_id, kind in hit.items():
        api.faults.add(Fault(kind=kind, tasks=(task_id,)))
    messages = await rejections(shell, api, hit)
    assert dict.fromkeys(reasons, True) == {kind: reasons[kind] in messages[task_id] for task_id, kind in hit.items()}
    # Kept for whoever wants to know; of a task that is rejected nothing else is.
    assert shell.rows("SELECT count(*) FROM payloads") == [(len(hit),)]


async def test_row_15_a_bomb_and_a_body_over_the_cap_are_stopped_at_the_cap(shell: Shell) -> None:
    cap = 32 * 1024 * 1024
    shell.environ["HARVESTER_API__MAX_BODY_BYTES"] = str(cap)
    measure_memory(shell)
    async with stand_in(tasks=6, duration_s=12) as api:
        hit = dict(zip(api.catalogue.ids(), ("bomb", "endless_body", "length_over_any_cap"), strict=False))
        for task_id, kind in hit.items():
            api.faults.add(Fault(kind=kind, tasks=(task_id,), value="2048" if kind == "bomb" else None))

        messages = await rejections(shell, api, hit)

        assert dict.fromkeys(hit, f"The body is larger than api.max_body_bytes ({cap}).") == messages
        assert api.faults.served == dict.fromkeys(hit.values(), 3)
    assert peak_mebibytes(shell) < MAX_MEBIBYTES


async def assert_each_rejected(shell: Shell, reasons: dict[str, str]) -> None:
    """Not all in one harvest: where most results cannot be stored, ends are held back."""
    kinds = list(reasons)
    for first in range(0, len(kinds), FEW):
        few = kinds[first : first + FEW]
        shell.database.unlink(missing_ok=True)
        async with stand_in(tasks=len(few) + 4, duration_s=12) as api:
            await assert_rejected(shell, api, {kind: reasons[kind] for kind in few})


async def test_row_16_nesting_thousands_deep_is_an_error_of_the_task_and_no_crash(shell: Shell) -> None:
    await assert_each_rejected(shell, SPOILT["row 16"])


async def test_row_17_what_json_cannot_say_or_says_twice_is_rejected_with_the_reason(shell: Shell) -> None:
    await assert_each_rejected(shell, SPOILT["row 17"])


async def test_row_18_segments_that_cannot_be_are_rejected_whole(shell: Shell) -> None:
    await assert_each_rejected(shell, SPOILT["row 18"])


async def test_row_18_a_result_without_segments_is_waited_for(shell: Shell) -> None:
    async with stand_in(tasks=3, duration_s=12) as api:
        api.faults.add(Fault(kind="no_segments", tasks=(api.catalogue.ids()[0],), times=2))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)


async def test_row_19_vectors_that_float32_cannot_hold_are_stored_as_float64(shell: Shell) -> None:
    async with stand_in(tasks=4, duration_s=12) as api:
        doubles = api.catalogue.ids()[1:3]
        api.faults.add(Fault(kind="doubles", tasks=tuple(doubles)))
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api, doubles=doubles)
    by_dtype = dict(shell.rows("SELECT task_id, min(dtype) || max(dtype) FROM segment_vectors GROUP BY task_id"))
    assert by_dtype == dict.fromkeys(by_dtype, "f4f4") | dict.fromkeys(doubles, "f8f8")
