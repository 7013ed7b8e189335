"""Exports from a database: complete or not there, and nothing twice after `--append`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harvester.app.stores import stored_results
from harvester.dataset import single_file
from harvester.dataset.export import export
from harvester.dataset.export_parts import ExportedFile, ExportListener, ExportOptions
from harvester.dataset.workshop import workshop
from harvester.domain.errors import HarvesterError, MachineError, UsageError
from harvester.domain.results.result_filter import ResultFilter
from harvester.records.contents import FileKind
from tests.support.store_builders import NOW
from tests.support.stored_vectors import Harvested, store

HOLIDAY, NEWS, OTHER_MODEL = Harvested(1), Harvested(2, name="news.mp4"), Harvested(3, "marengo3.5", name=None)
ARROW_KINDS = [FileKind.PARQUET, FileKind.ARROW]


class Listener(ExportListener):
    """Adds up what it hears, and may do something at the first rows."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.expected: tuple[int, str] | None = None
        self.vectors = self.tasks = 0
        self._meanwhile = meanwhile

    def begin(self, total: int, unit: str) -> None:
        self.expected = (total, unit)

    def wrote(self, vectors: int, tasks: int) -> None:
        self.vectors, self.tasks = self.vectors + vectors, self.tasks + tasks
        self._meanwhile()


