"""Writes a settings file: the TOML of some settings, under its name only when it is complete."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from harvester.domain.errors import UsageError

Value = str | int | float

_HEAD = "# `harvester config` prints the settings in effect, and config.example.toml explains every setting.\n"


def settings_text(values: Mapping[str, Mapping[str, Value]], remarks: Mapping[str, str]) -> str:
    """Return TOML with these values by section and key, and a remark under the heading of a section."""
    parts = [_HEAD]
    for section in dict.fromkeys([*remarks, *values]):
        remark = f"# {remarks[section]}\n" if section in remarks else ""
        lines = "".join(f"{key} = {_literal(value)}\n" for key, value in values.get(section, {}).items())
        parts.append(f"[{section}]\n{remark}{lines}")
    return "\n".join(parts)


def check_target(path: Path, *, replace: bool) -> None:
    """Raise UsageError if no settings file can be written at `path`, or one is there that may not be replaced."""
    folder = path.absolute().parent
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", remedy="Give the name of a file with --config.")
    if path.exists() and not path.is_file():
        # Such as /dev/null, which all programs of the machine need as it is.
        raise UsageError(f"{path} is a device or a pipe.", remedy="Give the name of a file with --config.")
    if os.path.lexists(path) and not replace:
        raise UsageError(f"{path} exists already.", remedy="Give --force to replace it, or --config for another file.")
    if not folder.is_dir():
        raise UsageError(
            f"{path} cannot be written: its folder does not exist.", remedy="Create it, or correct the path."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: its folder is not writable.", remedy="Give another with --config.")


def write_settings(path: Path, text: str, *, replace: bool) -> None:
    """Write the file. Raises UsageError, and leaves nothing and an older file as it was, if that is not possible."""
    check_target(path, replace=replace)
    # A link to the file stays a link.
    target = Path(os.path.realpath(path))
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    is_taken = False
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if not replace:
            # Takes the name only if no other program has taken it since the check.
            target.touch(exist_ok=False)
            is_taken = True
        unfinished.replace(target)
    except OSError as error:
        if is_taken:
            # The empty file that has taken the name.
            target.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}.", remedy="Give another with --config.") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _literal(value: Value) -> str:
    if isinstance(value, str):
        # The escapes of JSON are those of TOML; TOML has one more control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(int(value)) if value == int(value) else str(value)
