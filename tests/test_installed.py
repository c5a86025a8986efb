"""What users install: the wheel, made from the sdist, in an environment of its own, away from this checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.sources import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(900)]

UV = [sys.executable, "-m", "uv"]
ROOMS = ("agent", "envs", "rewards", "tasks", "training")
# Plays, and then tells every module that was loaded.
_PLAY = """
import json, sys
from agent.cli import run
status = run(["play", *sys.argv[2:]])
files = [m.__file__ for m in list(sys.modules.values()) if isinstance(getattr(m, "__file__", None), str)]
open(sys.argv[1], "w").write(json.dumps(files))
sys.exit(status)
"""


@dataclass(frozen=True)
class Installed:
    """`wheel` and `sdist` as they were built, and the Python of the environment that has the wheel."""

    wheel: Path
    sdist: Path
    python: Path

    def run(self, *command: str | Path, cwd: Path) -> str:
        """What a command of the environment prints, with nothing of this checkout in its variables."""
        kept = {n: v for n, v in os.environ.items() if n not in ("VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_START")}
        path = f"{self.python.parent}{os.pathsep}{os.defpath}"
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, env={**kept, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "clean" / "bin" / "python"
    for command in (
        ["build", "--quiet", "--no-build-isolation", "--out-dir", str(folder / "dist"), str(ROOT)],
        ["venv", "--quiet", "--python", sys.executable, str(folder / "clean")],
    ):
        subprocess.run([*UV, *command], check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    subprocess.run([*UV, "pip", "install", "--quiet", "--python", str(python), str(wheel)], check=True)
    return Installed(wheel, sdist, python)


def test_wheel_and_sdist_hold_every_file_of_the_rooms_and_nothing_else(installed: Installed) -> None:
    listed = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = set(listed.splitlines())
    with zipfile.ZipFile(installed.wheel) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert files >= tracked
    assert {Path(name).parts[0] for name in files} == set(ROOMS)
    with tarfile.open(installed.sdist) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert inside >= tracked | {"pyproject.toml", "README.md", "LICENSE"}


def test_it_plays_where_nothing_of_the_checkout_is(installed: Installed, tmp_path: Path) -> None:
    play = ["look up", "--seed", "3", "--time-limit", "2", "--no-page", "--json", "--out", str(tmp_path / "run")]
    said = installed.run(installed.python, "-c", _PLAY, tmp_path / "files.json", *play, cwd=tmp_path)
    (episode,) = json.loads(said)["episodes"]
    assert episode["outcome"]["ticks"] > 0
    assert (tmp_path / "run" / "report.html").exists()
    files: list[str] = json.loads((tmp_path / "files.json").read_text())
    site = installed.python.parents[1]
    assert {room for room in ROOMS for file in files if Path(file).is_relative_to(site) and f"/{room}/" in file} >= {
        "agent", "envs", "tasks", "training"
    }  # fmt: skip
    assert not [file for file in files if Path(file).is_relative_to(ROOT)]


def test_the_command_is_there_and_names_are_free(installed: Installed, tmp_path: Path) -> None:
    command = installed.python.with_name("agent")
    assert installed.run(command, "--version", cwd=tmp_path).startswith("ludens ")
    script = (
        "from agent.cli import own_names; assert not own_names.others(), own_names.others();"
        "assert not own_names.elsewhere(), own_names.elsewhere()"
    )
    installed.run(installed.python, "-c", script, cwd=tmp_path)
    # Beside a package with one of our names it is said.
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").touch()
    told = installed.run(
        installed.python, "-c", "from agent.cli import own_names; print(own_names.elsewhere())", cwd=tmp_path
    )
    assert str(tmp_path / "tasks") in told
