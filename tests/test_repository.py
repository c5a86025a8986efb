"""The repository's own promises: its files, its targets and its rules about tests."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import components
from tests.support.sources import ROOT, parse, sources

pytest_plugins = ("pytester",)

# What makes `agent --help` slow when a verb's file imports it outside its functions.
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "vizdoom", "mujoco", "matplotlib", "scipy", "pyarrow"}


def test_no_file_is_longer_than_500_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 500}
    assert not long


# A vector speaks with its own children over a socket pair that nobody else can reach; what it pickles is its own.
OWN_CHILDREN = {"envs/vector.py", "envs/vector_worker.py"}


def test_nothing_is_pickled_and_no_array_file_may_hold_pickles() -> None:
    found = []
    for path in sources():
        for node in ast.walk(parse(path)):
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
    for node in parse(path).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    assert not names & HEAVY


def test_every_entry_point_group_of_the_distribution_is_one_that_the_registry_reads() -> None:
    from envs.plugins import GROUPS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["entry-points"]) <= set(GROUPS.values())


@pytest.mark.parametrize("target", ["setup", "play", "lint", "test", "test-fast", "coverage", "docs"])
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


TESTS = {
    "test_parts": """
        import pytest
        from tests.support.components import needs
        FIXTURE_NEEDS = {"desk": "desk"}
        @pytest.fixture
        def desk(): raise AssertionError("started without its component")
        def test_a(): pytest.skip("no game here")
        @pytest.mark.xfail
        def test_b(): assert 0
        @needs("screen")
        def test_c(): raise AssertionError
        def test_d(desk): raise AssertionError
        def test_e(): pass
    """,
    "test_module": """
        import pytest
        pytest.skip("no display", allow_module_level=True)
    """,
}


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A small suite with our conftest, on a machine that lacks two components."""
    lacking = {
        "screen": components.Component("a screen", lambda: False, ("xvfb", "libatomic1")),
        "desk": components.Component("a desk", lambda: False, command="agent env setup desk"),
    }
    monkeypatch.setattr(components, "COMPONENTS", lacking)
    components.present.cache_clear()
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text())
    pytester.makepyfile(**TESTS)
    return pytester


@pytest.mark.parametrize(("ci", "failed"), [("true", 4), ("", 0)])
def test_a_skip_is_a_failure_in_ci_alone(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, failed: int
) -> None:
    monkeypatch.setenv("CI", ci)
    result = suite.runpytest("-p", "no:cacheprovider", "--continue-on-collection-errors")
    outcomes = result.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == failed
    assert outcomes.get("skipped", 0) == 4 - failed
    assert (outcomes["xfailed"], outcomes["passed"]) == (1, 1)
    if ci:
        result.stdout.fnmatch_lines(["*with CI=true nothing may be: *no game here*"])
        result.stdout.fnmatch_lines(["*with CI=true nothing may be: a screen is missing: apt-get install xvfb*"])


def test_the_end_of_a_run_says_by_component_what_was_skipped_and_how_to_install_it(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = suite.runpytest("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        [
            "*skipped, by missing component*",
            "*1  a screen * apt-get install xvfb libatomic1",
            "To install all of it: apt-get install -y xvfb libatomic1 && agent env setup desk",
        ]
    )
    result.stdout.fnmatch_lines(["*1  no display"])


def test_what_needs_a_component_is_real(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = suite.runpytest("-p", "no:cacheprovider", "-m", "not real")
    assert result.parseoutcomes()["deselected"] == 2


def test_a_collection_in_the_middle_of_a_parse_does_no_harm(tmp_path: Path) -> None:
    class Parses:
        def __init__(self) -> None:
            self.me = self  # garbage that only the collector finds

        def __del__(self) -> None:
            ast.parse("a + b")

    file = tmp_path / "long.py"
    file.write_text("x = f(1)[2].y + 3\n" * 2000)
    for _ in range(10):
        for _ in range(50):
            Parses()
        assert len(parse(file).body) == 2000


def test_the_bare_debian_of_the_summary_is_what_ci_installs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    packages = {name for component in components.COMPONENTS.values() for name in component.packages}
    assert packages <= set(re.findall(r"^  ([a-z0-9-]+)", script, re.MULTILINE))
