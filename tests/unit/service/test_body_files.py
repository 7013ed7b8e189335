"""Which files an import takes, and the name that a file gives to its input."""

import os
import socket
from pathlib import Path

import pytest

from harvester.service.body_files import default_name, find_body_files


def names(folder: Path, *named: Path) -> list[str]:
    return [str(file.path.relative_to(folder)) for file in find_body_files(named or [folder]).files]


def test_folders_are_read_in_the_order_of_names_and_other_files_counted(tmp_path: Path) -> None:
    for name in ("b/output.json", "a.json.gz", "b/z.JSON", "c/d/e.json", "b/video.mp4", "notes.txt", "c/.json~"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert names(tmp_path) == ["a.json.gz", "b/output.json", "b/z.JSON", "c/d/e.json"]
    assert find_body_files([tmp_path]).skipped == 3


def test_a_named_file_is_taken_whatever_its_name_and_a_file_named_twice_twice(tmp_path: Path) -> None:
    (tmp_path / "body.txt").touch()

    assert names(tmp_path, *[tmp_path / "body.txt"] * 2) == ["body.txt", "body.txt"]


def test_the_manifest_beside_an_output_of_bedrock_is_skipped_and_another_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    for name in ("output.json", "manifest.json", "alone/manifest.json"):
        (tmp_path / name).touch()

    assert names(tmp_path) == ["alone/manifest.json", "output.json"]


def test_links_are_followed_and_a_loop_of_links_ends(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.json").touch()
    (inner / "loop").symlink_to(tmp_path)
    (tmp_path / "link.json").symlink_to(inner / "a.json")
    (tmp_path / "same").symlink_to(inner)

    assert names(tmp_path) == ["inner/a.json", "link.json"]


def test_pipes_sockets_and_dangling_links_are_named_or_skipped_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.json"))

        found = find_body_files([tmp_path])
        named = find_body_files([tmp_path / "pipe.json"])

    assert [(file.path.name, file.problem) for file in found.files] == [
        ("gone.json", "It cannot be read: No such file or directory.")
    ]
    assert found.skipped == 2
    assert [file.problem for file in named.files] == ["It is not a regular file: give '-' to read from a pipe."]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("archive/match.mp4.json", "match.mp4"),
        ("archive/match.json.gz", "match"),
        ("archive/match.JSON", "match"),
        ("bucket/8f2k3/output.json", "8f2k3"),
        ("bucket/8f2k3/output.json.gz", "8f2k3"),
        ("body", "body"),
        (".json", ".json"),
        ("-", None),
        ("/output.json", None),
    ],
)
def test_the_name_of_the_input_is_that_of_the_file_or_of_the_folder_of_an_output(path: str, name: str | None) -> None:
    assert default_name(Path(path)) == name


def test_a_name_that_is_not_text_can_be_stored() -> None:
    assert default_name(Path(os.fsdecode(b"caf\xe9.json"))) == "caf\N{REPLACEMENT CHARACTER}"
