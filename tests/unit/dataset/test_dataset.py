"""Programs read stored results with `harvester.open`."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harvester
from harvester.dataset import vector_table
from harvester.dataset.arguments import since_ms
from harvester.dataset.assembly import joined
from harvester.domain.results.result_filter import ResultFilter
from harvester.domain.results.vectors import VectorSpace
from harvester.domain.tasks.outcomes import Retrieved
from harvester.records.arrow import arrow_schema
from harvester.store.sqlite.connection import open_for_writing
from tests.support.store_builders import NOW, add_tasks, claim, embeddings_of, object_id, settle_all, settlement

MATCH, SONG = object_id(1), object_id(2)
VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4) / 7
OPTIONS = ["visual", "audio"] * 3
SPACE = VectorSpace("marengo3.0", 4)


def store(path: Path, number: int, vectors: Any, at_ms: int = NOW, **metadata: Any) -> None:
    with closing(open_for_writing(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        add_tasks(connection, object_id(number))
        (task,) = claim(connection, now_ms=at_ms)
        found = embeddings_of(vectors)
        found = replace(
            found, metadata=replace(found.metadata, **metadata), options=(OPTIONS * len(vectors))[: len(vectors)]
        )
        settle_all(connection, settlement(task, Retrieved(found), now_ms=at_ms))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with six vectors and a song with two; the database is at rest."""
    path = tmp_path_factory.mktemp("dataset") / "harvester.db"
    store(path, 1, VECTORS, input_type="video")
    store(path, 2, VECTORS[:2], NOW + 1, input_type="audio", input_filename="song.mp3")
    with closing(open_for_writing(path)) as connection:
        connection.execute("INSERT INTO labels SELECT id, 'show', 'news' FROM tasks WHERE task_id = ?", [MATCH])
    return path


@pytest.fixture
def path(stored: Path, tmp_path: Path) -> Path:
    """A copy to write to."""
    return Path(shutil.copy(stored, tmp_path / "harvester.db"))


@pytest.fixture
def data(stored: Path) -> Iterator[harvester.Dataset]:
    with harvester.open(stored) as data:
        yield data


def needs_frames() -> None:
    """Skip the test where pandas or polars is missing, as in the environments of other Pythons."""
    for name in ("pandas", "polars"):
        pytest.importorskip(name, reason=f"{name} is in the group dev only")


def test_vectors_come_as_one_matrix_with_columns(data: harvester.Dataset) -> None:
    table = data.vectors(model="marengo3.0", option="visual", scope="clip")

    assert (table.matrix.shape, table.matrix.dtype.name, table.matrix.flags.c_contiguous) == ((4, 4), "float32", True)
    assert table.matrix.tolist() == [*VECTORS[::2].tolist(), VECTORS[0].tolist()]
    assert table.ids.tolist() == [f"{MATCH}:0", f"{MATCH}:2", f"{MATCH}:4", f"{SONG}:0"]
    assert (table.starts.tolist(), table.ends.tolist()) == ([0, 12, 24, 0], [6, 18, 30, 6])
    assert table.task_ids.tolist() == [MATCH] * 3 + [SONG]
    assert (len(table), table.model, table.dim) == (4, "marengo3.0", 4)
    assert table.harvested_at[-1] == np.datetime64(NOW + 1, "ms")
    assert table.labels[0] == {"show": "news"}
    assert table.matrix[table.input_filenames == "song.mp3"].tolist() == [VECTORS[0].tolist()]


def test_each_filter_is_applied(data: harvester.Dataset) -> None:
    assert len(data.vectors()) == 8
    assert len(data.vectors(task_id=[MATCH, "unknown"])) == 6
    assert len(data.vectors(label={"show": "news"}, option=["visual"])) == 3
    assert len(data.vectors(name="*.mp3")) == len(data.vectors(input_type="audio")) == 2
    assert len(data.vectors(since=datetime.fromtimestamp((NOW + 1) / 1000, UTC))) == 2
    assert len(data.vectors(dim=4)) == len(data.vectors(latest=True)) == 8


def test_a_filter_that_matches_nothing_gives_an_empty_table(data: harvester.Dataset) -> None:
    table = data.vectors(label={"show": "unknown"}, exact=True)

    assert (len(table), table.matrix.shape, table.matrix.dtype.name) == (0, (0, 0), "float64")
    assert (table.ids.tolist(), table.starts.tolist(), table.labels.tolist()) == ([], [], [])
    assert table.to_arrow().num_rows == 0
    assert list(data.iter_vectors(task_id="unknown")) == []
    assert (len(data.vectors(task_id=[])), list(data.segments(task_id=iter(())))) == (0, [])
    assert list(data.segments(name="x")) == []
    assert data.videos(name="x") == []


