"""Reading task ids from arguments, files and stdin: plain lines, CSV with a header, JSON lines, or one JSON document.

Everything but a JSON document streams, so a million ids need no more memory than one. A line without an acceptable id
becomes a `RefusedLine` in its place, and reading continues. Blank lines and lines that begin with # are skipped.
"""

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from harvester.cli.console import print_error, printable
from harvester.cli.file_kinds import LOOKED_AT, is_binary, refuse_other_kind
from harvester.cli.json_entries import JsonEntries, either
from harvester.domain.errors import InvalidTaskId, UsageError
from harvester.domain.tasks.labels import check_label_key
from harvester.domain.tasks.task_id import validate_task_id

STDIN = Path("-")
_MAX_LINE_BYTES = 1024 * 1024
_EXCERPT_CHARACTERS = 80
_LISTED_COLUMNS = 20
_USUAL_NAMES = ("task_id", "_id", "id")
_MAX_DOCUMENT = 64 * 1024 * 1024
_DELIMITERS = ",;\t"
_TASK_URL = re.compile(r"https?://\S+/(?:embed|embed-v2)/tasks/([^/?#\s]+)(?:[/?#]\S*)?")
_JSON_SUFFIXES = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line without an acceptable id. `line` counts from 1; for arguments it is their position."""

    source: str
    line: int
    text: str
    """The beginning of the line, safe to print."""
    reason: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class NamedTask:
    """An acceptable id, with the other columns of its CSV row, or keys of its JSON object, that are not empty."""

    task_id: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A text that should be an id, the number of its line, and the other columns of its row or keys of its object."""

    line: int
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)


def read_task_ids(
    arguments: Sequence[str] = (),
    file: Path | None = None,
    *,
    column: str | None = None,
    field: str | None = None,
    stdin: BinaryIO | None = None,
) -> Iterator[str | RefusedLine]:
    """Yield the ids among `arguments`, then those in `file` ("-" is stdin).

    The format follows from `column` (CSV) or `field` (JSON lines), else from the suffix, else from the first
    character. Raises UsageError if the file cannot be read or lacks the column: before the first id, unless reading
    fails later.
    """
    for item in read_tasks(arguments, file, column=column, field=field, stdin=stdin):
        yield item.task_id if isinstance(item, NamedTask) else item


def read_tasks(  # noqa: PLR0913  # what the user has given
    arguments: Sequence[str] = (),
    file: Path | None = None,
    *,
    column: str | None = None,
    field: str | None = None,
    stdin: BinaryIO | None = None,
    with_labels: bool = False,
) -> Iterator[NamedTask | RefusedLine]:
    """Yield the ids as `read_task_ids` does, with the rest of a row or object as labels if `with_labels`."""
    if column is not None and field is not None:
        raise UsageError("--column is for CSV and --field for JSON lines.", remedy="Give one of them.")
    if file is None and (column is not None or field is not None):
        raise UsageError("--column and --field need a file.", remedy="Add --file FILE, or --file - for stdin.")
    given = (_Candidate(position, text.strip()) for position, text in enumerate(arguments, 1))
    if file is None:
        yield from _validated("argument", given)
        return
    with _open(file, stdin) as stream:
        lines = _Lines(stream, "stdin" if file == STDIN else str(file))
        found = _choose_format(lines, file.suffix.lower(), column, field, with_labels=with_labels)
        yield from _validated("argument", given)
        yield from _validated(lines.source, found)


def _validated(source: str, found: Iterable[_Candidate | RefusedLine]) -> Iterator[NamedTask | RefusedLine]:
    for item in found:
        if isinstance(item, RefusedLine):
            yield item
            continue
        try:
            yield NamedTask(validate_task_id(_out_of_url(item.text)), item.labels)
        except InvalidTaskId as error:
            yield _refuse(source, item.line, item.text, error.sentence)


def _out_of_url(text: str) -> str:
    """Return the id in a URL of the API, and every other text unchanged."""
    match = _TASK_URL.fullmatch(text)
    return text if match is None else match[1]


