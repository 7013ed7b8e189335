"""Reads the three sources of settings into a `Layer` each: a TOML file, the environment, flags.

A name that is not a setting is refused here, with the nearest setting in the message. pydantic-settings, which merges
and validates the layers, would ignore such variables, and does not report the source of a value.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harvester.domain.errors import UsageError

CONFIG_VARIABLE = "HARVESTER_CONFIG"
DEFAULT_CONFIG_PATH = Path("harvester.toml")

_PREFIX = "HARVESTER_"
_KEY_REMEDY = "Put the key into TWELVELABS_API_KEY, or into a file that api.key_file names."
_FLAG_NAMES = {
    "store.path": "--db",
    "log.level": "--log-level",
    "log.format": "--log-format",
    "harvest.embedding_options": "--retrieve",
}

# Settings for which an empty value has a meaning: here that no pages are served.
_MAY_BE_EMPTY = {"server.listen"}

# Variables that Kubernetes sets in a pod for a service called harvester-api, such as HARVESTER_API_SERVICE_HOST.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_.+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?$")

KnownSettings = Mapping[str, Collection[str]]
"""Section to keys."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one source by section and key, and for each `section.key` its place."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, section: str, key: str, value: Any, origin: str) -> None:
        """Record one value and its place."""
        self.values.setdefault(section, {})[key] = value
        self.origins[f"{section}.{key}"] = origin


def variable_name(section: str, key: str) -> str:
    """Return the environment variable of a setting: `HARVESTER_STORE__PATH`."""
    return f"{_PREFIX}{section}__{key}".upper()


def flag_name(section: str, key: str) -> str:
    """Return the flag of a setting, for commands that have one: `--db`, `--concurrency`."""
    return _FLAG_NAMES.get(f"{section}.{key}", f"--{key.replace('_', '-')}")


def find_config_file(chosen: Path | None, environ: Mapping[str, str]) -> tuple[Path, str] | None:
    """Return the file to read and the source of its name; None if none is named and `./harvester.toml` is absent."""
    if chosen is not None:
        return chosen, "--config"
    named = environ.get(CONFIG_VARIABLE)
    if named is not None:
        if not named.strip():
            raise UsageError(f"{CONFIG_VARIABLE} is empty.", remedy="Unset it, or let it name a TOML file.")
        return Path(named), CONFIG_VARIABLE
    if DEFAULT_CONFIG_PATH.exists():
        return DEFAULT_CONFIG_PATH, "the current directory"
    return None


def read_toml(path: Path, named_by: str, known: KnownSettings) -> Layer:
    """Read the settings file. Raises UsageError, which names the file, and the line that is not TOML."""
    layer = Layer()
    for section, table in _parse_toml(path, named_by).items():
        if section not in known:
            name = f"[{section}]" if isinstance(table, dict) else section
            raise _unknown(name, f"{path} sets", section, [*known, *_dotted(known)])
        if not isinstance(table, dict):
            raise UsageError(
                f"{path} gives {section!r} a value, but it is a section.",
                remedy=f"Write [{section}] and its keys.",
            )
        for key, value in table.items():
            name = f"{section}.{key}"
            if name == "api.key":
                raise UsageError(f"{path} contains api.key; keys are not read from it.", remedy=_KEY_REMEDY)
            if key not in known[section]:
                raise _unknown(name, f"{path} sets", name, _dotted(known))
            layer.put(section, key, value, str(path))
    return layer


def _parse_toml(path: Path, named_by: str) -> dict[str, Any]:
    try:
        # Editors on Windows begin UTF-8 files with a byte order mark, which TOML forbids.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(
            f"The settings file {path} (from {named_by}) does not exist.",
            remedy="Correct the path or leave it out.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"The settings file {path} (from {named_by}) cannot be read: {error.strerror}.",
            remedy="Make it a file that this user may read.",
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"The settings file {path} is not UTF-8.", remedy="Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}.", remedy="Correct that line.") from None


def read_environ(environ: Mapping[str, str], known: KnownSettings) -> Layer:
    """Read the variables `HARVESTER_<SECTION>__<KEY>`; similar variables of other programs are ignored."""
    layer = Layer()
    settings = {variable_name(section, key): (section, key) for section, key in _pairs(known)}
    for variable in sorted(name for name in environ if name.upper().startswith(_PREFIX)):
        if variable in settings:
            section, key = settings[variable]
            value = environ[variable]
            if not value.strip() and f"{section}.{key}" not in _MAY_BE_EMPTY:
                # Usually a variable that was never filled in; using the default would be a surprise.
                raise UsageError(f"{variable} is empty.", remedy=f"Unset it, or give {section}.{key} a value.")
            layer.put(section, key, value, variable)
        elif _is_meant_for_us(variable.upper(), known):
            if variable.upper() in {f"{_PREFIX}API_KEY", f"{_PREFIX}API__KEY"}:
                raise UsageError(f"{variable} is not a setting.", remedy=_KEY_REMEDY)
            raise _unknown(variable, "The environment sets", variable.upper(), list(settings))
    return layer


def _is_meant_for_us(variable: str, known: KnownSettings) -> bool:
    """Return whether a variable is a mistyped setting, and not, say, HARVESTER_PORT of a Kubernetes service link."""
    if variable == CONFIG_VARIABLE:
        return False
    rest = variable.removeprefix(_PREFIX)
    if "__" in rest:
        return True
    return rest.partition("_")[0].lower() in known and not _SERVICE_LINK.search(f"_{rest}")


def read_flags(overrides: Mapping[str, Mapping[str, Any]], known: KnownSettings) -> Layer:
    """Read the values of the command line; None means that the flag was not given."""
    layer = Layer()
    for section, values in overrides.items():
        for key, value in values.items():
            if key not in known.get(section, ()):
                name = f"{section}.{key}"
                raise _unknown(name, "The command line sets", name, _dotted(known))
            if value is not None:
                layer.put(section, key, value, flag_name(section, key))
    return layer


def read_given(given: Mapping[str, Any], known: KnownSettings) -> Layer:
    """Read the settings that a program passes, by their dotted names. Raises UsageError for an unknown name."""
    layer = Layer()
    for name, value in given.items():
        section, _, key = name.partition(".")
        if key not in known.get(section, ()):
            raise _unknown(name, "The program gives", name, _dotted(known))
        layer.put(section, key, value, f"settings[{name!r}]")
    return layer


def _unknown(name: str, who_sets: str, typed: str, candidates: list[str]) -> UsageError:
    nearest = difflib.get_close_matches(typed, candidates, n=1)
    remedy = f"Did you mean {nearest[0]}?" if nearest else "`harvester config` lists every setting."
    return UsageError(f"{who_sets} {name}, which is not a setting.", remedy=remedy)


def _pairs(known: KnownSettings) -> Iterator[tuple[str, str]]:
    return ((section, key) for section, keys in known.items() for key in keys)


def _dotted(known: KnownSettings) -> list[str]:
    return [f"{section}.{key}" for section, key in _pairs(known)]
