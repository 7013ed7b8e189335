import subprocess
import sys
from pathlib import Path

import pytest

from harvester.cli.commands import COMMANDS, CommandGroup, load_command
from harvester.cli.main import run

# Columns for a help line in terminals of several widths.
WIDTHS = (20, 45, 60, 200)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_help_line_that_it_has_when_loaded(name: str) -> None:
    listed, loaded = CommandGroup().commands[name], load_command(name)

    assert [listed.get_short_help_str(width) for width in WIDTHS] == [
        loaded.get_short_help_str(width) for width in WIDTHS
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_its_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: harvester {name} [OPTIONS]")


def test_a_command_is_loaded_without_the_others() -> None:
    code = "import sys; from harvester.cli.main import run; run(['config', '--help']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

    loaded = set(result.stdout.splitlines()[-1].split())
    assert {name for name in COMMANDS if f"harvester.cli.{name}" in loaded} == {"config"}


def test_commands_that_work_on_the_queue_load_neither_numpy_nor_the_http_client(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from harvester.cli.main import run

for command in (["add", "66f537778d9641fe5a0d101f"], ["status"], ["plan"], ["show", "66f537778d9641fe5a0d101f"]):
    assert run([*command, "--db", "harvester.db"]) == 0
print(*sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )

    loaded = set(result.stdout.splitlines()[-1].split())
    assert "harvester.store.sqlite.reader" in loaded
    assert loaded & {"numpy", "aiohttp", "aiosqlite", "harvester.api.client"} == set()
