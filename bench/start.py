"""The time until a command has answered."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tables import spread, table

COMMANDS = (["--help"], ["status"])
GOAL_S = 0.4


def compare(runs: int) -> str:
    """Return the result as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        harvester = [sys.executable, "-m", "harvester"]
        database = ["--db", str(Path(folder) / "harvester.db")]
        subprocess.run([*harvester, "add", *database, "66f537778d9641fe5a0d101f"], check=True, capture_output=True)
        taken_s: dict[str, list[float]] = {command: [] for command, *_ in COMMANDS}
        for _ in range(runs):
            for command, *_rest in COMMANDS:
                started = time.perf_counter()
                arguments = [command] if command == "--help" else [command, *database]
                subprocess.run([*harvester, *arguments], check=True, capture_output=True)
                taken_s[command].append(time.perf_counter() - started)
    rows = [(f"`harvester {command}`", spread(seconds)) for command, seconds in taken_s.items()]
    return f"## Start\n\n{table(['command', 'seconds'], rows)}\n\n- goal: at most {GOAL_S} s"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=11)
    print(compare(parser.parse_args().runs))


if __name__ == "__main__":
    main()
