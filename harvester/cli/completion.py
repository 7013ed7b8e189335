"""`harvester completion`: print the script by which a shell completes command lines."""

from typing import Annotated, Literal

import typer
from typer.completion import get_completion_inspect_parameters, shell_complete
from typer.main import get_command

COMPLETE_VARIABLE = "_HARVESTER_COMPLETE"
"""The variable in which the script passes what it wants to know; typer reads it."""

Shell = Annotated[
    Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)
]


def completion(shell: Shell) -> None:
    """Print a script for completion.

    It completes commands and options in bash, zsh or fish. Load it in each new shell, by a line in ~/.bashrc such as
    the one below, in ~/.zshrc after compinit, or as the file ~/.config/fish/completions/harvester.fish.

    Example: eval "$(harvester completion bash)"
    """
    register_shells()
    group = typer.Typer(add_completion=False)
    group.callback()(lambda: None)
    raise typer.Exit(shell_complete(get_command(group), {}, "harvester", COMPLETE_VARIABLE, f"source_{shell}"))


def register_shells() -> None:
    """Make typer's shells known: it does so itself only for programs that have its options to install completion."""
    get_completion_inspect_parameters()
