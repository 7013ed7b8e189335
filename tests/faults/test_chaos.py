"""All rows at once, for a while: see `bench/chaos.py`."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINUTES = 1.0


@pytest.mark.parametrize("seed", [7, None], ids=["a fixed seed", "a random seed"])
def test_whatever_happens_at_once_no_task_is_lost_and_what_is_stored_was_sent(seed: int | None, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    command = [sys.executable, "-m", "bench.chaos", "--seed", str(seed), "--minutes", str(MINUTES), "--tasks", "1000"]

    ended = subprocess.run(
        [*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )

    print(ended.stdout)  # noqa: T201  # pytest shows it, and so the seed, when this fails
    assert (ended.returncode, ended.stderr) == (0, ""), f"seed {seed}: {ended.stdout}{ended.stderr}"
