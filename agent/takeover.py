"""A person's hands: keys and mouse as they come from a page, as an Action for every tick."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.action import NEUTRAL, Action, KeyboardMouse

SILENCE = 1.0  # seconds without a word from the page after which its keys are let go


class HumanHands:
    """Keeps what a person holds, and hands it to the loop tick by tick. Safe to use from any thread.

    `space`: the world's; keys and buttons that it does not listen to are left out, turns are cut to what it takes in
    one tick. Who is silent for SILENCE seconds has let go: a page that hangs must not keep a key down.
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
        """What is held from now on, as a JSON object of an Action: keys, buttons and pointer are states; look and wheel
        are added to what the next tick does. Raises ValueError that names the field that is wrong."""
        known = {"keys", "buttons"} & set(message) if isinstance(message, dict) else ()
        for field in known:  # people press all sorts of keys: those that the world does not know are no error
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
        """What the hands do in this tick."""
        with self._lock:
            most = self._space.max_look
            yaw, pitch = (float(np.clip(value, -most, most)) for value in self._look)
            wheel, self._look, self._wheel = self._wheel, [0.0, 0.0], 0.0
            if self._clock() - self._heard > SILENCE:
                self._held = NEUTRAL
            return Action(self._held.keys, self._held.buttons, (yaw, pitch), self._held.pointer, wheel)
