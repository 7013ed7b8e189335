"""The peak of memory while eight videos of four hours with three options arrive at once, 46 MB each."""

import argparse
import tempfile
from pathlib import Path

from contenders import CONTENDERS, server
from processes import Run
from tables import spread, table

TASKS, DURATION_S, OPTIONS = 8, 4 * 3600, "visual,audio,transcription"
GOAL_MB = 400


def compare(runs: int) -> str:
    """Let the contenders run in turns; return the result as Markdown."""
    measured: dict[str, list[Run]] = {"harvester": [], "official SDK": []}
    with server(TASKS, DURATION_S, OPTIONS) as served, tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.txt"
        ids.write_text("\n".join(served.task_ids))
        for number in range(runs):
            for name, of_name in measured.items():
                database = Path(folder) / f"{name} {number}.db"
                of_name.append(CONTENDERS[name](served.root, ids, database))
                for file in Path(folder).glob("*.db*"):
                    file.unlink()
    rows = [(name, spread([run.peak_bytes / 1e6 for run in of_name], ".0f")) for name, of_name in measured.items()]
    ratios = [ours.peak_bytes / theirs.peak_bytes for ours, theirs in zip(*measured.values(), strict=True)]
    return "\n".join(
        [
            f"## Memory: {TASKS} videos of four hours with three options at once",
            "",
            table(["contender", "peak MB"], rows),
            "",
            f"- harvester: at most {GOAL_MB} MB is the goal",
            f"- harvester / official SDK, pair by pair: {spread(ratios)}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    print(compare(parser.parse_args().runs))


if __name__ == "__main__":
    main()
