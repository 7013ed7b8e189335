"""`docs/reference/` names all that the program offers, and nothing else; test_reference_json.py has the documents."""

import ast
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

import harvester
from harvester.cli.commands import COMMANDS, load_command
from harvester.domain import errors
from harvester.domain.tasks.outcomes import Outcome
from harvester.domain.tasks.task import DAY_MS, END_STATES, TaskState
from harvester.ports.maintenance import ATTEMPTS_KEPT_MS
from harvester.service import clock, continuous_discovery, deadline_monitor, final_states, model_lookup, pause_watch
from harvester.service.observer import LISTED
from harvester.settings.model import SettingDescription, describe_settings
from harvester.store.sqlite.migrations import migrate
from harvester.web.gauges import WATCHED_CONDITIONS

PACKAGE = Path(harvester.__file__).parent
REFERENCE = PACKAGE.parent / "docs" / "reference"
LEVELS = frozenset({"debug", "info", "warning", "error"})


def sections(page: str) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    parts = re.split(r"^## (.+)\n", (REFERENCE / page).read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows that begin with a name in backticks."""
    lines = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split(" |")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def shown_default(setting: SettingDescription) -> str:
    if setting.default is None:
        return ""
    if setting.default == ():
        return "`[]`"
    return f"`{str(setting.default).lower() if isinstance(setting.default, bool) else setting.default}`"


def test_the_settings_are_those_of_the_program() -> None:
    page = (REFERENCE / "settings.md").read_text("utf-8").partition("| variable that")[0]

    assert [[cell.strip("| ") for cell in row] for row in rows(page)] == [
        [f"`{one.name}`", f"`{one.variable}`", shown_default(one), one.accepts, one.description]
        for one in describe_settings()
    ]


def commands() -> dict[str, Any]:
    """Return the commands with their parameters, as typer makes them: it has classes of its own for them."""
    return {name: load_command(name) for name in COMMANDS}


def options(command: Any) -> dict[str, str]:
    """Return the help text of each option, by all of its names."""
    found = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    return {", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts)): one.help for one in found}


def test_every_command_has_a_section_in_the_order_of_the_help_page() -> None:
    found = [title for title in sections("commands.md") if title.startswith("harvester ")]

    assert found == [f"harvester {name}" for name in commands()]


@pytest.mark.parametrize("name", commands())
def test_the_options_of_a_command_are_those_of_the_program_with_its_words(name: str) -> None:
    page = sections("commands.md")
    section, shared = page[f"harvester {name}"], dict(rows(page["Shared options"]))
    own = {row[0]: row[1] for row in rows(section.partition("| exit code |")[0]) if row[0].startswith("`--")}
    of_all = {
        f"`{option}`"
        for line in re.findall(r"^Shared options: (.*)\.$", section, re.MULTILINE)
        for option in names(line)
    }

    assert own | {option: shared[option] for option in of_all} == options(commands()[name])


DOCUMENTS = sorted(REFERENCE.parent.rglob("*.md"))


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(REFERENCE.parent)))
def test_the_commands_of_the_examples_exist_with_their_options(page: Path) -> None:
    known = {name: " ".join(options(one)) for name, one in commands().items()}
    examples = "".join(re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
    for name, rest in re.findall(r"^harvester (\w+)([^#\n]*)", examples, re.MULTILINE):
        assert name in known
        assert [option for option in re.findall(r"--[a-z-]+", rest) if f"`{option}`" not in known[name]] == []


def test_the_exit_codes_of_every_error_are_there() -> None:
    text = (REFERENCE / "commands.md").read_text("utf-8")
    listed = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for code in cell.split(", ")}
    raised = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HarvesterError)
    }

    assert listed == raised | {0, 1, 129, 130, 141, 143}


def columns() -> dict[str, list[tuple[str, str, bool]]]:
    """Return name, type and whether it may be NULL of each column of a new database, by table or view."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        objects = connection.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall()
        # SQLite says of no column of a view, and of no INTEGER PRIMARY KEY, that it is NOT NULL.
        return {
            name: [
                (column, kind, not is_filled and not key and type_ == "table")
                for _, column, kind, is_filled, _, key in connection.execute(f"PRAGMA table_info({name})")
            ]
            for name, type_ in objects
        }


def test_every_table_and_view_has_a_section() -> None:
    assert set(sections("database.md")) == set(columns())


@pytest.mark.parametrize("name", columns())
def test_the_columns_are_those_of_a_new_database(name: str) -> None:
    listed = rows(sections("database.md")[name])
    found = columns()[name]

    assert [(names(row[0])[0], row[1].strip("| ")) for row in listed] == [(column, kind) for column, kind, _ in found]
    same = {names(row[0])[0] for row in listed if row[2].startswith("as in ")}
    says_null = {names(row[0])[0] for row in listed if "NULL" in row[2]}
    if not name.startswith("segment_"):  # not a view
        assert {column for column, _, is_nullable in found if is_nullable} - same == says_null


def test_how_long_attempts_are_kept_is_said() -> None:
    assert f"after {ATTEMPTS_KEPT_MS // DAY_MS} days" in sections("database.md")["attempts"]


@cache
def trees() -> list[ast.Module]:
    """Return the modules that have a logger."""
    texts = [file.read_text("utf-8") for file in PACKAGE.rglob("*.py")]
    return [ast.parse(text) for text in texts if "get_logger()" in text]


def method(call: ast.Call) -> list[str]:
    """Return the names of the methods that a call may be of: two for `(log.error if … else log.warning)(…)`."""
    choices = [call.func.body, call.func.orelse] if isinstance(call.func, ast.IfExp) else [call.func]
    return [one.attr for one in choices if isinstance(one, ast.Attribute)]


def logged() -> Iterator[tuple[str, str, set[str]]]:
    """Yield event, levels and fields of each call of a log in the program; the states in which a task may end."""
    for tree in trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args or not set(method(node)) & LEVELS:
                continue
            level, fields = " or ".join(sorted(method(node), reverse=True)), {str(one.arg) for one in node.keywords}
            if isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), level, fields
            else:
                assert ast.unparse(node.args[0]).endswith("state.value")
                yield from ((state.value, level, fields) for state in END_STATES - {TaskState.HARVESTED})


