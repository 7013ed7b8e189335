"""Starts `harvester` as a fork of a process that has loaded it: a process of its own, without the time to import.

The server forks twice, so that the command becomes a child of the tests' process, which adopts orphans. At its end a
command does not take the interpreter apart, which costs more processor time than most commands. Tests that only
`make test-all` runs start the installed command itself.
"""

import asyncio
import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import harvester

ROOT = Path(__file__).resolve().parents[2]
MAX_REQUEST_BYTES = 1 << 20
_PR_SET_CHILD_SUBREAPER = 36


class WarmProcess:
    """A process as `asyncio.create_subprocess_exec` returns it, as far as the tests use that."""

    def __init__(
        self, pid: int, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader
    ) -> None:
        self.pid, self.stdin, self.stdout, self.stderr = pid, stdin, stdout, stderr
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()

    async def wait(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self, stdin: bytes | None = None) -> tuple[bytes, bytes]:
        """Write to stdin, close it, and return what was written to stdout and stderr."""
        with contextlib.suppress(ConnectionError):
            if stdin is not None:
                self.stdin.write(stdin)
                await self.stdin.drain()
        self.stdin.close()
        stdout, stderr = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return stdout, stderr

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


async def start(arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> WarmProcess:
    """Start a command in that folder with that environment, in a session of its own."""
    inner, outer = zip(*(os.pipe(), *(pipe[::-1] for pipe in (os.pipe(), os.pipe()))), strict=True)
    request = json.dumps([list(arguments), str(folder), dict(environ)]).encode()
    server = _server()
    socket.send_fds(server, [request], inner)
    pid = int(server.recv(100))
    for end in inner:
        os.close(end)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(outer[0], "wb"))
    stdin = asyncio.StreamWriter(transport, protocol, None, loop)
    stdout, stderr = [await _reader(end) for end in outer[1:]]
    return WarmProcess(pid, stdin, stdout, stderr)


async def _reader(end: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(end, "rb"))
    return reader


@functools.cache
def _server() -> socket.socket:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(_end, ours, process)
    return ours


def _end(server: socket.socket, process: subprocess.Popen[bytes]) -> None:
    # The server ends when no process can send it a request any more.
    server.close()
    process.wait()


def serve(requests: socket.socket) -> None:
    """Fork for each request; return in the fork, which is to run the command, or when there are no more."""
    # All is loaded here, once: the program loads most of it when a command needs it.
    for name in _names_of_modules():
        importlib.import_module(name)
    # A fork neither visits nor copies what all forks share when it looks for garbage.
    gc.freeze()
    while True:
        request, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 3)
        if not request:
            sys.exit()
        from_fork, to_server = os.pipe()
        if not (between := os.fork()):
            if child := os.fork():
                os.write(to_server, str(child).encode())
                os._exit(0)
            requests.close()
            os.close(from_fork)
            os.close(to_server)
            arguments, folder, environ = json.loads(request)
            _become(arguments, folder, environ, fds)
            return
        os.waitpid(between, 0)
        requests.send(os.read(from_fork, 100))
        for fd in (from_fork, to_server, *fds):
            os.close(fd)


def _names_of_modules() -> list[str]:
    """All of the program, and what its libraries load when they are used."""
    ours = [module.name for module in pkgutil.walk_packages(harvester.__path__, "harvester.")]
    return [*ours, "anyio._backends._asyncio", "typer._adapters", "typer._click.decorators"]


def _become(arguments: list[str], folder: str, environ: dict[str, str], fds: list[int]) -> None:
    os.setsid()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["harvester", *arguments]
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115
        for number, mode in enumerate("rww")
    )
    # Each process has random numbers of its own.
    random.seed()


def run_and_leave(main: Callable[[], None]) -> NoReturn:
    """Run the command, do what an interpreter does at its end for others to see, and end the process."""
    code = 0
    try:
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # Warns of what was left open.
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    from harvester import __main__ as command

    # A worker takes this for the main module.
    sys.modules["__main__"] = command
    run_and_leave(command.main)
