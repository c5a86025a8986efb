"""The repository's own promises: its files, its targets and its rules about tests."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[1]
PACKAGES = ("envs", "agent", "tasks", "rewards", "training")
# What makes `agent --help` slow when a verb's file imports it outside its functions.
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "vizdoom", "mujoco", "matplotlib", "scipy", "pyarrow"}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_file_is_longer_than_500_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 500}
    assert not long


# A vector speaks with its own children over a socket pair that nobody else can reach; what it pickles is its own.
OWN_CHILDREN = {"envs/vector.py", "envs/vector_worker.py"}


def test_nothing_is_pickled_and_no_array_file_may_hold_pickles() -> None:
    found = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if str(path.relative_to(ROOT)) in OWN_CHILDREN:
                continue
            if isinstance(node, ast.Import) and any(a.name.split(".")[0] in {"pickle", "dill"} for a in node.names):
                found.append(f"{path}:{node.lineno}")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                value = node.value
                if not (isinstance(value, ast.Constant) and value.value is False):
                    found.append(f"{path}:{value.lineno}")
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "agent" / "cli").glob("*.py")), ids=lambda p: p.name)
def test_verbs_import_heavy_packages_inside_their_functions(path: Path) -> None:
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    assert not names & HEAVY


def test_every_entry_point_group_of_the_distribution_is_one_that_the_registry_reads() -> None:
    from envs.plugins import GROUPS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["entry-points"]) <= set(GROUPS.values())


@pytest.mark.parametrize("target", ["setup", "play", "lint", "test"])
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2"\nexit 1\n')
    old.chmod(0o755)
    (tmp_path / "pyproject.toml").touch()
    done = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "setup", f"PYTHON={old}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"ludens needs Python 3.11 or newer; {old} is Python 3.9.2." in done.stderr


@pytest.mark.parametrize(("ci", "failed"), [("true", 2), ("", 0)])
def test_a_skip_is_a_failure_in_ci_alone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, failed: int
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    pytester.makepyfile(
        test_parts="import pytest\ndef test_a(): pytest.skip('no game here')\n"
        "@pytest.mark.xfail\ndef test_b(): assert 0\n",
        test_module="import pytest\npytest.skip('no display', allow_module_level=True)\n",
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "--continue-on-collection-errors")
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == failed
    assert outcomes.get("skipped", 0) == 2 - failed
    assert outcomes["xfailed"] == 1
    if ci:
        result.stdout.fnmatch_lines(["*with CI=true nothing may be: *no game here*"])
