"""Names that scripts, queries, alerts and settings files may hold stay as they were before the restructuring.

`public_names.toml` holds what the program of commit 455a68a had, the last one before its modules moved into packages.
`collected` wrote it, run with that program in place of this one. The fields of the JSON documents are those of
`docs/reference/json.md`, which test_reference_json.py held to that program as well. Names may be added. Removing or
changing one breaks a promise: say so in CHANGELOG.md, and change the file.
"""

import inspect
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

import harvester
from harvester.dataset.arguments import Filters
from harvester.domain import errors
from harvester.domain.limits.endpoint import Endpoint
from harvester.domain.tasks.task import TaskState
from harvester.reports.error_codes import API_CODES, OWN_CODES
from harvester.settings.model import describe_settings
from tests.contract.test_monitoring_files import PAGE
from tests.unit.test_reference import PACKAGE, columns, commands, conditions, logged, outcomes, sections
from tests.unit.test_reference_json import documented

Names = dict[str, list[str]]
"""The parts of each name, such as the columns of a table: a name of its own, or a type."""


def settings() -> Names:
    """Return variable, default and type of each setting; without bounds, which may become wider."""
    return {
        one.name: [one.variable, f"default {one.default}", *re.sub(r" (from|above) .*", "", one.accepts).split(" or ")]
        for one in describe_settings()
    }


def options() -> Names:
    return {name: sorted(chain(*(one.opts for one in command.params))) for name, command in commands().items()}


def documents() -> Names:
    titles = [title for title in sections("json.md") if documented(title)]
    return {title: [f"{name}: {kind}" for name, kind in documented(title).items()] for title in titles}


def metrics() -> Names:
    """Return kind and labels of each metric that the daemon's page serves; `le` is the label of each bucket."""
    found: Names = {}
    for line in PAGE.splitlines():
        if line.startswith("# TYPE harvester_"):
            _, _, name, kind = line.split()
            found[name] = [kind]
        elif line.startswith("harvester_"):
            labels = re.findall(r'(\w+)="', line)
            found[name] += [label for label in labels if label not in found[name]]
    return found


def tables_and_views() -> Names:
    return {
        name: [f"{column} {kind}{' or NULL' * is_nullable}".strip() for column, kind, is_nullable in found]
        for name, found in columns().items()
    }


def events() -> Names:
    """Return levels and fields of each event of the log."""
    found: dict[str, set[str]] = defaultdict(set)
    for event, level, fields in logged():
        found[event] |= {f"level {level}", *fields}
    return {event: sorted(found[event]) for event in sorted(found)}


def exit_codes() -> Names:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.__name__: [str(kind.exit_code)] for kind in kinds if issubclass(kind, errors.HarvesterError)}


def python_names() -> Names:
    """Return the parameters of each public function, and the public names of each class that is no error."""
    found: Names = {}
    for name in harvester.__all__:
        value = getattr(harvester, name)
        if inspect.isfunction(value):
            found[name] = list(inspect.signature(value).parameters)
        elif isinstance(value, type) and not issubclass(value, Exception):
            found[name] = sorted(part for part in dir(value) if not part.startswith("_"))
    return found | {"filter": list(Filters.__annotations__)}


def stages() -> set[str]:
    texts = (file.read_text("utf-8") for file in PACKAGE.rglob("*.py"))
    return {stage for text in texts for stage in re.findall(r'\.at_work\("(\w+)"', text)}


def values() -> Names:
    """Return the values that columns, labels and fields may have."""
    return {
        "state of a task": [state.value for state in TaskState],
        "endpoint": [endpoint.value for endpoint in Endpoint],
        "outcome of a request": sorted(outcomes()),
        "error code": sorted({*API_CODES, *OWN_CODES}),
        "condition": sorted(conditions()),
        "stage of the work": sorted(stages()),
    }


KINDS: dict[str, Callable[[], Names]] = {
    "setting": settings,
    "command": options,
    "document": documents,
    "metric": metrics,
    "table or view": tables_and_views,
    "log event": events,
    "exit code of the error": exit_codes,
    "name in Python": python_names,
    "set of values": values,
}

BEFORE: dict[str, Names] = tomllib.loads(Path(__file__).with_name("public_names.toml").read_text("utf-8"))


def collected() -> str:
    """Return the names of this program as TOML: how the file was written."""
    lines: list[str] = []
    for kind, names in KINDS.items():
        lines += [f'["{kind}"]']
        for name, parts in names().items():
            inner = ", ".join(f"'{part}'" for part in parts)
            oneline = f'"{name}" = [{inner}]'
            folded = [f'"{name}" = [', *(f"    '{part}'," for part in parts), "]"]
            lines += [oneline] if len(oneline) <= 120 else folded
        lines += [""]
    return "\n".join(lines).strip() + "\n"


def broken(kind: str, now: Names) -> list[str]:
    """Return a sentence for each name that has gone, or that has lost a part."""
    sentences = []
    for name, parts in BEFORE[kind].items():
        lost = [part for part in parts if part not in now.get(name, ())]
        if name not in now:
            sentences.append(f"The {kind} {name!r} is gone.")
        elif lost:
            sentences.append(f"The {kind} {name!r} has lost {lost}; it has {now[name]}.")
    return sentences


@pytest.mark.parametrize("kind", KINDS)
def test_no_public_name_is_gone_or_changed(kind: str) -> None:
    assert broken(kind, KINDS[kind]()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_is_found(kind: str) -> None:
    name, *_ = was = BEFORE[kind]
    emptied: Names = {**was, name: []}

    assert len(broken(kind, emptied)) == 1
    assert len(broken(kind, {})) == len(was)
