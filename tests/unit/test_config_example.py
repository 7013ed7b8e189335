import re
import tomllib
from pathlib import Path
from typing import Any

from harvester.settings.model import SettingDescription, describe_settings, load_settings

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
SETTINGS = list(describe_settings())


def uncommented() -> dict[str, Any]:
    """The file with every setting in effect: prose has a space after the mark, settings have none."""
    return tomllib.loads(re.sub(r"^#(?=\w)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_example_has_exactly_the_settings_there_are() -> None:
    names = [f"{section}.{key}" for section, table in uncommented().items() for key in table]

    assert [setting.name for setting in SETTINGS] == names


def test_the_example_shows_the_defaults() -> None:
    different = [setting.name for setting in SETTINGS if not shows_default(setting)]
    assert different == []


def shows_default(setting: SettingDescription) -> bool:
    value = uncommented()[setting.section][setting.key]
    if setting.default is None:
        return isinstance(value, str)
    if isinstance(setting.default, tuple):
        return bool(list(setting.default) == value)
    return bool((str(setting.default) if isinstance(setting.default, Path) else setting.default) == value)


def test_the_example_explains_each_setting_in_the_line_above() -> None:
    text = EXAMPLE.read_text("utf-8")
    unexplained = [explanation for explanation in map(explained, SETTINGS) if explanation not in text]
    assert unexplained == []


def explained(setting: SettingDescription) -> str:
    unset = " Not set by default." if setting.default is None else ""
    takes = "" if setting.accepts in {"text", "a path"} else f" Takes {setting.accepts}."
    return f"\n# {setting.description}{takes}{unset}\n#{setting.key} = "


def test_the_example_as_it_stands_changes_nothing() -> None:
    assert {"default"} == set(load_settings(EXAMPLE, environ={}).origins.values())
