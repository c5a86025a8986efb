"""`DesktopActions`: what may be done in a desktop game."""

from __future__ import annotations

from typing import Any

from envs.action import BUTTONS, KEYS, Action, KeyboardMouse
from envs.desktop.game import Game
from envs.desktop.keysyms import refused


class DesktopActions(KeyboardMouse):
    """The actions of a desktop game: a `KeyboardMouse` without the combinations that close or switch windows."""

    def __init__(self, game: Game, *, outside: bool) -> None:
        held = {*game.keys, *game.buttons, *game.ignore}
        super().__init__(
            held & set(KEYS), held & set(BUTTONS), max_look=game.max_look, pointer=game.mouse in ("free", "changes"),
            wheel=game.wheel,
            ignored=(held - {*game.keys, *game.buttons}) | (set() if game.turns else {"look"}),
        )  # fmt: skip
        self._pressed, self._outside = dict(game.keys), outside

    def contains(self, x: Any) -> bool:
        return super().contains(x) and not refused(
            {self._pressed.get(key, key) for key in x.keys}, outside=self._outside
        )

    def sample(self, mask: Any = None, probability: Any = None) -> Action:
        action = super().sample(mask, probability)
        while not self.contains(action):
            action = super().sample(mask, probability)
        return action
