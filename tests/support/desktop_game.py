"""The tiny game of x11_game.py as a `Game`, and what it heard, for the tests of envs.desktop."""

from __future__ import annotations

import sys
from pathlib import Path

from envs.action import Action
from envs.desktop.game import Game
from envs.desktop.world import DesktopWorld

PROGRAM = Path(__file__).with_name("x11_game.py")
SIZE = (160, 120)
W = Action(keys=frozenset({"KeyW"}))
NOTHING = Action()


def tiny(*arguments: str | Path, **changes: object) -> Game:
    given = {
        "command": (sys.executable, str(PROGRAM), *map(str, arguments)),
        "keys": {key: key for key in ("KeyW", "KeyA", "KeyS", "KeyD", "AltLeft", "F4")},
        "size": SIZE,
        "ready": "ready to play",
        "reset": "keep",
        "degrees_per_count": 0.2,
        "wheel": True,
        "ignore": ("KeyE", "middle"),
    }
    return Game.model_validate(given | changes)


def heard(events: Path, kind: str = "") -> list[str]:
    """What arrived in the game's window, `kind` of it alone where one is named."""
    lines = events.read_text().splitlines() if events.exists() else []
    return [line for line in lines if line.startswith(kind)]


def hold(world: DesktopWorld, key: str, ticks: int = 100) -> None:
    """Hold a key and move the mouse: a game is found gone where something is to be sent to it."""
    for tick in range(ticks):
        world.step(Action(keys=frozenset({key}), look=(1.0 * (-1) ** tick, 0.0)))
