"""Find the files with bodies: those that are named, and in named folders every `*.json` and `*.json.gz` below."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harvester.service.body_reading import STDIN, BodyFile, UnusableBodyError, read_body

SUFFIXES = (".json", ".json.gz")

OUTPUT = "output.json"
"""The name that Amazon Bedrock gives to each result; the name of the folder is the id of the invocation."""

_BESIDE_OUTPUT = "manifest.json"
"""A description of the invocation in the same folder, if any."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files in order, and how many others the folders have."""

    files: list[BodyFile]
    skipped: int


def find_body_files(named: Iterable[Path]) -> FoundFiles:
    """Return the named files, and those in the named folders in the order of their names, each folder once."""
    search = _Search()
    files = [file for path in named for file in search.at(path)]
    return FoundFiles(files, search.skipped)


def with_stdin_read(found: FoundFiles, max_body_bytes: int) -> FoundFiles:
    """Return the files with the content of stdin: a thread that waits for it would keep the program from ending."""
    return replace(found, files=[_read_if_stdin(file, max_body_bytes) for file in found.files])


def _read_if_stdin(file: BodyFile, max_body_bytes: int) -> BodyFile:
    if file.path != STDIN:
        return file
    try:
        return replace(file, body=read_body(STDIN, max_body_bytes))
    except UnusableBodyError as error:
        return replace(file, problem=str(error))


def default_name(path: Path) -> str | None:
    """Return the name of the input as far as the path tells: `match.mp4` for `match.mp4.json`; Bedrock's folder."""
    if path == STDIN:
        return None
    lower = path.name.lower()
    if lower.removesuffix(".gz") == OUTPUT:
        return path_text(path.absolute().parent.name) or None
    suffix = next((one for one in SUFFIXES if lower.endswith(one)), "")
    return path_text(path.name[: len(path.name) - len(suffix)] or path.name)


def path_text(path: str | Path) -> str:
    """Return a path as text that can be stored: bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


class _Search:
    """Walks through folders, and follows links, but never twice into the same folder."""

    def __init__(self) -> None:
        self.skipped = 0
        self._seen: set[tuple[int, int]] = set()

    def at(self, path: Path) -> Iterator[BodyFile]:
        """Yield the file, or those in the folder."""
        if path == STDIN:
            yield BodyFile(path)
            return
        try:
            found = path.stat()
        except OSError as error:
            yield BodyFile(path, _unreadable(error))
            return
        if stat.S_ISDIR(found.st_mode):
            yield from self._below(path, (found.st_dev, found.st_ino))
        elif stat.S_ISREG(found.st_mode):
            yield BodyFile(path)
        else:
            yield BodyFile(path, "It is not a regular file: give '-' to read from a pipe.")

    def _below(self, folder: Path, identity: tuple[int, int]) -> Iterator[BodyFile]:
        if identity in self._seen:
            return
        self._seen.add(identity)
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            yield BodyFile(folder, _unreadable(error))
            return
        for name in names:
            yield from self._entry(folder / name, is_beside_output=OUTPUT in names)

    def _entry(self, path: Path, *, is_beside_output: bool) -> Iterator[BodyFile]:
        is_body = path.name.lower().endswith(SUFFIXES) and not (is_beside_output and path.name == _BESIDE_OUTPUT)
        try:
            found = path.stat()
        except OSError as error:
            if is_body:
                yield BodyFile(path, _unreadable(error))
            else:
                self.skipped += 1
            return
        if stat.S_ISDIR(found.st_mode):
            yield from self._below(path, (found.st_dev, found.st_ino))
        elif is_body and stat.S_ISREG(found.st_mode):
            yield BodyFile(path)
        else:
            self.skipped += 1


def _unreadable(error: OSError) -> str:
    return f"It cannot be read: {error.strerror or error}."
