import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harvester import __version__

# As DESIGN has it.
ORDER = [
    "init",
    "add",
    "discover",
    "import",
    "backfill",
    "run",
    "plan",
    "status",
    "list",
    "show",
    "label",
    "retry",
    "forget",
    "expedite",
    "pause",
    "resume",
    "export",
    "verify",
    "backup",
    "compact",
    "migrate",
    "doctor",
    "config",
    "completion",
    "simulate",
    "demo",
]
HEAVY = {"aiohttp", "aiosqlite", "anyio", "asyncio", "numpy", "orjson", "pydantic", "rich", "sqlite3", "structlog"}


def harvester(*arguments: str, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harvester", *arguments],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands_in_the_order_of_the_work(tmp_path: Path, flag: str) -> None:
    result = harvester(flag, cwd=tmp_path)

    assert (result.returncode, result.stderr) == (0, "")
    rows = result.stdout.partition("Commands:\n")[2].splitlines()
    listed = [row.split()[0] for row in rows if row[2:3].isalpha() and row.startswith("  ") and "  " in row.strip()]
    assert {"config", "simulate"} <= set(listed)
    assert [name for name in ORDER if name in listed] == listed


@pytest.mark.parametrize("command", ["config", "simulate"])
def test_the_help_of_a_command_shows_an_example(tmp_path: Path, command: str) -> None:
    result = harvester(command, "--help", cwd=tmp_path)

    assert result.returncode == 0
    assert f"Example: harvester {command}" in " ".join(result.stdout.split())


def test_the_version_is_printed(tmp_path: Path) -> None:
    result = harvester("--version", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, f"harvester {__version__}\n")


@pytest.mark.parametrize("arguments", [["confgi"], ["config", "--colour"], ["config", "extra"], []])
def test_a_command_line_that_cannot_be_understood_ends_with_2(tmp_path: Path, arguments: list[str]) -> None:
    result = harvester(*arguments, cwd=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    assert "Usage: harvester" in result.stderr


def test_a_setting_that_does_not_exist_ends_with_2_and_one_sentence(tmp_path: Path) -> None:
    result = harvester("config", cwd=tmp_path, environ={"HARVESTER_STORE__PTAH": "x"})

    assert result.returncode == 2
    assert result.stderr == (
        "harvester: The environment sets HARVESTER_STORE__PTAH, which is not a setting. "
        "Did you mean HARVESTER_STORE__PATH?\n"
    )


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "harvester", "config"],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
        )
    finally:
        os.close(writing)

    assert result.stderr == b""


def test_the_command_line_starts_without_the_heavy_modules(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import sys, harvester.cli.main; print(*sys.modules)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert HEAVY & set(result.stdout.split()) == set()


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_load_neither_a_command_nor_what_it_works_with(tmp_path: Path, flag: str) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harvester", flag],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time:")}
    assert "harvester.cli.main" in loaded
    assert loaded & (HEAVY | {f"harvester.cli.{name}" for name in ORDER}) == set()
    # The handlers of signals are installed before anything else.
    assert {name for name in loaded if name.startswith("harvester.service.")} == {"harvester.service.signals"}


INSTALLED = (
    f"import sys; from {{module}} import {{function}}; sys.argv[0] = {sys.executable!r}; sys.exit({{function}}())"
)
"""What the command that an installer writes does."""


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--help"], {}),
        (["backfil"], {}),
        (["status", "--db", "nowhere.db"], {}),
        (["completion", "bash"], {}),
        ([], {"_HARVESTER_COMPLETE": "complete_bash", "COMP_WORDS": "harvester st", "COMP_CWORD": "1"}),
    ],
    ids=["help", "unknown command", "no database", "completion script", "completion"],
)
def test_the_installed_command_and_the_module_behave_the_same(
    tmp_path: Path, arguments: list[str], environ: dict[str, str]
) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["harvester"].partition(":")
    code = INSTALLED.format(module=module, function=function)
    installed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    by_module = harvester(*arguments, cwd=tmp_path, environ=environ)

    assert (installed.returncode, installed.stdout, installed.stderr) == (
        by_module.returncode,
        by_module.stdout,
        by_module.stderr,
    )
    assert installed.stdout + installed.stderr != ""
