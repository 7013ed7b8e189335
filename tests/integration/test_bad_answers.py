"""Answers that no healthy API gives: the task ends as it must, and the good ones beside it are harvested."""

import gzip
from collections.abc import Sequence

import pytest

from tests.support.scripted_api import Answer, ScriptedApi, as_json, problem, ready, task_id
from tests.support.shell import Ended, Shell

GOOD = [task_id(number) for number in range(3)]
ODD = task_id(99)


def uneven(task_id: str) -> Answer:
    document = ready(task_id)
    document["video_embedding"]["segments"][1]["float"].append(0.5)
    return as_json(document)


def not_a_number(task_id: str) -> Answer:
    document = ready(task_id)
    document["video_embedding"]["segments"][1]["float"][0] = float("nan")
    return as_json(document)


def negative_time(task_id: str) -> Answer:
    document = ready(task_id)
    document["video_embedding"]["segments"][0]["start_offset_sec"] = -1
    return as_json(document)


def without_segments(task_id: str) -> Answer:
    document = ready(task_id)
    document["video_embedding"]["segments"] = []
    return as_json(document)


@pytest.fixture(autouse=True)
def good_tasks(api: ScriptedApi) -> None:
    """Tasks that must be harvested whatever happens to the one beside them."""
    for one in GOOD:
        api.holds(one)


def assert_the_others_are_harvested(shell: Shell, api: ScriptedApi) -> None:
    assert dict.fromkeys(GOOD, ("harvested", 1)) == {one: (shell.states()[one], api.requests(one)) for one in GOOD}


async def harvest_of(shell: Shell, *task_ids: str, options: Sequence[str] = ()) -> Ended:
    return await shell.run("backfill", *task_ids, *GOOD, *options)


async def test_results_that_stay_unacceptable_are_rejected_after_three_downloads(
    shell: Shell, api: ScriptedApi
) -> None:
    reasons = {
        uneven: "segments[1].float: 5 numbers, expected 4.",
        negative_time: "segments[0].start_offset_sec: -1 is not a time in the video.",
        not_a_number: "The body is not valid JSON",
    }
    odd = {task_id(100 + number): answer for number, answer in enumerate(reasons)}
    for one, answer in odd.items():
        api.holds(one, answer(one))

    runs = [await harvest_of(shell, *odd, options=["--no-wait"]) for _ in range(4)]

    assert [run.code for run in runs] == [1, 1, 1, 1]
    assert "3 still to do: 3 pending." in runs[1].stderr
    assert "still to do" not in runs[2].stderr
    # Two have the same code, of which the first is the example; with its own message.
    assert " rejected: see `harvester show ID`; when the cause is removed: `harvester retry --state rejected`" in (
        runs[2].stderr
    )
    first, _, *others = odd
    for one in (first, *others):
        assert f"(as {one}: {reasons[odd[one]]}" in runs[2].stderr
    assert dict.fromkeys(odd, ("rejected", 3)) == {one: (shell.states()[one], api.requests(one)) for one in odd}
    assert shell.rows("SELECT count(*) FROM videos") == [(len(GOOD),)]
    assert_the_others_are_harvested(shell, api)


async def test_the_raw_body_of_a_rejected_result_is_kept(shell: Shell, api: ScriptedApi) -> None:
    plain, compressed = task_id(200), task_id(201)
    bodies = {one: uneven(one).body for one in (plain, compressed)}
    api.holds(plain, Answer(bodies[plain]))
    api.holds(compressed, Answer(gzip.compress(bodies[compressed]), headers={"content-encoding": "gzip"}))

    for _ in range(3):
        await harvest_of(shell, plain, compressed, options=["--no-wait"])

    kept = dict(shell.rows("SELECT tasks.task_id, payloads.body FROM payloads JOIN tasks ON tasks.id = payloads.task"))
    assert bodies == {one: gzip.decompress(text) for one, text in kept.items()}


async def test_a_result_without_segments_is_waited_for(shell: Shell, api: ScriptedApi) -> None:
    api.holds(ODD, without_segments(ODD), without_segments(ODD), as_json(ready(ODD)))

    harvest = await harvest_of(shell, ODD)

    assert (harvest.code, shell.states()[ODD], api.requests(ODD)) == (0, "harvested", 3)


async def test_an_id_that_the_api_cannot_accept_is_rejected_when_it_is_confirmed(
    shell: Shell, api: ScriptedApi
) -> None:
    message = "The task_id parameter is invalid. The value must be the id of an embedding task."
    for path in ("embed/tasks/abc", "embed/tasks/abc/status"):
        api.will_say(path, problem(400, "parameter_invalid", message))

    harvest = await harvest_of(shell, "abc")

    assert harvest.code == 1
    assert f"(as abc: {message})" in harvest.stderr
    # The last of the four answers is that of the other version.
    assert (shell.states()["abc"], api.requests("abc")) == ("rejected", 4)
    assert [one.path for one in api.asked if "/abc" in one.path][-1] == "/v1.3/embed-v2/tasks/abc"
    assert_the_others_are_harvested(shell, api)


async def test_a_failed_task_keeps_the_words_of_the_api(shell: Shell, api: ScriptedApi) -> None:
    message = "The video has no audio track."
    api.holds(ODD, as_json({"_id": ODD, "status": "failed", "error": {"code": "video_invalid", "message": message}}))

    harvest = await harvest_of(shell, ODD)
    shown = await shell.run("show", ODD)

    assert harvest.code == 1
    assert f"(as {ODD}: {message})" in harvest.stderr
    assert message in shown.stdout
    assert (shell.states()[ODD], api.requests(ODD)) == ("failed", 2)
    assert_the_others_are_harvested(shell, api)


async def test_what_was_rejected_is_harvested_after_a_retry(shell: Shell, api: ScriptedApi) -> None:
    failed = as_json({"_id": ODD, "status": "failed"})
    api.holds(ODD, failed, failed, as_json(ready(ODD)))
    await harvest_of(shell, ODD)

    put_back = await shell.run("retry", "--state", "failed")
    harvest = await shell.run("backfill")

    assert (put_back.code, harvest.code) == (0, 0)
    assert put_back.stderr == "1 task pending again.\n"
    assert shell.count("harvested") == 4
