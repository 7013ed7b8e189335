import json
import re
from pathlib import Path

import pytest

from harvester.cli.main import run

SECRET = "tlk_0123456789ABCDEFGHIJ"


@pytest.fixture(autouse=True)
def _clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWELVELABS_API_KEY", raising=False)


def test_every_setting_is_shown_with_its_value_and_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("harvester.toml").write_text("[rate]\nburst = 4\n")
    monkeypatch.setenv("HARVESTER_LOG__LEVEL", "debug")

    assert run(["config", "--db", "mine.db"]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["rate.burst", "4", "harvester.toml"] in rows
    assert ["log.level", "debug", "HARVESTER_LOG__LEVEL"] in rows
    assert ["store.path", "mine.db", "--db"] in rows
    assert ["api.key_file", "not", "set", "default"] in rows


def test_the_key_is_described_and_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWELVELABS_API_KEY", SECRET)

    run(["config"])
    run(["config", "--json"])

    captured = capsys.readouterr()
    assert captured.out.count("set, 24 characters, from TWELVELABS_API_KEY") == 2
    assert SECRET not in captured.out + captured.err


def test_a_missing_key_is_reported_and_no_failure_of_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config"]) == 0
    assert "There is no API key. Set TWELVELABS_API_KEY" in capsys.readouterr().out


def test_large_numbers_stand_in_human_units_beside_the_exact_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARVESTER_API__MAX_BODY_BYTES", "402653184")
    monkeypatch.setenv("HARVESTER_DISCOVERY__EVERY_S", "5400")
    monkeypatch.setenv("HARVESTER_RATE__REQUESTS_PER_MINUTE", "0")
    monkeypatch.setenv("HARVESTER_SERVER__LISTEN", "")

    assert run(["config"]) == 0

    rows = dict(re.split(r" {2,}", line)[:2] for line in capsys.readouterr().out.splitlines())
    assert rows["api.max_body_bytes"] == "402653184 (384 MiB)"
    assert rows["discovery.every_s"] == "5400.0 (1 h 30 min)"
    assert rows["harvest.grace_s"] == "30"
    assert rows["rate.requests_per_minute"] == "0.0 (unlimited)"
    assert rows["server.listen"] == "(off)"


def test_json_has_the_values_in_their_types(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--json"]) == 0

    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["harvest.concurrency"] == {"value": 8, "from": "default"}
    assert settings["api.key_file"] == {"value": None, "from": "default"}


def test_an_escape_in_a_path_stays_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    run(["config", "--db", "x\x1b[2J.db"])

    assert r"x\x1b[2J.db" in capsys.readouterr().out
