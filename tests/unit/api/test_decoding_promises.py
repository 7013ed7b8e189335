"""Any bytes end in a documented outcome, in bounded memory: as `make fuzz` searches at length, here for a moment."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.decoding_promises import (
    MAX_BODY_BYTES,
    MAX_PEAK_BYTES,
    SENDINGS,
    check,
    check_with_memory,
    mutated,
    seeds,
)
from harvester.domain.tasks.outcomes import Retrieved
from tests.support.thorough import examples, thorough

SEEDS = seeds()
inputs = st.sampled_from(sorted(SEEDS.values()))
cuts = st.integers(0, 2000)


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_keeps_the_promises(name: str) -> None:
    check_with_memory(SEEDS[name])


def test_the_documented_bodies_are_results_in_each_way_that_is_undamaged() -> None:
    results = {name for name, seed in SEEDS.items() if isinstance(check(seed), Retrieved)}
    assert {f"retrieve_v1_ready-{way}" for way in (0, 2, 3, 6)} <= results
    assert "retrieve_v2_ready-packed" in results


@examples(150)
@given(st.binary(max_size=600))
def test_arbitrary_bytes_keep_the_promises(data: bytes) -> None:
    check_with_memory(data)


@examples(150)
@given(inputs, inputs, cuts, cuts, st.integers(1, 3))
def test_spliced_cut_and_repeated_bodies_keep_the_promises(
    one: bytes, other: bytes, end: int, start: int, times: int
) -> None:
    check_with_memory(one[: max(1, end)] + other[start:] * times)


@examples(300)
@given(inputs, st.integers(0, 2**32))
def test_bodies_with_something_odd_in_them_keep_the_promises(seed: bytes, chance: int) -> None:
    odd, rng = mutated(seed, random.Random(chance)), random.Random(chance)
    again = mutated(odd, rng) if odd is not None else None
    for body in (odd, again):
        if body is not None:
            check_with_memory(body)


@examples(60)
@given(
    inputs,
    cuts,
    st.sampled_from([b"[", b'{"a":', b'[{"float":[', b'{"data":[{"embedding":']),
    st.integers(1, 20_000),
    st.integers(0, len(SENDINGS) - 1),
)
def test_deep_nesting_anywhere_keeps_the_promises(
    seed: bytes, place: int, opening: bytes, depth: int, way: int
) -> None:
    check_with_memory(bytes([way]) + seed[1:place] + (opening * depth)[:MAX_BODY_BYTES] + seed[place:])


FRAMES = [b'{"status":"ready","data":[%s]}', b'{"status":"ready","video_embedding":{"segments":[%s]}}']
FILLINGS = [b"[]", b"{}", b'{"a":{}}', b'{"float":[1]}', b"1", b'""', b'{"x":[],"y":1}']


@pytest.mark.parametrize(
    ("way", "frame", "filling"),
    [
        # Each filling, and the one that takes the most memory in both versions and in each way of sending.
        *((0, FRAMES[0], filling) for filling in FILLINGS),
        (0, FRAMES[1], b'{"a":{}}'),
        *(pytest.param(0, FRAMES[1], filling, marks=thorough) for filling in FILLINGS if filling != b'{"a":{}}'),
        *((way, FRAMES[0], b'{"a":{}}') for way in range(1, len(SENDINGS))),
    ],
)
def test_memory_stays_in_proportion_whatever_fills_the_body(way: int, frame: bytes, filling: bytes) -> None:
    count = (MAX_BODY_BYTES - 100) // (len(filling) + 1)
    check_with_memory(bytes([way]) + frame % b",".join([filling] * count))


def test_memory_out_of_proportion_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    hoarded: list[bytearray] = []
    monkeypatch.setattr("bench.decoding_promises.check", lambda _data: hoarded.append(bytearray(MAX_PEAK_BYTES)))
    with pytest.raises(AssertionError, match="bytes for an input of 1"):
        check_with_memory(b"x")
    assert sys.getsizeof(hoarded[0]) > MAX_PEAK_BYTES
