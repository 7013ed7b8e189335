"""Each end and each error code has words for a person; the list of codes is that of the program."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import harvester
from harvester.domain.tasks import outcomes
from harvester.domain.tasks.task import END_STATES, TaskState
from harvester.reports.error_codes import API_CODES, ENDS, OWN_CODES, UNKNOWN, Reason, explain

PACKAGE = Path(harvester.__file__).parent
PAGE = PACKAGE.parent / "docs" / "howto" / "troubleshooting.md"
CODE = re.compile(r"[a-z]+(_[a-z0-9]+)*")

WITH_CODE = {
    "Misrouted",
    "Failed",
    "NotFound",
    "UnknownHere",
    "Empty",
    "InvalidRequest",
    "Throttled",
    "Refused",
    "Transient",
    "Invalid",
    "Problem",
}
"""The constructors that take a code: second, third for Throttled, or by name."""

CONSTANTS = {
    "DAMAGED",
    "LISTED_FAILED",
    "OPTION_REFUSED",
    "TASK_FAILED",
    "RESULT_EXPIRED",
    "VERSION_NOT_SERVED",
    "WORKER_DIED",
    "_KINDS",
}
"""The constants that hold codes."""

DOCUMENTED = {
    "parameter_invalid",
    "parameter_unknown",
    "generic_error",
    "api_key_invalid",
    "unauthorized",
    "api_not_allowed",
    "region_not_allowed",
    "api_allowed_for_paid_plan",
    "api_upgrade_required",
    "resource_not_exist",
    "resource_not_exists",
    "too_many_requests",
}
"""By the API."""


def texts(node: ast.AST) -> Iterator[str]:
    """Yield what may be a code in an expression; of f"http_{status}" the two families."""
    if isinstance(node, ast.JoinedStr):
        beginning = node.values[0]
        assert isinstance(beginning, ast.Constant)
        assert beginning.value == "http_", "an f-string for a code without an explanation"
        yield from ("http_4xx", "http_5xx")
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif not isinstance(node, ast.Call):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def code_expressions(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield every expression that becomes a code: arguments, defaults, returns, and values called so."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in WITH_CODE:
                yield from node.args[1:]
                yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            case ast.Call(func=ast.Name(id="Attempt" | "replace")):
                yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.expr() as default):
                yield default
            case ast.FunctionDef(name=name, returns=ast.Name(id="str")) if name.endswith("_code"):
                yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value)
            case ast.Dict():
                yield from (
                    value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and key.value == "code"
                )
            case ast.Assign(targets=[ast.Name(id=name)]) if name in CONSTANTS:
                yield node.value


def produced_codes() -> set[str]:
    layers = ("domain", "api", "store", "service")
    files = [file for layer in layers for file in (PACKAGE / layer).rglob("*.py")]
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    found = (text for tree in trees for expression in code_expressions(tree) for text in texts(expression))
    return {text for text in found if CODE.fullmatch(text)}


def test_the_scan_finds_codes_of_every_kind() -> None:
    kinds = {"segments_invalid", "read_timeout", "no_segments", "http_5xx", "task_id_invalid", "stored_damaged"}
    assert kinds <= produced_codes()


def test_there_are_words_for_exactly_the_codes_that_the_program_can_give() -> None:
    assert produced_codes() - set(API_CODES) == set(OWN_CODES)


def test_there_are_words_for_the_codes_that_the_api_documents() -> None:
    assert set(API_CODES) == DOCUMENTED


def test_every_constructor_that_takes_a_code_is_checked() -> None:
    classes = {name: kind for name, kind in vars(outcomes).items() if is_dataclass(kind)}
    with_code = {name for name, kind in classes.items() if "code" in {field.name for field in fields(kind)}}
    assert with_code == WITH_CODE - {"Problem"}


def test_there_are_words_for_every_end() -> None:
    assert set(ENDS) == END_STATES - {TaskState.HARVESTED}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("read_timeout", OWN_CODES["read_timeout"]),
        ("api_key_invalid", API_CODES["api_key_invalid"]),
        ("http_404", OWN_CODES["http_4xx"]),
        ("http_503", OWN_CODES["http_5xx"]),
        ("http_999", UNKNOWN),
        ("video_too_beautiful", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_code_is_explained_or_said_to_be_the_apis_own(code: str, expected: Reason) -> None:
    assert explain(code) == expected


def rows(*titles: str) -> list[tuple[str, ...]]:
    page = PAGE.read_text("utf-8")
    found = []
    for title in titles:
        section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert section, title
        found += re.findall(r"^\| `([a-z0-9_]+)` \| (.*) \| (.*) \|$", section, re.MULTILINE)
    return found


def explained(reasons: dict[str, Reason]) -> list[tuple[str, str, str]]:
    return [(name, reason.meaning, reason.remedy) for name, reason in reasons.items()]


def test_the_page_for_the_person_on_call_has_the_same_words() -> None:
    assert rows("How tasks end") == explained({state.value: reason for state, reason in ENDS.items()})
    assert rows("Codes of the program") == explained(dict(OWN_CODES))
    assert rows("Codes of the API") == explained(dict(API_CODES))
    assert UNKNOWN.meaning in PAGE.read_text("utf-8")
    assert UNKNOWN.remedy in PAGE.read_text("utf-8")
