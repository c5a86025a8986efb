"""`BridgeWorld`: a `World` whose game runs in another process or another Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.action import Action, KeyboardMouse
from envs.bridge.client import GuestError, Remote, RemoteError
from envs.errors import UserError
from envs.world import Observation, World

Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class BridgeWorld(World):
    """The world that `remote` serves.

    A guest that is made for us has `frame_size` (height, width) or an observation space with pixels, and either a
    `KeyboardMouse` or the attributes `keys`, `buttons` and `max_look`; its `step` takes the action as the dict of
    `Action.to_json` (a `World` of ours takes the Action). For any other, say what it lacks here:

    `pixels`: the key of the picture in the observation. `action_space`, and `encode`, which makes of an Action what
    the guest's `step` takes (plain values or arrays). `tick_hz`: ticks in a second. `reset_timeout`: seconds for a
    reset, by default those of any call. Frames come as (H, W, 3), also where the guest gives (3, H, W).

    An episode whose guest died or hung ends as truncated with `info["broken"]` True, `info["why"]` and a black frame;
    `reset` starts a fresh guest. Raises GuestError when the budget of restarts is spent, UserError where the guest's
    world can't be made or lacks pixels or actions.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        pixels: str = "pixels",
        action_space: KeyboardMouse | None = None,
        encode: Callable[[Action], Any] = Action.to_json,
        tick_hz: float | None = None,
        reset_timeout: float | None = None,
    ) -> None:
        self.remote = remote
        self._reset_timeout = reset_timeout
        self._key, self._encode = pixels, encode
        try:
            description = remote.description
        except RemoteError as error:
            raise UserError(f"bridge: {remote.world} can't be made in the guest: {error}") from error
        facts = description["facts"]
        try:
            self._shape = _frame_shape(description, pixels)
            self.action_space = action_space or _action_space(description)
        except ValueError as error:
            remote.close()
            raise UserError(f"bridge: {remote.world} {error}") from error
        self._channels_first = self._shape[2] != 3 and self._shape[0] == 3
        if self._channels_first:
            self._shape = (*self._shape[1:], 3)
        self.observation_space = gymnasium.spaces.Dict({"pixels": gymnasium.spaces.Box(0, 255, self._shape, np.uint8)})
        self.tick_hz = float(tick_hz or facts.get("tick_hz", 20.0))
        self.realtime = bool(facts.get("realtime", False))
        self.deterministic = bool(facts.get("deterministic", False))
        if told := {str(name): str(said) for name, said in dict(facts.get("controls") or {}).items()}:
            self.controls = told
        self._last: Action | None = None
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._running, self._last = False, None
        given = seed if seed is not None else int(self.np_random.integers(2**31))
        while True:
            try:
                observation, info = self._call("reset", given, options, timeout=self._reset_timeout)
                break
            except GuestError:  # no episode is lost yet: ask a fresh guest, until the budget is spent
                self.remote.start()
        self._running = True
        return {"pixels": self._pixels(observation)}, self._told(observation, info)

    def step(self, action: Action) -> Step:
        observation, reward, terminated, truncated, info, _ = self._advance([action])
        return observation, reward, terminated, truncated, info

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        if not actions:
            raise ValueError("step_chunk needs at least one action")
        observation, reward, terminated, truncated, info, ticks = self._advance(actions)
        return observation, reward, terminated, truncated, {**info, "ticks": ticks}

    def _advance(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any], int]:
        if not self._running:
            raise gymnasium.error.ResetNeeded("bridge: step() after the end or before reset(); call reset() first")
        for action in actions:
            if not self.action_space.contains(action):
                raise ValueError(f"bridge: {action!r} is not in {self.action_space!r}")
        encoded = [self._encode(action) for action in actions]
        try:
            result = self._call("step_chunk", encoded, timeout=self.remote.timeout * len(actions))
        except GuestError as error:
            self._running, self._last = False, None
            return self._black(), 0.0, False, True, {"broken": True, "why": str(error)}, len(actions)
        observation, reward, terminated, truncated, info, ticks = result
        self._running, self._last = not (terminated or truncated), actions[-1]
        told = self._told(observation, info)
        return {"pixels": self._pixels(observation)}, reward, terminated, truncated, told, ticks

    def _told(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        """The `info` to give for what came from the guest; for subclasses."""
        return info

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        if self._last is None or not self._running:
            return frozenset(), frozenset()
        return self._last.keys, self._last.buttons

    def close(self) -> None:
        self._running, self._last = False, None
        self.remote.close()

    def _call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        """A call whose mistakes come back as the errors of the contract."""
        try:
            return self.remote.call(method, *arguments, timeout=timeout)
        except RemoteError as error:
            if error.kind == "ValueError":
                raise ValueError(error.said) from error
            if error.kind == "ResetNeeded":
                raise gymnasium.error.ResetNeeded(error.said) from error
            raise

    def _pixels(self, observation: Any) -> npt.NDArray[np.uint8]:
        frame = observation[self._key] if isinstance(observation, dict) else observation
        if self._channels_first:
            frame = np.ascontiguousarray(np.moveaxis(frame, 0, 2))
        if not isinstance(frame, np.ndarray) or frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"bridge: the guest's frame is not uint8 {self._shape}")
        return frame

    def _black(self) -> Observation:
        """The guest may have written half a frame: black tells no lie."""
        return {"pixels": np.zeros(self._shape, np.uint8)}


def _frame_shape(description: dict[str, Any], key: str) -> tuple[int, ...]:
    space = description["observation_space"] or {}
    if space.get("kind") == "Dict":
        space = space["spaces"].get(key) or {}
    shape = tuple(space.get("shape", ()))
    if not shape and "frame_size" in description["facts"]:
        shape = (*description["facts"]["frame_size"], 3)
    if len(shape) != 3 or 3 not in (shape[0], shape[2]):
        raise ValueError(f"shows no picture {key!r}; expected an array (H, W, 3) or (3, H, W), or frame_size")
    return shape


def _action_space(description: dict[str, Any]) -> KeyboardMouse:
    space, facts = description["action_space"] or {}, description["facts"]
    if space.get("kind") == "KeyboardMouse":
        return KeyboardMouse(**{key: value for key, value in space.items() if key != "kind"})
    if "keys" not in facts:
        raise ValueError("listens to no keyboard; give action_space and encode")
    return KeyboardMouse(facts["keys"], facts.get("buttons", ()), max_look=facts.get("max_look", 180.0))
