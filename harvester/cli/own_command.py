"""How a person starts this program again: the words for commands that are printed to be typed."""

import shlex
import shutil
import sys
from pathlib import Path

NAME = "harvester"


def own_command() -> str:
    """Return the program as a shell in the current folder finds it, such as `.venv/bin/harvester`.

    The name alone if that starts the same file; `PYTHON -m harvester` if the program was started in that way.
    """
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{own_python()} -m {NAME}"
    found = shutil.which(NAME)
    if not started.exists() or (found is not None and started.samefile(found)):
        return NAME
    return shown_path(started)


def own_python() -> str:
    """Return the Python that runs this program, as a shell in the current folder finds it."""
    return shown_path(Path(sys.executable))


def shown_path(path: Path) -> str:
    """Return the path quoted for a shell: relative below the current folder, else absolute; never a bare name."""
    whole, here = path.absolute(), Path.cwd()
    if not whole.is_relative_to(here):
        return shlex.quote(str(whole))
    below = str(whole.relative_to(here))
    return shlex.quote(below if "/" in below else f"./{below}")
