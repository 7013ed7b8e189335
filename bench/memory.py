"""The peak of memory while eight videos of four hours with three options arrive at once, 46 MB each."""

import argparse
import tempfile
from pathlib import Path

from contenders import CONTENDERS, server
from processes import Run
from tables import spread, table

TASKS, DURATION_S, OPTIONS = 8, 4 * 3600, "visual,audio,transcription"
GOAL_MB = 400


def compare(runs: int, sdk_runs: int) -> str:
    """Return the result as Markdown."""
    measured: dict[str, list[Run]] = {"harvester": [], "official SDK": []}
    with server(TASKS, DURATION_S, OPTIONS) as served, tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.txt"
        ids.write_text("\n".join(served.task_ids))
        for number in range(runs):
            for name in ["harvester", "official SDK"][: 2 if number < sdk_runs else 1]:
                database = Path(folder) / f"{name} {number}.db"
                measured[name].append(CONTENDERS[name](served.root, ids, database))
                for file in Path(folder).glob("*.db*"):
                    file.unlink()
    rows = [
        (name, str(len(of_name)), spread([run.peak_bytes / 1e6 for run in of_name], ".0f"))
        for name, of_name in measured.items()
        if of_name
    ]
    title = f"## Memory: {TASKS} videos of four hours with three options at once"
    return f"{title}\n\n{table(['contender', 'runs', 'peak MB'], rows)}\n\n- goal: at most {GOAL_MB} MB"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sdk-runs", type=int, default=1, help="each takes minutes")
    arguments = parser.parse_args()
    print(compare(arguments.runs, arguments.sdk_runs))


if __name__ == "__main__":
    main()
