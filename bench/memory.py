"""The peak of memory while eight videos of four hours with three options arrive at once, 46 MB each, or 19 as gzip."""

import argparse
import tempfile
from pathlib import Path

from contenders import CONTENDERS, server
from processes import Run
from tables import spread, table

TASKS, DURATION_S, OPTIONS = 8, 4 * 3600, "visual,audio,transcription"
GOAL_MB = 400


def compare(runs: int) -> str:
    """Run the contenders in turn, with plain bodies and with compressed ones; return the result as Markdown."""
    rows, lines = [], [f"- harvester: at most {GOAL_MB} MB is the goal"]
    for is_gzipped in (False, True):
        suffix = ", sent as gzip" if is_gzipped else ""
        measured = measure(runs, is_gzipped=is_gzipped)
        rows += [(name + suffix, spread([run.peak_bytes / 1e6 for run in of], ".0f")) for name, of in measured.items()]
        ratios = [ours.peak_bytes / theirs.peak_bytes for ours, theirs in zip(*measured.values(), strict=True)]
        lines.append(f"- harvester / official SDK{suffix}, pair by pair: {spread(ratios)}")
    title = f"## Memory: {TASKS} videos of four hours with three options at once"
    return "\n".join([title, "", table(["contender", "peak MB"], rows), "", *lines])


def measure(runs: int, *, is_gzipped: bool) -> dict[str, list[Run]]:
    measured: dict[str, list[Run]] = {"harvester": [], "official SDK": []}
    with server(TASKS, DURATION_S, OPTIONS, is_gzipped=is_gzipped) as served, tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.txt"
        ids.write_text("\n".join(served.task_ids))
        for number in range(runs):
            for name, of_name in measured.items():
                database = Path(folder) / f"{name} {number}.db"
                of_name.append(CONTENDERS[name](served.root, ids, database))
                for file in Path(folder).glob("*.db*"):
                    file.unlink()
    return measured


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    print(compare(parser.parse_args().runs))


if __name__ == "__main__":
    main()
