import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harvester.settings.model import SettingDescription, describe_settings, load_settings

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
SETTINGS = list(describe_settings())


def uncommented() -> dict[str, Any]:
    """The file with every setting in effect: prose has a space after the mark, settings have none."""
    return tomllib.loads(re.sub(r"^#(?=\w)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_example_has_exactly_the_settings_there_are() -> None:
    names = [f"{section}.{key}" for section, table in uncommented().items() for key in table]

    assert [setting.name for setting in SETTINGS] == names


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_example_shows_the_default(setting: SettingDescription) -> None:
    value = uncommented()[setting.section][setting.key]

    if setting.default is None:
        assert isinstance(value, str)
    else:
        assert (str(setting.default) if isinstance(setting.default, Path) else setting.default) == value


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_example_explains_the_setting_in_the_line_above(setting: SettingDescription) -> None:
    unset = " Not set by default." if setting.default is None else ""
    takes = "" if setting.accepts in {"text", "a path"} else f" Takes {setting.accepts}."
    explanation = f"# {setting.description}{takes}{unset}"

    assert re.search(f"^{re.escape(explanation)}\n#{setting.key} = ", EXAMPLE.read_text("utf-8"), re.MULTILINE)


def test_the_example_as_it_stands_changes_nothing() -> None:
    assert {"default"} == set(load_settings(EXAMPLE, environ={}).origins.values())
