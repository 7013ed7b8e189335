"""`harvester import`: bodies from files pass the checks of a harvest into the same tables, and come back equal."""

import gzip
import hashlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from harvester.cli.main import run
from harvester.service import body_import
from tests.support.scripted_api import ready, task_id
from tests.support.shell import Shell, until
from tests.support.store_builders import insert_like_another_program

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MODELS = "SELECT task_id, model_name, model_source FROM tasks JOIN videos ON videos.task = tasks.id"
BEDROCK = {"marengo3.0": "bedrock_output_30.json", "marengo2.7": "bedrock_output_27.json"}
AN_ID, ANOTHER_ID = task_id(1), task_id(2)
V1_ID, V2_ID = "663e16ac4d11aff765088b3a", "6af03cec5be3a1f0c2d4e6a0"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class Importer:
    """Runs commands in this process, on `harvester.db` in an empty folder."""

    def __init__(self, folder: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._captured = captured

    def run(self, *arguments: str) -> Ended:
        code = run(arguments)
        captured = self._captured.readouterr()
        return Ended(code, captured.out, captured.err)

    def holds(self, name: str, content: bytes | dict[str, Any]) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return name

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "harvester.db")) as connection:
            return connection.execute(statement).fetchall()

    def states(self) -> dict[str, tuple[str, str]]:
        return {one: (state, source) for one, state, source in self.rows("SELECT task_id, state, source FROM tasks")}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Importer]:
    monkeypatch.chdir(tmp_path)
    yield Importer(tmp_path, capsys)
    # The commands have set the level of the log for this process.
    structlog.reset_defaults()


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def to_the_digit(text: bytes | str) -> Any:
    return json.loads(
        text, parse_float=lambda digits: f"float {float(digits)!r}", parse_int=lambda digits: f"float {float(digits)!r}"
    )


def id_by_content(content: bytes) -> str:
    return f"file-{hashlib.sha256(content).hexdigest()[:24]}"


@pytest.mark.parametrize("model", BEDROCK)
def test_an_output_of_bedrock_is_stored_under_an_id_of_its_content_and_given_back(here: Importer, model: str) -> None:
    content = fixture(BEDROCK[model])
    here.holds("8f2k3/output.json", content)

    ended = here.run("import", "8f2k3", "--model", model)
    of_task = id_by_content(content)

    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"1 stored, 0 known, 0 bad, the task is {of_task}: harvester.db\n"
    assert here.states() == {of_task: ("harvested", "bedrock")}
    assert to_the_digit(here.run("show", of_task, "--json").out) == to_the_digit(content)
    columns = "model_name, embedding_option, embedding_scope, start_offset_sec, end_offset_sec, input_filename"
    assert here.rows(f"SELECT {columns} FROM segment_vectors ORDER BY position") == [
        (model, one["embeddingOption"], one.get("embeddingScope"), one["startSec"], one["endSec"], "8f2k3")
        for one in json.loads(content)["data"]
    ]
    assert here.rows("SELECT model_source FROM videos") == [("given",)]
    assert here.run("verify", "--deep").code == 0


def test_numbers_come_back_with_their_value_in_the_shortest_way_to_write_them(here: Importer) -> None:
    body = b'{"data":[{"embedding":[1,-0.0,0.50],"embeddingOption":"visual","startSec":0.0,"endSec":6.5}],"rate":1e2}'
    here.holds("a.json", body)

    here.run("import", "a.json", "--model", "marengo3.0")

    shown = here.run("show", id_by_content(body), "--json").out
    segment = '{"embedding":[1.0,-0.0,0.5],"embeddingOption":"visual","startSec":0,"endSec":6.5}'
    assert shown == f'{{"data":[{segment}],"rate":100.0}}\n'


