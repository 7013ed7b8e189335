"""The user's side of an integration test: a folder, an environment, and the installed command in it."""

import asyncio
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from harvester.simulator import Fault, Simulator, SimulatorSettings
from tests.support.thorough import IS_THOROUGH
from tests.support.warm_start import WarmProcess, start

KEY = "tlk_0MARKER0OF0THE0KEY0"

WAYS_OUT = {
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
}
"""Variables, also in lower case, by which this machine reaches others: without them, tests run the same everywhere."""

OUR_VARIABLES = ("HARVESTER_", "TWELVELABS_")

PATIENCE_S = 120
"""Seconds after which a test counts as hanging; on an idle machine no step takes a quarter of it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line for people."""
        return self.stderr.rstrip("\n").rpartition("\n")[2]


class Running:
    """A command under way, in a process group of its own, as a shell starts it."""

    def __init__(self, process: asyncio.subprocess.Process | WarmProcess) -> None:
        self._process = process
        self.pid = process.pid
        self._heard = ""

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group, as a terminal does."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to the command alone: its workers must notice."""
        self._process.kill()

    async def says(self, text: str) -> None:
        """Wait until it has written that text to stderr."""
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while text not in self._heard:
                line = await self._process.stderr.readline()
                assert line, self._heard
                self._heard += line.decode()

    async def says_nothing_for(self, seconds: float) -> None:
        """Let time pass in which the command must go on. Raises AssertionError if it ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        assert self._process.returncode is None

    async def ended(self, stdin: str | None = None) -> Ended:
        """Wait for the end."""
        async with asyncio.timeout(PATIENCE_S):
            stdout, stderr = await self._process.communicate(None if stdin is None else stdin.encode())
        code = self._process.returncode
        assert code is not None
        return Ended(code, stdout.decode(), self._heard + stderr.decode())

    async def close(self) -> None:
        """Leave nothing running."""
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            await self._process.communicate()


class Shell:
    """Runs `harvester` in `folder`, on the database `harvester.db` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "harvester.db"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(OUR_VARIABLES) and name.upper() not in WAYS_OUT
        }
        self.environ = kept | {
            "TWELVELABS_API_KEY": KEY,
            "HARVESTER_RATE__REQUESTS_PER_MINUTE": "0",
            # Most tests are about tasks of version 1; those of the default say so.
            "HARVESTER_API__VERSION": "v1",
        }
        self._inherited = kept
        self.starts_cold = IS_THOROUGH
        """Whether to start commands as a user does, for tests that inspect the process or change how it starts."""
        self._started: list[Running] = []

    def talks_to(self, base_url: str) -> None:
        """Use this API from now on."""
        self.environ["HARVESTER_API__BASE_URL"] = base_url

    async def start(self, *arguments: str, **environ: str) -> Running:
        """Start a command; the variables replace those of the shell."""
        running = Running(await self._process(arguments, self.environ | environ))
        self._started.append(running)
        return running

    async def _process(
        self, arguments: Sequence[str], environ: dict[str, str]
    ) -> asyncio.subprocess.Process | WarmProcess:
        foreign = {name: value for name, value in environ.items() if not name.startswith(OUR_VARIABLES)}
        if not self.starts_cold and foreign == self._inherited:
            return await start(arguments, folder=self.folder, environ=environ)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "harvester", *arguments),
            cwd=self.folder,
            env=environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def run(self, *arguments: str, stdin: str | None = None, **environ: str) -> Ended:
        """Run a command to its end."""
        running = await self.start(*arguments, **environ)
        return await running.ended(stdin)

    def sabotage(self, code: str) -> None:
        """Let every later command run this code first, in its own process and in those of its workers."""
        (self.folder / "sitecustomize.py").write_text(code)
        rest = self.environ.get("PYTHONPATH")
        self.environ["PYTHONPATH"] = ":".join(filter(None, [str(self.folder), rest]))

    async def add(self, task_ids: Iterable[str]) -> None:
        """Queue ids, which must all be acceptable."""
        added = await self.run("add", "--file", "-", stdin="\n".join(task_ids))
        assert added.code == 0, added.stderr

    async def close(self) -> None:
        """Leave nothing running."""
        for running in self._started:
            await running.close()

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read from the database, as any other program may."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def states(self) -> dict[str, str]:
        """Return the state of each task."""
        return dict(self.rows("SELECT task_id, state FROM tasks"))

    def count(self, state: str) -> int:
        """Return the number of tasks in a state."""
        return list(self.states().values()).count(state)


class Gate:
    """A middleware of the stand-in at which requests wait until they are let through."""

    def __init__(self, *, let_through: int = 0) -> None:
        self.arrived: list[str] = []
        self._turns = asyncio.Semaphore(let_through)
        self._is_open = asyncio.Event()

    def let(self, count: int) -> None:
        """Let that many more requests through, in the order in which they arrived."""
        for _ in range(count):
            self._turns.release()

    def open(self) -> None:
        """Let everything through from now on."""
        self._is_open.set()

    @property
    def middleware(self) -> Middleware:
        """The middleware for the stand-in."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.arrived.append(request.match_info["task_id"])
            waits = {asyncio.create_task(self._turns.acquire()), asyncio.create_task(self._is_open.wait())}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            return await handler(request)

        return middleware


def stand_in(
    *gates: Gate,
    requests_per_minute: int = 0,
    duration_s: float = 60.0,
    faults: Sequence[Fault] = (),
    **settings: Any,
) -> Simulator:
    """Return a stand-in whose tasks are an hour old and finished, unless the settings say otherwise."""
    finished: dict[str, Any] = {"age_s": 3600, "processing_median_s": 0.01, "processing_sigma": 0}
    return Simulator(
        SimulatorSettings(
            **(finished | settings),
            requests_per_minute=requests_per_minute,
            duration_s=(duration_s, duration_s),
        ),
        middlewares=[gate.middleware for gate in gates],
        faults=faults,
    )


def retrieved(api: Simulator) -> list[str]:
    """Return the ids whose embeddings the stand-in has handed out, once for each time."""
    return sorted(str(one.task_id) for one in api.requests if (one.endpoint, one.status) == ("retrieve", 200))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true, because of another process."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # another process sets no event
            await asyncio.sleep(0.02)


def unused_address() -> str:
    """Return an address on which no process listens now."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def bytes_of_the_folder(shell: Shell) -> bytes:
    """All that the command has written: the database, its -wal and -shm, and all other files."""
    return b"".join(path.read_bytes() for path in shell.folder.rglob("*") if path.is_file())


def command_lines(harvest: Running) -> list[bytes]:
    """Return the command line of the process and of each of its workers, which are in its group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (process / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[2]) == harvest.pid:
                found.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return found
