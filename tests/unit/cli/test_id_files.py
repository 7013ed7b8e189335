import io
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli.console import printable
from harvester.cli.file_kinds import refuse_other_kind
from harvester.cli.id_files import NamedTask, RefusedLine, read_task_ids, read_tasks
from harvester.domain.errors import UsageError

A, B, C = "66f53777a0a0a0a0a0a0a0a0", "66f53777b0b0b0b0b0b0b0b0", "plain-id_3"
IDS = st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True), max_size=20)
DASH = Path("-")


def written(tmp_path: Path, content: str | bytes, name: str = "ids.txt") -> Path:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def from_stdin(content: str | bytes, *, column: str | None = None, field: str | None = None) -> list[str | RefusedLine]:
    stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    return list(read_task_ids((), DASH, column=column, field=field, stdin=stream))


def refused(entries: list[str | RefusedLine]) -> list[tuple[int, str]]:
    return [(entry.line, entry.text) for entry in entries if isinstance(entry, RefusedLine)]


class TestArguments:
    def test_come_first_and_then_the_file(self, tmp_path: Path) -> None:
        assert list(read_task_ids([A, f" {B} "], written(tmp_path, C))) == [A, B, C]

    def test_one_that_is_no_id_is_refused_by_its_position(self) -> None:
        (_, entry) = read_task_ids([A, "../admin"])

        assert str(entry).startswith("argument:2: The task id '../admin' contains something other")

    def test_nothing_gives_nothing(self) -> None:
        assert list(read_task_ids()) == []


class TestUrls:
    @pytest.mark.parametrize("end", ["", "/", "/status", "?embedding_option=visual", "#top"])
    @pytest.mark.parametrize("version", ["v1.3/embed", "v1.3/embed-v2"])
    def test_the_id_is_taken_out_of_a_url_of_the_api(self, version: str, end: str) -> None:
        assert list(read_task_ids([f"https://api.twelvelabs.io/{version}/tasks/{A}{end}"])) == [A]

    @pytest.mark.parametrize("text", [f"https://example.org/{A}", f"https://example.org/embed/tasks/a b/{A}"])
    def test_another_url_is_refused(self, text: str) -> None:
        assert refused(list(read_task_ids([text]))) == [(1, text)]


class TestSpreadsheets:
    @pytest.mark.parametrize(
        "text",
        [
            f"file;task_id;show\r\nClip, 1.mp4;{A};news\r\nb.mp4;{B};\r\n",
            f"sep=;\r\nfile;task_id;show\r\nClip, 1.mp4;{A};news\r\nb.mp4;{B};\r\n",
            f"\ufefffile\ttask_id\tshow\r\nClip, 1.mp4\t{A}\tnews\r\nb.mp4\t{B}\t\r\n",
            f'file,task_id,show\n"Clip, 1.mp4",{A},news\nb.mp4,{B},\n',
        ],
        ids=["semicolons", "semicolons by name", "tabs", "commas"],
    )
    def test_the_delimiter_is_found_in_the_header(self, tmp_path: Path, text: str) -> None:
        assert list(read_tasks((), written(tmp_path, text, "t.csv"), with_labels=True)) == [
            NamedTask(A, {"file": "Clip, 1.mp4", "show": "news"}),
            NamedTask(B, {"file": "b.mp4"}),
        ]

    def test_an_empty_first_cell_is_a_cell(self, tmp_path: Path) -> None:
        file = written(tmp_path, f"file\ttask_id\tshow\n\t{A}\tnews\n", "t.csv")

        assert list(read_tasks((), file, with_labels=True)) == [NamedTask(A, {"show": "news"})]


