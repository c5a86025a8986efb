"""The Dockerfile, as far as a machine without a Docker engine can tell: its syntax and shell, what it copies, and that
nothing the package is built of is left out. tests/test_installed.py installs and plays what it installs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support.sources import ROOT

FILE = ROOT / "Dockerfile"
LINES = FILE.read_text().splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run([Path(sys.executable).parent / "hadolint", FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_all_that_the_package_is_built_of_is_copied_and_nothing_else() -> None:
    copied = {name for line in LINES if line.startswith("COPY") for name in line.split()[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    built = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert built | {"pyproject.toml", PROJECT["project"]["readme"], "LICENSE"} == copied
    context = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert context == copied


def test_it_installs_extras_that_there_are_for_a_python_that_we_support() -> None:
    extras = re.findall(r"/ludens\[([\w,]+)\]", FILE.read_text())[0].split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    version = re.findall(r"^FROM python:(\d\.\d+)", FILE.read_text(), re.MULTILINE)[0]
    assert any(version in one for one in PROJECT["project"]["classifiers"])
