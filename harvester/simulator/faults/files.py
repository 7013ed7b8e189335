"""Reads rules from a TOML file, with a `[[fault]]` for each."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from harvester.domain.errors import UsageError
from harvester.simulator.faults.model import Fault
from harvester.simulator.faults.schedule import check

_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "rate": (int, float),
    "endpoints": (list,),
    "tasks": (list,),
    "share": (int, float),
    "from_s": (int, float),
    "until_s": (int, float),
    "times": (int,),
    "times_per_task": (int,),
    "value": (str,),
    "status": (int,),
    "seed": (int,),
}


def load_faults(path: Path) -> list[Fault]:
    """Return the rules of the file; UsageError names the error and its place.

    A `seed` above all rules applies to each rule without its own.
    """
    document = _parse(path)
    if unknown := sorted(document.keys() - {"seed", "fault"}):
        raise UsageError(f"{path} sets {unknown[0]!a}.", remedy="It holds one seed and a [[fault]] for each rule.")
    seed, tables = document.get("seed", 0), document.get("fault", [])
    is_tables = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
    if not isinstance(seed, int) or not is_tables:
        raise UsageError(f"{path} cannot be read as rules.", remedy="Write `seed = 1`, and [[fault]] above each rule.")
    return [_fault(table, seed, f"{path}, fault {number}") for number, table in enumerate(tables, 1)]


def _fault(table: dict[str, Any], seed: int, where: str) -> Fault:
    for name, value in table.items():
        if name not in _TYPES:
            nearest = difflib.get_close_matches(name, _TYPES, n=1)
            remedy = f"Did you mean {nearest[0]}?" if nearest else f"A fault has {', '.join(_TYPES)}."
            raise UsageError(f"{where}, sets {name}, which is unknown.", remedy=remedy)
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            expected = _TYPES[name][-1].__name__
            raise UsageError(f"{where}: {name} is {value!a}.", remedy=f"Give a value of the type {expected}.")
    if "kind" not in table:
        raise UsageError(f"{where}, has no kind.", remedy="Give it one.")
    values = {name: _plain(name, value) for name, value in table.items()}
    fault = Fault(**({"seed": seed} | values))
    try:
        check(fault)
    except UsageError as error:
        raise UsageError(f"{where}: {error.sentence}", remedy=error.remedy) from None
    return fault


def _plain(name: str, value: Any) -> Any:
    if name == "tasks":
        return tuple(str(one).lower() for one in value)
    return tuple(value) if name == "endpoints" else value


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", remedy="Give another --faults.") from None
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}.", remedy="Correct that line.") from None
