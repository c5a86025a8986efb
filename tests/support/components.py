"""The components that some tests need and a machine may lack: how to tell, and the command that installs each.

    pytestmark = needs("chromium")                    # every test of a module
    FIXTURE_NEEDS = {"second": "second-python"}       # every test of a module that uses this fixture

A test that needs a component counts as `real`. Where the component is missing, the test is skipped with the reason, and
the end of the run says per component how many tests were skipped (tests/conftest.py).
"""

from __future__ import annotations

import ctypes
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pytest

from envs.errors import UserError
from envs.opengl import backend
from tests.support import guest_pythons, lerobot_env


@dataclass(frozen=True)
class Component:
    """`present`: whether this machine has it. `packages`: of Debian; `command` instead where it is no such package."""

    title: str
    present: Callable[[], bool]
    packages: tuple[str, ...] = ()
    command: str = ""

    @property
    def mend(self) -> str:
        return self.command or f"apt-get install {' '.join(self.packages)}"


def _loads(*libraries: str) -> bool:
    """Whether every shared library of these names can be loaded."""
    for library in libraries:
        try:
            ctypes.CDLL(library)
        except OSError:
            return False
    return True


def _has_opengl() -> bool:
    return sys.platform != "linux" or _loads(
        "libGL.so.1", "libGLU.so.1", "libEGL.so.1", "libfreetype.so.6", "libfontconfig.so.1"
    )


def _mujoco_draws() -> bool:
    return sys.platform != "linux" or backend() is not None


def _has_chromium() -> bool:
    from envs.browser.chromium import find_chromium

    try:
        find_chromium()
    except UserError:
        return False
    return True


def _has_minetest() -> bool:
    from envs.minetest.world import find

    return find() is not None


def _has_minedojo_guest() -> bool:
    from envs.bridge.setup import guest_python

    try:
        guest_python("minedojo")
    except UserError:
        return False
    return True


COMPONENTS: Mapping[str, Component] = {
    "chromium": Component("Chromium", _has_chromium, ("chromium", "libatomic1")),
    "crispy-doom": Component(
        "Crispy Doom", lambda: shutil.which("crispy-doom", path="/usr/games") is not None, ("crispy-doom", "freedoom")
    ),
    "lerobot": Component("LeRobot", lerobot_env.present, command=".venv/bin/python -m tests.support.lerobot_env"),
    "minetest": Component("Minetest", _has_minetest, ("minetest", "minetest-data", "xvfb")),
    "minedojo": Component(
        "MineDojo's guest", _has_minedojo_guest, command=".venv/bin/agent env setup minedojo"
    ),
    "mujoco-drawing": Component("drawing with MuJoCo", _mujoco_draws, ("libegl1", "libgl1-mesa-dri")),
    "opengl": Component(
        "OpenGL for MiniWorld", _has_opengl,
        ("libgl1", "libglu1-mesa", "libegl1", "libgl1-mesa-dri", "libfreetype6", "libfontconfig1"),
    ),
    "second-python": Component("a second Python", lambda: bool(guest_pythons.find()), ("pypy3",)),
    "xvfb": Component(
        "Xvfb", lambda: shutil.which("Xvfb") is not None,
        ("xvfb", "libxcb-randr0", "libxcb-render0", "libxcb-shm0", "libxcb-xfixes0"),
    ),
}  # fmt: skip


@cache
def present(name: str) -> bool:
    """Whether this machine has the component; asked once a process."""
    return COMPONENTS[name].present()


def needs(*names: str) -> pytest.MarkDecorator:
    """The mark of a test, or of a module as `pytestmark`, that needs these components."""
    unknown = set(names) - set(COMPONENTS)
    if unknown:
        raise ValueError(f"unknown components {sorted(unknown)}; known are {', '.join(COMPONENTS)}")
    return pytest.mark.needs(*names)


def missing(names: Sequence[str]) -> str:
    """Why a test that needs these components is skipped; empty where all are present."""
    return "; ".join(f"{COMPONENTS[n].title} is missing: {COMPONENTS[n].mend}" for n in names if not present(n))
