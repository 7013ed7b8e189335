"""`harvester init`: ask three questions, write the settings file, try the key."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from harvester.cli.console import print_note
from harvester.cli.init_answers import Answers, EndOfInput, collect_answers
from harvester.cli.options import ConfigFile, Database
from harvester.domain.errors import UsageError
from harvester.ports.check_result import Verdict
from harvester.settings.api_key import KEY_VARIABLE
from harvester.settings.model import load_settings
from harvester.settings.settings_file import check_target, settings_text, write_settings
from harvester.settings.sources import CONFIG_VARIABLE, DEFAULT_CONFIG_PATH, variable_name

KeyFile = Annotated[
    str | None, typer.Option("--key-file", metavar="FILE", help="The file that holds the API key (api.key_file).")
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--requests-per-minute", metavar="NUMBER", help="The rate; 0 is unlimited (rate.requests_per_minute)."
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Send no request to the API; else one is sent.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the settings file if it exists.")]


def init(  # noqa: PLR0913  # one parameter for each option
    *,
    key_file: KeyFile = None,
    db: Database = None,
    requests_per_minute: Rate = None,
    offline: Offline = False,
    force: Force = False,
    config: ConfigFile = None,
) -> None:
    """Write a settings file.

    Asks where the API key is, where the database goes and which rate to keep, tries the key with one request, and
    writes ./harvester.toml. The key itself is not written. Without a terminal nothing is asked: give the options.

    Example: harvester init --key-file ~/.twelvelabs_key --db tasks.db --requests-per-minute 60
    """
    target = config or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG_PATH)
    check_target(target, replace=force)
    try:
        answers = collect_answers(key_file, None if db is None else str(db), requests_per_minute)
    except EndOfInput:
        raise UsageError("The input has ended; nothing is written.", remedy="Run it again to start over.") from None
    values = _values(answers, target)
    is_well = _try_key(values, offline=offline)
    write_settings(target, settings_text(values, _remarks(answers)), replace=force)
    _say(f"{target} is written.")
    _warn_of_variables(values)
    _say_what_is_next(target, answers, is_named=config is not None, is_well=is_well)
    raise typer.Exit(0 if is_well else 1)


def _values(answers: Answers, target: Path) -> dict[str, dict[str, Any]]:
    """Return the settings by section and key. Paths in a file elsewhere are whole: commands run in other folders."""
    is_here = target.absolute().parent == Path.cwd()

    def written(path: Path) -> str:
        return str(path if is_here else path.absolute())

    key = {} if answers.key_file is None else {"key_file": written(answers.key_file)}
    return {
        "api": key,
        "store": {"path": written(answers.database)},
        "rate": {"requests_per_minute": answers.requests_per_minute},
    }


def _remarks(answers: Answers) -> dict[str, str]:
    return {"api": f"The key comes from the variable {KEY_VARIABLE}."} if answers.key_file is None else {}


def _try_key(values: Mapping[str, Mapping[str, Any]], *, offline: bool) -> bool:
    """Send one request, say what was found, and return whether nothing is wrong."""
    # The HTTP client is imported after the questions, which then appear at once.
    from harvester.cli.checks import check_api  # noqa: PLC0415

    # An empty file: the one that exists may be the one to replace.
    settings = load_settings(Path(os.devnull), values).settings
    is_in_file = settings.api.key_file is not None
    environ = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE or not is_in_file}
    found = list(check_api(settings, environ, offline=offline))
    for one in found:
        _say(one.line)
    return all(one.verdict is not Verdict.FAILURE for one in found)


def _warn_of_variables(values: Mapping[str, Mapping[str, Any]]) -> None:
    """Name the variables of this shell that override what was written."""
    for section, keys in values.items():
        names = [variable_name(section, key) for key in keys]
        names += [KEY_VARIABLE] if "key_file" in keys else []
        for name in names:
            if name in os.environ:
                _say(f"The variable {name} is set, and overrides the file.")


def _say_what_is_next(target: Path, answers: Answers, *, is_named: bool, is_well: bool) -> None:
    chosen = f" --config {shlex.quote(str(target))}" if is_named else ""
    if is_well:
        _say("Next, queue the tasks of the last seven days, and harvest them:")
        _say(f"  harvester discover{chosen} && harvester backfill{chosen}")
        return
    _say("Next, when that is repaired:")
    if answers.key_file is None and KEY_VARIABLE not in os.environ:
        _say(f"  export {KEY_VARIABLE}=…")
    _say(f"  harvester doctor{chosen}")


def _say(text: str) -> None:
    print_note(text)