def test_the_events_of_the_log_are_those_of_the_program() -> None:
    page = sections("log.md")
    listed = {
        names(row[0])[0]: (row[1].strip("| "), set(names(row[2])))
        for title in ("Events of a task", "Other events")
        for row in rows(page[title])
    }
    found: dict[str, tuple[str, set[str]]] = {}
    for event, level, fields in logged():
        found[event] = (level, fields | found.get(event, ("", set()))[1])

    assert listed == found


def test_the_fields_that_every_event_of_a_task_has_are_named() -> None:
    calls = (one for tree in trees() for one in ast.walk(tree) if isinstance(one, ast.Call))
    (bound,) = (call for call in calls if method(call) == ["bind"] and call.keywords)
    sentence = sections("log.md")["Events of a task"].partition("\n| ")[0]

    assert names(sentence) == [keyword.arg for keyword in bound.keywords]


def conditions() -> set[str]:
    modules = (clock, continuous_discovery, deadline_monitor, final_states, model_lookup, pause_watch)
    return {one.CONDITION for one in modules} | set(WATCHED_CONDITIONS)


def test_the_conditions_are_those_of_the_program() -> None:
    assert {names(row[0])[0] for row in rows(sections("log.md")["Conditions"])} == conditions()


def outcomes() -> set[str]:
    return {outcome.kind for outcome in get_args(Outcome)} | {LISTED}


def test_the_outcomes_are_those_of_the_program() -> None:
    assert {names(row[0])[0] for row in rows(sections("metrics.md")["Outcomes"])} == outcomes()