def test_task_objects_of_both_versions_keep_their_ids_models_and_names(here: Importer) -> None:
    v1, v2 = fixture("retrieve_v1_ready.json"), fixture("retrieve_v2_video_35.json")
    here.holds("bodies/v1.json", v1)
    here.holds("bodies/v2.json.gz", gzip.compress(v2))

    ended = here.run("import", "bodies", "--model", "marengo3.5")

    assert ended.code == 0, ended.err
    assert here.states() == {V1_ID: ("harvested", "file"), V2_ID: ("harvested", "file")}
    for of_task, content in ((V1_ID, v1), (V2_ID, v2)):
        assert to_the_digit(here.run("show", of_task, "--json").out) == to_the_digit(content)
    assert sorted(here.rows(MODELS)) == [(V1_ID, "marengo3.0", "answer"), (V2_ID, "marengo3.5", "given")]
    assert ("match.mp4",) in here.rows("SELECT input_filename FROM videos")


INFERRED = {
    "document_35": "marengo3.5",
    "image_35": "marengo3.5",
    "text_chunks_35": "marengo3.5",
    "audio_30": "marengo3.0",
}


def test_the_model_of_a_body_follows_from_what_only_one_model_makes(here: Importer) -> None:
    for name in INFERRED:
        here.holds(f"{name}.json", fixture(f"retrieve_v2_{name}.json"))

    ended = here.run("import", ".", "--json")
    other = here.run("import", "audio_30.json", "--model", "marengo3.5", "--replace")

    assert ended.code == 0, ended.err
    task_ids = {one["file"]: one["task_id"] for one in json.loads(ended.out)["results"]}
    stored = {one: tuple(rest) for one, *rest in here.rows(MODELS)}
    assert stored == {task_ids[f"{name}.json"]: (model, "inferred") for name, model in INFERRED.items()}
    for name in INFERRED:
        shown = here.run("show", task_ids[f"{name}.json"], "--json").out
        assert to_the_digit(shown) == to_the_digit(fixture(f"retrieve_v2_{name}.json"))
    assert "Its content is of marengo3.0, not of marengo3.5" in other.err
    assert here.run("verify", "--deep").code == 0


def test_an_output_of_bedrock_is_of_no_model_that_bedrock_does_not_have(here: Importer) -> None:
    here.holds("output.json", fixture(BEDROCK["marengo3.0"]))
    ended = here.run("import", "output.json", "--model", "marengo3.5")
    assert (ended.code, here.states()) == (1, {})
    assert "It comes from Bedrock, which has marengo2.7 and marengo3.0, not marengo3.5." in ended.err


def test_a_second_import_changes_nothing_and_says_known(here: Importer) -> None:
    here.holds("a/output.json", fixture(BEDROCK["marengo3.0"]))
    here.holds("b/again.json.gz", gzip.compress(fixture(BEDROCK["marengo3.0"])))
    here.holds("c.json", fixture("retrieve_v1_ready.json"))
    arguments = ("import", ".", "--model", "marengo3.0", "--json")

    first = json.loads(here.run(*arguments).out)
    before = here.rows("SELECT * FROM tasks JOIN videos ON videos.task = tasks.id")
    second = json.loads(here.run(*arguments).out)

    assert (first["stored"], first["known"]) == (2, 1)
    assert (second["stored"], second["known"], second["bad"]) == (0, 3, 0)
    assert here.rows("SELECT * FROM tasks JOIN videos ON videos.task = tasks.id") == before


def test_another_body_of_a_known_task_is_named_and_not_called_known(here: Importer) -> None:
    first = fixture("retrieve_v1_ready.json")
    body = json.loads(first)
    body["video_embedding"]["segments"] = body["video_embedding"]["segments"][:3]
    here.holds("a.json", first)
    here.holds("b.json", json.dumps(body).encode())

    assert here.run("import", "a.json").code == 0
    other = here.run("import", "b.json")
    assert (other.code, here.run("import", "a.json").code) == (1, 0)
    assert f"The task {V1_ID} is harvested with other vectors: add --replace to store these." in other.err
    assert here.run("import", "b.json", "--replace").code == 0
    assert here.rows("SELECT segment_count FROM videos") == [(3,)]


