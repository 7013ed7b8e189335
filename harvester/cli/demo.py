"""`harvester demo`: a whole harvest against the stand-in, with the real commands."""

import itertools
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from harvester.domain.errors import UsageError

TASKS = 30

# Everything that a demo writes: a second run deletes these files and nothing else.
_FILES = ("harvester.db", "harvester.db-wal", "harvester.db-shm", "ids.txt", "requests.jsonl")

Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", readable=False, help="Where to put the demo's files.")]


def demo(folder: Folder = Path("harvester-demo")) -> None:
    """Run a whole harvest, without an account.

    It takes half a minute: it starts a stand-in for the API, harvests from it, and checks the result.

    Example: harvester demo
    """
    _prepare(folder)
    with _stand_in(folder) as (base_url, ids):
        (folder / "ids.txt").write_text("\n".join(ids) + "\n", "utf-8")
        environ = os.environ | {
            "TWELVELABS_API_KEY": "rehearsal",
            "HARVESTER_API__BASE_URL": base_url,
            "HARVESTER_RATE__REQUESTS_PER_MINUTE": "600",
        }
        database = str(folder / "harvester.db")
        _say(f"A stand-in for the API is running, with {len(ids)} tasks of which some are still processing:")
        _say("videos and documents, embedded by Marengo 3.0 and 3.5.")
        _run(["add", "--file", str(folder / "ids.txt"), "--db", database], environ)
        exit_code = _run(["backfill", "--db", database], environ)
        if exit_code in (0, 1):
            _run(["status", "--db", database], environ)
            exit_code = _run(["verify", "--deep", "--db", database], environ)
    if exit_code == 0:
        _say("\n" + _NOW_TRY.format(database=shlex.quote(database), an_id=ids[-1]))
    raise typer.Exit(exit_code)


_NOW_TRY = """Now try, with the files of the demo:
  harvester show {an_id} --db {database}
  sqlite3 {database} "SELECT task_id, embedding_option, start_offset_sec, dim FROM segment_vectors LIMIT 5"
and with your own account:
  export TWELVELABS_API_KEY=...
  harvester add --file ids.txt
  harvester backfill"""


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {str(folder)!a} cannot be used: {error.strerror}.", remedy="Give another with --folder."
        ) from None


@contextmanager
def _stand_in(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Run `harvester simulate` in its own process; yield its base URL and the ids of its tasks."""
    options = ["--tasks", str(TASKS), "--failed-ratio", "0.1", "--duration-s", "60,300", "--api", "v2"]
    options += ["--media", "video,document", "--models", "marengo3.0,marengo3.5"]
    # Made three minutes ago and finished after about three: the scheduler would not ask about younger ones so soon.
    options += [
        "--age-s",
        "190",
        "--spread-s",
        "16",
        "--processing-s",
        "190,0.03",
        "--seed",
        "7",
        "--log",
        str(folder / "requests.jsonl"),
        "--print-ids",
        "--port",
        "0",
    ]
    process = subprocess.Popen(
        _command(["simulate", *options]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C goes to the harvest alone, which still needs the API to finish its downloads.
        start_new_session=True,
    )
    try:
        yield _started(process.stdout, process.stderr)
    finally:
        process.terminate()
        process.communicate()


def _started(stdout: IO[str] | None, stderr: IO[str] | None) -> tuple[str, list[str]]:
    ids = [line.strip() for line in itertools.islice(stdout or (), TASKS)]
    first_line = (stderr.readline() if stderr else "").strip()
    if len(ids) < TASKS or not first_line.startswith("Listening on "):
        raise UsageError(f"The stand-in did not start: {first_line}", remedy="Try `harvester simulate --port 0`.")
    return first_line.split()[2], ids


def _run(arguments: list[str], environ: dict[str, str]) -> int:
    """Print a command and run it as the user would; only the command handles a Ctrl-C."""
    _say(f"\n$ harvester {shlex.join(arguments)}")
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(_command(arguments), env=environ, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "harvester", *arguments]


def _say(text: str) -> None:
    typer.echo(text, err=True)
