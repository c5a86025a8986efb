"""What the documents name is there, and what they say of the code is true."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from agent.cli import VERBS
from tests.support.sources import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "agent" / "small" / "weights" / "README.md"])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def script(name: str) -> ModuleType:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def linked(page: Path) -> list[str]:
    """The files that a page links to, as paths relative to it."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    assert [target for target in linked(page) if not (page.parent / target).exists()] == []
    called = re.findall(r"(?:python|bash) ((?:benchmarks|examples|docs|\.ci)/[\w./-]+)", page.read_text())
    assert [name for name in called if not (ROOT / name).exists()] == []


def test_the_file_map_is_complete_and_true() -> None:
    page = ROOT / "CONTRIBUTING.md"
    assert script("file_map").filled(page.read_text()) == page.read_text(), "run: make docs"


def test_the_picture_of_the_rooms_is_true() -> None:
    drawn = script("draw_rooms")
    assert drawn.PICTURE.read_text() == drawn.draw(), "run: make docs"
    solid = [pair for pair, style in drawn.imports().items() if style == "solid"]
    order = list(drawn.ROOMS)
    assert all(order.index(importer) > order.index(imported) for importer, imported in solid)


PLAY = """
import inspect, json, sys, threading
called = set()
def note(frame, event, argument):
    if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # a function, and no body of a module
        called.add(frame.f_code.co_filename)
threading.setprofile(note)
sys.setprofile(note)
from agent import cli
status = cli.run(["play", "pick up the red key", "--seed", "3", "--time-limit", "0.3", "--out", "run", "--json"])
sys.setprofile(None)
print(json.dumps({"status": status, "called": sorted(called)}))
"""


@pytest.mark.slow
def test_every_file_on_the_way_from_a_key_press_to_the_pixels_is_gone_through(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    way = text[text.index("## From a key press") : text.index("### Where a person comes in")]
    named = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\((\.\./[^)]+)\)", way)}
    assert len(named) > 30
    done = subprocess.run([sys.executable, "-c", PLAY], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["status"] == 0
    called = {Path(name).resolve() for name in report["called"] if name.startswith("/")}
    assert sorted(str(path.relative_to(ROOT)) for path in named - called) == []


def test_contributing_says_how_to_add_every_kind_of_part() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for group in PROJECT["entry-points"]:
        assert f"`{group}`" in page, group
    words = re.findall(r"^\| \*\*([^*]+)\*\* \|", page, re.MULTILINE)
    assert {"goal", "task", "suite", "verifier", "chunk", "decision", "corpus", "stage"} <= set(words)
    assert words == sorted(words)


def test_the_readme_and_its_verbs() -> None:
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^ +agent ([\w-]+)", text, re.MULTILINE)) <= set(VERBS)


def test_the_newest_version_of_the_changelog_is_the_one_of_the_package() -> None:
    versions = re.findall(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == PROJECT["version"]


def test_the_workflow_runs_the_same_script_on_every_python_that_is_supported() -> None:
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    minors = [int(version.removeprefix("3.")) for version in job["strategy"]["matrix"]["python"]]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()  # type: ignore[union-attr]
    assert minors == list(range(int(low), int(high)))


def test_the_prompts_of_the_page_on_actions_are_true() -> None:
    text = (ROOT / "docs" / "actions.md").read_text()
    assert script("action_prompts").filled(text) == text, "run make docs"
    assert text.count("Answer with these lines") == 3
