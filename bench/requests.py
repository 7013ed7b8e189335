"""How many requests a harvest takes and how long its results wait, on virtual time: the same seeds, the same numbers.

    python -m bench.requests --seeds 3
    python -m bench.requests --quick --only design

Run as a module: as a script its folder would come first where Python looks for the library `requests`.

Contenders are the scheduler's strategies, each task polled by itself as the SDK's helper does, and the least that is
possible. Prints Markdown; the figures are the median over the seeds, with the least and the most where they differ. On
an interrupt it prints the tables of the finished runs.
"""

import argparse
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from functools import partial
from itertools import groupby

from bench.bounds import FutureTask, Reckoned, Slots, clairvoyant, polled_one_by_one
from bench.virtual import START_MS, Quirks, Setup, Submission, draw_submissions, run_harvest
from harvester.cli.logs import configure_logs
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.planning.strategy import Strategy
from harvester.domain.tasks.task import RETENTION_MS, ApiVersion
from harvester.simulator.settings import SimulatorSettings

DAY_S = 86_400.0
STOP_AFTER_S = 8 * DAY_S

MANY_SEEDS = 100

LEAST, POLLING = "least possible", "each polled every 5 s"


STRATEGIES = tuple(strategy.value for strategy in Strategy)

NUMBERS = ("no", "one", "two", "three", "four", "five")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Our tasks and `foreign` tasks of others, created evenly over `spread_s`, and the limits of the account."""

    name: str
    text: str
    tasks: int
    spread_s: float
    foreign: int = 0
    per_minute: float = 60.0
    per_day: int = 0
    median_s: float = 300.0
    """Half of the tasks take longer."""
    seeds: int = MANY_SEEDS
    """The most runs of each contender."""
    recheck_s: float | None = None
    made_in: tuple[ApiVersion, ...] = ()
    """The API versions that our tasks are made in, at random, each known to that version alone; none for both."""
    lists_are_separate: bool = False
    hides_models: bool = False
    """Whether results do not name their model, as those of version 2."""
    queued_after_s: float = 0.5
    """How long after its creation each task is queued."""
    goal: str = ""

    def shrunk(self) -> "Workload":
        parts = {one.name: getattr(self, one.name) for one in fields(self)}
        shrunk = {"tasks": self.tasks // 10, "foreign": self.foreign // 10, "spread_s": self.spread_s / 10}
        return Workload(**{**parts, **shrunk, "goal": ""})

    def submissions(self, seed: int) -> list[Submission]:
        drawn = partial(draw_submissions, spread_s=self.spread_s, seed=seed, processing_median_s=self.median_s)
        return drawn(self.tasks, queued_after_s=self.queued_after_s) + drawn(self.foreign, foreign=True)

    def only_in(self, submissions: Iterable[Submission], seed: int) -> dict[str, ApiVersion]:
        """Return the version that alone knows each task."""
        rng = random.Random(seed)  # noqa: S311
        return {one.task.task_id: rng.choice(self.made_in) for one in submissions if self.made_in}


WORKLOADS = [
    Workload(
        name="five",
        text="5 tasks that are ready at the start, 60 requests a minute",
        tasks=5,
        spread_s=0,
        median_s=10.0,
        queued_after_s=60.0,
        goal="at most 6 requests, the last result after 7 s",
    ),
    Workload(
        name="design",
        text="5,000 tasks over 30 minutes, 60 requests a minute",
        tasks=5000,
        spread_s=1800,
        goal="at most 1.03 requests a task, and 1.03 times the least makespan",
    ),
    Workload(
        name="design-600",
        text="5,000 tasks over 30 minutes, 600 requests a minute",
        tasks=5000,
        spread_s=1800,
        per_minute=600,
        goal="at most 2.0 requests a task, and a p95 of 20 s",
    ),
    Workload(
        name="foreign",
        text="5,000 tasks and 5,000 foreign ones over 30 minutes, 60 requests a minute",
        tasks=5000,
        spread_s=1800,
        foreign=5000,
    ),
    Workload(
        name="foreign-600",
        text="5,000 tasks and 5,000 foreign ones over 30 minutes, 600 requests a minute",
        tasks=5000,
        spread_s=1800,
        foreign=5000,
        per_minute=600,
        goal="at most 2.5 requests a task, and a p95 of 25 s",
    ),
    Workload(
        name="burst",
        text="20,000 tasks at once, 600 requests a minute",
        tasks=20_000,
        spread_s=0,
        per_minute=600,
    ),
    Workload(
        name="trickle",
        text="2,880 tasks over a day, 60 requests a minute",
        tasks=2880,
        spread_s=DAY_S,
        goal="at most 4 requests a task, a p50 of 8 s, and a p95 of 18 s",
    ),
    Workload(
        name="slow",
        text="5,000 tasks over 30 minutes that take 40 minutes (median), 600 requests a minute",
        tasks=5000,
        spread_s=1800,
        per_minute=600,
        median_s=2400,
    ),
    Workload(
        name="hidden-models",
        text="5,000 tasks over 30 minutes whose results name no model, queued a day later, 60 requests a minute",
        tasks=5000,
        spread_s=1800,
        queued_after_s=DAY_S,
        hides_models=True,
    ),
    Workload(
        name="free-plan",
        text="2,000 tasks at once, 50 requests a day",
        tasks=2000,
        spread_s=0,
        per_day=50,
        seeds=1,  # a run takes minutes
        recheck_s=60.0,
    ),
    Workload(
        name="all-v2",
        text="5,000 tasks of version 2 over 30 minutes, 600 requests a minute",
        tasks=5000,
        spread_s=1800,
        per_minute=600,
        made_in=("v2",),
    ),
    Workload(
        name="all-v1",
        text="5,000 tasks of version 1 over 30 minutes, asked in version 2 first, 600 requests a minute",
        tasks=5000,
        spread_s=1800,
        per_minute=600,
        made_in=("v1",),
    ),
    Workload(
        name="mixed",
        text="5,000 tasks of both versions, mixed at random, over 30 minutes, 600 requests a minute",
        tasks=5000,
        spread_s=1800,
        per_minute=600,
        made_in=("v1", "v2"),
    ),
    Workload(
        name="mixed-separate",
        text="the same, and each version's list shows its own tasks only",
        tasks=5000,
        spread_s=1800,
        per_minute=600,
        made_in=("v1", "v2"),
        lists_are_separate=True,
    ),
]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run."""

    workload: Workload
    contender: str
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run with `tasks` tasks of ours; `waited_s` are the ascending seconds from ready to stored."""

    tasks: int
    harvested: int
    requests: Counter[Endpoint]
    refused: int
    makespan_s: float
    waited_s: list[float]

    @property
    def per_task(self) -> float:
        return sum(self.requests.values()) / self.harvested if self.harvested else math.inf

    def waited(self, share: float) -> float:
        return (
            self.waited_s[min(len(self.waited_s) - 1, int(share * len(self.waited_s)))] if self.waited_s else math.nan
        )


def measure(cell: Cell) -> Result:
    """Run one cell; the same arguments give the same result."""
    configure_logs("error", "json")
    workload = cell.workload
    submissions = workload.submissions(cell.seed)
    if cell.contender not in STRATEGIES:
        return _reckoned(cell, submissions)
    setup = Setup(
        requests_per_minute=workload.per_minute,
        strategy=cell.contender,
        server_limits=SimulatorSettings(requests_per_day=workload.per_day),
        recheck_s=workload.recheck_s,
        only_in=workload.only_in(submissions, cell.seed),
        first_version="v2" if workload.made_in else "v1",
        quirks=Quirks(lists_are_separate=workload.lists_are_separate, hides_models=workload.hides_models),
        stop_after_s=STOP_AFTER_S,
        seed=cell.seed,
    )
    report = run_harvest(submissions, setup)
    refused = sum(report.refused.values())
    waited_s = report.ready_to_stored_s
    return Result(workload.tasks, report.harvested, report.requests, refused, report.makespan_s, waited_s)


def _reckoned(cell: Cell, submissions: Iterable[Submission]) -> Result:
    tasks = [
        FutureTask(
            queued_s=(submission.queued_at_ms - START_MS) / 1000,
            ready_s=(max(submission.task.finished_at_ms, submission.queued_at_ms) - START_MS) / 1000,
            expires_s=(submission.task.created_at_ms + RETENTION_MS - START_MS) / 1000,
        )
        for submission in submissions
        if submission.queued_at_ms is not None
    ]
    slots = Slots(cell.workload.per_minute, cell.workload.per_day)
    if cell.contender == LEAST:
        found: Reckoned = clairvoyant(tasks, slots)
    else:
        found = polled_one_by_one(tasks, slots, STOP_AFTER_S)
    requests = Counter({Endpoint.STATUS: found.polls, Endpoint.RETRIEVE: found.retrievals})
    waited_s = sorted(found.ready_to_stored_s)
    return Result(len(tasks), found.retrievals, requests, 0, found.makespan_s, waited_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks in a tenth of the time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[workload.name for workload in WORKLOADS])
    parser.add_argument("--strategies", nargs="*", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    workloads = [workload for workload in WORKLOADS if not arguments.only or workload.name in arguments.only]
    cells = [
        Cell(workload.shrunk() if arguments.quick else workload, contender, seed)
        for workload in workloads
        for contender in (*arguments.strategies, POLLING, LEAST)
        for seed in range(1, min(arguments.seeds, workload.seeds) + 1)
    ]
    started = time.perf_counter()
    found = run_cells(cells, arguments.processes)
    for workload, finished in groupby((cell for cell in cells if cell in found), key=lambda cell: cell.workload):
        report(workload, [(cell, found[cell]) for cell in finished])
    print(f"{len(found)} of {len(cells)} runs in {time.perf_counter() - started:.0f} s", file=sys.stderr)


def run_cells(cells: Sequence[Cell], processes: int) -> dict[Cell, Result]:
    """Run the cells side by side and return the finished results: all, unless interrupted."""
    started = time.perf_counter()
    found: dict[Cell, Result] = {}
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(measure, cell): cell for cell in in_order(cells)}
        try:
            for done in as_completed(running):
                cell = running[done]
                found[cell] = done.result()
                past = time.perf_counter() - started
                print(f"{past:6.0f} s  {cell.workload.name}, {cell.contender}, seed {cell.seed}", file=sys.stderr)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Return the cells in the order in which an interrupt leaves the most complete tables.

    The seeds follow each other. Calculated cells come first, because a seed needs its least to be shown. The longest
    runs are next, so that no long run is left over at the end.
    """
    return sorted(cells, key=lambda cell: (cell.seed, cell.contender in STRATEGIES, -cost(cell.workload)))


