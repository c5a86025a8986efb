"""Environments for guests: virtual environments in the user's data folder, made by recipes (`agent env setup`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from envs.errors import UserError

_STEP_SECONDS = 1800.0


@dataclass(frozen=True)
class Recipe:
    """How a guest's environment is made.

    `pythons`: the versions that work, the best one first. `steps`: messages, each with the arguments of `pip install`.
    `check`: a script that prints one line if all is well. `beside`: what else the system needs.
    """

    pythons: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    check: str
    beside: str = ""


RECIPES = {
    "minedojo": Recipe(
        # gym 0.21 builds with an old setuptools alone, which Python 3.12 does not run
        pythons=("3.11", "3.10", "3.9"),
        steps=(
            ("tools that build old packages", "setuptools==65.5.0 wheel==0.37.1 pip<24.1"),
            ("MineDojo", "--no-deps minedojo==0.1"),
            ("the old gym", "--no-build-isolation gym==0.21.0 numpy<2"),
            (
                "what MineDojo needs",
                # opencv-python would need the system's OpenGL to be imported
                "--no-build-isolation numpy<2 msgpack opencv-python-headless pyyaml jinja2 lxml coloredlogs xmltodict "
                "Pyro4 psutil multiprocess daemoniker tqdm requests mypy-extensions jsonlines praw wget "
                "importlib-resources hydra-core Pillow pytest",
            ),
        ),
        check="import minedojo, msgpack; from minedojo.tasks import ALL_TASK_IDS as ids; print(len(ids), 'tasks')",
        beside="Java 8 (openjdk-8), Xvfb where there is no screen, and the internet when the game first starts",
    )
}


def folder(name: str) -> Path:
    """Where the environment of a guest lives, whether or not it is there. Raises UserError for an unknown name."""
    if name not in RECIPES:
        raise UserError(f"there is no guest {name!r} to set up; known: {', '.join(RECIPES)}")
    return platformdirs.user_data_path("ludens", appauthor=False) / "guests" / name


def guest_python(name: str) -> Path:
    """The interpreter of a guest that is set up. If it is not, raises UserError with the command that does it."""
    place = folder(name)
    if not _marker(place).exists():
        raise UserError(f"{name} has no environment yet: agent env setup {name}")
    return _interpreter(place)


def install(name: str, *, python: str | None = None, again: bool = False, tell: Callable[[str], None] = print) -> str:
    """Make the environment of a guest and return what its check says. An existing one is kept, unless `again`.

    `python`: the interpreter to make it of, by default the first that the recipe accepts. `tell` receives each step.
    Raises UserError that names the step that failed, its last words and the whole log.
    """
    recipe, place = RECIPES.get(name), folder(name)
    assert recipe is not None
    if _marker(place).exists() and not again:
        return str(json.loads(_marker(place).read_text())["found"])
    base = _base(recipe, name, python)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    log = place / "setup.log"
    pip = [str(_interpreter(place)), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    tell(f"an environment of {base} in {place}")
    _run([base, "-m", "venv", str(place)], "an environment", log)
    for number, (what, arguments) in enumerate(recipe.steps, 1):
        tell(f"{number} of {len(recipe.steps)}: {what}")
        _run([*pip, *arguments.split()], what, log)
    tell("a first try")
    found = _run([str(_interpreter(place)), "-c", recipe.check], "the first try", log)
    # last, so that an interrupted installation does not count as an environment
    _marker(place).write_text(json.dumps({"found": found, "python": base, "at": time.strftime("%Y-%m-%d")}))
    return found


def _marker(place: Path) -> Path:
    return place / "ready.json"


def _interpreter(place: Path) -> Path:
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _base(recipe: Recipe, name: str, python: str | None) -> str:
    """An interpreter with a version that the recipe accepts."""
    candidates = [python] if python else [sys.executable, *(f"python{version}" for version in recipe.pythons)]
    for candidate in candidates:
        path = shutil.which(candidate)
        if path is not None and _version(path) in recipe.pythons:
            return path
    tried = f"{python} is not" if python else f"none of {', '.join(candidates)} is"
    raise UserError(
        f"{name} needs Python {' or '.join(recipe.pythons)}, and {tried}; "
        f"name one: agent env setup {name} --python PATH"
    )


def _version(python: str) -> str:
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _run(command: list[str], what: str, log: Path) -> str:
    """Run a command, with its output in the log; the last line of what it printed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    with log.open("a+") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        start = file.tell()
        try:
            status = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=clean,
                timeout=_STEP_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
        file.seek(start)
        lines = [line for line in file.read().splitlines() if line.strip()]
    if status != 0:
        words = next(
            (line for line in reversed(lines) if "ERROR" in line or "Error" in line), (lines or ["no words"])[-1]
        )
        raise UserError(f"{what} failed: {words.strip()} (all of it: {log})")
    return lines[-1].strip() if lines else ""