class TestLabelsOfJson:
    OBJECTS = (
        f'{{"task_id": "{A}", "show": " news ", "season": 3, "old": false, "none": null, "more": [1], "no=key": 1}}',
        f'{{"task_id": "{B}", "show": "", "no=key": 2}}',
        f'{{"_id": "{C}", "status": "ready", "created_at": "2026-01-01T00:00:00Z", "model_name": "marengo3.0"}}',
    )

    @pytest.mark.parametrize(("name", "text"), [("t.jsonl", "\n".join(OBJECTS)), ("t.json", f"[{','.join(OBJECTS)}]")])
    def test_other_keys_become_labels_but_not_what_the_api_says(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
    ) -> None:
        assert list(read_tasks((), written(tmp_path, text, name), with_labels=True)) == [
            NamedTask(A, {"show": "news", "season": "3", "old": "false"}),
            NamedTask(B),
            NamedTask(C),
        ]
        (left_out,) = capsys.readouterr().err.splitlines()
        assert "a key is left out of the labels. The label key 'no=key'" in left_out


class TestJsonDocuments:
    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize(
        "value",
        [[A, B], [{"task_id": A}, {"_id": B, "id": "x"}], {"data": [{"_id": A}, {"_id": B}], "page_info": {"page": 1}}],
        ids=["ids", "objects", "an answer of the list"],
    )
    def test_a_list_is_read_however_it_is_printed(self, tmp_path: Path, value: object, indent: int | None) -> None:
        file = written(tmp_path, json.dumps(value, indent=indent), "ids.json")

        assert list(read_task_ids((), file)) == [A, B]

    def test_an_entry_without_an_id_is_refused_by_its_place(self) -> None:
        entries = from_stdin(json.dumps([A, {"name": "x"}, 7, "a?b", B]))

        assert [one for one in entries if isinstance(one, str)] == [A, B]
        assert [line for line, _ in refused(entries)] == [2, 3, 4]

    def test_a_broken_document_is_refused_once(self) -> None:
        (entry,) = from_stdin("[\n" + f'"{A}",\n' * 30)

        assert "stdin:31: the file is not one JSON document: " in str(entry)


class TestPlainLines:
    def test_a_first_line_that_names_the_ids_is_a_header(self, tmp_path: Path) -> None:
        assert list(read_task_ids((), written(tmp_path, f"# export\ntask_id\n{A}\nid\n"))) == [A, "id"]

    def test_comments_blank_lines_and_surrounding_space_are_skipped(self, tmp_path: Path) -> None:
        file = written(tmp_path, f"# my tasks\n\n  {A}\t\n   # indented\n{B}")

        assert list(read_task_ids((), file)) == [A, B]

    def test_a_byte_order_mark_and_windows_line_ends_are_fine(self, tmp_path: Path) -> None:
        assert list(read_task_ids((), written(tmp_path, f"\ufeff{A}\r\n{B}\r\n"))) == [A, B]

    def test_a_refused_line_keeps_its_number_and_does_not_stop_the_rest(self) -> None:
        entries = from_stdin(f"{A}\n\na?b\n{'x' * 10_000}\n{B}\n")

        assert entries[0] == A
        assert refused(entries) == [(3, "a?b"), (4, "x" * 80)]
        assert entries[-1] == B

    def test_bytes_that_are_not_utf_8_refuse_only_their_line(self) -> None:
        entries = from_stdin(b"%s\n\xff\xfe\n%s\n" % (A.encode(), B.encode()))

        assert entries == [A, RefusedLine("stdin", 2, "��", "the line is not UTF-8"), B]

    def test_an_endless_line_is_refused_without_being_kept(self, tmp_path: Path) -> None:
        file = written(tmp_path, b"x" * 20_000_000 + b"\n" + A.encode())
        tracemalloc.start()
        entries = list(read_task_ids((), file))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert refused(entries) == [(1, "x" * 80)]
        assert entries[1] == A
        assert peak_bytes < 5_000_000

    def test_what_acts_on_a_terminal_is_escaped_in_refused_lines(self) -> None:
        (entry,) = from_stdin("\x1b[31mred\u202e")

        assert isinstance(entry, RefusedLine)
        assert entry.text == r"\x1b[31mred\u202e"
        assert entry.reason.isprintable()

    def test_a_million_ids_take_no_more_memory_than_a_few(self, tmp_path: Path) -> None:
        file = written(tmp_path, f"{A}\nno id!\n" * 50_000)
        tracemalloc.start()
        count = sum(1 for _ in read_task_ids((), file))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert count == 100_000
        assert peak_bytes < 1_000_000


