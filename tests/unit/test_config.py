import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harvester.domain.errors import UsageError
from harvester.settings.model import LoadedSettings, Settings, describe_settings, load_settings


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> LoadedSettings:
    if toml is not None:
        Path("harvester.toml").write_text(toml, encoding="utf-8")
    return load_settings(None, overrides, environ or {})


def refusal(
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    with pytest.raises(UsageError) as caught:
        load(toml, environ, overrides)
    return str(caught.value)


class TestWhereValuesComeFrom:
    def test_without_any_source_everything_is_default(self) -> None:
        loaded = load()

        assert loaded.settings == Settings()
        assert {"default"} == set(loaded.origins.values())
        assert [setting.name for setting in describe_settings()] == list(loaded.origins)

    @pytest.mark.parametrize(
        ("toml", "environ", "flag", "expected"),
        [
            ('["visual", "audio", "visual"]', None, None, ("visual", "audio")),
            ('"visual, audio"', None, None, ("visual", "audio")),
            ('["visual"]', "audio,transcription", None, ("audio", "transcription")),
            ('["visual"]', "all", None, ()),
            ('["visual"]', "audio", ["transcription", "visual-text"], ("transcription", "visual-text")),
            ('["visual"]', "audio", ["all"], ()),
            ("[]", None, None, ()),
        ],
    )
    def test_a_list_is_read_from_each_source(
        self, toml: str, environ: str | None, flag: list[str] | None, expected: tuple[str, ...]
    ) -> None:
        variables = {} if environ is None else {"HARVESTER_HARVEST__EMBEDDING_OPTIONS": environ}
        loaded = load(f"[harvest]\nembedding_options = {toml}\n", variables, {"harvest": {"embedding_options": flag}})
        assert loaded.settings.harvest.embedding_options == expected

    @pytest.mark.parametrize(
        ("toml", "value"),
        [('["visual", "smell"]', "'smell'"), ('["visual", "all"]', "'all'"), ("[7]", "7"), ("7", "7")],
    )
    def test_an_element_that_is_none_of_the_choices_is_named_with_the_choices(self, toml: str, value: str) -> None:
        said = refusal(f"[harvest]\nembedding_options = {toml}\n")
        assert said.startswith("harvest.embedding_options = ")
        assert value in said
        assert 'it takes a list of "visual" or "audio" or "transcription" or "visual-text".' in said

    def test_environment_goes_over_the_file_and_flags_over_both(self) -> None:
        loaded = load(
            "[harvest]\nconcurrency = 2\nlease_s = 20\ngrace_s = 10\n",
            {"HARVESTER_HARVEST__CONCURRENCY": "3", "HARVESTER_HARVEST__LEASE_S": "30"},
            {"harvest": {"concurrency": 4}},
        )

        harvest = loaded.settings.harvest
        assert (harvest.concurrency, harvest.lease_s, harvest.grace_s) == (4, 30.0, 10.0)
        assert [loaded.origins[f"harvest.{key}"] for key in ("concurrency", "lease_s", "grace_s")] == [
            "--concurrency",
            "HARVESTER_HARVEST__LEASE_S",
            "harvester.toml",
        ]

    def test_a_flag_that_was_not_given_changes_nothing(self) -> None:
        loaded = load("[store]\npath = 'mine.db'\n", overrides={"store": {"path": None}})

        assert Path("mine.db") == loaded.settings.store.path

    def test_the_database_flag_is_called_by_its_name(self) -> None:
        assert load(overrides={"store": {"path": Path("x.db")}}).origins["store.path"] == "--db"

    def test_harvester_config_names_another_file(self, tmp_path: Path) -> None:
        file = tmp_path / "other.toml"
        file.write_text("[rate]\nburst = 5\n")

        loaded = load("[rate]\nburst = 2\n", {"HARVESTER_CONFIG": str(file)})

        assert loaded.settings.rate.burst == 5
        assert loaded.origins["rate.burst"] == str(file)

    def test_the_config_flag_goes_over_harvester_config(self, tmp_path: Path) -> None:
        file = tmp_path / "flag.toml"
        file.write_text("[rate]\nburst = 7\n")

        assert load_settings(file, environ={"HARVESTER_CONFIG": "absent"}).settings.rate.burst == 7

    def test_a_byte_order_mark_and_windows_line_ends_are_fine(self) -> None:
        Path("harvester.toml").write_bytes(b"\xef\xbb\xbf[rate]\r\nburst = 3\r\n")

        assert load().settings.rate.burst == 3

    def test_settings_built_without_loading_ignore_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOG", '{"level": "debug"}')
        monkeypatch.setenv("HARVESTER_LOG__LEVEL", "debug")

        assert Settings().log.level == "info"

    def test_settings_are_frozen(self) -> None:
        with pytest.raises(ValidationError):
            Settings().rate.burst = 2

    def test_settings_travel_to_worker_processes(self) -> None:
        settings = load("[rate]\nburst = 3\n").settings

        assert settings == pickle.loads(pickle.dumps(settings))


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("toml", "name", "suggestion"),
        [
            ("[store]\nptah = 'x'", "store.ptah", "Did you mean store.path?"),
            ("[stroe]\npath = 'x'", "[stroe]", "Did you mean store?"),
            ("concurrency = 3", "concurrency", "Did you mean harvest.concurrency?"),
            ("[zzz]", "[zzz]", "`harvester config` lists every setting."),
        ],
    )
    def test_in_the_file_are_refused_with_the_nearest_that_exists(self, toml: str, name: str, suggestion: str) -> None:
        assert f"harvester.toml sets {name}, which is not a setting. {suggestion}" == refusal(toml)

    @pytest.mark.parametrize(
        "variable",
        ["HARVESTER_STORE__PTAH", "HARVESTER_STROE__PATH", "HARVESTER_STORE_PATH", "harvester_store__path"],
    )
    def test_in_the_environment_are_refused_with_the_nearest_that_exists(self, variable: str) -> None:
        expected = f"The environment sets {variable}, which is not a setting. Did you mean HARVESTER_STORE__PATH?"

        assert expected == refusal(environ={variable: "x"})

    def test_on_the_command_line_are_refused_too(self) -> None:
        assert "harvest.concurency" in refusal(overrides={"harvest": {"concurency": 1}})

    @pytest.mark.parametrize(
        "variable",
        [
            "HARVESTER_PORT",
            "HARVESTER_SERVICE_HOST",
            "HARVESTER_PORT_8080_TCP_ADDR",
            "HARVESTER_API_SERVICE_HOST",
            "HARVESTER_API_SERVICE_PORT_HTTP",
            "HARVESTER_STORE_PORT",
            "HARVESTER_STORE_PORT_443_TCP_PROTO",
            "HARVESTERS__X",
            "TWELVELABS_API_KEY",
        ],
    )
    def test_variables_of_service_links_and_of_others_are_ignored(self, variable: str) -> None:
        assert load().settings == load(environ={variable: "x"}).settings

    def test_a_value_where_a_section_belongs_is_refused(self) -> None:
        assert "it is a section. Write [store]" in refusal("store = 'x.db'")

    @pytest.mark.parametrize("variable", ["HARVESTER_API_KEY", "HARVESTER_API__KEY"])
    def test_a_key_among_the_settings_is_refused_with_the_remedy_and_not_shown(self, variable: str) -> None:
        for message in (refusal("[api]\nkey = 'tlk_secret'"), refusal(environ={variable: "tlk_secret"})):
            assert "TWELVELABS_API_KEY" in message
            assert "api.key_file" in message
            assert "tlk_secret" not in message

    @given(st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=1, max_size=12))
    def test_no_variable_with_two_underscores_goes_unnoticed(self, key: str) -> None:
        assert f"HARVESTER_STORE__{key}X" in refusal(environ={f"HARVESTER_STORE__{key}X": "1"})


