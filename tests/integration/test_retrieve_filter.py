"""The filter of a retrieval in version 1: it saves bytes, what was asked for is kept, and nothing is lost by it."""

import json
from urllib.parse import parse_qsl, urlsplit

from tests.support.scripted_api import ScriptedApi, as_json, problem, task_id
from tests.support.shell import Ended, Shell, stand_in
from tests.support.store_builders import insert_like_another_program

STORED = """
SELECT tasks.task_id, group_concat(DISTINCT embedding_option), retrieve_options
FROM tasks LEFT JOIN segment_vectors USING (task_id) GROUP BY tasks.task_id ORDER BY tasks.id
"""


def counts(ended: Ended) -> dict[str, int]:
    """Return the counts of widened results in the document of a backfill."""
    document = json.loads(ended.stdout)
    return {name: document[name] for name in ("retrieve_again", "already_held", "past_deadline", "not_widened")}


async def test_each_task_is_asked_for_what_was_chosen_and_says_so(shell: Shell) -> None:
    async with stand_in(tasks=4, options=("visual", "audio")) as api:
        shell.talks_to(api.base_url)
        plain, own, whole, none = api.catalogue.ids()
        shown = await shell.run("add", own, "--retrieve", "audio", "--json")
        await shell.run("add", whole, "--retrieve", "all")
        await shell.run("add", none, "--retrieve", "transcription")
        ended = await shell.run("backfill", plain, own, whole, none, "--retrieve", "visual")
        described = [(await shell.run("show", one)).stdout for one in (plain, whole)]

    assert ended.code == 0, ended.stderr
    assert '"retrieve":["audio"]' in "".join(shown.stdout.split())
    found = {one: (options, asked) for one, options, asked in shell.rows(STORED)}
    assert found[plain] == ("visual", '["visual"]')
    assert found[own] == ("audio", '["audio"]')
    assert found[whole] == ("audio,visual", "[]")
    # This task has no segments of the chosen option: everything was asked for in the end.
    assert found[none] == ("audio,visual", "[]")
    assert "retrieves     visual\n" in described[0]
    assert "retrieves     everything\n" in described[1]


async def test_a_refused_option_ends_no_task_and_the_next_harvest_may_choose_another(
    shell: Shell, api: ScriptedApi
) -> None:
    one = task_id(1)
    api.holds(one, problem(400, "parameter_invalid", "The embedding_option parameter is invalid. Choose another."))
    refused = await shell.run("backfill", one, "--retrieve", "visual", "--retrieve", "visual-text")
    story = await shell.run("show", one, HARVESTER_HARVEST__EMBEDDING_OPTIONS="visual")
    without = await shell.run("show", one)

    path = next(asked.path for asked in api.asked if one in asked.path)
    assert parse_qsl(urlsplit(path).query) == [("embedding_option", "visual"), ("embedding_option", "visual-text")]
    assert refused.code == 1
    assert "retrieves     visual, by harvest.embedding_options" in story.stdout
    assert "retrieves     everything; the API has refused the options of the last harvest" in without.stdout
    assert "embedding_option_refused: The API refuses the embedding options that were asked for" in story.stdout
    assert "state         rejected" not in story.stdout
    assert f"`harvester add {one} --retrieve all`" in story.stdout

    api.holds(one)
    assert (await shell.run("backfill", one)).code == 0
    assert shell.states() == {one: "harvested"}


async def test_an_option_that_there_is_not_is_named_with_those_that_there_are(shell: Shell) -> None:
    for command in (["add", task_id(1)], ["backfill"], ["retry", task_id(1)]):
        ended = await shell.run(*command, "--retrieve", "smell")
        assert ended.code == 2
        assert "'smell', from --retrieve, cannot be used" in ended.stderr
        assert '"visual" or "audio" or "transcription" or "visual-text"' in ended.stderr
    assert not shell.database.exists()


