"""`write_package`: a small package with a world, for somebody who adds a game (`agent env new`)."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from envs import plugins
from envs.errors import UserError
from envs.gymnasium.world import GymnasiumWorld

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Kind:
    """`about`: what it is. `game`: what --game says of it, `default` where it is not given. `facts`: what its files are
    filled in with where the default is played. `extra`: of Ludens, that it needs."""

    about: str
    game: str = ""
    default: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    extra: str = ""
    needs_game: bool = False


_LAMP = {"instruction": "go to the lamp", "spec": ("reward", {"at_least": 1})}
_OTHER = {"instruction": "play", "spec": None}  # a game that we do not know
_MONSTER = {"instruction": "shoot the monster", "spec": ("reward", {"at_least": 50})}
_THERE = {
    "instruction": "go to the lamp",
    "spec": ("javascript", {"success": "game.there"}),
    "options": {"javascript": {"success": "game.there"}},
}
KINDS = {
    "python": Kind("a game in plain Python", facts=_LAMP),
    "gymnasium": Kind("a Gymnasium environment", "its id", "VizdoomBasic-v1", _MONSTER, "gymnasium"),
    "desktop": Kind("a game on the desktop", "its command", facts=_OTHER, needs_game=True),
    "browser": Kind("a game in a web page", "its address", facts=_THERE, extra="browser"),
    "bridge": Kind("a game in a process, or a Python, of its own", facts=_LAMP),
}


def write_package(name: str, kind: str, where: Path, game: str = "") -> list[Path]:
    """Write the package `name` into the folder `where`/`name`, which must not be there; its files.

    `kind`: one of KINDS. `game`: what is played, for kinds that ask for it. Raises UserError for a name that can't be
    one, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} is no name for a package; expected small letters, digits and _, such as my_game")
    if name in plugins.entries("world"):
        raise UserError(f"there is a world {name!r} already; choose another name")
    if importlib.util.find_spec(name) is not None:
        raise UserError(f"there is a Python module {name!r} already; choose another name")
    if kind not in KINDS:
        raise UserError(plugins.unknown_name("kind", kind, list(KINDS)))
    chosen = KINDS[kind]
    if game and not chosen.game:
        raise UserError(f"--game says nothing for --kind {kind}")
    if chosen.needs_game and not game:
        raise UserError(f"--kind {kind} needs --game: {chosen.game}")
    folder = where / name
    if folder.exists():
        raise UserError(f"{folder} is there already; remove it or choose another name")
    facts = {
        "name": name,
        "title": "".join(part.title() for part in name.split("_")),
        "kind": chosen.about,
        "game": game or chosen.default,
        "dependency": f"ludens[{chosen.extra}]" if chosen.extra else "ludens",
        "options": {},
        **(_OTHER if game else chosen.facts),
    }
    sources = {
        folder / "pyproject.toml": "common/pyproject.toml.j2",
        folder / "README.md": "common/README.md.j2",
        folder / "tests/test_world.py": "common/tests/test_world.py.j2",
        folder / name / "tasks.yaml": "common/tasks.yaml.j2",
        folder / name / "tasks.py": "common/tasks.py.j2",
    } | {folder / name / path.stem: f"{kind}/{path.name}" for path in sorted((_HERE / kind).glob("*.j2"))}
    if kind == "browser" and game:
        del sources[folder / name / "index.html"]
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    texts = {path: templates.get_template(source).render(facts) for path, source in sources.items()}
    if kind == "gymnasium":  # with the key map that it has by default, to be edited
        world = GymnasiumWorld(str(facts["game"]))
        texts[folder / name / "world.yaml"] = world.to_yaml()
        world.close()
    part = where / f".{name}.{os.getpid()}"
    try:
        for path, text in texts.items():
            target = part / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        (part / name / "__init__.py").touch()
        part.rename(folder)  # all of it, or nothing
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())
