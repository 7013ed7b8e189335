"""The README is tested: its commands run, and every command, option and setting that it names exists."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from harvester.cli.commands import load_command
from harvester.settings.model import describe_settings
from harvester.simulator import Simulator, SimulatorSettings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def lines_of(language: str) -> list[str]:
    return [line.split("#")[0].strip() for block in blocks(language) for line in block.splitlines() if line.strip()]


def run_harvester(
    *arguments: str, cwd: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harvester", *arguments],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the README's own commands, in its order, in a new folder; return the folder."""
    folder = tmp_path_factory.mktemp("readme")
    commands = [shlex.split(line)[1:] for line in lines_of("console") if line.startswith("harvester ")]
    assert commands == [["add", "--file", "ids.txt"], ["backfill"]]

    async def follow() -> None:
        async with Simulator(SimulatorSettings(tasks=4, processing_median_s=0.001, age_s=7200)) as simulator:
            (folder / "ids.txt").write_text("\n".join(simulator.catalogue.ids()))
            environ = {
                "TWELVELABS_API_KEY": "rehearsal",
                "HARVESTER_API__BASE_URL": simulator.base_url,
                "HARVESTER_RATE__REQUESTS_PER_MINUTE": "0",
            }
            for command in commands:
                done = await anyio.to_thread.run_sync(partial(run_harvester, *command, cwd=folder, environ=environ))
                assert done.returncode == 0, done.stderr

    anyio.run(follow)
    return folder


def test_the_real_thing_harvests(harvested: Path) -> None:
    counted = sqlite3.connect(harvested / "harvester.db")
    states = dict(counted.execute("SELECT state, count(*) FROM tasks GROUP BY state"))
    counted.close()
    assert states == {"harvested": 4}


def test_the_python_lines_give_one_matrix(harvested: Path) -> None:
    (snippet,) = blocks("python")
    script = f"{snippet}\nprint(*matrix.shape, matrix.dtype, len(clips) == len(matrix), *clips[0][1:])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=harvested, capture_output=True, text=True, timeout=120, check=False
    )
    assert re.fullmatch(r"\d+ 512 float32 True [\d.]+ [\d.]+\n", done.stdout), done.stderr


def test_the_python_page_runs_from_top_to_bottom(harvested: Path) -> None:
    page = (ROOT / "docs" / "howto" / "python.md").read_text("utf-8")
    script = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=harvested,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_sql_lines_run(harvested: Path) -> None:
    database = sqlite3.connect(harvested / "harvester.db")
    results = [database.execute(statement).fetchall() for statement in blocks("sql")]
    database.rollback()
    database.close()
    assert len(results[1]) == 4 * 2 * 2  # tasks, options, scopes


def test_every_command_that_it_names_exists() -> None:
    named = set(
        re.findall(r"harvester ([a-z]+)", "\n".join(re.findall(r"`[^`]*`", README)) + "\n".join(lines_of("console")))
    )
    listed = run_harvester("--help", cwd=ROOT).stdout.partition("Commands:")[2]
    existing = set(re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE))
    assert named <= existing
    # The table is complete, too.
    assert existing <= named


@pytest.mark.parametrize("row", re.findall(r"^\| `(harvester [a-z]+[^|]*)` \|", README, re.MULTILINE))
def test_every_option_that_the_table_names_exists(row: str) -> None:
    command = load_command(row.split()[1])
    assert set(re.findall(r"--[a-z-]+", row)) <= {name for one in command.params for name in one.opts}


def test_the_settings_are_those_of_the_program() -> None:
    named = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| `(HARVESTER_[A-Z_]+)`", README, re.MULTILINE)
    assert named == [(setting.name, setting.variable) for setting in describe_settings()]


def test_the_defaults_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| [^|]* \| `?([^ `;|]*)`?", README, re.MULTILINE)
    defaults = {s.name: list(s.default) if isinstance(s.default, tuple) else s.default for s in describe_settings()}
    expected = {name: "" if default is None else f"{default}" for name, default in defaults.items()}
    assert {name: value.removesuffix(".0") for name, value in rows} == {
        name: value.removesuffix(".0") for name, value in expected.items()
    }


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = [line.split()[1] for line in lines_of("console") if line.startswith("make ")]
    assert named == ["demo", "test"]
    assert all(f"\n{target}:" in makefile for target in named)


def test_the_files_that_it_links_exist() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [name for name in linked if not (ROOT / name).exists()] == []