@pytest.mark.parametrize(
    ("read", "there"),
    [
        (lambda data: data.vectors(model="marengo3"), "model 'marengo3'. There is 'marengo3.0'"),
        (lambda data: data.vectors(option=["video", "x"]), "option 'video' or 'x'. There is 'audio', 'visual'"),
        (lambda data: data.iter_vectors(scope="clips"), "scope 'clips'. There is 'clip'"),
        (lambda data: data.segments(input_type="film"), "input_type 'film'. There is 'audio', 'video'"),
        (lambda data: data.videos(model="m"), "model 'm'"),
        (lambda data: data.vectors(since="yesterday"), "since='yesterday' is neither"),
        (lambda data: data.vectors(since=5), "since=5 is neither"),
        (lambda data: data.vectors(option=[]), "option is an empty list"),
        (lambda data: data.vectors(task_id=[5]), r"task_id=\[5\] is neither"),
        (lambda data: data.vectors(label="show"), "label='show' is not a mapping"),
        (lambda data: data.vectors(name=5), "name=5 is not a text"),
        (lambda data: data.vectors(modle="x"), "no filter 'modle'. There is model, option"),
        (lambda data: data.iter_vectors(batch_rows=0), "batch_rows=0"),
    ],
)
def test_a_filter_that_cannot_be_used_names_what_there_is(
    data: harvester.Dataset, read: Callable[[harvester.Dataset], object], there: str
) -> None:
    with pytest.raises(harvester.UsageError, match=there):
        read(data)


def test_models_and_lengths_are_not_mixed(path: Path) -> None:
    store(path, 3, VECTORS[:, :2], model_name="marengo3.5")
    store(path, 4, VECTORS[:3, :3], model_name="marengo3.5")
    data = harvester.open(path)

    with pytest.raises(harvester.MixedModelsError, match=r'marengo3.0 with 4 numbers \(8\), .*model="marengo3.0"'):
        data.vectors()
    with pytest.raises(harvester.MixedModelsError, match="with dim=2"):
        data.iter_vectors(model="marengo3.5")
    assert data.vectors(model="marengo3.5", dim=3).matrix.tolist() == VECTORS[:3, :3].tolist()
    assert len(list(data.segments())) == 17


@pytest.mark.parametrize("batch_rows", [1, 3, 8, 100])
def test_batches_have_the_rows_of_the_whole(data: harvester.Dataset, batch_rows: int) -> None:
    tables = list(data.iter_vectors(batch_rows=batch_rows))

    assert np.array_equal(np.concatenate([table.matrix for table in tables]), data.vectors().matrix)
    assert [one for table in tables for one in table.ids] == data.vectors().ids.tolist()
    assert max(map(len, tables)) == min(batch_rows, 8)


@pytest.mark.parametrize("count", [0, 3, 8, 20])
def test_a_wrong_count_does_no_harm(data: harvester.Dataset, count: int) -> None:
    batches = data._results.vectors(ResultFilter(), SPACE, batch_rows=3)
    batch = joined(batches, SPACE, count, exact=False)

    assert np.array_equal(batch.matrix, data.vectors().matrix)
    assert [task.task_id for task in batch.tasks] == [MATCH, SONG]
    assert batch.task_index.tolist() == [0] * 6 + [1] * 2


def test_exact_vectors_are_the_numbers_that_were_sent(data: harvester.Dataset) -> None:
    matrix = data.vectors(exact=True).matrix

    assert matrix.dtype.name == "float64"
    assert matrix[1].tolist() == [float(str(number)) for number in VECTORS[1]]


def test_videos_and_segments_say_what_there_is(data: harvester.Dataset) -> None:
    match, song = data.videos()
    first = next(data.segments(option="audio"))

    assert (match.input_filename, match.segments, match.options) == ("holiday.mp4", 6, {"visual": 3, "audio": 3})
    assert (match.labels, match.superseded, song.input_type) == ({"show": "news"}, False, "audio")
    assert (first.id, first.embedding_option, first.start_offset_sec) == (f"{MATCH}:1", "audio", 6)


def test_a_filter_that_matches_nothing_gives_empty_frames(data: harvester.Dataset) -> None:
    needs_frames()
    table = data.vectors(label={"show": "unknown"})

    assert len(table.to_pandas()) == len(table.to_polars()) == 0


def test_frames_have_the_common_record(data: harvester.Dataset) -> None:
    needs_frames()
    table = data.vectors()
    arrow, pandas, polars = table.to_arrow(), table.to_pandas(), table.to_polars()

    names = ["id", "vector", "task_id", "position", "model_name", "input_type", "embedding_option", "embedding_scope"]
    assert arrow.column_names[:8] == list(pandas.columns)[:8] == polars.columns[:8] == names
    assert arrow.column_names == list(pandas.columns) == polars.columns
    assert arrow.column_names[-2:] == ["harvested_at", "labels"]
    assert str(arrow.schema.field("vector").type) == "fixed_size_list<item: float>[4]"
    assert str(arrow.schema.field("harvested_at").type) == "timestamp[ms, tz=UTC]"
    assert arrow["vector"].to_pylist() == pandas["vector"].map(list).tolist() == polars["vector"].to_list()
    assert arrow["labels"][0].as_py() == [("show", "news")]
    assert (pandas["labels"][0], str(pandas["harvested_at"].dtype)) == ({"show": "news"}, "datetime64[ms, UTC]")
    assert arrow["start_page"].null_count == arrow["quadrant"].null_count == 8


