"""`GymnasiumWorld`: any Gymnasium environment as a world, seen as pixels and played with keyboard and mouse."""

from __future__ import annotations

import contextlib
import copy
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal, TypeVar

import gymnasium
import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from envs.action import BUTTONS, KEYS, NEUTRAL, Action, KeyboardMouse
from envs.errors import UserError
from envs.foreign import ForeignError, boundary, checked_reset, checked_step, checked_tick_hz
from envs.gymnasium import packages
from envs.gymnasium.defaults import default_keys
from envs.gymnasium.keymap import KeyMap, Strict, dump, hands, meanings
from envs.gymnasium.pixels import Channels, Frame, Picture, Reading, Rendered, find_picture
from envs.resolution import parse_size
from envs.world import Observation, World
from envs.yaml_files import read_settings

# A hand that is used to many games rests on these: they may be held anywhere, and do nothing where no map names them.
USUAL = ("KeyW", "KeyA", "KeyS", "KeyD", "KeyE", "Space", "ShiftLeft", "left")
MAX_LOOK = 180.0  # degrees in one tick
DEFAULT_TICK_HZ = 30.0

_Result = TypeVar("_Result")


class WorldFile(Strict):
    """An environment, and what its defaults don't get right (docs/gymnasium.md has the keys)."""

    env: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    pixels: str = "auto"
    channels: Channels = "auto"
    scale: float | None = Field(default=None, gt=0.0)
    resolution: str | None = None
    tick_hz: float | None = Field(default=None, gt=0.0)
    ignore: tuple[str, ...] = USUAL
    keys: Any = None
    controls: dict[str, str] = Field(default_factory=dict)

    _names = field_validator("ignore", mode="before")(hands)
    _said = field_validator("controls", mode="before")(meanings)


