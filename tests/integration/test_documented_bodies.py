"""The bodies of the API's documentation, through the installed command and back."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.scripted_api import Answer, ScriptedApi
from tests.support.shell import Shell

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
NEWEST = [f"retrieve_v2_{name}.json" for name in ("video_35", "audio_30", "document_35", "text_chunks_35", "image_35")]
V1_ID, V2_ID = "663e16ac4d11aff765088b3a", "64f8d2c7e4a1b37f8a9c5d12"


def recorded(name: str) -> Answer:
    return Answer((FIXTURES / name).read_bytes(), headers={"content-type": "application/json"})


def to_the_digit(text: bytes | str) -> Any:
    """Parse JSON and keep each fractional number as it is written."""
    return json.loads(text, parse_float=lambda digits: f"float {digits}")


async def test_the_documented_result_of_v1_is_given_back_to_the_last_digit(shell: Shell, api: ScriptedApi) -> None:
    answer = recorded("retrieve_v1_ready.json")
    api.will_say(f"embed/tasks/{V1_ID}", answer)

    harvest = await shell.run("backfill", V1_ID)
    shown = await shell.run("show", V1_ID, "--json")

    assert (harvest.code, api.requests(V1_ID)) == (0, 1), harvest.stderr
    assert to_the_digit(answer.body) == to_the_digit(shown.stdout)
    assert (shown.code, shown.stderr) == (0, "")


async def test_the_documented_result_of_v2_is_given_back_once_it_is_ready(shell: Shell, api: ScriptedApi) -> None:
    answers = recorded("retrieve_v2_processing.json"), recorded("retrieve_v2_ready.json")
    api.will_say(f"embed-v2/tasks/{V2_ID}", *answers)
    shell.environ["HARVESTER_API__VERSION"] = "v2"

    first = await shell.run("backfill", V2_ID, "--no-wait")
    not_yet = await shell.run("show", V2_ID, "--json")
    second = await shell.run("backfill", V2_ID, "--no-wait")
    shown = await shell.run("show", V2_ID, "--json")

    assert (first.code, not_yet.code, second.code) == (1, 1, 0)
    assert f"{V2_ID} is pending, not harvested" in not_yet.stderr
    assert to_the_digit(answers[1].body) == to_the_digit(shown.stdout)


async def test_every_documented_result_of_v2_is_given_back_and_its_vectors_say_what_they_are(
    shell: Shell, api: ScriptedApi
) -> None:
    answers = {json.loads(answer.body)["_id"]: answer for answer in map(recorded, NEWEST)}
    for task_id, answer in answers.items():
        api.will_say(f"embed-v2/tasks/{task_id}", answer)
    shell.environ["HARVESTER_API__VERSION"] = "v2"

    harvest = await shell.run("backfill", *answers)

    assert harvest.code == 0, harvest.stderr
    for task_id, answer in answers.items():
        shown = await shell.run("show", task_id, "--json")
        # `4e-07` and `4e-7` are the same number.
        assert json.loads(answer.body, parse_float=Decimal) == json.loads(shown.stdout, parse_float=Decimal)
    names = "input_type, model_name, embedding_option, count(*), max(start_page), max(quadrant), max(chunk_index)"
    assert shell.rows(f"SELECT {names} FROM segment_vectors GROUP BY 1, 2, 3 ORDER BY 1, 3") == [
        ("audio", "marengo3.0", "audio", 2, None, None, None),
        ("audio", "marengo3.0", "transcription", 2, None, None, None),
        ("document", "marengo3.5", "text", 3, None, None, 2),
        ("document", "marengo3.5", "visual", 10, 2, "top_right", None),
        ("image", "marengo3.5", "visual", 1, None, None, None),
        ("video", "marengo3.5", "audio", 2, None, None, None),
        ("video", "marengo3.5", "visual", 2, None, None, None),
    ]
    assert shell.rows("SELECT count(*), min(dim), max(length(vector)) FROM segment_uncertainties") == [(4, 128, 1024)]
    described = (await shell.run("show", "6af03ca05be3a1f0c2d4e6a1")).stdout
    assert "model         marengo3.5, the only model that makes such a result\nmedium        document\n" in described
    assert "warning       the model has read only a part of the input (model_context_window)\n" in described
    assert "      10 visual, page: pages 1 to 2, 128 numbers of f" in described
    assert "truncated      of 1 result the model" in (await shell.run("status")).stdout


async def test_a_young_task_of_v2_takes_one_request_to_be_asked_about_and_retrieved(
    shell: Shell, api: ScriptedApi
) -> None:
    api.will_say(f"embed-v2/tasks/{V2_ID}", recorded("retrieve_v2_ready.json"))

    harvest = await shell.run("backfill", V2_ID, HARVESTER_API__VERSION="v2")

    assert (harvest.code, api.requests(V2_ID)) == (0, 1)


async def test_the_columns_of_the_view_hold_what_the_documentation_shows(shell: Shell, api: ScriptedApi) -> None:
    answer = recorded("retrieve_v1_ready.json")
    api.will_say(f"embed/tasks/{V1_ID}", answer)

    await shell.run("backfill", V1_ID)

    document = json.loads(answer.body)
    columns = ["embedding_option", "embedding_scope", "start_offset_sec", "end_offset_sec"]
    expected = [
        (V1_ID, position, "marengo3.0", *(one[name] for name in columns), len(one["float"]), "f4")
        for position, one in enumerate(document["video_embedding"]["segments"])
    ]
    names = ", ".join(["task_id", "position", "model_name", *columns, "dim", "dtype"])
    assert expected == shell.rows(f"SELECT {names} FROM segment_vectors ORDER BY position")
