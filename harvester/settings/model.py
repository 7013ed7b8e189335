"""The settings: one frozen object, built once from TOML file, environment and flags, and passed down.

To add a setting, add a field: its name has the unit, its `Field` the default, the bounds and the sentence that
documents it. Reading it, refusing misspelt names, and the `config` command need no further change;
`app/configured.py` passes it to the part that uses it, and CONTRIBUTING.md lists the documents.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from harvester.domain.errors import UsageError
from harvester.domain.tasks.retrieve_options import RetrieveOption
from harvester.domain.tasks.task import ApiVersion
from harvester.settings.addresses import check_base_url, may_hold_secret, split_address
from harvester.settings.sources import (
    Layer,
    find_config_file,
    read_environ,
    read_flags,
    read_given,
    read_toml,
    variable_name,
)

EVERYTHING = "all"
"""The word for every embedding option."""

_MIB = 1024 * 1024
_LEAST_PER_MINUTE = 0.00001
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,}", re.ASCII)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `concurrency = true`, which Python would take for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in {int, float}:
            raise ValueError("it takes a number, not true or false")
        return value


class ApiSettings(_Section):
    """The API of TwelveLabs."""

    base_url: str = Field(
        default="https://api.twelvelabs.io/v1.3",
        description="URL of the API: https, or http on this machine.",
    )
    version: Literal["auto", "v1", "v2"] = Field(
        default="auto",
        description="API version that new tasks are asked in first: v1 is /embed/tasks, v2 and auto /embed-v2/tasks.",
    )
    key_file: Path | None = Field(
        default=None,
        description="File that holds the API key, for container secrets; TWELVELABS_API_KEY overrides it.",
    )
    connect_timeout_s: float = Field(
        default=10, gt=0, le=300, description="Seconds to wait for a connection to the API."
    )
    read_timeout_s: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="Seconds without a byte after which an answer is given up.",
    )
    max_body_bytes: int = Field(
        default=256 * _MIB,
        ge=1,
        le=16 * 1024 * _MIB,
        description="Longest answer to accept, in bytes after decompression; 4 h of video take 46 million.",
    )

    @property
    def first_version(self) -> ApiVersion:
        """The API version that a task is asked in while nothing is known of it or its neighbours."""
        return "v1" if self.version == "v1" else "v2"

    @field_validator("base_url")
    @classmethod
    def _safe_base_url(cls, value: str) -> str:
        return check_base_url(value)

    @field_validator("key_file")
    @classmethod
    def _path_not_key(cls, value: Path | None) -> Path | None:
        if value is not None and _looks_like_key(value):
            raise ValueError("it looks like a key; it takes the path of a file that holds one")
        if value is not None and not _is_path(value):
            raise ValueError("it takes the path of a file")
        return _at_home(value) if value else None


class RateSettings(_Section):
    """The rate of requests. It is a ceiling: the API's answers can only lower it."""

    requests_per_minute: float = Field(
        default=60,
        ge=0,
        le=1_000_000,
        description="Requests per minute, over all endpoints; 0 means unlimited.",
    )
    # With 1 no minute has more requests than the rate allows, wherever the API's own minutes begin.
    burst: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="Requests that may go out at once after a pause; more than 1 may exceed the rate for a minute.",
    )

    @field_validator("requests_per_minute")
    @classmethod
    def _not_next_to_nothing(cls, value: float) -> float:
        # At one request in ten weeks every task expires, and the arithmetic does not work for far smaller rates.
        if 0 < value < _LEAST_PER_MINUTE:
            raise ValueError("it takes a number from 0.00001 to 1,000,000, or 0 for unlimited")
        return value


