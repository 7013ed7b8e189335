"""How soon the daemon answers `/healthz` while videos of four hours arrive."""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from contenders import environ, server
from tables import percentile, table

TASKS, DURATION_S, OPTIONS = 24, 4 * 3600, "visual,audio,transcription"
GOAL_MS = 50
EVERY_S = 0.01


def measure_ms() -> list[float]:
    """Ask until every task is harvested; return the times of the answers."""
    with server(TASKS, DURATION_S, OPTIONS) as served, tempfile.TemporaryDirectory() as folder:
        settings = {**os.environ, **environ(served.root, Path(folder) / "harvester.db")}
        address = f"127.0.0.1:{free_port()}"
        settings |= {"HARVESTER_SERVER__LISTEN": address}
        command = [sys.executable, "-m", "harvester"]
        subprocess.run(
            [*command, "add", "--file", "-"], input="\n".join(served.task_ids), env=settings, check=True, text=True
        )
        with subprocess.Popen([*command, "run"], env=settings, stderr=subprocess.DEVNULL) as daemon:
            try:
                return ask_until_harvested(f"http://{address}")
            finally:
                daemon.terminate()


def ask_until_harvested(root: str) -> list[float]:
    taken_ms: list[float] = []
    while not taken_ms or b'"harvested": %d' % TASKS not in get(f"{root}/status.json"):
        for _ in range(20):
            started = time.perf_counter()
            if get(f"{root}/healthz"):
                taken_ms.append((time.perf_counter() - started) * 1000)
            time.sleep(EVERY_S)
    return taken_ms


def get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # its own daemon
            body: bytes = answer.read()
            return body
    except ConnectionRefusedError:
        return b""
    except OSError as error:
        if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
            return b""
        raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(runs: int) -> str:
    """Return the result as Markdown."""
    rows = []
    for number in range(runs):
        taken_ms = measure_ms()
        figures = [f"{percentile(taken_ms, part):.1f}" for part in (0.5, 0.99)]
        rows.append((str(number + 1), str(len(taken_ms)), *figures, f"{max(taken_ms):.1f}"))
    heads = ["run", "requests", "median ms", "p99 ms", "longest ms"]
    title = f"## Responsiveness: `/healthz` while {TASKS} videos of four hours arrive"
    return f"{title}\n\n{table(heads, rows)}\n\n- goal: p99 below {GOAL_MS} ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    print(report(parser.parse_args().runs))


if __name__ == "__main__":
    main()
