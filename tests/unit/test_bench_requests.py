"""The bench of requests: whenever it is interrupted, it tells what it has, and of how many runs that is."""

from collections import Counter

import pytest

from bench.requests import LEAST, POLLING, STRATEGIES, WORKLOADS, Cell, Result, in_order, report
from harvester.domain.limits.endpoint import Endpoint

WORKLOAD = WORKLOADS[0]


def result(makespan_s: float = 100.0) -> Result:
    return Result(2, 2, Counter({Endpoint.RETRIEVE: 2}), 0, makespan_s, [1.0, 2.0])


def printed(capsys: pytest.CaptureFixture[str], *finished: tuple[str, int]) -> str:
    """Return what is reported of runs of these contenders with these seeds."""
    report(WORKLOAD, [(Cell(WORKLOAD, contender, seed), result()) for contender, seed in finished])
    return capsys.readouterr().out


def names(lines: list[str]) -> list[str]:
    return [line.split(" | ")[0].removeprefix("| ") for line in lines[5:] if line.startswith("| ")]


def test_within_a_seed_what_the_others_are_measured_by_comes_first() -> None:
    cells = [Cell(one, name, seed) for one in WORKLOADS for name in (*STRATEGIES, POLLING, LEAST) for seed in (1, 2)]
    ordered = in_order(cells)
    half, reckoned = len(cells) // 2, 2 * len(WORKLOADS)
    assert [cell.seed for cell in ordered] == [1] * half + [2] * half
    for first in (0, half):
        assert {cell.contender for cell in ordered[first : first + reckoned]} == {POLLING, LEAST}


def test_a_table_tells_of_how_many_seeds_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, *[(name, seed) for name in ("auto", LEAST) for seed in range(1, 6)]).splitlines()
    assert lines[1] == f"### {WORKLOAD.text}: five seeds"
    assert names(lines) == ["auto", LEAST]


def test_an_interrupted_bench_tells_of_the_seeds_that_got_furthest(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ("auto", 1), ("list", 1), ("list", 2), (LEAST, 1), (LEAST, 2), (LEAST, 3)).splitlines()
    assert lines[1] == f"### {WORKLOAD.text}: one seed"
    assert names(lines) == ["auto", "list", LEAST]


def test_a_seed_without_its_least_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ("auto", 1), ("auto", 2), ("list", 2), (LEAST, 1)).splitlines()
    assert names(lines) == ["auto", LEAST]
    assert printed(capsys, ("auto", 1)) == ""