class Exports:
    """Exports of one database into one folder."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "harvester.db"
        self.place = folder / "exports"
        self.place.mkdir()

    def run(
        self,
        name: str,
        *,
        wanted: ResultFilter | None = None,
        appends: bool = False,
        replaces: bool = False,
        listener: ExportListener | None = None,
    ) -> list[ExportedFile]:
        suffix = Path(name).suffix
        options = ExportOptions(
            target=self.place / name,
            kind=FileKind(suffix) if suffix else None,
            wanted=wanted or ResultFilter(),
            appends=appends,
            replaces=replaces,
        )
        return export(stored_results(self.database), options, listener or Listener())

    def rows(self, name: str) -> dict[str, int]:
        """Return the harvest time of each row by its id. Raises AssertionError for an id that is there twice."""
        path = self.place / name
        if path.is_dir():
            tables = [pq.ParquetFile(part).read() for part in sorted(path.rglob("*.parquet"))]
        elif path.suffix == ".parquet":
            tables = [pq.read_table(path)]
        else:
            import pyarrow as pa  # noqa: PLC0415

            tables = [pa.ipc.open_file(path).read_all()]
        pairs = [
            (row["id"], round(row["harvested_at"].timestamp() * 1000))
            for table in tables
            for row in table.select(["id", "harvested_at"]).to_pylist()
        ]
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path)


def expected(*tasks: Harvested) -> dict[str, int]:
    return {f"{task.task_id}:{at}": task.at_ms for task in tasks for at in range(task.count)}


def left(folder: Path) -> Iterator[str]:
    """Yield what readers should not find."""
    for path in folder.rglob("*"):
        if path.name.startswith(".") or (path.is_file() and path.suffix not in list(FileKind)):
            yield path.name


@pytest.mark.parametrize("kind", FileKind)
def test_a_file_is_not_replaced_by_itself(exports: Exports, kind: FileKind) -> None:
    store(exports.database, HOLIDAY)
    exports.run(f"file{kind}")
    before = (exports.place / f"file{kind}").read_bytes()
    store(exports.database, NEWS)

    with pytest.raises(UsageError, match=r"exists\. Add what is new with --append"):
        exports.run(f"file{kind}")
    assert (exports.place / f"file{kind}").read_bytes() == before
    (file,) = exports.run(f"file{kind}", replaces=True)

    assert (file.vectors, file.added, file.tasks) == (8, 8, 2)
    assert (exports.place / f"file{kind}").read_bytes() != before
    assert [path.name for path in exports.place.iterdir()] == [f"file{kind}"]


def test_several_models_are_named_and_a_folder_takes_them_all(exports: Exports) -> None:
    store(exports.database, HOLIDAY, OTHER_MODEL, replace(NEWS, number=4, model=None))

    with pytest.raises(UsageError) as refused:
        exports.run("file.parquet")
    named = {text.strip() for text in re.findall(r"(?:of|and|,) ([^,]*? with 8 numbers \(4\))", str(refused.value))}
    assert named == {
        f"{model} with 8 numbers (4)" for model in ("marengo3.0", "marengo3.5", "a model that is not known")
    }
    assert "--model marengo3.0, or name a folder" in str(refused.value)
    assert list(exports.place.iterdir()) == []
    exports.run("folder")

    folders = sorted(str(path.parent.relative_to(exports.place)) for path in exports.place.rglob("*.parquet"))
    assert folders == [
        "folder/model=__HIVE_DEFAULT_PARTITION__/dim=8",
        "folder/model=marengo3.0/dim=8",
        "folder/model=marengo3.5/dim=8",
    ]
    assert exports.rows("folder") == expected(HOLIDAY, OTHER_MODEL, replace(NEWS, number=4))


def test_a_filter_that_matches_nothing_says_what_there_is(exports: Exports) -> None:
    store(exports.database, HOLIDAY)

    with pytest.raises(UsageError) as refused:
        exports.run("file.parquet", wanted=ResultFilter(models=("marengo3.0",), options=("vsual",)))

    assert "No stored vector matches: 4 match without --option." in str(refused.value)
    assert "There are vectors of marengo3.0 with 8 numbers (4)." in str(refused.value)
    assert list(exports.place.iterdir()) == []


def test_without_any_vector_it_says_so(exports: Exports) -> None:
    store(exports.database)

    with pytest.raises(UsageError, match="No vectors are stored yet"):
        exports.run("folder")


@pytest.mark.parametrize("name", ["file.parquet", "file.arrow", "folder"])
def test_appending_adds_what_is_new_and_replaces_what_was_harvested_again(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY, NEWS)
    exports.run(name, appends=True)
    assert exports.rows(name) == expected(HOLIDAY, NEWS)
    again, new = replace(HOLIDAY, at_ms=NOW + 9_000, seed=1, count=2), Harvested(5, at_ms=NOW - 9_000)
    store(exports.database, again, new)
    listener = Listener()

    exports.run(name, appends=True, listener=listener)

    assert exports.rows(name) == expected(again, NEWS, new)
    assert (listener.expected, listener.tasks, listener.vectors) == ((2, "tasks"), 2, 6)
    assert exports.run(name, appends=True) == []
    assert list(left(exports.place)) == []


def test_new_tasks_of_a_folder_are_in_new_files(exports: Exports) -> None:
    store(exports.database, HOLIDAY, OTHER_MODEL)
    exports.run("folder")
    before = {path: path.stat().st_ino for path in exports.place.rglob("*.parquet")}
    store(exports.database, NEWS)

    (file,) = exports.run("folder", appends=True)

    assert file.path not in before
    assert {path: path.stat().st_ino for path in before} == before


@pytest.mark.parametrize("name", ["file.parquet", "folder"])
def test_a_model_that_has_become_known_moves_the_rows(exports: Exports, name: str) -> None:
    store(exports.database, replace(HOLIDAY, model=None), replace(NEWS, model=None))
    exports.run(name)
    store(exports.database, HOLIDAY)

    exports.run(name, appends=True)

    there = [HOLIDAY, NEWS] if name == "folder" else [NEWS]
    assert exports.rows(name) == expected(*there)


def test_a_folder_loses_a_file_whose_rows_have_all_gone(exports: Exports) -> None:
    store(exports.database, replace(HOLIDAY, model=None))
    exports.run("folder")
    store(exports.database, HOLIDAY)

    exports.run("folder", appends=True)

    assert [path.name for path in (exports.place / "folder").iterdir()] == ["model=marengo3.0"]


@pytest.mark.parametrize("name", ["file.parquet", "folder"])
def test_with_latest_a_newer_task_replaces_those_of_its_name(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY, NEWS)
    exports.run(name, wanted=ResultFilter(latest=True))
    newer = replace(HOLIDAY, number=9)
    store(exports.database, newer)

    exports.run(name, wanted=ResultFilter(latest=True), appends=True)

    assert exports.rows(name) == expected(NEWS, newer)


@pytest.mark.parametrize("name", ["file.parquet", "folder"])
def test_rows_that_the_filter_leaves_out_or_that_were_forgotten_stay(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY, NEWS)
    exports.run(name)
    store(exports.database, Harvested(5, name="news 2.mp4"), Harvested(6, name="a film.mp4"))

    exports.run(name, wanted=ResultFilter(name="news*"), appends=True)

    assert exports.rows(name) == expected(HOLIDAY, NEWS, Harvested(5))


@pytest.mark.parametrize("name", ["file.parquet", "folder"])
def test_appending_other_options_is_refused(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY)
    exports.run(name, wanted=ResultFilter(options=("visual",)))

    with pytest.raises(UsageError, match="was exported with --option visual, so other vectors"):
        exports.run(name, appends=True)
    with pytest.raises(UsageError, match="was exported without --scope"):
        exports.run(name, wanted=ResultFilter(options=("visual",), scopes=("clip",)), appends=True)


@pytest.mark.parametrize("kind", [FileKind.NPZ, FileKind.JSON_LINES])
def test_kinds_that_do_not_say_what_they_hold_take_no_more(exports: Exports, kind: FileKind) -> None:
    store(exports.database, HOLIDAY)
    exports.run(f"file{kind}", appends=True)

    with pytest.raises(UsageError, match="Write it anew with --force"):
        exports.run(f"file{kind}", appends=True)


def test_a_file_of_another_program_takes_no_more(exports: Exports) -> None:
    store(exports.database, HOLIDAY)
    (exports.place / "file.parquet").write_bytes(b"mine")
    (exports.place / "folder").mkdir()
    (exports.place / "folder" / "notes.txt").write_text("mine")

    with pytest.raises(UsageError, match="cannot be read"):
        exports.run("file.parquet", appends=True)
    for appends in (False, True):
        with pytest.raises(UsageError, match="holds other files"):
            exports.run("folder", appends=appends)
    assert (exports.place / "file.parquet").read_bytes() == b"mine"


def test_another_model_is_not_added_to_a_file(exports: Exports) -> None:
    store(exports.database, HOLIDAY, OTHER_MODEL)
    exports.run("file.parquet", wanted=ResultFilter(models=("marengo3.0",)))
    store(exports.database, NEWS)

    with pytest.raises(UsageError, match=r"holds vectors of marengo3\.0"):
        exports.run("file.parquet", wanted=ResultFilter(models=("marengo3.5",)), appends=True)
    exports.run("file.parquet", appends=True)

    assert exports.rows("file.parquet") == expected(HOLIDAY, NEWS)


def test_an_empty_folder_is_filled(exports: Exports) -> None:
    store(exports.database, HOLIDAY, OTHER_MODEL)
    (exports.place / "folder").mkdir()

    exports.run("folder")

    assert exports.rows("folder") == expected(HOLIDAY, OTHER_MODEL)
    with pytest.raises(UsageError, match="Add what is new with --append, or name a new folder"):
        exports.run("folder", replaces=True)


@pytest.mark.parametrize("name", ["file.parquet", "folder"])
def test_two_exports_to_one_target_do_not_run_at_once(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY)
    exports.run(name)
    store(exports.database, NEWS)
    refused: list[str] = []

    def append_as_well() -> None:
        with pytest.raises(UsageError) as caught:
            exports.run(name, appends=True)
        refused.append(str(caught.value))

    exports.run(name, appends=True, listener=Listener(append_as_well))

    assert [text.partition(" writing ")[0] for text in refused] == ["Another export is"]
    assert exports.rows(name) == expected(HOLIDAY, NEWS)


@pytest.mark.parametrize("name", ["file.parquet", "folder"])
def test_a_target_that_appears_meanwhile_is_not_replaced(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY)

    def take_the_name() -> None:
        if name == "folder":
            (exports.place / name).mkdir()
            (exports.place / name / "mine").touch()
        else:
            (exports.place / name).write_bytes(b"mine")

    with pytest.raises(UsageError, match="exists"):
        exports.run(name, listener=Listener(take_the_name))
    assert not [one for one in exports.place.iterdir() if one.name != name]


@pytest.mark.parametrize("name", ["file.parquet", "file.arrow", "file.npz", "file.jsonl", "folder"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_an_export_that_does_not_end_leaves_nothing(exports: Exports, name: str, error: BaseException) -> None:
    store(exports.database, HOLIDAY)

    def fail() -> None:
        raise error

    kind = MachineError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind):
        exports.run(name, listener=Listener(fail))

    assert list(exports.place.iterdir()) == []


@pytest.mark.parametrize("name", ["file.parquet", "file.arrow", "folder"])
def test_an_append_that_does_not_end_leaves_what_was_there(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY)
    exports.run(name)
    store(exports.database, NEWS)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(MachineError, match="No space left on device"):
        exports.run(name, appends=True, listener=Listener(fail))

    assert exports.rows(name) == expected(HOLIDAY)
    assert list(left(exports.place)) == []


def test_the_next_export_removes_what_a_killed_one_has_left(exports: Exports) -> None:
    store(exports.database, HOLIDAY)
    (exports.place / ".harvester-export-killed").mkdir()
    (exports.place / ".harvester-export-killed" / "export.made").write_bytes(b"half")

    with workshop(exports.place) as of_another:
        exports.run("file.parquet")

        assert sorted(path.name for path in exports.place.iterdir()) == sorted([of_another.name, "file.parquet"])


def test_more_rows_than_a_batch_are_whole_tasks_and_counted_once(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_file, "batch_rows", lambda _dim: 3)
    store(exports.database, HOLIDAY, NEWS)
    listener = Listener()

    (file,) = exports.run("file.parquet", listener=listener)

    assert (file.vectors, file.tasks) == (8, 2)
    assert (listener.expected, listener.vectors, listener.tasks) == ((8, "vectors"), 8, 2)


@pytest.mark.parametrize("name", ["missing/file.parquet", "missing/folder"])
def test_a_folder_that_does_not_exist_is_named(exports: Exports, name: str) -> None:
    store(exports.database, HOLIDAY)

    with pytest.raises(UsageError, match=r"The folder of .* does not exist"):
        exports.run(name)


def test_a_link_is_not_replaced(exports: Exports) -> None:
    store(exports.database, HOLIDAY)
    (exports.place / "file.parquet").symlink_to("elsewhere.parquet")

    with pytest.raises(UsageError, match="is not a plain file"):
        exports.run("file.parquet", replaces=True)


def test_a_database_that_does_not_exist_is_not_made(exports: Exports) -> None:
    with pytest.raises(HarvesterError, match="There is no database"):
        exports.run("file.parquet")

    assert not exports.database.exists()
    assert list(exports.place.iterdir()) == []
