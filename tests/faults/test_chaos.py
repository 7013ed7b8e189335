"""All rows at once, for a while: see `bench/chaos.py`."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.thorough import thorough

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("seed", "tasks"),
    [
        pytest.param(7, 200, id="a fixed seed"),
        pytest.param(7, 1000, id="a fixed seed, longer", marks=thorough),
        pytest.param(None, 1000, id="a random seed", marks=thorough),
    ],
)
def test_whatever_happens_at_once_no_task_is_lost_and_what_is_stored_was_sent(
    seed: int | None, tasks: int, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    command = [
        sys.executable,
        "-m",
        "bench.chaos",
        "--seed",
        str(seed),
        "--minutes",
        str(tasks / 1000),
        "--tasks",
        str(tasks),
    ]

    ended = subprocess.run(
        [*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )

    print(ended.stdout)  # noqa: T201  # pytest shows it, and so the seed, when this fails
    assert (ended.returncode, ended.stderr) == (0, ""), f"seed {seed}: {ended.stdout}{ended.stderr}"
