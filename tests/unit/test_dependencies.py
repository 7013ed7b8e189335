"""Every dependency has a reason, a place in the declaration, and an exact version."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGE = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
CONSTRAINTS = [
    line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")
]

BROUGHT_ALONG = {"multidict": "aiohttp", "yarl": "aiohttp"}
"""Parts of a declared package's own interface."""

NAMES = {"prometheus_client": "prometheus-client", "pydantic_settings": "pydantic-settings"}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str | dict[str, str]]) -> set[str]:
    """Return the names of the packages; an included group has its own."""
    return {normalized(re.split(r"[<>=~! ]", one)[0]) for one in requirements if isinstance(one, str)}


def rows(title: str) -> dict[str, list[str]]:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", section, re.MULTILINE)
    return {name: cells.split(" | ") for name, cells in found}


def imported() -> Iterator[str]:
    for file in (ROOT / "harvester").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


RUNTIME = declared(PROJECT["project"]["dependencies"])
EXTRAS = {name: declared(needed) for name, needed in PROJECT["project"]["optional-dependencies"].items()}
OPTIONAL = {package for packages in EXTRAS.values() for package in packages}


def test_every_runtime_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    reasons = rows("At run time")
    assert set(reasons) == RUNTIME
    assert all(len(cells) == 2 and all(map(str.strip, cells)) for cells in reasons.values())


def test_every_package_of_an_extra_has_its_extra_and_a_reason() -> None:
    reasons = rows("Extras")

    assert {(f"`{extra}`", package) for extra, packages in EXTRAS.items() for package in packages} == {
        (cells[0], package) for package, cells in reasons.items()
    }
    assert all(len(cells) == 3 and all(map(str.strip, cells)) for cells in reasons.values())


def test_every_tool_has_its_purpose() -> None:
    groups = PROJECT["dependency-groups"].values()
    assert set(rows("For work on it")) == {name for group in groups for name in declared(group)}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    foreign = set(imported()) - sys.stdlib_module_names - {"harvester"}
    assert {BROUGHT_ALONG.get(name, NAMES.get(name, name)) for name in foreign} == RUNTIME | OPTIONAL


def test_every_constraint_is_an_exact_version() -> None:
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


def test_every_dependency_of_the_checks_has_an_exact_version() -> None:
    groups = PROJECT["dependency-groups"]
    exact = {normalized(line.partition("==")[0]) for line in CONSTRAINTS}
    assert {"include-group": "test"} in groups["dev"]
    assert RUNTIME | OPTIONAL | declared(groups["dev"] + groups["test"]) <= exact
