"""A failed task: its message decides how it ends, and is kept word for word wherever a person reads it."""

import json

from tests.support.scripted_api import ScriptedApi, as_json, task_id
from tests.support.shell import Shell

EXPIRED = "The embedding result is no longer available and cannot be retrieved."
UNSTABLE = "The embedding service is temporarily unstable. Please try again later."
TOO_LARGE = "Document (17 pages) exceeds maximum limit of 6 pages"
STRANGE = "Something new, which no version knows: \N{SNOWMAN}."

OLD, BUSY, LARGE, ODD, *GOOD = map(task_id, range(9))

MESSAGES = {
    OLD: (EXPIRED, "expired", "result_expired"),
    BUSY: (UNSTABLE, "failed", "task_failed_platform"),
    LARGE: (TOO_LARGE, "failed", "task_failed_too_large"),
    ODD: (STRANGE, "failed", "task_failed"),
}


async def test_each_message_ends_its_task_as_it_says_when_it_was_given_twice(shell: Shell, api: ScriptedApi) -> None:
    for one, (message, _, _) in MESSAGES.items():
        api.holds(one, as_json({"_id": one, "status": "failed", "data": None, "error": {"message": message}}))
    for one in GOOD:
        api.holds(one)

    harvest = await shell.run("backfill", *MESSAGES, *GOOD, HARVESTER_LOG__LEVEL="info", HARVESTER_LOG__FORMAT="json")
    shown = {one: (await shell.run("show", one)).stdout for one in (OLD, BUSY)}
    status = json.loads((await shell.run("status", "--json")).stdout)

    assert harvest.code == 1
    assert "1 failed: the platform could not embed these; submit the same input again, as it is" in harvest.stderr
    assert (
        "1 failed: the platform could not embed these; submit them again, or see `harvester show ID`" in harvest.stderr
    )
    ended = {one: (state, code, message) for one, state, code, message in shell.rows(ENDS)}
    assert ended == {one: (state, code, message) for one, (message, state, code) in MESSAGES.items()}
    assert {api.requests(one) for one in MESSAGES} == {2}
    assert f"result_expired: {EXPIRED}" in shown[OLD]
    assert f"task_failed_platform: {UNSTABLE}" in shown[BUSY]
    assert "Submit the same input again, as it is" in shown[BUSY]
    assert [story.count("  what to do  ") for story in shown.values()] == [1, 1]
    assert "  what to do  Embed the video again" in shown[OLD]
    assert {message for message, _, _ in MESSAGES.values()} <= {one["message"] for one in status["last_errors"]}
    lines = [json.loads(line) for line in harvest.stderr.splitlines() if line.startswith("{")]
    logged = {
        line["task_id"]: (line["event"], line["code"]) for line in lines if line["event"] in ("failed", "expired")
    }
    assert logged == {one: (state, code) for one, (_, state, code) in MESSAGES.items()}


ENDS = "SELECT task_id, state, error_code, error_message FROM tasks WHERE state <> 'harvested'"
