import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.cli.completion import COMPLETE_VARIABLE
from harvester.cli.main import run

BASH = shutil.which("bash")

TRIES = """
eval "$(harvester completion bash)"
complete -p harvester
try() {
  COMP_WORDS=("$@") COMP_CWORD=$(( $# - 1 )) COMPREPLY=()
  _harvester_completion harvester
  echo "${COMPREPLY[*]}"
}
try harvester ba
try harvester backfill --d
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_the_program(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"{COMPLETE_VARIABLE}=complete_{shell}" in capfd.readouterr().out


@pytest.mark.skipif(BASH is None, reason="bash is missing")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    program = tmp_path / "harvester"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m harvester "$@"\n')
    program.chmod(0o755)

    done = subprocess.run(
        [str(BASH), "-c", f"PATH={tmp_path}:$PATH\n{TRIES}"], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.stdout.splitlines() == [
        "complete -o default -F _harvester_completion harvester",
        "backfill backup",
        "--deadline --db",
    ], done.stderr


def test_another_shell_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err


def test_completing_after_version_prints_no_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(COMPLETE_VARIABLE, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "harvester\n--version\nstat")
    monkeypatch.setenv("COMP_CWORD", "2")

    assert run([]) == 0
    assert capsys.readouterr().out == "status\n"
