"""The contenders: each is a command that fetches the given ids from the server into a new SQLite file."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Run, measure

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its address and the ids that it knows."""

    root: str
    task_ids: list[str]


@contextmanager
def server(
    tasks: int, duration_s: float, options: str = "visual,audio", *, is_gzipped: bool = False
) -> Iterator[Served]:
    """Serve prepared bodies from a process of its own."""
    shape = ["--tasks", str(tasks), "--duration-s", str(duration_s), "--options", options]
    shape += ["--gzip"] if is_gzipped else []
    command = [sys.executable, str(HERE / "serve.py"), *shape]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        root = process.stdout.readline().strip()
        yield Served(root, [process.stdout.readline().strip() for _ in range(tasks)])
        process.stdin.close()


def environ(root: str, database: Path) -> dict[str, str]:
    """Return the settings under which the harvester is measured: the defaults, without a limit of requests."""
    return {
        "TWELVELABS_API_KEY": "bench",
        "HARVESTER_API__BASE_URL": f"{root}/v1.3",
        "HARVESTER_RATE__REQUESTS_PER_MINUTE": "0",
        "HARVESTER_STORE__PATH": str(database),
    }


def harvester(root: str, ids: Path, database: Path) -> Run:
    # The ids are arguments, so that queueing them is part of the time.
    return measure([sys.executable, "-m", "harvester", "backfill", "--file", ids], environ(root, database))


def script(name: str) -> Callable[[str, Path, Path], Run]:
    return lambda root, ids, database: measure([sys.executable, HERE / name, root, ids, database], {})


Contender = Callable[[str, Path, Path], Run]

CONTENDERS: dict[str, Contender] = {
    "harvester": harvester,
    "bare minimum": script("bare.py"),
    "aiohttp and json": script("plain.py"),
    "official SDK": script("sdk.py"),
}