def _open(file: Path, stdin: BinaryIO | None) -> AbstractContextManager[BinaryIO]:
    if file == STDIN:
        return nullcontext(stdin or sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        raise _unreadable(str(file), error) from None


def _choose_format(
    lines: "_Lines", suffix: str, column: str | None, field: str | None, *, with_labels: bool
) -> Iterator[_Candidate | RefusedLine]:
    if column is not None or (field is None and suffix == ".csv"):
        lines.keep_tabs()
        return _from_csv(lines, column, with_labels=with_labels)
    if lines.begin_with("[") or lines.peek() == "{":
        return _from_json_document(lines, JsonEntries(_names(field), lines.source, with_labels=with_labels))
    if field is not None or suffix in _JSON_SUFFIXES or lines.begin_with("{"):
        return _from_json_lines(lines, JsonEntries(_names(field), lines.source, with_labels=with_labels))
    return _from_plain_lines(lines)


def _from_plain_lines(lines: "_Lines") -> Iterator[_Candidate | RefusedLine]:
    is_first = True
    for text in lines:
        is_header, is_first = is_first and text in _USUAL_NAMES, False
        if not is_header:
            yield text if isinstance(text, RefusedLine) else _Candidate(lines.number, text)


def _from_csv(lines: "_Lines", column: str | None, *, with_labels: bool) -> Iterator[_Candidate | RefusedLine]:
    """Find the column in the header, and return an iterator over the rows below it."""
    records = _CsvRecords(lines, _delimiter(lines))
    header = next(records, None)
    if header is None:
        return iter(())
    if isinstance(header, RefusedLine):
        raise UsageError(f"The header of {lines.source} cannot be read: {header}.", remedy="Give a CSV file in UTF-8.")
    names = [name.strip() for name in header]
    wanted = _names(column)
    name = next((name for name in wanted if name in names), None)
    if name is None:
        columns = ", ".join(repr(name[:_EXCERPT_CHARACTERS]) for name in names[:_LISTED_COLUMNS])
        raise UsageError(
            f"The header of {lines.source}, line {lines.number}, has no column {either(wanted)}.",
            remedy=f"Choose with --column one of {columns}.",
        )
    index = names.index(name)
    keys = _label_keys(names, index, lines.source) if with_labels else {}
    return _from_rows(records, index, name, keys)


def _delimiter(lines: "_Lines") -> str:
    """Return the most frequent delimiter of the header, or that of a line `sep=;` before it, which is skipped."""
    header = lines.peek()
    if not isinstance(header, str):
        return _DELIMITERS[0]
    if header.lower().startswith("sep=") and header[4:] in (*_DELIMITERS, ""):
        next(lines)
        return header[4:] or "\t"
    return max(_DELIMITERS, key=header.count)


def _label_keys(names: Sequence[str], id_index: int, source: str) -> dict[int, str]:
    """Return the columns that become labels, by their place; name the others on stderr."""
    keys: dict[int, str] = {}
    for place, name in enumerate(names):
        if not name or place == id_index:
            continue
        try:
            key = check_label_key(name)
        except UsageError as error:
            print_error(f"{source}: a column is left out of the labels. {error.sentence}")
            continue
        if key in keys.values():
            print_error(f"{source}: only the first of the columns {key!r} becomes a label.")
        else:
            keys[place] = key
    return keys


def _from_rows(
    records: "_CsvRecords", index: int, name: str, keys: Mapping[int, str]
) -> Iterator[_Candidate | RefusedLine]:
    for row in records:
        if isinstance(row, RefusedLine):
            yield row
        elif index < len(row):
            values = {key: row[place].strip() for place, key in keys.items() if place < len(row)}
            labels = {key: value for key, value in values.items() if value}
            yield _Candidate(records.first_line, row[index].strip(), labels)
        else:
            yield records.refuse(f"this row has no column {name!r}")


def _from_json_document(lines: "_Lines", entries: JsonEntries) -> Iterator[_Candidate | RefusedLine]:
    """Yield the ids in a list of ids or objects, or in an answer of the API's list; `line` is the place in the list."""
    whole, size = [], 0
    for line in lines:
        if isinstance(line, RefusedLine):
            yield line
            return
        whole.append(line)
        size += len(line)
        if size > _MAX_DOCUMENT:
            yield lines.refuse(whole[0], f"this JSON document is longer than {_MAX_DOCUMENT} characters")
            return
    try:
        value = orjson.loads("\n".join(whole))
    except orjson.JSONDecodeError as error:
        yield lines.refuse(whole[0], f"the file is not one JSON document: {error}")
        return
    found = value.get("data", [value]) if isinstance(value, dict) else value
    for place, entry in enumerate(found if isinstance(found, list) else [found], 1):
        yield _from_entry(lines, place, entry, entries)


def _from_entry(lines: "_Lines", place: int, entry: Any, entries: JsonEntries) -> _Candidate | RefusedLine:
    if isinstance(entry, str):
        return _Candidate(place, entry.strip())
    found = entries.read(entry)
    if found is not None:
        return _Candidate(place, *found)
    why = f"this entry is neither an id nor an object with a text field {entries.names}"
    return _refuse(lines.source, place, str(entry), why)


def _from_json_lines(lines: "_Lines", entries: JsonEntries) -> Iterator[_Candidate | RefusedLine]:
    for text in lines:
        if isinstance(text, RefusedLine):
            yield text
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield lines.refuse(text, f"this is not JSON: {error}")
            continue
        found = entries.read(value)
        if found is not None:
            yield _Candidate(lines.number, *found)
        elif isinstance(value, dict) and isinstance(value.get("data"), list):
            # An answer of the API's list.
            yield from (_from_entry(lines, lines.number, entry, entries) for entry in value["data"])
        else:
            yield lines.refuse(text, f"this is not an object with a text field {entries.names}")


class _Lines:
    """The lines of a byte stream as stripped text, without blank lines and comments.

    A line that is not UTF-8, or is longer than a mebibyte, becomes a RefusedLine.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        self.source = source
        self.number = 0
        self._stream = stream
        self._ahead: str | RefusedLine | None = None
        self._space: str | None = None
        self._is_looked_at = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str | RefusedLine:
        """Return the next line that is neither blank nor a comment."""
        line, self._ahead = self._ahead, None
        while not line:
            line = self.next_raw()
            if isinstance(line, str):
                line = line.strip(self._space)
                line = "" if line.startswith("#") else line
        return line

    def keep_tabs(self) -> None:
        """Leave tabs at the ends of lines from now on: they may stand for empty cells."""
        self._space = " \r\n\f\v"

    def next_raw(self) -> str | RefusedLine:
        """Return the next line, also if it is blank or a comment; StopIteration at the end."""
        line = self._read()
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > _MAX_LINE_BYTES:
            beginning = line[: 4 * _EXCERPT_CHARACTERS].decode(errors="replace")
            while line and not line.endswith(b"\n"):
                line = self._read()
            return self.refuse(beginning, f"the line is longer than {_MAX_LINE_BYTES} bytes")
        try:
            # A byte order mark may begin the file, as editors on Windows write it.
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            return self.refuse(line.decode(errors="replace"), "the line is not UTF-8")

    def begin_with(self, prefix: str) -> bool:
        """Return whether the next line begins with `prefix`, without consuming it."""
        line = self.peek()
        return isinstance(line, str) and line.startswith(prefix)

    def peek(self) -> str | RefusedLine | None:
        """Return the next line without consuming it; None at the end."""
        if self._ahead is None:
            self._ahead = next(self, None)
        return self._ahead

    def refuse(self, text: str, reason: str) -> RefusedLine:
        """Make a RefusedLine of the line read last."""
        return _refuse(self.source, self.number, text, reason)

    def _read(self) -> bytes:
        try:
            line = self._stream.readline(_MAX_LINE_BYTES + 1)
            if self.number == 0 and not self._is_looked_at:
                self._is_looked_at = True
                refuse_other_kind(line + self._ahead_of(line), self.source)
        except OSError as error:
            raise _unreadable(self.source, error) from None
        return line

    def _ahead_of(self, line: bytes) -> bytes:
        """Return some of what follows a first line that is no text; text may come slowly, and is not waited for."""
        more = LOOKED_AT - len(line)
        if more <= 0 or not is_binary(line) or not isinstance(self._stream, io.BufferedReader):
            return b""
        return self._stream.peek(more)[:more]


class _CsvRecords:
    """The records of a CSV file; a quoted field may span several lines, and broken records are refused."""

    def __init__(self, lines: _Lines, delimiter: str) -> None:
        self.first_line = 0
        self._first_text = ""
        self._first_is_fed = True
        self._lines = lines
        # Not a generator: a generator ends with its first exception, and the rest of the file would be lost.
        self._reader = csv.reader(iter(self._feed, None), strict=True, delimiter=delimiter)

    def __iter__(self) -> "_CsvRecords":
        return self

    def __next__(self) -> list[str] | RefusedLine:
        line = next(self._lines)
        if isinstance(line, RefusedLine):
            return line
        self.first_line, self._first_text, self._first_is_fed = self._lines.number, line, False
        try:
            return next(self._reader)
        except csv.Error as error:
            # An unclosed quote swallows lines, so the message names them.
            return self.refuse(f"this is not CSV, {error}; lines {self.first_line} to {self._lines.number} are skipped")

    def refuse(self, reason: str) -> RefusedLine:
        """Make a RefusedLine of the record read last."""
        return _refuse(self._lines.source, self.first_line, self._first_text, reason)

    def _feed(self) -> str:
        if not self._first_is_fed:
            self._first_is_fed = True
            return self._first_text
        line = self._lines.next_raw()
        if isinstance(line, RefusedLine):
            raise csv.Error(line.reason)
        return line


def _refuse(source: str, line: int, text: str, reason: str) -> RefusedLine:
    return RefusedLine(source, line, printable(text.strip()[:_EXCERPT_CHARACTERS]), reason)


def _names(given: str | None) -> Sequence[str]:
    """Return the names that a column or field of ids may have."""
    return _USUAL_NAMES if given is None else (given,)


def _unreadable(source: str, error: OSError) -> UsageError:
    return UsageError(f"{source} cannot be read: {error.strerror}.", remedy="Give a file that this user may read.")
