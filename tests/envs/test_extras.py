"""Packages that only some verbs need: a missing one is named with the command that installs it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from envs import extras
from tests.support.sources import PACKAGES, ROOT, parse, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {*PACKAGES, "minecraft_standin"}
# Imported where they are there: an interpreter of a guest, a package of environments, and what comes with torch.
COME_ALONG = {"pyglet", "starlette", "referencing"}  # another package of the same extra requires them
UNNAMED = {"minedojo", "gym", "packaging", "torchvision", "minigrid"}


def named(requirements: list[str]) -> set[str]:
    """The distributions of some requirements, in the normal form of names; those of our own extras among them."""
    found = set()
    for line in requirements:
        if (ours := re.fullmatch(r"ludens\[(.+)\]", line)) is not None:
            found |= named([one for extra in ours[1].split(",") for one in PROJECT["optional-dependencies"][extra]])
        else:
            found.add(re.split(r"[\[<>=]", line)[0].lower().replace("_", "-"))
    return found


ALL = packages_distributions()  # takes a second


def distributions(module: str) -> set[str]:
    return {name.lower().replace("_", "-") for name in ALL.get(module.partition(".")[0], ())}


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_an_extra_brings_the_modules_that_it_is_known_by(extra: str) -> None:
    brought = named(PROJECT["optional-dependencies"][extra])
    for module in extras.EXTRAS[extra]:
        assert distributions(module) & brought or module in COME_ALONG, module


def test_every_package_that_the_code_imports_is_required_or_in_an_extra() -> None:
    allowed = named(PROJECT["dependencies"])
    for extra in extras.EXTRAS:
        allowed |= named(PROJECT["optional-dependencies"][extra])
    found = {}
    for path in sources():
        for node in ast.walk(parse(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or top in OURS | UNNAMED or extras.extra_of(name):
                    continue
                if not distributions(top) & allowed:
                    found[f"{path.relative_to(ROOT)}:{node.lineno}"] = name
    assert not found


RUN = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from agent import cli
sys.exit(cli.run({arguments!r}))
"""


@pytest.mark.parametrize(
    ("extra", "arguments", "said"),
    [
        ("page", ["chat", "--time", "lockstep"], "agent chat needs ludens[page]: pip install 'ludens[page]'"),
        (
            "desktop",
            ["env", "check", "desktop"],
            "world 'desktop' needs ludens[desktop]: pip install 'ludens[desktop]'",
        ),
        (
            "models",
            ["model", "ask", "openai:x@http://127.0.0.1:9", "hi"],
            "ludens[models]: pip install 'ludens[models]'",
        ),
    ],
)
def test_a_verb_without_its_extra_says_the_command(extra: str, arguments: list[str], said: str) -> None:
    script = RUN.format(missing=extras.EXTRAS[extra], arguments=arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, input="")
    assert said in " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_play_goes_on_without_a_page_where_its_extra_is_missing(tmp_path: Path) -> None:
    everything = [module for extra, modules in extras.EXTRAS.items() if extra != "gemini" for module in modules]
    play = ["play", "pick up the red key", "--seed", "3", "--time-limit", "0.2", "--json"]
    script = RUN.format(missing=everything, arguments=play)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No live page here: pip install 'ludens[page]'" in done.stderr
    assert json.loads(done.stdout)["episodes"]
