"""A file that is certainly no list of ids is named for what it is, with the remedy."""

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from harvester.cli.id_files import read_task_ids
from harvester.domain.errors import UsageError

IDS = b"66f53777a0a0a0a0a0a0a0a0\n66f53777b0b0b0b0b0b0b0b0\n"


def zipped(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, IDS)
    return packed.getvalue()


def tarred() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("ids.txt")
        entry.size = len(IDS)
        archive.addfile(entry, io.BytesIO(IDS))
    return packed.getvalue()


def database(folder: Path) -> bytes:
    path = folder / "made.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE tasks (id)")
    return path.read_bytes()


TEXT = IDS.decode()
FILES = {
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "compressed with gzip": gzip.compress(IDS),
    "compressed with bzip2": bz2.compress(IDS),
    "compressed with xz": lzma.compress(IDS),
    "a ZIP archive": zipped("ids.txt"),
    "an Excel, Word or OpenDocument file": zipped("[Content_Types].xml"),
    "a tar archive": tarred(),
    "an image (PNG)": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "an image (JPEG)": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "a video or image (MP4, MOV or HEIC)": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_its_kind_is_named(tmp_path: Path, name: str, suffix: str) -> None:
    file = tmp_path / f"ids{suffix}"
    file.write_bytes(FILES[name])

    with pytest.raises(UsageError) as error:
        list(read_task_ids((), file))

    assert error.value.sentence == f"{file} is {name}, not a list of ids."


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_what_editors_call_unicode_is_named_with_its_conversion(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(TEXT.encode(encoding))

    with pytest.raises(UsageError, match=f"is text in UTF-16.* `iconv -f UTF-16 -t UTF-8 {file} |"):
        list(read_task_ids((), file))


def test_a_database_says_how_to_take_the_ids_out_of_it(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(database(tmp_path))

    with pytest.raises(UsageError, match=f"is a SQLite database.* `harvester list --ids --db {file}`"):
        list(read_task_ids((), file))


def test_a_name_that_a_shell_would_split_is_not_part_of_a_command(tmp_path: Path) -> None:
    file = tmp_path / "my ids.gz"
    file.write_bytes(gzip.compress(IDS))

    with pytest.raises(UsageError, match=r"`gzip -dc FILE \| harvester add --file -`"):
        list(read_task_ids((), file))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a", IDS, b"\xef\xbb\xbf" + IDS, "caf\u00e9\n".encode(), b"\x00\n" + IDS]
)
def test_text_is_read_line_by_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(content)

    found = [entry for entry in read_task_ids((), file) if isinstance(entry, str)]

    assert found[-2:] == (TEXT.split() if IDS in content else found)