class GymnasiumWorld(World):
    """A Gymnasium environment.

    `env`: an id, `package:ID` where a package must be imported to know it, or the path of a world file (.yaml).
    `resolution`: WIDTHxHEIGHT of the frames, else the environment's own.

    `info["state"]` is a dict: `info` and `observation` as the environment gave them, the `reward` of the tick, the
    `return` of the episode so far, the number of its `tick`. `keymap` is what keyboard and mouse mean. What
    `reset(options=...)` gets goes to the environment. Where the map says to wait, the environment is not stepped: the
    picture stays and the reward is 0. Raises UserError if the environment or the world file is wrong.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]

    def __init__(
        self, env: str, resolution: str | None = None, *, render_mode: Literal["rgb_array"] | None = "rgb_array"
    ) -> None:
        file, where = _read(env)
        size = resolution or file.resolution
        self._size = None if size is None else parse_size(size)
        self.render_mode = render_mode
        self._name = f"gymnasium:{env}"
        self._frame: Frame | None = None
        self._state: dict[str, Any] = {}
        self._held, self._over = NEUTRAL, True
        self._waits = False  # whether the last tick was one in which the environment stood still
        self._env: gymnasium.Env[Any, Any] | None = None
        self._rendered = Rendered(Reading(file.channels, file.scale))
        self._shape: tuple[int, ...] | None = None  # of the frames
        self._env, self._picture = _on_stage(lambda: _open(file, self._name))
        try:
            keys = default_keys(self._env) if file.keys is None else file.keys
            self.keymap = KeyMap(self._env.action_space, keys, f"{where}keys")
            self.tick_hz = checked_tick_hz(
                self._name,
                file.tick_hz or _fps(self._env) or DEFAULT_TICK_HZ,
                "tick_hz" if file.tick_hz else "metadata render_fps",
            )
            shape = self._shape = _on_stage(lambda: self._begin(0, None)).shape
        except BaseException:
            self.close()
            raise
        self._frame = None
        self.observation_space = gymnasium.spaces.Dict({"pixels": gymnasium.spaces.Box(0, 255, shape, np.uint8)})
        names = {*self.keymap.keys, *self.keymap.buttons, *file.ignore}
        self.action_space = KeyboardMouse(
            names & set(KEYS), names & set(BUTTONS), max_look=MAX_LOOK,
            ignored=(names | {"look"}) - self.keymap.keys - self.keymap.buttons - set(self.keymap.controls),
        )  # fmt: skip
        self.controls = {**self.keymap.controls, **file.controls}
        self.deterministic = self._env.spec is not None and not self._env.spec.nondeterministic
        self._file = file.model_copy(update={"tick_hz": self.tick_hz, "keys": keys})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        self._frame = self._run(lambda: self._begin(chosen, options))
        self.keymap.reset()
        self._held, self._over = NEUTRAL, False
        return self._observation(), {"state": self._told()}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        reward, terminated, truncated = self._play(action, draw=True)
        return self._observation(), reward, terminated, truncated, {"state": self._told()}

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if not actions:
            raise ValueError("step_chunk needs at least one action")
        total, ticks = 0.0, 0
        for action in actions:
            reward, terminated, truncated = self._play(action, draw=ticks + 1 == len(actions))
            total, ticks = total + reward, ticks + 1
            if self._over:
                break
        return self._observation(), total, terminated, truncated, {"state": self._told(), "ticks": ticks}

    def render(self) -> Frame | None:
        return None if self._frame is None else self._frame.copy()

    @property
    def environment(self) -> gymnasium.Env[Any, Any]:
        """The environment itself, for experts and tests. Raises `gymnasium.error.ClosedEnvironmentError`."""
        if self._env is None:
            raise gymnasium.error.ClosedEnvironmentError(f"{self._name} is closed")
        return self._env

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        return self._held.keys, self._held.buttons

    def close(self) -> None:
        env, self._env = self._env, None
        self._held, self._over = NEUTRAL, True
        if env is not None:
            with boundary(self._name, "close()"):
                _on_stage(lambda: packages.leave(env))

    def to_yaml(self) -> str:
        """This world as a world file: a default key map becomes one to edit."""
        data = self._file.model_dump(exclude_defaults=True)
        fields = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
        return "".join(dump({key: value}) for key, value in fields.items())

    def _told(self) -> dict[str, Any]:
        """Ground truth for `info`. While the environment waits there is no new one: then this is a copy, since the
        receiver of the last one keeps it."""
        state = dict(self._state)
        return copy.deepcopy(state) if self._waits else state

    def _observation(self) -> Observation:
        assert self._frame is not None
        return {"pixels": self._frame}  # fresh at every look

    def _play(self, action: Action, draw: bool) -> tuple[float, bool, bool]:
        if self._over:
            raise gymnasium.error.ResetNeeded(f"{self._name}: step() before reset() or after the end; call reset()")
        if not self.action_space.contains(action):
            raise ValueError(f"{self._name}: {action!r} is not in {self.action_space!r}")
        self._held = action
        reward, terminated, truncated = self._run(lambda: self._advance(self.keymap.read(action), draw))
        if terminated or truncated:
            self._over, self._held = True, NEUTRAL
        return reward, terminated, truncated

    def _run(self, call: Callable[[], _Result]) -> _Result:
        return call() if packages.in_any_thread(self.environment) else _on_stage(call)

    def _begin(self, seed: int, options: dict[str, Any] | None) -> Frame:
        env = self.environment
        packages.enter(env)
        with boundary(self._name, "reset()"):
            observation, info = checked_reset(self._name, env.reset(seed=seed, options=options or None))
        self._waits = False
        self._state = {"info": info, "observation": observation, "reward": 0.0, "return": 0.0, "tick": 0}
        return self._look()

    def _advance(self, native: Any, draw: bool) -> tuple[float, bool, bool]:
        """One tick; the picture is taken where `draw` says so, and at the end of the episode."""
        env = self.environment
        packages.enter(env)
        state, reward, terminated, truncated = self._state, 0.0, False, False
        self._waits = native is None
        if native is not None:
            with boundary(self._name, "step()"):
                state["observation"], reward, terminated, truncated, state["info"] = checked_step(
                    self._name, env.step(native)
                )
        state.update({"reward": reward, "return": state["return"] + reward, "tick": state["tick"] + 1})
        if draw or terminated or truncated:
            frame = self._look()
            if (terminated or truncated) and not frame.any():  # ViZDoom has no picture after the end, only a black one
                frame = frame if self._frame is None else self._frame.copy()
            self._frame = frame
        return reward, terminated, truncated

    def _look(self) -> Frame:
        """The picture of now, of the size that is wanted."""
        try:
            if self._picture is not None:
                frame = self._picture(self._state["observation"])
            else:
                with boundary(self._name, "render()"):
                    rendered = self.environment.render()
                frame = self._rendered.frame(rendered)
        except ValueError as error:
            raise ForeignError(f"{self._name}: {error}") from error
        if self._size is None or self._size == (frame.shape[1], frame.shape[0]):
            if self._shape is not None and frame.shape != self._shape:
                height, width, _ = self._shape
                raise ForeignError(
                    f"{self._name}: the picture is {frame.shape} now and was {self._shape} before; "
                    f"say resolution: {width}x{height} in a world file, which scales it"
                )
            return frame
        return np.array(Image.fromarray(frame).resize(self._size, Image.Resampling.BILINEAR))


def _fps(env: gymnasium.Env[Any, Any]) -> Any:
    """What an environment says of its frames a second; None if it says nothing."""
    metadata = env.metadata if isinstance(env.metadata, dict) else {}
    return metadata.get("render_fps")


_stages: dict[int, ThreadPoolExecutor] = {}


def _on_stage(call: Callable[[], _Result]) -> _Result:
    """Run `call` in the one thread of this process in which all environments live.

    Environments that draw with OpenGL can't change threads, and a world is used from many.
    """
    if os.getpid() not in _stages:  # by process: a fork has the dictionary but not the thread
        _stages[os.getpid()] = ThreadPoolExecutor(1, thread_name_prefix="gymnasium")
    return _stages[os.getpid()].submit(call).result()


def _read(env: str) -> tuple[WorldFile, str]:
    """The settings that a name stands for, and what begins the place in messages about them."""
    if not env.endswith((".yaml", ".yml")):
        return WorldFile(env=env), ""
    return read_settings(WorldFile, env), f"{env}: "


def _open(file: WorldFile, name: str) -> tuple[gymnasium.Env[Any, Any], Picture | None]:
    """Make the environment; where its observation holds no picture, so that it renders one."""

    def make(**options: Any) -> gymnasium.Env[Any, Any]:
        with contextlib.redirect_stdout(io.StringIO()):  # MiniWorld talks; standard output is for results
            made: gymnasium.Env[Any, Any] = gymnasium.make(file.env, disable_env_checker=True, **options, **file.kwargs)
        packages.settle(made)
        return made

    try:
        packages.import_home(file.env)
        if file.pixels != "render":
            env = make()
            how = Reading(file.channels, file.scale)
            picture = find_picture(env.observation_space, None if file.pixels == "auto" else file.pixels, how)
            if picture is not None:
                return env, picture
            space = env.observation_space
            packages.leave(env)
            if file.pixels != "auto":
                raise UserError(f"{name}: pixels: {file.pixels!r} is no picture of the observation {space}")
        return make(render_mode="rgb_array"), None
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever a foreign package raises, the person must learn why
        said = " ".join(str(error).split())
        mend = packages.mend(error)
        hint = f"; to mend it: {mend}" if mend else ""
        raise UserError(f"{name} can't be made: {type(error).__name__}: {said}{hint}") from error