class TestCsv:
    @pytest.mark.parametrize("name", ["task_id", "_id", "id"])
    def test_the_usual_columns_are_found(self, tmp_path: Path, name: str) -> None:
        file = written(tmp_path, f'file,"{name}"\n"a, b.mp4",{A}\nc.mp4,"{B}"\n', "tasks.CSV")

        assert list(read_task_ids((), file)) == [A, B]

    def test_task_id_goes_before_id(self, tmp_path: Path) -> None:
        assert list(read_task_ids((), written(tmp_path, f"id,task_id\n1,{A}\n", "t.csv"))) == [A]

    def test_a_named_column_makes_any_source_csv(self) -> None:
        assert from_stdin(f"name,embed task\nx,{A}\n", column="embed task") == [A]

    def test_a_missing_column_is_refused_with_those_there_are(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            list(read_task_ids([A], written(tmp_path, "name,embed\nx,y\n", "t.csv")))

        assert "t.csv, line 1, has no column 'task_id' or '_id' or 'id'." in str(caught.value)
        assert "Choose with --column one of 'name', 'embed'." in str(caught.value)

    def test_comments_and_blank_lines_are_skipped_also_before_the_header(self) -> None:
        assert from_stdin(f"\ufeff# export\r\n\r\nid,n\r\n# x\r\n\r\n{A},1\r\n", column="id") == [A]

    def test_a_quoted_field_may_run_over_lines(self) -> None:
        assert from_stdin(f'name,id\n"two\n# lines\n\nhere",{A}\nx,{B}\n', column="id") == [A, B]

    def test_rows_without_an_id_are_refused(self) -> None:
        entries = from_stdin(f"name,id\nshort\nempty,\n,{A}\n", column="id")

        assert refused(entries) == [(2, "short"), (3, "")]
        assert entries[-1] == A

    def test_lines_swallowed_by_an_unclosed_quote_are_reported(self) -> None:
        entries = from_stdin(f'name,id\na,{A}\n"open,{B}\nb,{C}\n', column="id")

        assert entries[0] == A
        assert refused(entries) == [(3, f'"open,{B}')]
        assert "lines 3 to 4 are skipped" in str(entries[-1])

    def test_a_bad_record_does_not_stop_the_rest(self) -> None:
        entries = from_stdin(f'id\n"a"b\n{A}\n'.encode() + b"\xff\n" + b'"x\n' + b'\xff"\n' + B.encode(), column="id")

        assert [entry for entry in entries if isinstance(entry, str)] == [A, B]
        assert [line for line, _ in refused(entries)] == [2, 4, 5]

    def test_an_unreadable_header_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"header of stdin cannot be read: stdin:1: the line is not UTF-8"):
            from_stdin(b"\xff\nid\nx\n", column="id")

    def test_an_empty_file_holds_no_ids(self) -> None:
        assert from_stdin("", column="id") == []