class HarvestSettings(_Section):
    """How a harvest works."""

    concurrency: int = Field(default=8, ge=1, le=256, description="Tasks worked on at the same time.")
    strategy: Literal["auto", "status", "list"] = Field(
        default="auto",
        description="How to find out what is ready: status asks task by task, list by pages, auto takes the cheaper.",
    )
    target_latency_s: float = Field(
        default=15,
        ge=1,
        le=86_400,
        description="Seconds that a finished task may wait on average, where the rate allows it; more saves requests.",
    )
    embedding_options: tuple[RetrieveOption, ...] = Field(
        default=(),
        description="Embedding options to ask version 1 of the API for; an empty list or all: every option.",
    )
    lease_s: float = Field(
        default=60,
        gt=0,
        le=86_400,
        description="Seconds after which the tasks of a dead process are free for others.",
    )
    grace_s: float = Field(
        default=30,
        ge=0,
        le=3600,
        description="Seconds to finish the downloads under way after SIGINT or SIGTERM.",
    )
    memory_budget_bytes: int = Field(
        default=256 * _MIB,
        ge=_MIB,
        le=1024 * 1024 * _MIB,
        description="Bytes for answers under way and their vectors; a longer answer is processed alone.",
    )

    @field_validator("embedding_options", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        """Accept `visual,audio` from a variable or a flag, and `all`; drop repetitions."""
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
            return value
        names = [name.strip() for one in given for name in one.split(",")]
        return () if names == [EVERYTHING] else tuple(dict.fromkeys(names))


class StoreSettings(_Section):
    """The database."""

    path: Path = Field(
        default=Path("harvester.db"),
        description="The SQLite file, relative to the current directory; ~ is your home.",
    )

    @field_validator("path")
    @classmethod
    def _a_file(cls, value: Path) -> Path:
        # SQLite would take these for a database in memory or a URI; embeddings kept there are lost.
        if not _is_path(value) or str(value).startswith((":", "file:")):
            raise ValueError("it takes the path of a file")
        return _at_home(value)


class ServerSettings(_Section):
    """Health, metrics and status of the daemon, over HTTP."""

    listen: str = Field(
        default="127.0.0.1:9464",
        description="Address at which the daemon serves health, metrics and status; empty turns it off.",
    )
    token: SecretStr | None = Field(
        default=None,
        description="Bearer token that readers must send; needed to listen beyond this machine.",
    )

    @field_validator("listen")
    @classmethod
    def _an_address(cls, value: str) -> str:
        if value.strip():
            split_address(value)
        return value.strip()

    @field_validator("token")
    @classmethod
    def _a_usable_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("it takes 16 or more letters, digits and -._~+/=")
        return value


class DiscoverySettings(_Section):
    """Whether the daemon queues the account's tasks by itself."""

    enabled: bool = Field(default=False, description="Whether the daemon queues every task that the account makes.")
    every_s: float = Field(default=900, ge=10, le=86_400, description="Seconds between two readings of the list.")
    since_days: float = Field(
        default=7, gt=0, le=7, description="How many days back to read; embeddings are kept for 7."
    )


class LogSettings(_Section):
    """The log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Lowest level to log.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="console is for people, json for machines; auto is console on a terminal, else json.",
    )

    @field_validator("level", "format", mode="before")
    @classmethod
    def _in_any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """Every setting. `Settings()` is the defaults: it never reads the environment; `load_settings` does."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    api: ApiSettings = ApiSettings()
    rate: RateSettings = RateSettings()
    harvest: HarvestSettings = HarvestSettings()
    store: StoreSettings = StoreSettings()
    server: ServerSettings = ServerSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use arguments only: a variable called API or LOG belongs to another program."""
        return (init_settings,)

    def flat(self) -> dict[str, Any]:
        """Return every value by its dotted name, in the order of declaration."""
        return {s.name: getattr(getattr(self, s.section), s.key) for s in describe_settings()}


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """The description of one setting, for documentation and error messages."""

    section: str
    key: str
    default: Any
    accepts: str
    description: str

    @property
    def name(self) -> str:
        """The dotted name: `store.path`."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable: `HARVESTER_STORE__PATH`."""
        return variable_name(self.section, self.key)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings and, by dotted name, the source of each: "default", a file, a variable or a flag."""

    settings: Settings
    origins: dict[str, str]


def load_settings(
    config_path: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    given: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Build the settings from the TOML file; `environ` overrides it, and `overrides` (section, key, value) both.

    `given` are settings that a program passes, by their dotted names; they override all others.

    Raises UsageError for the first unknown name, unreadable file or unacceptable value.
    """
    known = {section: model.model_fields for section, model in _sections()}
    file = find_config_file(config_path, environ)
    layers = [
        read_toml(*file, known) if file else Layer(),
        read_environ(environ, known),
        read_flags(overrides or {}, known),
        read_given(given or {}, known),
    ]
    origins = {setting.name: "default" for setting in describe_settings()}
    for layer in layers:
        origins.update(layer.origins)
    return LoadedSettings(_validate(layers, origins), origins)


def check_setting(name: str, value: Any, origin: str) -> Settings:
    """Return the defaults with one other value, which comes from `origin`. Raises UsageError if it cannot be used."""
    layer = Layer()
    section, _, key = name.partition(".")
    layer.put(section, key, value, origin)
    return _validate([layer], layer.origins)


def describe_settings() -> Iterator[SettingDescription]:
    """Describe every setting, in the order of declaration."""
    for section, model in _sections():
        for key, field in model.model_fields.items():
            yield SettingDescription(section, key, field.default, _accepts(field), str(field.description))


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for section, field in Settings.model_fields.items():
        yield section, type(field.default)


def _validate(layers: list[Layer], origins: Mapping[str, str]) -> Settings:
    strongest_first = tuple(InitSettingsSource(Settings, layer.values) for layer in reversed(layers))
    # As a mapping, because type checkers know only the fields as arguments.
    arguments: dict[str, Any] = {"_build_sources": (strongest_first, {})}
    try:
        return Settings(**arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    # Raised outside the handler, so that the traceback does not contain pydantic's error, which repeats the input.
    section, key = first["loc"][:2]
    name = f"{section}.{key}"
    setting = next(setting for setting in describe_settings() if setting.name == name)
    reason = first.get("ctx", {}).get("error") or f"it takes {setting.accepts}"
    default = "" if setting.default in (None, ()) else f" ({setting.default})"
    raise UsageError(
        f"{name}{_shown(name, first['input'])}, from {origins[name]}, cannot be used: {reason}.",
        remedy=f"Correct it there, or leave it out for the default{default}.",
    )


def _shown(name: str, value: Any) -> str:
    """Return ` = value`, or nothing if the value may contain a secret."""
    text = str(value)
    secret = (
        name == "server.token"
        or (name == "api.base_url" and may_hold_secret(text))
        or (name == "api.key_file" and _looks_like_key(Path(text)))
    )
    return "" if secret else f" = {text[:80]!a}"


def _accepts(field: FieldInfo) -> str:
    """Return in words the values that a field takes: "a whole number from 1 to 256"."""
    kind: Any = field.annotation
    if get_origin(kind) is tuple:
        return "a list of " + " or ".join(f'"{choice}"' for choice in kind.__args__[0].__args__)
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in kind.__args__)
    if kind not in {int, float}:
        return {str: "text", bool: "true or false", SecretStr | None: "text"}.get(kind, "a path")
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    lower = f"from {bounds['Ge'].ge:,} to" if "Ge" in bounds else f"above {bounds['Gt'].gt:,} and up to"
    return f"a{' whole' if kind is int else ''} number {lower} {bounds['Le'].le:,}"


def _is_path(path: Path) -> bool:
    # No file has a name with a zero byte; opening it would raise an error that looks like a bug.
    return path != Path() and "\0" not in str(path)


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("it begins with ~, but that user has no home folder here; write the whole path") from None


def _looks_like_key(path: Path) -> bool:
    return path.name.startswith("tlk_") and path.parent == Path()