class TestValues:
    def test_an_unacceptable_one_is_named_with_its_origin_its_bounds_and_the_default(self) -> None:
        expected = (
            "harvest.concurrency = '0', from HARVESTER_HARVEST__CONCURRENCY, cannot be used: "
            "it takes a whole number from 1 to 256. "
            "Correct it there, or leave it out for the default (8)."
        )

        assert expected == refusal(environ={"HARVESTER_HARVEST__CONCURRENCY": "0"})

    @pytest.mark.parametrize(
        "toml",
        [
            "[harvest]\nconcurrency = 1.5",
            "[harvest]\nconcurrency = true",
            "[harvest]\nconcurrency = [1]",
            "[rate]\nrequests_per_minute = nan",
            "[rate]\nrequests_per_minute = -1",
            "[rate]\nrequests_per_minute = 1e-310",
            "[rate]\nburst = 0",
            "[api]\nconnect_timeout_s = 0",
            "[api]\nread_timeout_s = inf",
            "[api]\nversion = 'v3'",
            "[api]\nkey_file = ''",
            '[api]\nkey_file = "a\\u0000b"',
            "[log]\nlevel = 'loud'",
            "[store]\npath = ''",
            '[store]\npath = "a\\u0000b"',
            "[store]\npath = ':memory:'",
            "[store]\npath = 'file:x.db?mode=memory'",
        ],
    )
    def test_out_of_bounds_or_of_another_kind_are_refused_by_name(self, toml: str) -> None:
        section, key = toml[1:].partition(" =")[0].split("]\n")

        assert refusal(toml).startswith(f"{section}.{key} = ")

    def test_zero_requests_per_minute_means_unlimited_and_is_allowed(self) -> None:
        assert load("[rate]\nrequests_per_minute = 0").settings.rate.requests_per_minute == 0

    def test_log_levels_are_taken_in_any_case(self) -> None:
        assert load(environ={"HARVESTER_LOG__LEVEL": "WARNING"}).settings.log.level == "warning"

    @pytest.mark.parametrize("variable", ["HARVESTER_STORE__PATH", "HARVESTER_CONFIG"])
    @pytest.mark.parametrize("value", ["", "  "])
    def test_an_empty_variable_is_refused_rather_than_replaced_by_the_default(self, variable: str, value: str) -> None:
        assert refusal(environ={variable: value}).startswith(f"{variable} is empty.")

    def test_a_key_given_in_place_of_its_file_is_refused_and_not_shown(self) -> None:
        message = refusal(environ={"HARVESTER_API__KEY_FILE": "tlk_secret"})

        assert message.startswith("api.key_file, from HARVESTER_API__KEY_FILE, cannot be used: it looks like a key")
        assert "tlk_secret" not in message

    def test_a_password_in_the_base_url_is_not_shown(self) -> None:
        message = refusal(environ={"HARVESTER_API__BASE_URL": "https://me:hunter2@example.com"})

        assert message.startswith("api.base_url, from HARVESTER_API__BASE_URL, cannot be used:")
        assert "hunter2" not in message

    def test_plain_http_to_another_host_is_refused(self) -> None:
        message = refusal(environ={"HARVESTER_API__BASE_URL": "http://example.com"})

        assert "'http://example.com'" in message
        assert "the key would be sent unencrypted" in message


class TestFilesThatCannotBeRead:
    def test_a_missing_one_is_named_with_what_asked_for_it(self) -> None:
        assert "file absent.toml (from HARVESTER_CONFIG) does not exist" in refusal(
            environ={"HARVESTER_CONFIG": "absent.toml"}
        )

    def test_a_directory_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"\(from --config\) cannot be read: Is a directory"):
            load_settings(tmp_path, environ={})

    def test_what_is_not_toml_is_named_with_the_line(self) -> None:
        assert refusal("[rate]\nburst = = 3\n").startswith("harvester.toml is not TOML:")
        assert "line 2" in refusal("[rate]\nburst = = 3\n")

    def test_what_is_not_utf_8_is_named(self) -> None:
        Path("harvester.toml").write_bytes(b"[store]\npath = '\xff'\n")

        assert "harvester.toml is not UTF-8" in refusal()


def test_every_setting_has_bounds_or_choices_and_a_sentence() -> None:
    for setting in describe_settings():
        assert setting.description.endswith("."), setting.name
        assert setting.accepts, setting.name


def test_an_empty_listen_address_switches_the_server_off() -> None:
    loaded = load_settings(environ={"HARVESTER_SERVER__LISTEN": ""})
    assert loaded.settings.server.listen == ""
