"""`check_world`: the contract of `World` as a test that any adapter can run.

It plays a few short episodes with random actions. It does not prove that a game's calibration is right (do ten degrees
turn by ten degrees?), nor that ground truth is true.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.utils.env_checker import check_env

from envs.action import BUTTONS, KEYS, NEUTRAL, Action, KeyboardMouse
from envs.time_limit import HungError, limit_calls, place_of
from envs.world import World

_CHUNK = 4


@dataclass(frozen=True)
class Violation:
    """A broken rule: its short name, and one sentence that says what is wrong and what is expected."""

    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


def check_world(
    make: Callable[[], World],
    *,
    episodes: int = 3,
    ticks: int = 60,
    seed: int = 0,
    limit: float | None = None,
    on_part: Callable[[str, float | None], None] = lambda part, seconds: None,
) -> list[Violation]:
    """Hold the worlds that `make` makes against the contract; returns the rules that they break, each once.

    Plays `episodes` episodes of at most `ticks` ticks with random actions drawn from `seed`, and a few more for the
    single rules. A rule that a world gives no occasion to test (no episode ended in `ticks` ticks) counts as kept.
    `limit`: seconds after which a call of the world counts as hanging, where this is the main thread; None waits for
    ever. `on_part`: called for each part when it begins, with None, and when it is done, with the seconds it took.
    """
    broken: dict[str, Violation] = {}
    worlds = _Worlds(make, limit)
    for rules in (_shape, _life, _play, _refusals, _determinism, _chunks, _gymnasium):
        part, begun, hung = rules.__name__.strip("_"), time.perf_counter(), False
        on_part(part, None)
        try:
            for violation in rules(worlds, episodes, ticks, seed):
                broken.setdefault(violation.rule, violation)
        except HungError as error:
            broken["hang"], hung = Violation("hang", f"{error}, in the {part} checks; expected it to return"), True
        except Exception as error:
            sentence = (
                f"the world raised {_said(error)}{place_of(error)} in the {part} checks; expected no exception there"
            )
            broken.setdefault("exception", Violation("exception", sentence))
            worlds.drop()
        on_part(part, time.perf_counter() - begun)
        if hung or (rules is _shape and broken):
            break  # it would hang again; and without sound spaces the other rules only repeat the same news
    worlds.drop()
    return list(broken.values())


class _Worlds:
    """The world that the parts share, since many take seconds to start; made where there is none."""

    def __init__(self, make: Callable[[], World], limit: float | None) -> None:
        self._make, self._limit = make, limit
        self._world: World | None = None

    def get(self) -> World:
        if self._world is None:
            self._world = self._make()
            if self._limit is not None and isinstance(self._world, World):
                limit_calls(self._world, self._limit)
        return self._world

    def drop(self) -> None:
        """Close it; the next one is a new one."""
        world, self._world = self._world, None
        if world is not None:
            _close_quietly(world)


Rules = Iterator[Violation]


def _shape(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    world = worlds.get()
    if not isinstance(world, World):
        yield Violation("world", f"make() returned a {type(world).__name__}; expected an envs.world.World")
        return
    space = world.observation_space
    if not isinstance(space, gymnasium.spaces.Dict) or set(space.spaces) != {"pixels"}:
        yield Violation(
            "observation space",
            f"observation_space is {space}; expected a Dict with the one key 'pixels' (ground truth goes to "
            "info['state'])",
        )
    else:
        box = space["pixels"]
        shape = box.shape or ()
        if not isinstance(box, gymnasium.spaces.Box) or box.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            yield Violation("pixels space", f"observation_space['pixels'] is {box}; expected a uint8 Box (H, W, 3)")
        elif box.low.min() != 0 or box.high.max() != 255:
            yield Violation("pixels space", f"observation_space['pixels'] is {box}; expected the bounds 0 and 255")
    if not isinstance(world.action_space, KeyboardMouse):
        yield Violation("action space", f"action_space is {world.action_space}; expected a KeyboardMouse")
    else:
        samples = [world.action_space.sample() for _ in range(20)]
        if not all(world.action_space.contains(sample) for sample in samples):
            yield Violation("action space", "action_space.sample() gives an action that contains() refuses")
        back = world.action_space.from_jsonable(json.loads(json.dumps(world.action_space.to_jsonable(samples))))
        if back != samples:
            yield Violation("action JSON", "actions change on the way through to_jsonable and from_jsonable")
    tick_hz = getattr(world, "tick_hz", None)
    if isinstance(tick_hz, bool) or not isinstance(tick_hz, int | float) or not 0 < tick_hz < math.inf:
        yield Violation("tick_hz", f"tick_hz is {tick_hz!r}; expected the ticks in a second, a positive number")
    for name in ("realtime", "deterministic"):
        if not isinstance(getattr(world, name), bool):
            yield Violation(name, f"{name} is {getattr(world, name)!r}; expected True or False")


def _life(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    world = worlds.get()
    refused = _refused(lambda: world.step(NEUTRAL))
    if not refused:
        yield Violation(
            "step before reset",
            f"step() before the first reset() {refused.what}; expected gymnasium.error.ResetNeeded, or a "
            "RuntimeError that speaks of reset()",
        )
    world.reset(seed=seed)
    yield from _hold(world, "reset", lambda: world.reset(seed=seed))
    yield from _hold(world, "close", world.close)
    try:
        world.close()
    except Exception as error:
        yield Violation("double close", f"a second close() raised {_said(error)}; expected it to do nothing")
    worlds.drop()


def _hold(world: World, name: str, release: Callable[[], Any]) -> Rules:
    """Hold what the world listens to, then `release`: nothing may be down afterwards."""
    keys, buttons = sorted(world.action_space.keys), sorted(world.action_space.buttons)
    both = Action(keys=frozenset(keys[:2]), buttons=frozenset(buttons[:1]))
    one = Action(keys=frozenset(keys[:1]), buttons=both.buttons)
    world.step(both if world.action_space.contains(both) else one)  # a world may refuse some keys together
    release()
    down = sorted(frozenset().union(*world.held))
    if down:
        yield Violation(
            f"keys released by {name}", f"after {name}() still held: {', '.join(down)}; expected world.held to be empty"
        )


def _play(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    world = worlds.get()
    world.action_space.seed(seed)
    for episode in range(episodes):
        observation, info = world.reset(seed=seed + episode)
        yield from _observed(world, observation, info, "reset()")
        seen: list[npt.NDArray[np.uint8]] = [observation["pixels"]]
        kept: list[npt.NDArray[np.uint8]] = [observation["pixels"].copy()]
        over = False
        for _ in range(ticks):
            observation, reward, terminated, truncated, info = world.step(world.action_space.sample())
            yield from _observed(world, observation, info, "step()")
            if isinstance(reward, bool) or not isinstance(reward, int | float | np.number) or not math.isfinite(reward):
                yield Violation("reward", f"step() gave the reward {reward!r}; expected a finite number")
            for name, flag in (("terminated", terminated), ("truncated", truncated)):
                if not isinstance(flag, bool | np.bool_):
                    yield Violation("end flags", f"step() gave {name} = {flag!r}; expected True or False")
            seen.append(observation["pixels"])
            kept.append(observation["pixels"].copy())
            over = bool(terminated or truncated)
            if over:
                break
        yield from _fresh(seen, kept)
        if all(frame.min() == frame.max() for frame in kept):
            yield Violation(
                "blank frame", f"all {len(kept)} frames of an episode have a single value; expected a picture"
            )
        if over:
            yield from _after_the_end(world)


def _observed(world: World, observation: Any, info: Any, call: str) -> Rules:
    if not isinstance(info, dict):
        yield Violation("info", f"{call} gave info of type {type(info).__name__}; expected a dict")
    if not isinstance(observation, dict) or set(observation) != {"pixels"}:
        got = sorted(observation) if isinstance(observation, dict) else type(observation).__name__
        yield Violation(
            "observation",
            f"{call} gave the observation {got}; expected 'pixels' alone: what the game knows goes to info",
        )
        return
    pixels, expected = observation["pixels"], world.observation_space["pixels"].shape
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != expected:
        got = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        yield Violation("pixels", f"{call} gave pixels of {got}; expected uint8 {expected}, as observation_space says")


def _fresh(seen: Sequence[npt.NDArray[np.uint8]], kept: Sequence[npt.NDArray[np.uint8]]) -> Rules:
    shared = any(np.shares_memory(a, b) for a, b in itertools.pairwise(seen))
    if shared or any(not np.array_equal(a, b) for a, b in zip(seen, kept, strict=True)):
        yield Violation(
            "reused frame",
            "a later step() writes into a frame that was returned before; expected a fresh array each time",
        )


def _after_the_end(world: World) -> Rules:
    """A step after the end is refused like one before reset, or reports the end again; it starts nothing."""
    ended: list[bool] = []

    def step() -> None:
        _, _, terminated, truncated, _ = world.step(NEUTRAL)
        ended.append(bool(terminated or truncated))

    refused = _refused(step)
    if not refused and ended != [True]:
        yield Violation(
            "step after the end",
            f"step() after the end of an episode {refused.what}; expected gymnasium.error.ResetNeeded or the end again",
        )


def _refusals(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    world = worlds.get()
    world.reset(seed=seed)
    space = world.action_space
    outside: list[tuple[str, Any]] = [
        ("a look of NaN degrees", Action(look=(math.nan, 0.0))),
        ("a look beyond max_look", Action(look=(space.max_look * 2 + 1, 0.0))),
        ("something that is no Action", 3),
    ]
    for key in [key for key in KEYS if key not in space.keys][:1]:
        outside.append((f"the key {key}, which action_space lacks", Action(keys=frozenset({key}))))
    for button in [button for button in BUTTONS if button not in space.buttons][:1]:
        outside.append((f"the button {button}, which action_space lacks", Action(buttons=frozenset({button}))))
    if not space.pointer:
        outside.append(("a pointer, which action_space lacks", Action(pointer=(0.5, 0.5))))
    if not space.wheel:
        outside.append(("a wheel, which action_space lacks", Action(wheel=1.0)))
    for what, action in outside:
        try:
            world.step(action)
        except ValueError:
            continue
        except Exception as error:
            happened = f"raised {_said(error)}"
        else:
            happened = "was taken"
        yield Violation("action outside of the space", f"{what} {happened}; expected ValueError and no effect")


def _determinism(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    first = worlds.get()
    if not first.deterministic:
        return
    first.action_space.seed(seed)
    actions = [first.action_space.sample() for _ in range(ticks)]
    run = _frames(first, seed, actions)
    again = _frames(first, seed, actions)
    worlds.drop()
    other = _frames(worlds.get(), seed, actions)
    for frames, where in ((again, "a second episode of the same world"), (other, "a new world")):
        if len(frames) != len(run) or any(not np.array_equal(a, b) for a, b in zip(run, frames, strict=True)):
            yield Violation(
                "determinism",
                f"the same seed and actions gave other frames in {where}; expected the same ones, since the world "
                "declares deterministic = True",
            )


def _frames(world: World, seed: int, actions: Sequence[Action]) -> list[npt.NDArray[np.uint8]]:
    observation, _ = world.reset(seed=seed)
    frames = [observation["pixels"].copy()]
    for action in actions:
        observation, _, terminated, truncated, _ = world.step(action)
        frames.append(observation["pixels"].copy())
        if terminated or truncated:
            break
    return frames


def _chunks(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    world = worlds.get()
    world.action_space.seed(seed)
    samples = [world.action_space.sample() for _ in range(_CHUNK)]
    world.reset(seed=seed)
    try:
        world.step_chunk([])
    except ValueError:
        pass
    else:
        yield Violation("empty chunk", "step_chunk([]) was taken; expected ValueError")
    if not world.deterministic:
        return
    for chunk in ([samples[0]] * _CHUNK, samples):
        frames = _frames(world, seed, chunk)
        world.reset(seed=seed)
        observation, *_ = world.step_chunk(chunk)
        if not np.array_equal(observation["pixels"], frames[-1]):
            yield Violation(
                "step_chunk",
                f"step_chunk of {_CHUNK} actions ends in another frame than {_CHUNK} steps; expected the same",
            )


def _gymnasium(worlds: _Worlds, episodes: int, ticks: int, seed: int) -> Rules:
    world = worlds.get()
    if not world.deterministic:
        return  # check_env takes determinism for granted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_env(world, skip_render_check=True, skip_close_check=True)
        except Exception as error:
            yield Violation("gymnasium", f"gymnasium.utils.env_checker.check_env refuses the world: {_said(error)}")


def unnamed(world: World) -> str:
    """A sentence that says which keys and buttons the world tells players nothing of; empty if it names all.

    No broken rule: prompted models then have to find out what a key does.
    """
    space, controls = getattr(world, "action_space", None), getattr(world, "controls", {})
    if not isinstance(space, KeyboardMouse):
        return ""  # check_world says so
    names = [name for name in (*KEYS, *BUTTONS) if name in (space.keys | space.buttons) - space.ignored]
    silent = [name for name in names if not str(controls.get(name, "")).strip()]
    if not silent:
        return ""
    few = ", ".join(silent[:6]) + (f" and {len(silent) - 6} more" if len(silent) > 6 else "")
    where = "controls: in the world file, or World.controls"
    return f"the world does not say what {few} do; models that are prompted are told what {where}, says"


@dataclass(frozen=True)
class _Answer:
    what: str
    clear: bool

    def __bool__(self) -> bool:
        return self.clear


def _refused(call: Callable[[], Any]) -> _Answer:
    """Whether `call` raises an error that tells the caller to reset."""
    try:
        call()
    except (gymnasium.error.ResetNeeded, RuntimeError) as error:
        return _Answer(
            f"raised {_said(error)}", isinstance(error, gymnasium.error.ResetNeeded) or "reset" in str(error)
        )
    except Exception as error:
        return _Answer(f"raised {_said(error)}", False)
    return _Answer("was taken", False)


def _said(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}({text[0] if text else ''})"


def _close_quietly(world: World) -> None:
    with contextlib.suppress(Exception, HungError):  # `_life` reports what close() does wrong
        world.close()
