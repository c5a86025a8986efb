"""A stranger's world with tasks of its own: a square that walks to a lamp. Nothing in Ludens knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any, cast

import gymnasium
import numpy as np
import pytest

from agent import doom_codec as codec
from agent.policy import Decision
from envs import plugins
from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.world import Observation, World
from tasks import world_tasks
from tasks.suite import Suite, level_seed
from tasks.task import Task, VerifierSpec
from tasks.teacher import Goals
from tasks.templates import Grammar
from tasks.verifier import Verdict, Verifier
from tasks.world_tasks import WorldTasks
from training.small import lesson_world

NEAR = 6.0  # pixels within which the square is at the lamp
GO = VerifierSpec("lamp.go_to")
WORDS = Grammar({"go_to": ("go to {x}", "walk to {x}", "move to {x}")}, {"go_to": ("find {x}",)}, {"x": "the lamp"})


class LampWorld(World):
    """A white square and a yellow lamp on black. W A S D walk, two pixels a tick. No labels."""

    tick_hz = 35.0
    deterministic = True
    realtime = False

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (120, 160, 3), np.uint8)}
        )
        self.action_space = KeyboardMouse(("KeyW", "KeyA", "KeyS", "KeyD"), (), max_look=30.0)
        self.me, self.lamp, self.tick, self.down = np.zeros(2, int), np.zeros(2, int), 0, NEUTRAL

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self.me, self.lamp = self.np_random.integers(8, 110, (2, 2))
        self.tick, self.down = 0, NEUTRAL
        return self._seen()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        down = ("KeyS" in action.keys) - ("KeyW" in action.keys)
        right = ("KeyD" in action.keys) - ("KeyA" in action.keys)
        self.me = np.clip(self.me + 2 * np.array([down, right]), 0, 112)
        self.tick, self.down = self.tick + 1, action
        observation, info = self._seen()
        return observation, 0.0, False, False, info

    def _seen(self) -> tuple[Observation, dict[str, Any]]:
        pixels = np.zeros((120, 160, 3), np.uint8)
        for (y, x), colour in ((self.lamp, (255, 255, 0)), (self.me, (255, 255, 255))):
            pixels[y : y + 6, x : x + 6] = colour
        state = SimpleNamespace(tick=self.tick, me=self.me.tolist(), lamp=self.lamp.tolist())
        return {"pixels": pixels}, {"state": state}

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        return self.down.keys, self.down.buttons


class GoTo:
    """Success once the square is at the lamp."""

    def update(self, state: Any) -> Verdict | None:
        far = np.abs(np.subtract(state.me, state.lamp)).max()
        return Verdict(True, "is at the lamp") if far < NEAR else None


@dataclass(frozen=True)
class LampSuite(Suite):
    world = "lamp"

    def make(self, rng: np.random.Generator, task_id: str, verb: str, evaluation: bool) -> Task:
        text = WORDS.phrase(rng, verb, held_out=False, x="the lamp")
        return Task(task_id, text, self.world, level_seed(rng, evaluation), {}, self.time_limit, GO, verb)


def choose(state: Any, spec: VerifierSpec) -> codec.Tokens:
    down, right = np.sign(np.trunc(np.subtract(state.lamp, state.me) / NEAR))
    return codec.tokens_of(forth=-int(down), side=int(right))


GOALS = SimpleNamespace(
    VERBS=("go_to",),
    CLASSES={("lamp", None): 1},
    possible=lambda state: [(0, 1, 1)],
    verbs_for=lambda number: [0],
    spec_of=lambda state, query: GO,
    words=lambda rng, query, phrasing="training": WORDS.phrase(rng, "go_to", x="the lamp"),
    sights=lambda state: {1: (state.lamp[1] / 160, state.lamp[0] / 120)},
    wanted=lambda state, spec: 1,
    choose=choose,
)


class Language:
    """What is meant is a verb. "glowing" is a word that `small` can't write."""

    def read(self, text: str) -> Any:
        return next((verb for verb, _ in WORDS.readings(text)), None)

    def plain(self, meaning: Any) -> str:
        return "go to glowing lamp"

    def sentence(self, rng: np.random.Generator, meaning: Any) -> str:
        return WORDS.phrase(rng, meaning, x="the lamp")


class LampTasks(WorldTasks):
    """What a stranger brings: a suite, a verifier, an expert, goals and a language. No teacher and no lessons."""

    @property
    def suites(self) -> Mapping[str, Suite]:
        return {"lamp-basic": LampSuite("lamp-basic", "go to the lamp", ("go_to",), (), time_limit=120)}

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        return {**super().verifiers, GO.name: GoTo}

    @property
    def goals(self) -> Goals:
        return cast(Goals, GOALS)

    @property
    def language(self) -> Language:
        return Language()

    def expert(self, spec: VerifierSpec) -> Callable[[Any], Decision]:
        return lambda state: codec.decode(choose(state, spec))


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the world found by its name "lamp", in this process."""
    known = plugins.entries
    new = {"world": "LampWorld", "tasks": "LampTasks"}

    def entries(kind: plugins.Kind) -> dict[str, EntryPoint]:
        if kind not in new:
            return known(kind)
        return {**known(kind), "lamp": EntryPoint("lamp", f"{__name__}:{new[kind]}", plugins.GROUPS[kind])}

    monkeypatch.setattr(plugins, "entries", entries)
    world_tasks._load.cache_clear()
    lesson_world.of.cache_clear()