def cost(workload: Workload) -> float:
    """Return about how long a run takes: more tasks, a higher rate and a longer time make more requests."""
    lasting_s = STOP_AFTER_S if workload.per_day else workload.spread_s
    return workload.tasks * (1 + workload.per_minute / 600) + lasting_s


Figure = Callable[[Result, Result], float]
"""The value of a column for a result; the second argument is the least possible with the same seed."""


def _waited(share: float) -> Figure:
    return lambda result, _least: result.waited(share)


def _sent(endpoint: Endpoint) -> Figure:
    return lambda result, _least: result.requests[endpoint]


COLUMNS: list[tuple[str, int, Figure]] = [
    ("requests per task", 3, lambda result, _least: result.per_task),
    (
        "makespan / least",
        3,
        lambda result, least: result.makespan_s / least.makespan_s if result.harvested else math.nan,
    ),
    ("ready to stored, s: p50", 1, _waited(0.5)),
    ("p95", 1, _waited(0.95)),
    ("max", 1, _waited(1.0)),
    ("status", 0, _sent(Endpoint.STATUS)),
    ("list", 0, _sent(Endpoint.LIST)),
    ("retrieve", 0, _sent(Endpoint.RETRIEVE)),
    ("refused", 0, lambda result, _least: result.refused),
    ("harvested", 0, lambda result, _least: result.harvested),
    ("lost", 0, lambda result, _least: result.tasks - result.harvested),
]