class TestJsonLines:
    @pytest.mark.parametrize("name", ["ids.jsonl", "ids.ndjson", "ids.txt"])
    def test_are_known_by_suffix_or_by_their_first_character(self, tmp_path: Path, name: str) -> None:
        file = written(tmp_path, f'\n# export\n{{"_id": "{A}"}}\n{{"id": 7, "task_id": "{B}"}}\n', name)

        assert list(read_task_ids((), file)) == [A, B]

    def test_a_named_field_is_the_only_one_read(self) -> None:
        assert from_stdin(f'{{"id": "{A}", "embed": "{B}"}}\n', field="embed") == [B]

    def test_lines_without_a_text_field_are_refused(self) -> None:
        lines = ['{"id": 7}', "[]", '"x"', '{"id": "x"', "{}", '{"id": "a b"}', "NaN", json.dumps({"id": A})]
        entries = from_stdin("\n".join(lines), field="id")

        assert [line for line, _ in refused(entries)] == [1, 2, 3, 4, 5, 6, 7]
        assert entries[-1] == A

    def test_a_line_that_is_no_text_before_them_is_no_hindrance(self) -> None:
        assert len(from_stdin(b'{"id": "a"}\n\xff\n{"id": "b"}\n')) == 3


class TestFiles:
    @pytest.mark.parametrize(("name", "why"), [("absent", "No such file"), (".", "Is a directory")])
    def test_that_cannot_be_read_are_named_before_any_id_is_given(self, tmp_path: Path, name: str, why: str) -> None:
        with pytest.raises(UsageError, match=why) as caught:
            next(read_task_ids([A], tmp_path / name))

        assert str(tmp_path / name) in str(caught.value)

    def test_that_break_off_are_named(self) -> None:
        class Broken(io.BytesIO):
            def readline(self, _: int | None = -1, /) -> bytes:
                raise OSError(5, "Input/output error")

        with pytest.raises(UsageError, match=r"stdin cannot be read: Input/output error\."):
            list(read_task_ids((), DASH, stdin=Broken()))

    def test_that_are_pipes_stream(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb") as other_end:
            entries: Iterator[str | RefusedLine] = read_task_ids((), DASH, stdin=stdin)
            other_end.write(f"{A}\n".encode())
            other_end.flush()

            assert next(entries) == A  # although the pipe is still open

    def test_stdin_is_left_open(self) -> None:
        stream = io.BytesIO(A.encode())
        list(read_task_ids((), DASH, stdin=stream))

        assert not stream.closed

    @pytest.mark.parametrize(("file", "column", "field"), [(DASH, "a", "b"), (None, "a", None), (None, None, "b")])
    def test_options_that_do_not_fit_together_are_refused(
        self, file: Path | None, column: str | None, field: str | None
    ) -> None:
        with pytest.raises(UsageError, match="--column"):
            list(read_task_ids([A], file, column=column, field=field))


class TestProperties:
    @given(IDS)
    def test_every_id_survives_plain_lines(self, ids: list[str]) -> None:
        assert from_stdin("\n".join(ids)) == ids

    @given(IDS)
    def test_every_id_survives_csv(self, ids: list[str]) -> None:
        rows = "".join(f'"a ""clip"", {number}",{task_id}\r\n' for number, task_id in enumerate(ids))

        assert from_stdin(f"name,id\r\n{rows}", column="id") == ids

    @given(IDS)
    def test_every_id_survives_json_lines(self, ids: list[str]) -> None:
        assert from_stdin("\n".join(json.dumps({"id": task_id}) for task_id in ids), field="id") == ids

    @given(st.binary(max_size=300), st.sampled_from([{}, {"field": "id"}, {"column": "id"}]))
    def test_no_bytes_break_the_reading(self, content: bytes, options: dict[str, str]) -> None:
        header = b"id\n" if "column" in options else b""

        try:
            refuse_other_kind(header + content, "stdin")
        except UsageError:
            return
        for entry in from_stdin(header + content, **options):
            text = entry if isinstance(entry, str) else entry.text
            assert text == printable(text)

    @given(st.lists(st.sampled_from([A, "# note", "", "no id!", "\x00"])))
    def test_every_line_is_an_id_or_refused_or_says_nothing(self, lines: list[str]) -> None:
        entries = from_stdin("\n".join(lines))

        assert entries.count(A) == lines.count(A)
        assert len(refused(entries)) == lines.count("no id!") + lines.count("\x00")
