"""Whole harvests by the installed command, against a stand-in that misbehaves."""

import re
from collections.abc import Iterable, Mapping

from harvester.simulator import Simulator
from tests.faults.invariants import assert_kept, said_about
from tests.support.shell import Ended, Shell

DOWNLOADS = 3
"""The number of unacceptable results after which a task is rejected."""


async def harvest_after(shell: Shell, api: Simulator, hit: Mapping[str, str]) -> Ended:
    """Harvest in two runs, and assert that the hit tasks, and only they, need the second; return how the first ended.

    `hit` says with which code the first request about each must have failed. Such a failure says nothing about the
    payload: it brings no task nearer to its rejection.
    """
    shell.talks_to(api.base_url)
    first = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")
    assert (first.code, f"{len(hit)} still to do" in first.stderr) == (1, True), first.stderr
    open_states = {task_id: state for task_id, state in shell.states().items() if state in ("pending", "ready")}
    assert open_states.keys() == hit.keys()
    assert_kept(shell, api, open_states)
    assert hit == {task_id: said_about(shell, task_id)[0][0] for task_id in hit}
    assert shell.rows("SELECT DISTINCT invalid, (SELECT count(*) FROM payloads) FROM tasks") == [(0, 0)]
    second = await shell.run("backfill")
    assert second.code == 0, second.stderr
    assert_kept(shell, api)
    return first


async def rejections(shell: Shell, api: Simulator, hit: Iterable[str]) -> dict[str, str]:
    """Ask as often as it takes, and assert that the hit tasks, and only they, are rejected; return the reasons."""
    shell.talks_to(api.base_url)
    hit = list(hit)
    for number in range(DOWNLOADS):
        ended = await shell.run("backfill", *api.catalogue.ids(), "--no-wait")
        assert ended.code == 1, ended.stderr
        state = "rejected" if number == DOWNLOADS - 1 else "pending"
        assert_kept(shell, api, dict.fromkeys(hit, state))
    # One line for each kind of reason.
    assert len(hit) == sum(map(int, re.findall(r"(\d+) rejected: see `harvester show ID`", ended.stderr)))
    # A page of the list may have said once more that they are ready.
    attempts = {count for (count,) in shell.rows("SELECT attempts FROM tasks WHERE state = 'rejected'")}
    assert attempts <= {DOWNLOADS, DOWNLOADS + 1}
    return dict(shell.rows("SELECT task_id, error_message FROM tasks WHERE state = 'rejected'"))