async def test_a_filtered_result_is_widened_by_name_and_every_report_says_what_it_holds(shell: Shell) -> None:
    async with stand_in(tasks=3, options=("visual", "audio")) as api:
        shell.talks_to(api.base_url)
        one, two, three = api.catalogue.ids()
        await shell.run("backfill", one, two, three, "--retrieve", "visual")
        before = await shell.run("status"), await shell.run("status", "--json"), await shell.run("verify", "--json")
        shown = await shell.run("show", one)

        contained = await shell.run("retry", one, "--retrieve", "visual")
        added = await shell.run("add", one, "--retrieve", "visual", "--json")
        repeated = await shell.run("backfill", one, two, three, "--retrieve", "visual")
        unnamed = await shell.run("backfill", "--retrieve", "all")
        requests = len(api.requests)
        widened = await shell.run("backfill", one, "--retrieve", "all", "--json")
        other = await shell.run("retry", two, three, "--retrieve", "audio", "--json")
        waiting = await shell.run("show", two), await shell.run("verify")
        await shell.run("backfill")
        after = await shell.run("status"), await shell.run("status", "--json"), await shell.run("verify", "--deep")
        again = await shell.run("backfill", one, two, "--retrieve", "all")

    text = "3 stored results with only some of the embedding options: `harvester show ID` says which"
    assert f"filtered       {text}" in before[0].stdout
    assert json.loads(before[1].stdout)["stored"]["filtered"] == 3
    finding = "stored results that hold only some of the embedding options: 3"
    assert {"task_id": None, "text": finding, "warning": True} in json.loads(before[2].stdout)["findings"]
    held = f"visual only, of the embedding options; `harvester retry {one} --retrieve all`"
    assert f"holds         {held}" in shown.stdout
    assert f"{one} stays as it is: what is stored holds already what --retrieve names." in contained.stderr
    assert "0 tasks pending again." in contained.stderr
    assert f"{one} and 2 more stay as they are: what is stored holds already" in repeated.stderr
    assert json.loads(added.stdout)["already_held"] == 1
    assert (unnamed.code, requests) == (0, 3), unnamed.stderr
    assert widened.code == 0, widened.stderr
    assert counts(widened) == {"retrieve_again": 1, "already_held": 0, "past_deadline": 0, "not_widened": 0}
    assert "1 harvested task to retrieve again; what is stored stays until then." in widened.stderr
    asked = json.loads(other.stdout)
    assert (asked["retrieve_again"], asked["pending_again"], asked["left"]) == (2, 0, {})
    assert "retrieves     visual, audio\nholds         visual, until the task is retrieved again" in waiting[0].stdout
    assert waiting[1].code == 0
    assert (
        f"warning: {two}: the task is ready: its stored result stays until it is retrieved again" in waiting[1].stdout
    )
    found = {task: (options, kept) for task, options, kept in shell.rows(STORED)}
    assert found == {
        one: ("audio,visual", "[]"),
        two: ("audio,visual", "[]"),
        three: ("audio,visual", '["visual","audio"]'),
    }
    assert json.loads(after[1].stdout)["stored"]["filtered"] == 2
    assert after[2].code == 0, after[2].stdout
    assert again.code == 0
    assert f"{one} stays as it is" in again.stderr


async def test_a_result_that_the_platform_has_dropped_stays_and_backfill_says_so(
    shell: Shell, api: ScriptedApi
) -> None:
    dropped, late, healthy = task_id(1), task_id(2), task_id(3)
    for one in (dropped, late, healthy):
        api.holds(one)
    await shell.run("backfill", dropped, late, "--retrieve", "visual")
    before = shell.rows("SELECT * FROM segment_vectors ORDER BY task_id, position")
    message = "The embedding result is no longer available and cannot be retrieved."
    api.holds(dropped, as_json({"_id": dropped, "status": "failed", "data": None, "error": {"message": message}}))
    widened = await shell.run("backfill", dropped, healthy, "--retrieve", "all", "--json")
    shown = await shell.run("show", dropped)
    insert_like_another_program(shell.database, "UPDATE tasks SET expires_at = 1000 WHERE task_id = ?", [late])
    refused = await shell.run("retry", late, "--retrieve", "all")

    assert widened.code == 1, widened.stderr
    assert counts(widened) == {"retrieve_again": 1, "already_held": 0, "past_deadline": 0, "not_widened": 1}
    said = f"1 stored result could not be widened, as that of {dropped}: `harvester show {dropped}` says why."
    assert said in " ".join(widened.stderr.split())
    assert shell.states() == dict.fromkeys((dropped, late, healthy), "harvested")
    assert "retrieves     visual\nholds         visual only" in shown.stdout
    assert f"result_expired: {message}" in shown.stdout
    assert f"{late} stays as it is: the platform keeps results until the deadline, 1970-01-01" in refused.stderr
    stored = shell.rows("SELECT * FROM segment_vectors ORDER BY task_id, position")
    assert [row for row in stored if row[0] != healthy] == before