def report(workload: Workload, pairs: Sequence[tuple[Cell, Result]]) -> None:
    """Print the table of one workload, of the seeds that got furthest: each contender has the same."""
    contenders = {
        seed: {cell.contender for cell, _ in pairs if cell.seed == seed} for seed in {c.seed for c, _ in pairs}
    }
    furthest = max((found for found in contenders.values() if LEAST in found), key=len, default=set())
    shown = [(cell, result) for cell, result in pairs if contenders[cell.seed] == furthest]
    least = {cell.seed: result for cell, result in shown if cell.contender == LEAST}
    if not least:
        return
    print(f"\n### {workload.text}{'' if workload in WORKLOADS else ' (a tenth of it)'}: {seeds(len(least))}\n")
    print(f"| contender | {' | '.join(title for title, _, _ in COLUMNS)} |")
    print(f"| --- |{' --: |' * len(COLUMNS)}")
    for contender, of_contender in groupby(shown, key=lambda pair: pair[0].contender):
        runs = [(result, least[cell.seed]) for cell, result in of_contender]
        figures = [spread([figure(*run) for run in runs], digits) for _, digits, figure in COLUMNS]
        print(f"| {contender} | {' | '.join(figures)} |")
    if workload.goal:
        print(f"\nGoal: {workload.goal}.")


def seeds(count: int) -> str:
    """Return the number of seeds in words: one run looks like several with the same result."""
    return f"{NUMBERS[count] if count < len(NUMBERS) else count} seed{'' if count == 1 else 's'}"


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median, and the least and the most if they differ; "none" if nothing was stored."""
    if not all(map(math.isfinite, values)):
        return "none"
    least, middle, most = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"


if __name__ == "__main__":
    main()
