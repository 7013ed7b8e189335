"""Invariants of every row: no task lost, no row twice, stored equals sent, memory bounded, a clear message."""

from collections.abc import Iterable, Mapping

import numpy as np

from harvester.simulator import Simulator
from harvester.simulator.faults.payloads import as_doubles
from harvester.store.sqlite.connection import open_for_reading
from harvester.store.sqlite.maintenance.verify import verify
from tests.support.machine import skip_without_proc
from tests.support.shell import Shell

MAX_MEBIBYTES = 400
"""Bound for the process and for its largest worker; an idle one has about 90."""

_MEMORY = """
import atexit, os, re, resource
def write():
    with open("/proc/self/status") as status:
        own = int(re.search(r"VmHWM:\\s*(\\d+)", status.read())[1])
    peaks = [own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]
    with open(os.path.join({folder!r}, f"peak-{{os.getpid()}}"), "w") as file:
        file.write(str(max(peaks)))
atexit.register(write)
resource.setrlimit(resource.RLIMIT_FSIZE, ({max_bytes}, {max_bytes}))
"""
"""The kernel's VmHWM, as the resource usage of a process counts the one that started it, which may have grown large.

A long body is received into a file in memory, which is no process's resident memory: files are bounded as well.
"""


def assert_kept(
    shell: Shell, api: Simulator, states: Mapping[str, str] | None = None, *, doubles: Iterable[str] = ()
) -> None:
    """Assert that each of the stand-in's tasks is in its state (harvested, unless named), and stored as sent."""
    expected = dict.fromkeys(api.catalogue.ids(), "harvested") | dict(states or {})
    assert expected == shell.states()
    assert_stored_as_sent(shell, api, doubles=doubles)


def assert_stored_as_sent(shell: Shell, api: Simulator, *, doubles: Iterable[str] = ()) -> None:
    """Assert that what is harvested is stored bit for bit and once, and that of other tasks nothing is."""
    harvested = {task_id for task_id, state in shell.states().items() if state == "harvested"}
    stored: dict[str, list[tuple[object, ...]]] = {task_id: [] for task_id in harvested}
    for task_id, *row in shell.rows(
        "SELECT task_id, position, embedding_option, embedding_scope, start_offset_sec, end_offset_sec, dim, dtype,"
        " vector FROM segment_vectors ORDER BY task_id, position"
    ):
        stored[task_id].append(tuple(row))
    for task_id, rows in stored.items():
        assert sent_rows(api, task_id, is_double=task_id in set(doubles)) == rows, task_id
    assert_no_row_twice(shell)
    assert_verified(shell)


def sent_rows(api: Simulator, task_id: str, *, is_double: bool = False) -> list[tuple[object, ...]]:
    """Return what the stand-in has computed for a task, as rows."""
    sent = api.catalogue.embeddings(task_id)
    vectors = as_doubles(sent.vectors) if is_double else sent.vectors
    little = vectors.astype("<f8" if is_double else "<f4")
    return [
        (
            position,
            option,
            scope,
            start,
            end,
            len(vector),
            f"f{vector.itemsize}",
            np.ascontiguousarray(vector).tobytes(),
        )
        for position, (option, scope, start, end, vector) in enumerate(
            zip(sent.options, sent.scopes, sent.start_offsets_s, sent.end_offsets_s, little, strict=True)
        )
    ]


def assert_no_row_twice(shell: Shell) -> None:
    """Assert that no video, segment or vector is stored twice; counted, not left to the schema's word."""
    place = "task || '/' || position"
    for table, key in (("videos", "task"), ("segments", place), ("embeddings", place)):
        (double,) = shell.rows(f"SELECT count(*) - count(DISTINCT {key}) FROM {table}")
        assert (table, double) == (table, (0,))


def assert_verified(shell: Shell) -> None:
    """Assert that `verify --deep` finds no error in the database."""
    connection = open_for_reading(shell.database)
    try:
        assert [one for one in verify(connection, deep=True) if not one.is_warning] == []
    finally:
        connection.close()


def measure_memory(shell: Shell) -> None:
    """Let each command from now on write down its peak; see `peak_mebibytes`. No file may grow beyond the bound."""
    skip_without_proc()
    shell.sabotage(_MEMORY.format(folder=str(shell.folder), max_bytes=MAX_MEBIBYTES * 1024 * 1024))


def peak_mebibytes(shell: Shell) -> float:
    """Return the largest peak of resident memory of all processes that have ended."""
    return max(int(file.read_text()) for file in shell.folder.glob("peak-*")) / 1024


def said_about(shell: Shell, task_id: str) -> list[tuple[str, str]]:
    """Return the codes and messages of the attempts at a task that went wrong, in their order."""
    return [
        (str(code), str(message))
        for code, message in shell.rows(
            "SELECT code, message FROM attempts JOIN tasks ON tasks.id = attempts.task"
            " WHERE task_id = ? AND code IS NOT NULL ORDER BY attempts.id",
            task_id,
        )
    ]
