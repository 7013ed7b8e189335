"""The filter of a retrieval in version 1: it saves bytes, what was asked for is kept, and nothing is lost by it."""

from urllib.parse import parse_qsl, urlsplit

from tests.support.scripted_api import ScriptedApi, problem, task_id
from tests.support.shell import Shell, stand_in

STORED = """
SELECT tasks.task_id, group_concat(DISTINCT embedding_option), retrieve_options
FROM tasks LEFT JOIN segment_vectors USING (task_id) GROUP BY tasks.task_id ORDER BY tasks.id
"""


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

    path = next(asked.path for asked in api.asked if one in asked.path)
    assert parse_qsl(urlsplit(path).query) == [("embedding_option", "visual"), ("embedding_option", "visual-text")]
    assert refused.code == 1
    assert "retrieves     visual, by harvest.embedding_options" in story.stdout
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
