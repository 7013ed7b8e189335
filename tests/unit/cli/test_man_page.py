import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harvester.cli.man_page import _EXIT_CODES, man_page
from tests.unit.test_reference import commands

ROOT = Path(__file__).parents[3]
GROFF = shutil.which("groff")


def test_the_stored_page_is_that_of_this_program() -> None:
    assert (ROOT / "docs" / "harvester.1").read_text("utf-8") == man_page(), "run `make man`"


def test_every_command_and_option_is_on_the_page() -> None:
    page = man_page().replace("\\-", "-")

    for name, command in commands().items():
        section = page.partition(f"\n.SS harvester {name} ")[2].partition("\n.S")[0]
        names = {one for option in command.params if option.param_type_name == "option" for one in option.opts}
        assert names - {"--help", "-h"} <= set(re.findall(r"--[a-z-]+", section)), name


def test_the_exit_codes_are_those_of_the_readme() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## Exit codes")[2].partition("\n## ")[0]

    assert list(_EXIT_CODES) == re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)


@pytest.mark.skipif(GROFF is None, reason="groff is missing")
def test_groff_has_nothing_to_complain_about() -> None:
    done = subprocess.run(
        [str(GROFF), "-man", "-Tascii", "-ww", "-z"], input=man_page(), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