@pytest.mark.parametrize("group", [1, 64])
def test_of_two_files_of_one_task_one_is_stored_and_the_other_is_named(
    here: Importer, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(body_import, "GROUP_RESULTS", group)
    shorter = ready(AN_ID)
    shorter["video_embedding"]["segments"].pop()
    here.holds("bodies/a.json", ready(AN_ID))
    here.holds("bodies/b.json", shorter)

    ended = [here.run("import", "bodies", *options) for options in ((), ("--replace",))]
    after = here.run("import", "bodies/b.json", "--replace")

    for one in ended:
        assert one.code == 1
        assert f"Another file of this run has the same task {AN_ID} with other vectors, and is stored: b" in one.err
        assert one.err.endswith("1 stored, 0 known, 1 bad: harvester.db\n")
    assert (after.code, here.rows("SELECT segment_count FROM videos")) == (0, [(1,)])


def document(**changes: Any) -> dict[str, Any]:
    return ready(AN_ID) | changes


def with_vectors(*vectors: list[Any]) -> dict[str, Any]:
    return {"data": [{"embedding": one, "embeddingOption": "audio", "startSec": 0, "endSec": 6} for one in vectors]}


QUERY_BY_IMAGE: dict[str, Any] = {
    "data": [{"embedding": [0.5] * 512, "embedding_option": None, "embedding_scope": None}],
    "metadata": {"input_type": "image", "input_url": "https://media.example/logo.png"},
}

BAD: dict[str, tuple[bytes | dict[str, Any], str]] = {
    "empty": (b"", "It is empty."),
    "page": (b"<html>Not here</html>", "It is a page, not JSON"),
    "cut": (fixture("retrieve_v1_ready.json")[:-40], "The body was cut after"),
    "cut gzip": (gzip.compress(fixture("retrieve_v1_ready.json"))[:-20], "Its gzip stream was cut."),
    "damaged gzip": (gzip.compress(b"{}")[:-8] + b"\xff" * 8, "Its gzip stream is damaged"),
    "list": (b"[]", "It is a JSON list, not an object."),
    "page of the list": (fixture("list_v1.json"), "It is a page of the list, not a task."),
    "other JSON": ({"name": "settings"}, "It is not a task: "),
    "unfinished": (fixture("retrieve_v2_processing.json"), "The task had not finished (processing)"),
    "failed": (fixture("retrieve_v2_failed.json"), "File size (33.6 MB) exceeds maximum limit of 32 MB"),
    "no segments": (document(video_embedding={"segments": []}), "It holds no embeddings."),
    "no number": (with_vectors([0.5, "NaN"]), "data[0].embedding[1]: str instead of a number"),
    "NaN": (
        b'{"data": [{"embedding": [0.5, NaN]}]}',
        "The body is not valid JSON at character 30: NaN is not a number in JSON. W",
    ),
    "infinity": (b'{"data": [{"embedding": [-Infinity]}]}', "-Infinity is not a number in JSON. Write the file again"),
    "query": (
        fixture("query_v2_text.json"),
        "It is the answer of POST /embed-v2 to a query (text), not the result of a",
    ),
    "query by an image": (QUERY_BY_IMAGE, "It is the answer of POST /embed-v2 to a query (image), not the result of a"),
    "mixed dimensions": (with_vectors([0.5, 0.25], [0.5]), "data[1].embedding: 1 numbers, expected 2"),
    "impossible id": (document(_id="../etc"), "contains something other than letters"),
    "no model": (with_vectors([0.5] * 512), "It names no model: add --model marengo3.0 (512 numbers a vector)."),
    "no model, old": (with_vectors([0.5] * 1024), "It names no model: add --model marengo2.7 (1024 numbers a vector)."),
}


def test_each_bad_file_is_named_with_its_reason_and_the_others_are_stored(here: Importer) -> None:
    for name, (content, _) in BAD.items():
        here.holds(f"bodies/{name}.json", content)
    here.holds("bodies/video.mp4", b"")
    here.holds("bodies/zz good.json", fixture("retrieve_v1_ready.json"))

    ended = here.run("import", "bodies")
    with_model = here.run("import", "bodies/query.json", "--model", "marengo3.0")

    assert (ended.code, with_model.code) == (1, 1)
    lines = {line.split(": ")[1]: line for line in ended.err.splitlines()[:-1]}
    for name, (_, reason) in BAD.items():
        assert reason in lines[f"bodies/{name}.json"]
    assert ended.err.endswith(f"1 stored, 0 known, {len(BAD)} bad, 1 other file skipped: harvester.db\n")
    assert here.states() == {V1_ID: ("harvested", "file")}


def test_a_body_with_a_mark_before_it_and_one_from_stdin_are_read(
    here: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.holds("marked.json", b"\xef\xbb\xbf" + json.dumps(document()).encode())
    here.holds("stdin", fixture(BEDROCK["marengo3.0"]))

    assert here.run("import", "marked.json").code == 0
    with (here.folder / "stdin").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        ended = here.run("import", "-", "--model", "marengo3.0", "--name", "goal.mp4", "--task-id", "match-7")

    assert ended.code == 0, ended.err
    assert here.states() == {AN_ID: ("harvested", "file"), "match-7": ("harvested", "bedrock")}
    assert ("goal.mp4",) in here.rows("SELECT input_filename FROM videos")


USAGE: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "No file was given."),
    "no such file": (["nowhere"], "'nowhere' does not exist."),
    "no body in a folder": (["folder"], "There is no *.json or *.json.gz in 'folder'."),
    "several for one id": (["a.json", "a.json", "b.json", "--task-id", "x"], "--task-id is for one body"),
    "no id": (["a.json", "--task-id", "no id"], "contains something other than letters"),
    "no model": (["a.json", "--model", "gpt"], "--model 'gpt' is not the name of a model."),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_arguments_are_named_before_anything_is_stored(here: Importer, case: str) -> None:
    here.holds("a.json", document())
    here.holds("b.json", document(_id=ANOTHER_ID))
    here.holds("folder/notes.txt", b"")
    arguments, sentence = USAGE[case]

    ended = here.run("import", *arguments)

    assert ended.code == 2
    assert sentence in ended.err
    assert not (here.folder / "harvester.db").exists()


def test_contradictions_between_a_body_and_the_options_are_named(here: Importer) -> None:
    here.holds("named.json", document())
    here.holds("output.json", with_vectors([0.5] * 512))

    other_id = here.run("import", "named.json", "--task-id", ANOTHER_ID)
    other_model = here.run("import", "output.json", "--model", "marengo2.7")

    assert f"named.json: It is of the task {AN_ID}, and --task-id says {ANOTHER_ID}." in other_id.err
    assert "Its vectors of 512 numbers are of marengo3.0 or marengo3.5, not of marengo2.7." in other_model.err
    assert (other_id.code, other_model.code, here.states()) == (1, 1, {})


def test_a_known_task_is_harvested_unless_a_harvest_works_on_it(here: Importer) -> None:
    here.run("add", AN_ID)
    here.holds("a.json", document())
    until_ms = 2**52
    path = here.folder / "harvester.db"
    insert_like_another_program(path, "UPDATE tasks SET lease_owner = 'daemon', lease_until = ?", [until_ms])

    claimed = here.run("import", "a.json")
    insert_like_another_program(path, "UPDATE tasks SET lease_owner = NULL, state = 'expired', ended_at = 1")
    ended = here.run("import", "a.json")

    assert claimed.code == 1
    assert f"A running harvest works on the task {AN_ID}" in claimed.err
    assert (ended.code, here.states()) == (0, {AN_ID: ("harvested", "file")})


def test_a_damaged_import_is_never_pending_again_and_an_import_that_replaces_it_repairs_it(here: Importer) -> None:
    content = fixture(BEDROCK["marengo3.0"])
    here.holds("output.json", content)
    here.run("import", "output.json", "--model", "marengo3.0")
    insert_like_another_program(here.folder / "harvester.db", "UPDATE embeddings SET vector = zeroblob(32)")
    of_task = id_by_content(content)

    repaired = here.run("verify", "--deep", "--repair")
    known = here.run("import", "output.json", "--model", "marengo3.0")
    replaced = here.run("import", "output.json", "--model", "marengo3.0", "--replace")
    sound = here.run("verify", "--deep")

    assert repaired.code == 1
    assert f"damaged: {of_task}: imported; left alone, import its file again with --replace\n" in repaired.out
    assert here.states() == {of_task: ("harvested", "bedrock")}
    assert "0 stored, 1 known" in known.err
    assert "1 stored, 0 known" in replaced.err
    assert (sound.code, here.run("show", of_task, "--json").code) == (0, 0)


def test_a_store_that_refuses_a_row_ends_the_import_and_the_next_one_stores_the_rest(here: Importer) -> None:
    here.holds("a.json", document())
    here.run("import", "a.json")
    here.holds("b.json", document(_id=ANOTHER_ID))
    trigger = "CREATE TRIGGER refusing BEFORE INSERT ON videos BEGIN SELECT RAISE(ABORT, 'not today'); END"
    insert_like_another_program(here.folder / "harvester.db", trigger)

    refused = here.run("import", ".")
    insert_like_another_program(here.folder / "harvester.db", "DROP TRIGGER refusing")
    again = here.run("import", ".")

    assert refused.code == 4
    assert "not today" in refused.err
    assert again.err.startswith("1 stored, 1 known, 0 bad, ")


def test_the_commands_of_the_queue_know_imported_tasks(here: Importer) -> None:
    content = fixture(BEDROCK["marengo3.0"])
    here.holds("8f2k3/output.json", content)
    here.run("import", "8f2k3", "--model", "marengo3.0")
    of_task = id_by_content(content)

    story, status = here.run("show", of_task).out, json.loads(here.run("status", "--json").out)
    retried = here.run("retry", of_task)

    assert "imported      from an output of Amazon Bedrock\n" in story
    assert "deadline" not in story
    assert " import imported in " in story
    assert "B: 8f2k3/output.json\n" in story
    assert (status["tasks"]["harvested"], status["open"]) == (1, 0)
    assert f"{of_task} stays as it is: it is harvested." in retried.err


LARGE_OUTPUT = json.dumps(with_vectors(*[[position / 1000 for position in range(512)]] * 60)).encode()


def large_output(number: int) -> bytes:
    """An output longer than what is decoded in place: worker processes decode it."""
    return LARGE_OUTPUT.replace(b'"endSec": 6', b'"endSec": %d' % number)


def test_large_bodies_go_through_worker_processes(here: Importer) -> None:
    contents = [large_output(number) for number in (6, 7, 8)]
    for number, content in enumerate(contents):
        here.holds(f"{number}/output.json", content)

    ended = here.run("import", ".", "--model", "marengo3.0")

    assert ended.code == 0, ended.err
    assert here.rows("SELECT count(*) FROM segment_vectors") == [(180,)]
    for content in contents:
        assert to_the_digit(here.run("show", id_by_content(content), "--json").out) == to_the_digit(content)


FILES = 400


async def test_ctrl_c_keeps_what_is_stored_and_a_second_run_stores_the_rest(shell: Shell) -> None:
    (shell.folder / "bodies").mkdir()
    for number in range(FILES):
        (shell.folder / "bodies" / f"{number:03}.json").write_bytes(large_output(number))
    arguments = ("import", "bodies", "--model", "marengo3.0", "--json")

    running = await shell.start(*arguments)
    await until(lambda: shell.database.exists() and has_stored(shell))
    running.signal(signal.SIGINT)
    ended = await running.ended()
    kept = shell.count("harvested")
    first = json.loads(ended.stdout)
    second = json.loads((await shell.run(*arguments)).stdout)

    assert ended.code == 130
    assert "Stopped by SIGINT. What is stored stays" in ended.stderr
    assert (first["stored"], first["left"]) == (kept, FILES - kept)
    assert 0 < kept < FILES
    assert (second["stored"], second["known"], second["left"]) == (FILES - kept, kept, 0)
    assert set(shell.states().values()) == {"harvested"}


def has_stored(shell: Shell) -> bool:
    try:
        return shell.count("harvested") > 0
    except sqlite3.OperationalError:
        # The tables are not made yet.
        return False
