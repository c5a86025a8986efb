"""`World`: what an adapter implements. Pixels out, keyboard and mouse in, nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypedDict

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.action import Action, KeyboardMouse


class Observation(TypedDict):
    """`pixels`: uint8 (H, W, 3) RGB, a fresh array at every step."""

    pixels: npt.NDArray[np.uint8]


class Chat(Protocol):
    """The world's own chat, where it has one."""

    def read(self) -> list[tuple[str, str]]:
        """The messages since the last call, as (who, text)."""

    def send(self, text: str) -> None:
        """Say `text` in the world."""


class World(gymnasium.Env[Observation, Action]):
    """A world that is seen as pixels and played with keyboard and mouse.

    An adapter sets `observation_space` (a Dict with `pixels`), `action_space` (a `KeyboardMouse`), `tick_hz` and
    `realtime`, and implements `reset`, `step` and `close`. `info["state"]`, where a world has it, is ground truth
    for verifiers and scripted experts alone: the loop takes it out before a policy sees `info`. `info["mouse"]`, in
    worlds where it changes within a game, says what the mouse does now: "look" (moving it turns the view) or "pointer"
    (it has a pointer on the picture, as in a menu). What does not fit is left undone: a look moves no pointer, and a
    pointer does not turn the view.

    `tick_hz`: ticks in a second; one `step` is one tick. `realtime`: whether the world moves on without us.
    `deterministic`: whether the same seed and actions give the same frames. `controls`: what a player is told of the
    keys and buttons, by their names, such as {"Space": "jump", "left": "attack"}, and of "look", "pointer" and "wheel".
    `resolutions`: what a world that draws at several sizes offers a player for its argument `resolution`, as
    WIDTHxHEIGHT, the default among them; empty for a world with a size of its own, such as that of a game's window.
    `sound_hz`: samples a second of what is `heard`, 0 for a world without sound.
    """

    tick_hz: float
    realtime: bool = False
    deterministic: bool = False
    chat: Chat | None = None
    controls: Mapping[str, str] = MappingProxyType({})
    resolutions: tuple[str, ...] = ()
    sound_hz: int = 0

    observation_space: gymnasium.spaces.Dict  # type: ignore[assignment]
    action_space: KeyboardMouse

    @abstractmethod
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. Implementations call `super().reset(seed=seed)` first, which seeds `np_random`."""
        return super().reset(seed=seed, options=options)

    @abstractmethod
    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play one tick: observation, reward, terminated, truncated, info.

        Raises ValueError on an action outside of `action_space`, and `gymnasium.error.ResetNeeded` before the first
        `reset`. After the end of an episode it raises that too, or goes on to report the end; it never begins a new
        episode by itself.
        """
        raise NotImplementedError

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Step through `actions`, a tick each, and observe once, at the end.

        For players that look only when they decide: a world that can skip drawing overrides this. Rewards are
        summed; it stops early where the episode ends, and `info["ticks"]` says after how many actions. Raises
        ValueError on an empty chunk.
        """
        if not actions:
            raise ValueError("step_chunk needs at least one action")
        total, ticks = 0.0, 0
        for action in actions:
            observation, reward, terminated, truncated, info = self.step(action)
            total, ticks = total + float(reward), ticks + 1
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, {**info, "ticks": ticks}

    def heard(self) -> npt.NDArray[np.int16] | None:
        """What was heard in the ticks since the last observation, (samples, channels) at `sound_hz`; None for nothing.
        It is for people: players see pixels alone."""
        return None

    def pace(self) -> None:
        """Block until the next tick is due. Lockstep worlds return at once."""

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        """The keys and buttons that are down in the world right now; empty after `reset` and `close`."""
        return frozenset(), frozenset()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the game although the episode goes on, such as errors of the game."""
        return ()

    @property
    def facts(self) -> dict[str, str]:
        """What the world found out about its game, by name, such as how the mouse was calibrated; for people."""
        return {}

    def close(self) -> None:
        """Release every key and button and everything that was opened. Safe to call twice."""
