"""`harvester demo`: a whole harvest against the stand-in, with the real commands."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from harvester.cli.demo_stand_in import UNFINISHED, StandIn, running_stand_in
from harvester.cli.own_command import own_command, own_python
from harvester.domain.errors import UsageError
from harvester.settings.settings_file import Value, settings_text

# Everything that a demo writes: a second run deletes these files and nothing else.
_FILES = ("harvester.db", "harvester.db-wal", "harvester.db-shm", "ids.txt", "requests.jsonl", "harvester.toml")

Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", readable=False, help="Where to put the demo's files.")]


def demo(folder: Folder = Path("harvester-demo")) -> None:
    """Run a whole harvest, without an account.

    It takes half a minute: it starts a stand-in for the API, harvests from it, and checks the result.

    Example: harvester demo
    """
    _prepare(folder)
    database = str(folder / "harvester.db")
    with running_stand_in(folder / "requests.jsonl") as api:
        environ = _write_inputs(folder, api)
        _say(f"A stand-in for the API is running, with {len(api.ids)} tasks, {UNFINISHED} of them still processing:")
        _say("videos and documents, embedded by Marengo 3.0 and 3.5.")
        _run(["add", "--file", str(folder / "ids.txt"), "--db", database], environ)
        exit_code = _run(["backfill", "--db", database], environ)
        if exit_code in (0, 1):
            _run(["status", "--db", database], environ)
            exit_code = _run(["verify", "--deep", "--db", database], environ)
    if exit_code == 0:
        _say(f"\n{_now_try(database, api.finished[-1])}")
    raise typer.Exit(exit_code)


def _now_try(database: str, an_id: str) -> str:
    """Return commands that work in a shell of the current folder as they are."""
    program = own_command()
    return (
        "Each demo has the same figures; only times differ, and the ids, which begin with the time.\n"
        "Now try, with the files of the demo:\n"
        f"  {program} show {an_id} --db {shlex.quote(database)}\n"
        f"  {_query(database)}\n"
        "and with your own account:\n"
        f"  {program} init\n"
        f"  {program} discover\n"
        f"  {program} backfill"
    )


def _query(database: str) -> str:
    """Return a command that reads vectors: by the shell of SQLite, or without it by Python."""
    statement = "SELECT task_id, embedding_option, start_offset_sec, dim FROM segment_vectors LIMIT 5"
    if shutil.which("sqlite3") is not None:
        return f'sqlite3 {shlex.quote(database)} "{statement}"'
    code = f"import sqlite3; print(sqlite3.connect({database!r}).execute({statement!r}).fetchall())"
    return f"{own_python()} -c {_quoted(code)}"


def _quoted(text: str) -> str:
    """Return the text quoted for a shell, in double quotes where none of its characters means something there."""
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {str(folder)!a} cannot be used: {error.strerror}.", remedy="Give another with --folder."
        ) from None


def _write_inputs(folder: Path, api: StandIn) -> dict[str, str]:
    """Write the list of ids and the settings; return the environment of the commands, without settings of the user."""
    (folder / "ids.txt").write_text("\n".join(api.ids) + "\n", "utf-8")
    settings: dict[str, dict[str, Value]] = {"api": {"base_url": api.base_url}, "rate": {"requests_per_minute": 600}}
    (folder / "harvester.toml").write_text(settings_text(settings, {}), "utf-8")
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith("HARVESTER_")}
    return others | {"TWELVELABS_API_KEY": "rehearsal", "HARVESTER_CONFIG": str(folder / "harvester.toml")}


def _run(arguments: list[str], environ: dict[str, str]) -> int:
    """Print a command and run it as the user would; only the command handles a Ctrl-C."""
    _say(f"\n$ harvester {shlex.join(arguments)}")
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([sys.executable, "-m", "harvester", *arguments], env=environ, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _say(text: str) -> None:
    typer.echo(text, err=True)
