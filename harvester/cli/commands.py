"""The commands by name. Listing them imports none; invoking one imports its module alone."""

from importlib import import_module
from keyword import iskeyword
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from harvester.cli.loading import loading

COMMANDS = {
    "init": "Write a settings file.",
    "add": "Queue task ids.",
    "discover": "Queue every task that the account has made.",
    "import": "Store bodies that you already have.",
    "backfill": "Harvest now, until each task has ended.",
    "run": "Harvest until a signal stops it.",
    "plan": "Show what would happen next, and why.",
    "status": "Show the state of the queue.",
    "list": "List tasks.",
    "show": "Show everything about a task.",
    "label": "Set labels of tasks.",
    "retry": "Put ended tasks back to pending.",
    "forget": "Remove tasks with all that belongs to them.",
    "expedite": "Ask about tasks before all others.",
    "pause": "Send no more requests for a while.",
    "resume": "End the pause.",
    "export": "Write vectors to a file.",
    "verify": "Check the data in the database.",
    "backup": "Copy the database while it is in use.",
    "compact": "Give unused space back.",
    "migrate": "Create or upgrade the database.",
    "doctor": "Check what the harvest needs.",
    "config": "Print the settings in effect.",
    "completion": "Print a script for completion.",
    "simulate": "Serve a stand-in for the TwelveLabs API.",
    "demo": "Run a whole harvest, without an account.",
}
"""Each command and the first sentence of its help, in the order of the help page.

The command `name` is the function `name` in the module `harvester.cli.name`; of a name that Python reserves, both have
an underscore more.
"""


def load_command(name: str) -> Any:
    """Import the module of the command `name` and return typer's object for it, with all parameters."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    python_name = f"{name}_" if iskeyword(name) else name
    with loading():
        module = import_module(f"harvester.cli.{python_name}")
    alone.command(name)(getattr(module, python_name))
    return get_command(alone)


class CommandGroup(TyperGroup):
    """The group of all commands: knows their names and help lines, and loads the one that is used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: _Listed(name, help=line) for name, line in COMMANDS.items()}


class _Listed(TyperCommand):
    """A command that is not loaded yet: all that the list on the help page needs."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command and return its context: invoking it and showing its help both begin here.

        The callback of the group has run by then, so its handling of signals is in force during the import.
        """
        return load_command(str(self.name)).make_context(info_name, args, parent=parent, **extra)
