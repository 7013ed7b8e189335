"""The stand-in of a demo: `harvester simulate` in a process of its own, with the same tasks each time."""

import itertools
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harvester.domain.errors import UsageError

# The stand-in draws the fate of a seeded task from its id, and so from the time. Here all of them have finished, their
# content follows from the names of their files, and the fates of the others are given: each demo has the same figures.
FINISHED = 27
_SEEDED = ("--tasks", str(FINISHED), "--age-s", "60", "--spread-s", "30", "--processing-s", "30,0", "--seed", "7")
_SHAPE = ("--duration-s", "60,300", "--api", "v2", "--media", "video,document", "--models", "marengo3.0,marengo3.5")

_VIDEO = {"api_version": "v2", "model_name": "marengo3.0", "input_type": "video"}
_TOO_LARGE = {
    **_VIDEO,
    "filename": "rehearsal-large.mp4",
    # The oldest, so that it is asked about first, and the results of the others are evidence that the API is well.
    "age_s": 120,
    "processing_s": 30,
    "failure": "The media exceeds the maximum allowed size for embedding.",
}
# They finish some seconds after the first look, and before the second.
_UNFINISHED = [
    {**_VIDEO, "filename": f"rehearsal-late-{number}.mp4", "age_s": 40, "processing_s": 48, "failure": ""}
    for number in (1, 2)
]
_HELD: Sequence[dict[str, Any]] = (_TOO_LARGE, *_UNFINISHED)

UNFINISHED = len(_UNFINISHED)


@dataclass(frozen=True, slots=True)
class StandIn:
    """A running stand-in: its base URL, and the ids of its tasks, `finished` ones with a result."""

    base_url: str
    finished: Sequence[str]
    others: Sequence[str]

    @property
    def ids(self) -> list[str]:
        """All ids, those with a result first."""
        return [*self.finished, *self.others]


@contextmanager
def running_stand_in(log: Path) -> Iterator[StandIn]:
    """Run the stand-in, which writes its requests to `log`. Raises UsageError if it does not start."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "harvester", "simulate", *_SEEDED, *_SHAPE),
            *("--log", str(log), "--print-ids", "--port", "0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C goes to the harvest alone, which still needs the API to finish its downloads.
        start_new_session=True,
    )
    try:
        base_url, ids = _started(process.stdout, process.stderr)
        yield StandIn(base_url, ids, [_hold(base_url, task) for task in _HELD])
    finally:
        process.terminate()
        process.communicate()


def _started(stdout: IO[str] | None, stderr: IO[str] | None) -> tuple[str, list[str]]:
    ids = [line.strip() for line in itertools.islice(stdout or (), FINISHED)]
    first_line = (stderr.readline() if stderr else "").strip()
    if len(ids) < FINISHED or not first_line.startswith("Listening on "):
        raise UsageError(f"The stand-in did not start: {first_line}", remedy="Try `harvester simulate --port 0`.")
    return first_line.split()[2], ids


def _hold(base_url: str, task: dict[str, Any]) -> str:
    """Add a task to the stand-in; return its id."""
    url = base_url.rpartition("/")[0] + "/simulator/tasks"
    request = urllib.request.Request(url, json.dumps(task).encode())  # noqa: S310  # of this machine, by http
    # A proxy of the environment does not reach this machine.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        task_id: str = json.load(answer)["_id"]
    return task_id
