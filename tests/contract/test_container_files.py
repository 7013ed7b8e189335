"""The promises of Dockerfile, compose.yaml and harvester.service, read from their text; none of them is run here."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from harvester._version import __version__
from harvester.cli.daemon import GRACE_S
from harvester.settings.model import describe_settings
from harvester.web.auth import OPEN_PATHS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
MANIFEST = (ROOT / "docs" / "kubernetes.yaml").read_text("utf-8")
UNIT = (ROOT / "docs" / "harvester.service").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "howto" / "operations.md").read_text("utf-8")
IGNORED = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
ANALYZE = shutil.which("systemd-analyze")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, in order, without comments and with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


INSTRUCTIONS = instructions()
LAST_STAGE = INSTRUCTIONS[max(number for number, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]


def last(name: str) -> str:
    return [value for found, value in LAST_STAGE if found == name][-1]


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_the_image_runs_the_daemon_in_exec_form_as_an_unprivileged_number() -> None:
    assert (json.loads(last("ENTRYPOINT")), json.loads(last("CMD"))) == (["harvester"], ["run"])
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert (last("VOLUME"), last("STOPSIGNAL")) == ("/data", "SIGTERM")


def test_the_image_asks_the_daemon_for_its_health() -> None:
    options, _, command = last("HEALTHCHECK").partition(" CMD ")
    assert json.loads(command) == ["harvester", "doctor", "--live"]
    assert re.findall(r"--([a-z-]+)=", options) == ["interval", "timeout", "start-period", "retries"]


def test_the_last_stage_installs_nothing() -> None:
    steps = " ".join(value for name, value in LAST_STAGE if name == "RUN")
    assert re.findall(r"\b(apt-get|apk|pip|gcc|make)\b", steps) == []


def test_a_change_of_the_code_does_not_install_the_dependencies_again() -> None:
    lines = [f"{name} {value}" for name, value in INSTRUCTIONS]
    dependencies = next(number for number, line in enumerate(lines) if "-c constraints.txt" in line)
    code = lines.index("COPY harvester harvester")
    assert dependencies < code
    assert "--no-deps" in lines[code + 1]
    copied = [line for line in lines[:dependencies] if line.startswith("COPY")]
    assert copied == ["COPY pyproject.toml constraints.txt ./"]


def test_what_is_copied_is_let_in_and_nothing_else() -> None:
    copied = {
        source
        for name, value in INSTRUCTIONS
        if name == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    }
    assert IGNORED[0] == "*"
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == copied


@pytest.mark.parametrize("text", [COMPOSE, UNIT, MANIFEST, OPERATIONS, (ROOT / "Dockerfile").read_text("utf-8")])
def test_every_setting_that_they_name_exists(text: str) -> None:
    known = {setting.variable for setting in describe_settings()}
    named = set(re.findall(r"\bHARVESTER_[A-Z]+__[A-Z_]+", text))
    assert named != set()
    assert named <= known


def test_the_files_that_compose_mounts_exist() -> None:
    mounted = re.findall(r"file: \./(\S+)", COMPOSE)
    assert "docs/grafana.json" in mounted
    # The key is the user's.
    assert [name for name in mounted if not (ROOT / name).exists()] == ["twelvelabs_api_key"]


def test_no_process_is_killed_before_the_grace_is_over() -> None:
    compose = re.search(r"stop_grace_period: (\S+)", COMPOSE)
    unit = re.search(r"TimeoutStopSec=(\d+)", UNIT)
    manifest = re.search(r"terminationGracePeriodSeconds: (\d+)", MANIFEST)
    assert compose is not None
    assert unit is not None
    assert manifest is not None
    assert min(seconds(compose[1]), seconds(unit[1]), seconds(manifest[1])) > GRACE_S


def test_the_manifest_keeps_one_process_on_the_database() -> None:
    assert re.findall(r"replicas: (\d+)", MANIFEST) == ["1"]
    assert re.findall(r"strategy:\s+type: (\w+)", MANIFEST) == ["Recreate"]
    assert re.findall(r"accessModes: (\S+)", MANIFEST) == ["[ReadWriteOnce]"]


def test_the_manifest_runs_the_image_as_its_user_on_a_read_only_root() -> None:
    user, group = last("USER").split(":")
    assert re.findall(r"(runAsUser|runAsGroup|fsGroup): (\d+)", MANIFEST) == [
        ("runAsUser", user),
        ("runAsGroup", group),
        ("fsGroup", group),
    ]
    assert "readOnlyRootFilesystem: true" in MANIFEST
    assert re.findall(r"mountPath: ([^,}]+)", MANIFEST) == ["/data", "/tmp", "/run/secrets/harvester"]
    assert "value: /data/harvester.db" in MANIFEST


def test_compose_keeps_the_root_read_only_but_for_the_data_and_temporary_files() -> None:
    service = COMPOSE.partition("\n  harvester:\n")[2].partition("\n\n")[0]
    assert "    read_only: true\n    tmpfs:\n      - /tmp\n" in service
    assert re.findall(r"    volumes:\n(?:      #.*\n)*      - (\S+)\n", service) == ["harvester:/data"]


def test_the_probes_of_the_manifest_ask_pages_that_they_may_read() -> None:
    assert set(re.findall(r"httpGet: \{path: (\S+),", MANIFEST)) == OPEN_PATHS
    (script,) = re.findall(r"- -c\n +- \|\n((?: {18}.*\n)+)", MANIFEST)
    assert "/readyz" in script
    compile(dedent(script), "readinessProbe", "exec")


def test_the_image_bears_the_version() -> None:
    assert f"VERSION={__version__}" in [value for name, value in LAST_STAGE if name == "ARG"]
    assert 'org.opencontainers.image.version="${VERSION}"' in last("LABEL")


def test_no_key_stands_in_them() -> None:
    assert "TWELVELABS_API_KEY=" not in UNIT
    assert re.findall(r"^\s+TWELVELABS_API_KEY:", COMPOSE, re.MULTILINE) == []
    assert "TWELVELABS_API_KEY" not in MANIFEST
    assert "LoadCredential=twelvelabs_api_key:" in UNIT


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is missing")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "harvester.service"
    # It wants the program to exist.
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", UNIT))
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_links_of_the_operations_page_lead_somewhere() -> None:
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", OPERATIONS)
    assert [name for name in linked if not (ROOT / "docs" / "howto" / name).exists()] == []
