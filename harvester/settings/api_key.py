"""The API key: its sources, and an object that shows it only through `reveal()`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Protocol

from harvester.domain.errors import UsageError

KEY_VARIABLE = "TWELVELABS_API_KEY"
_BOTH_WAYS = f"Set {KEY_VARIABLE}, or let api.key_file name a file that holds the key."
_MAX_KEY_BYTES = 4096


class _ApiSettings(Protocol):
    @property
    def key_file(self) -> Path | None: ...


class _Settings(Protocol):
    @property
    def api(self) -> _ApiSettings: ...


class ApiKey:
    """A key that is absent from `repr`, `str`, logs, tracebacks with locals, copies and pickles."""

    __slots__ = ("__value", "source")

    def __init__(self, value: str, *, source: str) -> None:
        self.__value = value
        self.source = source

    def reveal(self) -> str:
        """Return the key itself, for the request header and nothing else."""
        return self.__value

    def masked(self) -> str:
        """Return a description without the key: "set, 24 characters, from TWELVELABS_API_KEY"."""
        return f"set, {len(self.__value)} characters, from {self.source}"

    def __repr__(self) -> str:
        return f"<ApiKey from {self.source}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an ApiKey is neither copied nor pickled")


def resolve_api_key(settings: _Settings, environ: Mapping[str, str]) -> ApiKey:
    """Return the key from the environment, else from `api.key_file`.

    Raises UsageError if there is none, or it cannot be a key; the error names the source and never shows the value.
    """
    key_file = settings.api.key_file
    if KEY_VARIABLE in environ:
        key = ApiKey(environ[KEY_VARIABLE], source=KEY_VARIABLE)
    elif key_file is not None:
        key = _read_key_file(key_file)
    else:
        raise UsageError("There is no API key.", remedy=_BOTH_WAYS)
    if flaw := _flaw(key):
        raise UsageError(f"The API key from {key.source} {flaw}.", remedy=_BOTH_WAYS)
    return key


def _read_key_file(path: Path) -> ApiKey:
    source = f"api.key_file {path}"
    try:
        with path.open("rb") as file:
            # latin-1 decodes any byte; characters beyond ASCII are refused with the other flaws.
            text = file.read(_MAX_KEY_BYTES + 1).decode("latin-1")
    except OSError as error:
        raise UsageError(f"The API key cannot be read from {source}: {error.strerror}.", remedy=_BOTH_WAYS) from None
    # Editors and `echo` end a file with one newline. More than one means that the file holds something else.
    return ApiKey(text.removesuffix("\n").removesuffix("\r"), source=source)


def _flaw(key: ApiKey) -> str | None:
    """Return why this cannot be a key, or None: in the request header a line break would begin another header."""
    if not key.reveal().strip():
        return "is blank"
    if len(key.reveal()) > _MAX_KEY_BYTES:
        return f"is longer than {_MAX_KEY_BYTES} characters"
    if not all("!" <= character <= "~" for character in key.reveal()):
        return "contains spaces, line breaks, control or non-ASCII characters"
    return None
