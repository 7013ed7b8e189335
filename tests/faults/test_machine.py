"""Rows 50, 51, 54, 55: the machine's limits, resources, setup and signals."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.invariants import assert_kept
from tests.support.machine import needs_proc, skip_without_pid_namespaces
from tests.support.scripted_api import task_id
from tests.support.shell import Gate, Shell, command_lines, stand_in, until
from tests.support.thorough import thorough

AN_ID = task_id(1)
LONG_VIDEO_S = 150
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")

NO_THREADS = """
import threading
def start(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
"""

NO_PROCESSES = """
import errno, subprocess
def refuse(*_, **__):
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
subprocess.Popen = refuse
"""


@contextmanager
def memory_group(mebibytes: int) -> Iterator[Path]:
    """A control group of version 1 with that limit."""
    group = MEMORY_GROUPS / f"harvester-test-{os.getpid()}-{mebibytes}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(mebibytes * 1024 * 1024))
    except OSError:
        pytest.skip("needs root and control groups of version 1")
    try:
        yield group
    finally:
        group.rmdir()


def confine(shell: Shell, group: Path) -> None:
    """Let each command from now on run in the group."""
    shell.sabotage(f"import os\nopen({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n")


async def test_row_51_a_container_of_128_mib_harvests_videos_of_20_minutes_with_the_defaults(shell: Shell) -> None:
    with memory_group(128) as group:
        # 1,200 segments each, 12 MB of JSON.
        async with stand_in(tasks=2, duration_s=1200, clip_length_s=2, gzip=False) as api:
            shell.talks_to(api.base_url)
            confine(shell, group)

            ended = await shell.run("backfill", *api.catalogue.ids())

            assert ended.code == 0, ended.stderr
            assert_kept(shell, api)
        doctor = await shell.run("doctor", "--offline")
        settings = await shell.run("config")
        oversized = await shell.run("doctor", "--offline", HARVESTER_HARVEST__MEMORY_BUDGET_BYTES="268435456")
    assert "ok       memory: 128 MiB by " in doctor.stdout
    assert "default for 128 MiB of memory" in settings.stdout
    assert "warning  memory: harvest.memory_budget_bytes = 268435456 lets a harvest take up to 3" in oversized.stdout


async def test_row_51_with_too_little_memory_it_is_said_at_the_start_what_is_needed(shell: Shell) -> None:
    # A limit of its data, which every system has: the same as that of a container to the program.
    shell.sabotage("import resource\nresource.setrlimit(resource.RLIMIT_DATA, (88 << 20, 88 << 20))\n")
    async with stand_in(tasks=2, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        refused = [await shell.run(command) for command in ("backfill", "run")]
        doctor = await shell.run("doctor", "--offline")

        assert api.requests.count() == 0
        assert_kept(shell, api, dict.fromkeys(api.catalogue.ids(), "pending"))
    sentence = "A harvest needs 96 MiB of memory, and RLIMIT_DATA of this process allows 88 MiB."
    assert [(one.code, sentence in one.stderr) for one in refused] == [(2, True)] * 2, refused
    assert f"failure  memory: {sentence}" in doctor.stdout


async def test_row_50_where_no_process_can_be_started_the_harvest_decodes_by_itself(shell: Shell) -> None:
    shell.sabotage(NO_PROCESSES)
    async with stand_in(tasks=3, duration_s=LONG_VIDEO_S) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert "no process can be started, decoding in this one" in ended.stderr
        assert api.requests.count() == 3
        assert_kept(shell, api)


async def test_row_50_where_no_thread_can_be_started_this_machine_is_named(shell: Shell) -> None:
    await shell.add([AN_ID])
    shell.sabotage(NO_THREADS)

    for command in ("backfill", "run"):
        ended = await shell.run(command)
        assert ended.code == 4, ended.stderr
        assert ended.last_line.startswith("harvester: This machine refuses to start more threads")
    assert shell.states() == {AN_ID: "pending"}


async def test_row_54_a_folder_that_is_gone_is_named(shell: Shell) -> None:
    gone = shell.folder / "gone"
    gone.mkdir()
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", 'rmdir "$PWD" && exec "$0" "$1" status --db h.db', sys.executable, _script(shell)),
        cwd=gone,
        env=shell.environ,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()

    assert (process.returncode, b"The current folder does not exist any more" in stderr) == (2, True), stderr


def _script(shell: Shell) -> str:
    script = shell.folder / "harvester-command.py"
    script.write_text("from harvester.__main__ import main\nmain()\n")
    return str(script)


async def test_row_54_a_home_that_is_not_known_is_named_with_the_setting(shell: Shell) -> None:
    # No such user, as for the arbitrary ones of some container platforms.
    ended = await shell.run("status", HARVESTER_STORE__PATH="~no-such-user-here/file")

    assert ended.code == 2
    assert "begins with ~, but that user has no home folder here" in ended.stderr


async def test_row_54_a_harvest_does_not_mind_what_libraries_read(shell: Shell) -> None:
    odd = {
        "COLUMNS": "abc",
        "LINES": "-1",
        "TERM": "unknown",
        "TZ": "Nowhere/Never",
        "LANG": "xx_YY.nonsense",
        "TMPDIR": "/does/not/exist",
        "FORCE_COLOR": "1",
        "NO_COLOR": "1",
    }
    async with stand_in(tasks=2, duration_s=LONG_VIDEO_S) as api:
        shell.talks_to(api.base_url)
        shell.environ |= odd
        shell.environ.pop("HOME", None)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert_kept(shell, api)


WHILE_IMPORTING = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "harvester.cli.main":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{name})
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), pytest.param("SIGHUP", 129, marks=thorough)])
async def test_row_55_a_signal_while_the_program_is_loaded_ends_it_at_once(shell: Shell, name: str, code: int) -> None:
    await shell.add([AN_ID])
    shell.sabotage(WHILE_IMPORTING.format(name=name))

    ended = await shell.run("backfill")

    assert (ended.code, ended.stderr) == (code, "")
    assert shell.states() == {AN_ID: "pending"}


async def test_row_55_sighup_does_not_end_a_daemon_that_is_starting(shell: Shell) -> None:
    shell.sabotage(WHILE_IMPORTING.format(name="SIGHUP"))
    daemon = await shell.start("run", HARVESTER_SERVER__LISTEN="")
    await daemon.says("started")
    daemon.signal(signal.SIGTERM)
    ended = await daemon.ended()

    assert ended.code == 143
    assert "settings reloaded" in ended.stderr


async def test_row_55_sigterm_ends_pid_1_while_it_is_starting(shell: Shell) -> None:
    skip_without_pid_namespaces()
    shell.sabotage(WHILE_IMPORTING.format(name="SIGTERM"))
    process = await asyncio.create_subprocess_exec(
        *("unshare", "-p", "-f", "--mount-proc", "--kill-child", sys.executable, "-m", "harvester", "run"),
        cwd=shell.folder,
        env=shell.environ | {"HARVESTER_SERVER__LISTEN": ""},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 143


async def test_row_55_three_signals_at_once_end_without_a_traceback(shell: Shell) -> None:
    gate = Gate(let_through=2)
    async with stand_in(gate, tasks=6, duration_s=12) as api:
        shell.talks_to(api.base_url)
        harvest = await shell.start("backfill", *api.catalogue.ids(), HARVESTER_HARVEST__CONCURRENCY="2")
        await until(lambda: len(gate.arrived) == 4 and shell.count("harvested") == 2)
        for _ in range(3):
            harvest.signal(signal.SIGINT)
            await asyncio.sleep(0.005)
        ended = await harvest.ended()

        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr
        assert_kept(shell, api, {one: "pending" for one, state in shell.states().items() if state == "pending"})


@needs_proc
async def test_row_55_when_the_terminal_closes_a_backfill_stores_what_is_under_way(shell: Shell) -> None:
    gate = Gate(let_through=2)
    async with stand_in(gate, tasks=6, duration_s=LONG_VIDEO_S) as api:
        shell.talks_to(api.base_url)
        harvest = await shell.start("backfill", *api.catalogue.ids(), HARVESTER_HARVEST__CONCURRENCY="2")
        await until(lambda: len(gate.arrived) == 4 and shell.count("harvested") == 2)
        before = sorted(command_lines(harvest))
        harvest.signal(signal.SIGHUP)
        await harvest.says("Finishing 2 under way")
        after = sorted(command_lines(harvest))
        gate.open()
        ended = await harvest.ended()

        # The workers that decode live on; a process that has ended has an empty command line.
        assert len(before) > 1
        assert after == before
        assert (ended.code, shell.count("harvested")) == (129, 4), ended.stderr
        assert "Stopped by SIGHUP." in ended.stderr
        assert_kept(shell, api, {one: "pending" for one, state in shell.states().items() if state == "pending"})
