"""`HumanHands`: makes an Action for every tick from a person's keys and mouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.action import NEUTRAL, Action, KeyboardMouse

SILENCE = 1.0  # seconds without a message from the page after which its keys are released


class HumanHands:
    """Keeps what a person holds and gives it to the loop tick by tick. Any thread may use it.

    `space`: the world's action space. Keys and buttons outside of it are ignored; turns are cut to the most that it
    takes in one tick. After SILENCE seconds without a message everything is released: a page that hangs must not keep a
    key down. `clock`: seconds; for tests.
    """

    def __init__(self, space: KeyboardMouse, clock: Callable[[], float] = time.monotonic) -> None:
        self._space = space
        self._clock = clock
        self._lock = threading.Lock()
        self._held = NEUTRAL
        self._look = [0.0, 0.0]
        self._wheel = 0.0
        self._heard = clock()

    def press(self, message: Any) -> None:
        """A message of the page, an Action as a JSON object. Keys, buttons and pointer hold from now on; look and wheel
        are added to the next tick. Raises ValueError that names the wrong field."""
        known = {"keys", "buttons"} & set(message) if isinstance(message, dict) else ()
        for field in known:  # people press any key: a key that the world does not take is no error
            if not isinstance(message[field], list) or len(message[field]) > 32:
                raise ValueError(f"action.{field}: expected a list of names")
        space = self._space
        allowed = {"keys": space.keys, "buttons": space.buttons}
        heard = {name: [x for x in message[name] if isinstance(x, str) and x in allowed[name]] for name in known}
        action = Action.from_json({**message, **heard} if known else message)
        with self._lock:
            self._held = Action(action.keys, action.buttons, pointer=action.pointer if space.pointer else None)
            self._look[0] += action.look[0]
            self._look[1] += action.look[1]
            self._wheel += action.wheel if space.wheel else 0.0
            self._heard = self._clock()

    def action(self) -> Action:
        """The action of this tick."""
        with self._lock:
            most = self._space.max_look
            yaw, pitch = (float(np.clip(value, -most, most)) for value in self._look)
            wheel, self._look, self._wheel = self._wheel, [0.0, 0.0], 0.0
            if self._clock() - self._heard > SILENCE:
                self._held = NEUTRAL
            return Action(self._held.keys, self._held.buttons, (yaw, pitch), self._held.pointer, wheel)
