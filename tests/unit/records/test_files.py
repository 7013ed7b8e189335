"""The files of records: each kind holds every value, and frees what it holds when it is given up."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harvester.domain.errors import UsageError
from harvester.domain.results.vectors import VectorSpace
from harvester.records import npz
from harvester.records.arrow_files import ArrowWriter, FileTask, FormerFile
from harvester.records.contents import Contents, FileKind, RecordWriter
from harvester.records.json_lines import JsonLinesWriter
from harvester.records.npz import NpzWriter
from tests.unit.records.test_arrow import EXPECTED, SPACE, A, B, batch

CONTENTS = Contents(SPACE, ("visual",), ("clip", "page"))
ARROW_KINDS = [FileKind.PARQUET, FileKind.ARROW]


def written(path: Path, kind: FileKind, times: int = 1) -> Path:
    with path.open("wb") as file:
        writer = ArrowWriter(file, kind, CONTENTS)
        for _ in range(times):
            writer.write(batch())
        writer.finish()
    return path


def rows(path: Path, kind: FileKind) -> pa.Table:
    return pq.read_table(path) if kind is FileKind.PARQUET else pa.ipc.open_file(path).read_all()


@pytest.mark.parametrize("kind", ARROW_KINDS)
def test_an_arrow_file_holds_the_rows_and_says_what_they_are(tmp_path: Path, kind: FileKind) -> None:
    path = written(tmp_path / "file", kind, times=3)

    assert rows(path, kind).drop_columns(["harvested_at"]).to_pylist() == EXPECTED * 3
    assert FormerFile(path, kind).contents() == CONTENTS
    tasks = [FileTask("a", A.harvested_at, "a.mp4"), FileTask("b", B.harvested_at, None)]
    assert sorted(set(FormerFile(path, kind).tasks())) == tasks


@pytest.mark.parametrize("kind", ARROW_KINDS)
def test_rows_of_tasks_that_are_not_kept_stay_behind(tmp_path: Path, kind: FileKind) -> None:
    former = FormerFile(written(tmp_path / "file", kind), kind)
    with (tmp_path / "copy").open("wb") as file:
        writer = ArrowWriter(file, kind, CONTENTS)
        kept = former.copy(writer, lambda task: task.task_id == "b")
        writer.finish()

    assert kept == 1
    assert rows(tmp_path / "copy", kind).column("id").to_pylist() == ["b:0"]


def test_vectors_in_parquet_have_no_dictionary_and_are_split_by_bytes(tmp_path: Path) -> None:
    metadata = pq.ParquetFile(written(tmp_path / "file", FileKind.PARQUET)).metadata
    columns = {one.path_in_schema: one for one in map(metadata.row_group(0).column, range(metadata.num_columns))}

    assert columns["vector.list.element"].compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in columns["vector.list.element"].encodings
    assert "RLE_DICTIONARY" not in columns["vector.list.element"].encodings
    assert "RLE_DICTIONARY" in columns["task_id"].encodings
    said = {key.decode(): value.decode() for key, value in metadata.metadata.items() if key.startswith(b"harvester.")}
    assert (said["harvester.model"], said["harvester.dim"]) == ("marengo3.5", "2")


@pytest.mark.parametrize(
    ("matrix", "said"), [([[0.6, 0.8], [0, 1], [-1, 0]], b"true"), ([[0.6, 0.8], [0, 1], [3, 4]], b"false")]
)
def test_parquet_says_whether_the_vectors_are_normalised(
    tmp_path: Path, matrix: list[list[float]], said: bytes
) -> None:
    with (tmp_path / "file").open("wb") as file:
        writer = ArrowWriter(file, FileKind.PARQUET, CONTENTS)
        writer.write(batch(np.array(matrix, np.float32)))
        writer.finish()

    assert pq.ParquetFile(tmp_path / "file").metadata.metadata[b"harvester.normalised"] == said


@pytest.mark.parametrize("kind", ARROW_KINDS)
def test_a_file_of_another_program_says_nothing(tmp_path: Path, kind: FileKind) -> None:
    table = pa.table({"id": ["a:0"]})
    if kind is FileKind.PARQUET:
        pq.write_table(table, tmp_path / "file")
    else:
        with pa.ipc.new_file(str(tmp_path / "file"), table.schema) as writer:
            writer.write_table(table)

    assert FormerFile(tmp_path / "file", kind).contents() is None


@pytest.mark.parametrize("kind", ARROW_KINDS)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: FileKind) -> None:
    (tmp_path / "file").write_bytes(b"nothing" * 100)

    with pytest.raises(UsageError, match="file' cannot be read"):
        FormerFile(tmp_path / "file", kind).contents()


def test_an_npz_holds_every_column_as_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A piece of one row: values are expanded and widened in pieces.
    monkeypatch.setattr(npz, "PIECE_BYTES", 1)
    with (tmp_path / "file.npz").open("wb") as file:
        writer = NpzWriter(file, 2, tmp_path)
        writer.write(batch())
        writer.write(batch())
        writer.finish()

    with np.load(tmp_path / "file.npz") as found:
        assert found["vectors"].tolist() == [row["vector"] for row in EXPECTED] * 2
        assert found["vectors"].dtype == np.float32
        assert found["task_id"].tolist() == ["a", "a", "b"] * 2
        assert found["id"].tolist() == ["a:3", "a:4", "b:0"] * 2
        assert found["position"].tolist() == [3, 4, 0] * 2
        assert found["embedding_option"].tolist() == ["visual", "", "visual-text"] * 2
        assert found["start_page"].tolist() == [-1, -1, 1] * 2
        assert np.isnan(found["start_offset_sec"]).tolist() == [False, True, True] * 2
        assert found["harvested_at"].astype(np.int64).tolist() == [A.harvested_at, A.harvested_at, B.harvested_at] * 2
        assert found["input_url"].tolist() == ["", "", "https://example.org/b.pdf"] * 2
        assert [json.loads(text) for text in found["labels"]] == [{"show": "x", "season": "3"}] * 2 + [{}] + [
            {"show": "x", "season": "3"}
        ] * 2 + [{}]
        assert set(found) == ({*EXPECTED[0], "harvested_at", "vectors"} - {"vector"})
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]


def test_json_lines_have_every_column_and_the_shortest_numbers() -> None:
    stream = io.BytesIO()
    JsonLinesWriter(stream).write(batch(np.array([[0.1, 1e-9], [0, 1], [3, 4]], np.float32)))

    first, *_, last = stream.getvalue().splitlines()
    assert first.startswith(b'{"id":"a:3","vector":[0.1,1e-9],"task_id":"a","position":3,')
    found = json.loads(last)
    assert found.pop("harvested_at") == B.harvested_at
    assert found == {**EXPECTED[2], "labels": {}}
    assert json.loads(first)["labels"] == {"show": "x", "season": "3"}


class FullDisk(io.RawIOBase):
    """A file on a disk that is full after some bytes."""

    def __init__(self, room: int) -> None:
        self._room = room

    def writable(self) -> bool:
        return True

    def write(self, content: object, /) -> int:
        size = memoryview(content).nbytes  # type: ignore[arg-type]
        self._room -= size
        if self._room < 0:
            raise OSError(28, "No space left on device")
        return size


@pytest.mark.parametrize("room", [0, 500])
@pytest.mark.parametrize("kind", FileKind)
def test_a_writer_on_a_full_disk_can_be_given_up(tmp_path: Path, kind: FileKind, room: int) -> None:
    file = FullDisk(room)
    writer: RecordWriter | None = None

    def write() -> None:
        nonlocal writer
        if kind.needs_arrow:
            writer = ArrowWriter(file, kind, CONTENTS)  # type: ignore[arg-type]
        else:
            writer = NpzWriter(file, 2, tmp_path) if kind is FileKind.NPZ else JsonLinesWriter(file)  # type: ignore[arg-type]
        writer.write(batch())
        writer.write(batch())
        writer.finish()

    with pytest.raises(OSError, match="No space left"):
        write()
    if writer is not None:
        writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_known_is_no_name() -> None:
    from harvester.records.contents import read_contents  # noqa: PLC0415

    contents = Contents(VectorSpace(None, 512))
    metadata = {key.encode(): value.encode() for key, value in contents.as_metadata().items()}

    assert read_contents(metadata) == contents
    assert read_contents({**metadata, b"harvester.dim": b"many"}) is None
    assert read_contents(None) is None
