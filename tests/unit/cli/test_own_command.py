"""How printed commands name the program, so that they work as they are."""

import sys
from pathlib import Path

import pytest

from harvester.cli.own_command import own_command, own_python


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed command, in a folder with a space below the current one."""
    file = tmp_path / "my env" / "bin" / "harvester"
    file.parent.mkdir(parents=True)
    file.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(file), "demo"])
    monkeypatch.setattr(sys, "executable", str(file.with_name("python")))
    return file


def test_a_program_on_the_path_has_its_name_alone(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))

    assert own_command() == "harvester"


@pytest.mark.usefixtures("program")
def test_a_program_below_the_current_folder_has_its_path_from_there() -> None:
    assert own_command() == "'my env/bin/harvester'"


def test_another_program_of_the_same_name_on_the_path_is_not_meant(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harvester").touch(mode=0o755)

    assert own_command() == "'my env/bin/harvester'"
    monkeypatch.chdir(program.parent)
    assert own_command() == "./harvester"
    monkeypatch.chdir("/usr")
    assert own_command() == f"'{program}'"


@pytest.mark.usefixtures("program")
def test_a_module_is_started_by_its_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/harvester/__main__.py"])

    assert own_python() == "'my env/bin/python'"
    assert own_command() == "'my env/bin/python' -m harvester"


def test_a_command_that_is_no_file_has_the_name_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["harvester-of-a-test"])

    assert own_command() == "harvester"