def test_an_arrow_table_of_several_batches_has_the_rows_of_the_whole(
    data: harvester.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = data.vectors()
    whole = table.to_arrow()
    monkeypatch.setattr(vector_table, "ARROW_ROWS", 3)

    pieces = table.to_arrow()

    assert [chunk.num_rows for chunk in pieces.to_batches()] == [3, 3, 2]
    assert pieces.equals(whole)
    assert whole.schema.equals(arrow_schema(VectorSpace(table.model, table.dim)))
    nothing = data.vectors(label={"show": "unknown"}).to_arrow()
    assert (nothing.num_rows, nothing.column_names) == (0, whole.column_names)


@pytest.mark.parametrize(("name", "remedy"), [("pyarrow", "parquet"), ("pandas", "pandas"), ("polars", "polars")])
def test_a_missing_library_is_named_with_its_installation(
    data: harvester.Dataset, monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    table = data.vectors()
    convert = {"pyarrow": table.to_arrow, "pandas": table.to_pandas, "polars": table.to_polars}[name]

    with pytest.raises(harvester.UsageError, match=rf"needs {name}.*pip install .*{remedy}"):
        convert()


def test_a_mistyped_path_is_an_error_and_no_file(tmp_path: Path) -> None:
    for place in (tmp_path / "harvester.dv", f"sqlite:///{tmp_path}/x.db", str(tmp_path / "no" / "x.db")):
        with pytest.raises(harvester.StoreError, match=r"no database|does not exist"):
            harvester.open(place)
    assert list(tmp_path.iterdir()) == []


def test_a_url_opens_the_same_database_and_another_scheme_is_refused(stored: Path) -> None:
    assert len(harvester.open(f"sqlite:///{stored}").vectors()) == 8
    with pytest.raises(harvester.UsageError, match="'postgresql'"):
        harvester.open("postgresql://host/db")
    with pytest.raises(harvester.UsageError, match="empty"):
        harvester.open("")


def test_another_schema_is_refused_with_what_to_do(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("INSERT INTO schema_migrations VALUES (9000, 'later', 0)")
    with pytest.raises(harvester.NewerSchemaError, match="Upgrade"):
        harvester.open(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM schema_migrations WHERE version > 12")
    with pytest.raises(harvester.StoreError, match="harvester migrate"):
        harvester.open(path)


def test_a_damaged_vector_is_an_error_that_names_its_task(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE embeddings SET vector = x'00' WHERE task = 2")
    with pytest.raises(harvester.StoreError, match=f"{SONG}.*verify"):
        harvester.open(path).vectors()


def test_a_closed_dataset_refuses_further_calls(stored: Path) -> None:
    with harvester.open(stored) as data:
        ongoing = data.iter_vectors(batch_rows=1)
        next(ongoing)
    with pytest.raises(harvester.UsageError, match="closed"):
        data.vectors()
    assert len(list(ongoing)) == 7


async def test_a_program_on_asyncio_reads_without_blocking_its_loop(stored: Path) -> None:
    async with await harvester.aopen(stored) as data:
        table, videos = await asyncio.gather(data.vectors(option="audio"), data.videos())
        ids = [one for batch in [batch async for batch in data.iter_vectors(batch_rows=3)] for one in batch.ids]
        segments = [segment.id async for segment in data.segments()]
        async for _ in data.iter_vectors(batch_rows=1):
            break
    assert (len(table), len(videos)) == (4, 2)
    assert ids == segments == harvester.open(stored).vectors().ids.tolist()
    with pytest.raises(harvester.UsageError, match="closed"):
        await data.vectors()


def test_threads_share_a_dataset(data: harvester.Dataset) -> None:
    async def read() -> list[int]:
        return [len(table) for table in await asyncio.gather(*(asyncio.to_thread(data.vectors) for _ in range(8)))]

    assert asyncio.run(read()) == [8] * 8


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, None),
        ("7d", NOW - 7 * 86_400_000),
        (" 1.5H ", NOW - 5_400_000),
        (timedelta(minutes=2), NOW - 120_000),
        ("2025-10-09T08:53:20Z", 1_760_000_000_000),
        ("2025-10-09 10:53:20+02:00", 1_760_000_000_000),
        (datetime(2025, 10, 9, 8, 53, 20), 1_760_000_000_000),  # noqa: DTZ001  # a moment without a zone is UTC
        ("99999d", 0),
    ],
)
def test_since_is_a_moment_or_a_time_until_now(since: Any, expected: int | None) -> None:
    assert since_ms(since, NOW) == expected


def test_opening_loads_no_numpy_and_reading_no_http_client(stored: Path) -> None:
    code = f"""
import sys, harvester
data = harvester.open({str(stored)!r})
assert not {{"aiohttp", "pyarrow", "pandas", "polars", "typer"}} & set(sys.modules)
assert len(data.vectors()) == 8
assert not {{"aiohttp", "pyarrow", "pandas", "polars", "typer"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
