"""The throughput of the harvester and of three contenders, which alternate in one run.

python bench/throughput.py long     60 tasks of an hour
python bench/throughput.py gzip     the same, sent as gzip: each contender asks for it
python bench/throughput.py small    5,000 tasks of 30 seconds
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contenders import CONTENDERS, Served, server
from processes import Run
from tables import spread, table


@dataclass(frozen=True, slots=True)
class Shape:
    """The tasks to fetch; contenders that would take minutes for all fetch `slow_tasks` of them. Rates are compared.

    `goals` are ratios to other contenders, 0 if none was set.
    """

    title: str
    tasks: int
    duration_s: float
    slow_tasks: int
    goals: dict[str, float]
    is_gzipped: bool = False


SLOW = "official SDK"
SHAPES = {
    "long": Shape("Throughput", 60, 3600, 6, {SLOW: 25, "bare minimum": 0.9}),
    "gzip": Shape("Throughput, sent as gzip", 60, 3600, 6, {SLOW: 0, "bare minimum": 0}, is_gzipped=True),
    "small": Shape("Small tasks", 5000, 30, 500, {SLOW: 5, "bare minimum": 0.8}),
}


def compare(shape: Shape, runs: int, names: Sequence[str]) -> str:
    """Run the contenders in turn; return the result as Markdown."""
    rates: dict[str, list[float]] = {name: [] for name in names}
    measured: dict[str, list[tuple[int, Run]]] = {name: [] for name in names}
    with (
        server(shape.tasks, shape.duration_s, is_gzipped=shape.is_gzipped) as served,
        tempfile.TemporaryDirectory() as folder,
    ):
        for number in range(runs):
            for name in names:
                tasks = shape.slow_tasks if name == SLOW else shape.tasks
                run = run_once(name, served, tasks, Path(folder) / f"{name} {number}")
                rates[name].append(tasks / run.wall_s)
                measured[name].append((tasks, run))
    return report(shape, rates, measured)


def run_once(name: str, served: Served, tasks: int, folder: Path) -> Run:
    folder.mkdir()
    ids = folder / "ids.txt"
    ids.write_text("\n".join(served.task_ids[:tasks]))
    run = CONTENDERS[name](served.root, ids, folder / "result.db")
    for file in folder.iterdir():
        file.unlink()
    return run


def report(shape: Shape, rates: dict[str, list[float]], measured: dict[str, list[tuple[int, Run]]]) -> str:
    rows = [
        (
            name,
            str(runs[0][0]),
            spread(rates[name]),
            spread([run.cpu_s / tasks * 1000 for tasks, run in runs], ".1f"),
            spread([run.peak_bytes / 1e6 for _, run in runs], ".0f"),
        )
        for name, runs in measured.items()
    ]
    lines = [
        f"## {shape.title}: tasks of {shape.duration_s:g} s",
        "",
        table(["contender", "tasks", "tasks/s", "CPU ms per task", "peak MB"], rows),
        "",
    ]
    for name, goal in shape.goals.items():
        if name in rates:
            ratios = [ours / theirs for ours, theirs in zip(rates["harvester"], rates[name], strict=True)]
            shown_goal = f" (goal: {goal:g})" if goal else ""
            lines.append(f"- harvester / {name}, pair by pair: {spread(ratios)}{shown_goal}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, with commas between them")
    arguments = parser.parse_args()
    print(compare(SHAPES[arguments.shape], arguments.runs, arguments.only.split(",")))


if __name__ == "__main__":
    main()
