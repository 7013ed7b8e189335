"""The command line: global options, and the translation of an error into a sentence and an exit code.

This imports no command, so that `--help` is instant; `commands.py` loads the one that is invoked.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from harvester._version import __version__
from harvester.cli.commands import CommandGroup
from harvester.cli.console import print_error, printable
from harvester.cli.environment_errors import environment_error, possible_bugs
from harvester.cli.streams import STDOUT, is_reader_gone, silence_stdout
from harvester.service import signals

_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
_READER_GONE = 141  # 128 + SIGPIPE, as of other programs in a pipe

_DRAINING = frozenset({"run", "backfill"})
"""Commands that handle signals themselves."""

# Plain help: it takes half the time of rich's boxes and reads well in pipes and container logs.
app = typer.Typer(
    cls=CommandGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(context: typer.Context, wanted: bool) -> None:  # noqa: FBT001  # the signature is typer's
    # A shell that completes a line parses it as well.
    if wanted and not context.resilient_parsing:
        typer.echo(f"harvester {__version__}")
        raise typer.Exit


@app.callback(
    epilog="The API key comes from TWELVELABS_API_KEY or api.key_file. `harvester config` shows all settings."
)
def _root(
    context: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error. Allowed anywhere.")
    ] = False,
) -> None:
    """Fetch the embeddings that TwelveLabs computes, before they are deleted after seven days."""
    # The program computes no matrix products, so OpenBLAS needs no threads: they take memory and count as processes.
    # numpy, which is imported later, ends the program if it gets neither.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if context.invoked_subcommand not in _DRAINING:
        signals.behave_as_usual()


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Commands end with `typer.Exit(code)` or a HarvesterError."""
    arguments, debug = _without_debug(arguments)
    try:
        return _invoke(arguments)
    except Exception as error:  # noqa: BLE001  # no caller is above
        return _report(error, debug=debug)


def _invoke(arguments: Sequence[str]) -> int:
    exit_code = 0
    if "_HARVESTER_COMPLETE" in os.environ:
        # A shell asks how a command line may go on; typer answers. No other start imports this.
        from harvester.cli.completion import register_shells  # noqa: PLC0415

        register_shells()
    try:
        get_command(app).main(args=arguments, prog_name="harvester")
    except SystemExit as leaving:  # how typer ends
        exit_code = leaving.code if isinstance(leaving.code, int) else exit_code
    if is_reader_gone():
        # typer has caught the error and would exit with 1.
        silence_stdout()
        return _READER_GONE
    # Buffered output would otherwise fail after the last line of this program.
    sys.stdout.flush()
    return exit_code


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Remove `--debug` from anywhere: a user appends it to the command line that failed."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end


def _report(error: Exception, *, debug: bool) -> int:
    """Print the error and return the exit code."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.filename == STDOUT:
        silence_stdout()
        if is_reader_gone():
            return _READER_GONE
    if debug:
        # Without locals, which could hold the key.
        for line in "".join(traceback.format_exception(error)).splitlines():
            typer.echo(printable(line), err=True)
    expected = environment_error(error)
    if expected is not None:
        print_error(str(expected))
        return expected.exit_code
    hint = "" if debug else " Run again with --debug to see where."
    first, *others = possible_bugs(error)
    more = f" And {len(others)} more." if others else ""
    print_error(f"unexpected error, {type(first).__name__}: {first}.{more}{hint}")
    return _UNEXPECTED
