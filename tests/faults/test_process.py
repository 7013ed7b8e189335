"""Rows 25 to 28, and kills: nothing is lost, and nothing whole is downloaded twice."""

import asyncio
import signal
from pathlib import Path

import pytest

from harvester.simulator import Fault, Simulator
from tests.faults.invariants import assert_kept, said_about
from tests.support.machine import needs_proc
from tests.support.shell import Gate, Running, Shell, retrieved, stand_in, until

LONG_VIDEO_S = 150
"""Its body is large enough to be decoded in a worker process."""


async def harvesting(shell: Shell, api: Simulator, gate: Gate, *, done: int = 4, held: int = 4) -> Running:
    """Start a harvest, and return when `done` tasks are stored and `held` downloads are under way."""
    shell.talks_to(api.base_url)
    await shell.add(api.catalogue.ids())
    harvest = await shell.start("backfill", HARVESTER_HARVEST__CONCURRENCY=str(held))
    await until(lambda: len(gate.arrived) == done + held and shell.count("harvested") == done)
    return harvest


def seconds() -> float:
    return asyncio.get_running_loop().time()


def processes_with(variable: str) -> list[int]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_row_25_a_signal_lets_what_is_under_way_finish_and_the_next_run_does_the_rest(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    gate = Gate(let_through=4)
    async with stand_in(gate, tasks=12, duration_s=LONG_VIDEO_S) as api:
        harvest = await harvesting(shell, api, gate)
        harvest.signal(number)
        await harvest.says("Finishing 4 under way")
        gate.open()
        ended = await harvest.ended()

        assert (ended.code, shell.count("harvested"), shell.count("pending")) == (code, 8, 4), ended.stderr
        lines = ended.stderr.splitlines()
        assert lines[0] == "Finishing 4 under way, 30 s at most; press again to stop at once."
        assert lines[1] == f"Stopped by {number.name}."
        assert lines[2].startswith("Harvested 8 tasks (")
        assert lines[3:] == ["  4 still to do: 4 pending. Run `harvester backfill` again."]

        again = await shell.run("backfill")

        assert (again.code, shell.count("harvested")) == (0, 12), again.stderr
        assert api.catalogue.ids() == retrieved(api)
        assert_kept(shell, api)


async def test_row_25_a_second_ctrl_c_stops_at_once_and_the_next_run_waits_for_no_lease(shell: Shell) -> None:
    gate = Gate(let_through=4)
    # A run that waited for either would still wait when this test times out.
    shell.environ |= {"HARVESTER_HARVEST__GRACE_S": "3600", "HARVESTER_HARVEST__LEASE_S": "3600"}
    async with stand_in(gate, tasks=12, duration_s=LONG_VIDEO_S) as api:
        harvest = await harvesting(shell, api, gate)
        harvest.signal(signal.SIGINT)
        await harvest.says("Finishing 4 under way")
        harvest.signal(signal.SIGINT)
        ended = await harvest.ended()

        assert ended.code == 130
        assert ended.stderr.splitlines()[1] == "Stopped at once by SIGINT."
        assert "8 still to do: 8 pending." in ended.stderr

        gate.open()
        again = await shell.run("backfill")

        assert (again.code, shell.count("harvested")) == (0, 12), again.stderr
        assert_kept(shell, api)


@needs_proc
async def test_sigkill_in_the_middle_leaves_a_set_that_the_next_run_completes(shell: Shell) -> None:
    gate = Gate(let_through=4)
    shell.environ |= {"HARVESTER_HARVEST__LEASE_S": "3", "MARK_OF_THIS_TEST": shell.folder.name}
    async with stand_in(gate, tasks=12, duration_s=LONG_VIDEO_S) as api:
        harvest = await harvesting(shell, api, gate)
        assert len(processes_with(f"MARK_OF_THIS_TEST={shell.folder.name}")) > 1
        harvest.kill()
        killed = await harvest.ended()

        assert killed.code == -signal.SIGKILL
        await until(lambda: not processes_with(f"MARK_OF_THIS_TEST={shell.folder.name}"))

        gate.open()
        again = await shell.run("backfill")

        assert (again.code, shell.count("harvested")) == (0, 12), again.stderr
        assert_kept(shell, api)


async def test_row_25_a_stalled_download_is_given_up_after_the_grace_time(shell: Shell) -> None:
    gate = Gate()
    async with stand_in(gate, tasks=2) as api:
        shell.environ["HARVESTER_HARVEST__GRACE_S"] = "0.3"
        harvest = await harvesting(shell, api, gate, done=0, held=2)
        asked = seconds()
        harvest.signal(signal.SIGINT)
        ended = await harvest.ended()

        assert ended.code == 130
        assert seconds() - asked >= 0.3
        assert "2 still to do: 2 pending." in ended.stderr
        assert shell.rows("SELECT state, attempts, lease_owner FROM tasks") == [("pending", 0, None)] * 2
        assert_kept(shell, api, dict.fromkeys(api.catalogue.ids(), "pending"))


async def test_row_26_a_daemon_and_a_backfill_on_one_file_do_no_work_twice(shell: Shell) -> None:
    # Both have read the same due tasks before either claims one.
    shell.sabotage(
        "import asyncio, harvester.store.sqlite.store as store\n"
        "real = store.Store.claim\n"
        "async def claim(self, lease, tasks):\n"
        "    await asyncio.sleep(0.2)\n"
        "    return await real(self, lease, tasks)\n"
        "store.Store.claim = claim\n"
    )
    shell.environ |= {"HARVESTER_HARVEST__CONCURRENCY": "2", "HARVESTER_SERVER__LISTEN": "127.0.0.1:0"}
    gate = Gate()
    async with stand_in(gate, tasks=60, duration_s=12) as api:
        shell.talks_to(api.base_url)
        await shell.add(api.catalogue.ids())

        both = [await shell.start(command) for command in ("run", "backfill")]
        await until(lambda: len(gate.arrived) == 4)
        owners = shell.rows("SELECT DISTINCT lease_owner FROM tasks WHERE lease_owner IS NOT NULL")
        gate.open()
        backfill = await both[1].ended()
        both[0].signal(signal.SIGTERM)
        stopped = await both[0].ended()

        assert (len(owners), backfill.code, stopped.code) == (2, 0, 143), (backfill.stderr, stopped.stderr)
        assert_kept(shell, api)
        assert api.catalogue.ids() == retrieved(api)
    assert "stale" not in backfill.stderr + stopped.stderr


async def test_row_26_a_paused_process_that_wakes_after_its_lease_has_its_result_refused(shell: Shell) -> None:
    gate = Gate()
    # Long enough that the other one renews it in time on a busy machine.
    shell.environ["HARVESTER_HARVEST__LEASE_S"] = "4"
    async with stand_in(gate, tasks=2, duration_s=12) as api:
        paused = await harvesting(shell, api, gate, done=0, held=2)
        paused.signal(signal.SIGSTOP)
        # Its answers wait in the socket while it is stopped.
        gate.let(2)
        other = await shell.start("backfill")
        await until(lambda: len(gate.arrived) == 4)
        claimed = shell.rows("SELECT task_id, claim, lease_owner FROM tasks")

        paused.signal(signal.SIGCONT)
        await paused.says("stale result refused: somebody else has this task now")
        assert claimed == shell.rows("SELECT task_id, claim, lease_owner FROM tasks")
        assert_kept(shell, api, dict.fromkeys(api.catalogue.ids(), "pending"))
        gate.open()
        ended = [await one.ended() for one in (paused, other)]

        assert [one.code for one in ended] == [0, 0], ended
        assert_kept(shell, api)
        assert len(retrieved(api)) == 4
    assert [one.stderr.count("stale result refused") for one in ended] == [2, 0]


async def test_row_27_when_a_worker_dies_while_decoding_its_task_is_retried_by_a_whole_pool(shell: Shell) -> None:
    # Each worker that finds the flag takes it, and dies with the body in its hands.
    flag = shell.folder / "flag"
    flag.touch()
    shell.sabotage(
        "import os, signal, harvester.api.decode.result as decoding\n"
        "real = decoding.decode_file\n"
        "def decode_file(file, encoding, max_bytes):\n"
        "    try:\n"
        f"        os.unlink({str(flag)!r})\n"
        "    except FileNotFoundError:\n"
        "        return real(file, encoding, max_bytes)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "decoding.decode_file = decode_file\n"
    )
    async with stand_in(tasks=8, duration_s=LONG_VIDEO_S) as api:
        shell.talks_to(api.base_url)

        ended = await shell.run("backfill", *api.catalogue.ids())

        assert ended.code == 0, ended.stderr
        assert not flag.exists()
        assert_kept(shell, api)
        assert len(retrieved(api)) == 9
        messages = [message for one in api.catalogue.ids() for message in said_about(shell, one)]
        assert messages == [("decode_worker_died", "The process that decoded the answer died.")]
        # It says nothing about the payload.
        assert shell.rows("SELECT DISTINCT invalid FROM tasks") == [(0,)]


async def test_row_28_when_the_acknowledgement_of_a_commit_is_lost_repeating_it_changes_nothing(shell: Shell) -> None:
    # Lost are that of the first results, which leave their tasks open, and that of the first vectors.
    shell.sabotage(
        "import harvester.store.sqlite.store as store\n"
        "from harvester.domain.errors import StoreBusyError\n"
        "real, lost = store.Store.settle, set()\n"
        "async def settle(self, settlements):\n"
        "    accepted = await real(self, settlements)\n"
        "    kinds = {one.embeddings is not None for one in settlements} - lost\n"
        "    if kinds:\n"
        "        lost.update(kinds)\n"
        "        raise StoreBusyError('It is not known.', reason='the acknowledgement is lost')\n"
        "    return accepted\n"
        "store.Store.settle = settle\n"
    )
    async with stand_in(tasks=6, duration_s=12, faults=[Fault(kind="page", times_per_task=1)]) as api:
        shell.talks_to(api.base_url)

        runs = [await shell.run("backfill", *api.catalogue.ids(), "--no-wait") for _ in range(2)]

        assert [run.code for run in runs] == [1, 0], runs
        assert_kept(shell, api)
        assert len(retrieved(api)) == 6 + 6  # a page is a 200, too
    assert ["the acknowledgement is lost; trying again" in run.stderr for run in runs] == [True, True]
    assert shell.rows("SELECT DISTINCT attempts, failures FROM tasks") == [(2, 1)]
    assert shell.rows("SELECT outcome, count(*) FROM attempts GROUP BY outcome") == [("retrieved", 6), ("transient", 6)]
