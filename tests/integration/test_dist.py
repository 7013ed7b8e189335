"""The wheel that `make dist` builds has all that the program needs."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

from harvester._version import __version__
from tests.support.thorough import thorough

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "PYTHON"))}


def done(*command: str | Path, cwd: Path, environ: dict[str, str] = ENVIRON) -> str:
    ended = subprocess.run(
        [str(one) for one in command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the recipe of `make dist` builds."""
    recipe = re.search(r"\$\(BIN\)/python -m (build .*) --outdir", (ROOT / "Makefile").read_text("utf-8"))
    assert recipe is not None
    folder = tmp_path_factory.mktemp("dist")
    done(sys.executable, "-m", *recipe[1].split(), "--outdir", folder, ROOT, cwd=folder, environ=dict(os.environ))
    return folder


@thorough
def test_the_archives_bear_the_version_of_the_program(archives: Path) -> None:
    name = f"twelvelabs_harvester-{__version__}"

    assert sorted(one.name for one in archives.iterdir()) == [f"{name}-py3-none-any.whl", f"{name}.tar.gz"]
    with tarfile.open(archives / f"{name}.tar.gz") as archive:
        names = archive.getnames()
    migrations = [f"{name}/{file.relative_to(ROOT)}" for file in (ROOT / "migrations").rglob("*.sql")]
    assert {f"{name}/Makefile", f"{name}/tests/conftest.py", f"{name}/docs/harvester.1", *migrations} <= set(names)


@thorough
def test_the_installed_wheel_works_without_the_repository(archives: Path, tmp_path: Path) -> None:
    (wheel,) = archives.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "harvester"
    done(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # The dependencies are those of this environment; what is in the new one comes first.
    site = Path(done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))

    version = done(command, "--version", cwd=tmp_path)
    done(command, "add", "66f537778d9641fe5a0d101f", "--db", "h.db", cwd=tmp_path)
    where = done(python, "-c", "import harvester; print(harvester.__file__)", cwd=tmp_path)

    assert version == f"harvester {__version__}\n"
    assert (tmp_path / "h.db").exists()
    assert where.startswith(str(site))
    assert (tmp_path / "venv" / "share" / "man" / "man1" / "harvester.1").exists()
