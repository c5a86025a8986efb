"""Collection: a player sets itself tasks in a level, one after the other, and tries them.

A job is a level. The setter proposes what is worth trying in what is seen now and was seen before the last tries. The
curriculum chooses one of the proposals, and the player tries it with sampled decisions. The next proposal starts
from where the try ends. The world is reset between levels alone: a key that one task picked up is there for the next.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.capabilities import Samples, require
from agent.episode import Frame
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.models.base import ModelError
from agent.policy import Context, Decision, Policy
from agent.talk.planner import Planner, Situation, load_planner
from envs import plugins
from envs.errors import UserError
from envs.files import write_whole
from envs.world import World
from tasks import world_tasks
from tasks.curriculum import Choice, Curriculum
from tasks.setter import Proposal, SetterView, load_setter, propose
from tasks.task import Task
from training.data.episodes import Recorder
from training.improve.chain import Chain
from training.workers.parallel_play import ParallelPlay

LOOKED_BACK = 4  # frames that the setter sees: what was in view before the last tries, and now


@dataclass(frozen=True)
class Try:
    """One task that was tried.

    `id`: of the task, in the run. `episode`: its folder's name. `rejected`: what the setter said off contract before
    it. `said_done`: whether the player ended the episode. `level`: where it was tried; the tries of a level follow each
    other without a reset. `others`: what else was proposed for the same view. `whole`: the goal of which it is step
    number `step` of `steps`; "" if it is a goal of its own. `task`: the id of a suite's task, if it is one. `kind`: of
    the level, the name of a suite.
    """

    id: str
    instruction: str
    episode: str
    ticks: int
    said_done: bool
    rehearsal: bool
    rejected: int
    level: str = ""
    others: tuple[str, ...] = ()
    whole: str = ""
    step: int = 0
    steps: int = 0
    task: str = ""
    kind: str = ""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Try:
        return cls(**{**data, "others": tuple(data.get("others", ()))})


@dataclass(frozen=True)
class Audited:
    """Ground truth of a try, for the audit alone: None if no verifier knows the task. `others`: whether it did what
    else was proposed, where a verifier knows it."""

    id: str
    success: bool | None
    why: str
    others: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class LevelPlayed:
    """What happened in one level."""

    level: str
    tries: tuple[Try, ...]
    audited: tuple[Audited, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LevelPlayed:
        tries, audited = (Try.from_json(one) for one in data["tries"]), (Audited(**one) for one in data["audited"])
        return cls(data["level"], tuple(tries), tuple(audited))


@dataclass(frozen=True)
class CollectSettings:
    """What all collectors of a generation know. `policy`: a checkpoint folder, or a policy's name. `curriculum`: the
    archive as it was before the generation; `choose`: whether it chooses among the proposals, or chance does; `trust`:
    in the reward, by verb. `planner`: who breaks goals into steps, "" for nobody. `attempts`, `sticky`, `remembered`
    and `kinds`: see ImproveRecipe."""

    out: Path
    generation: int
    env: str
    policy: str
    setter: str
    curriculum: Path
    tries: int
    proposals: int
    time_limit: int
    temperature: float
    seed: int
    choose: bool = True
    planner: str = ""
    attempts: int = 1
    sticky: float = 0.0
    remembered: int = 0
    kinds: tuple[str, ...] = ()
    trust: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Next:
    """What is tried next. `left`: how often more if the player doesn't say that it is done. `enter`: the seed and the
    options of the level that it is played in, and `kind` of which kind it is; None for where the player is. The rest as
    in Try."""

    instruction: str
    time_limit: int
    rehearsal: bool
    others: tuple[str, ...]
    left: int
    whole: str = ""
    step: int = 0
    steps: int = 0
    task: str = ""
    enter: tuple[int, dict[str, Any]] | None = None
    place: str = ""
    kind: str = ""


class SampledPlay:
    """A policy whose decisions are drawn from its distribution instead of being its best ones. A decision follows from
    `seed`, its context and the context's seed, and doesn't depend on what is played beside it.

    `sticky`: the chance that the last actions are done again instead (sticky actions, arXiv 1709.06009), by which a
    player gets farther than by dithering. Such a decision has no tokens: it was not sampled.
    """

    def __init__(self, policy: Samples, temperature: float, seed: int, sticky: float = 0.0) -> None:
        self.spec = policy.spec  # type: ignore[attr-defined]
        self._policy, self._temperature, self._seed, self._sticky = policy, temperature, seed, sticky

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        seeds = [_mixed(self._seed, context.seed) for context in contexts]
        decisions = self._policy.sample(contexts, temperature=self._temperature, seeds=seeds)
        if not self._sticky:
            return decisions
        again = [np.random.default_rng(_mixed(seed, "sticky")).random() < self._sticky for seed in seeds]
        return [
            Decision(context.actions[-1], decision.thought, decision.speech)
            if repeats and context.actions and context.actions[-1] and not decision.done
            else decision
            for context, decision, repeats in zip(contexts, decisions, again, strict=True)
        ]


class _Reseeded:
    """A policy whose contexts get seeds of another series: the tries of a level have ticks and seeds in common."""

    def __init__(self, policy: Policy, series: str) -> None:
        self.spec, self._policy, self._series = policy.spec, policy, series

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return self._policy.act([replace(one, seed=_mixed(self._series, one.seed)) for one in contexts])


def _mixed(*parts: object) -> int:
    """A seed that follows from all parts."""
    return zlib.crc32("/".join(map(str, parts)).encode())


class _Steps:
    """Breaks goals into steps."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def steps(self, goal: str, frames: tuple[Frame, ...]) -> tuple[str, ...]:
        """The steps of a goal; none where the planner fails: then the goal is tried as it stands."""
        try:
            return self._planner.plan(Situation(goal, frames=frames)).steps
        except ModelError:
            return ()


class Collector:
    """A worker that plays levels, several at once."""

    def __init__(self, settings: CollectSettings) -> None:
        self._settings = settings
        if not settings.out.is_dir():
            raise UserError(f"{settings.out}: not there; every machine that plays has to see the run's folder")
        self._policy: Policy = load_player(settings.policy)
        self._setter = load_setter(settings.setter)
        self._curriculum = Curriculum.load(settings.curriculum)
        self._planner = _Steps(load_planner(settings.planner)) if settings.planner else None
        self._worlds = ParallelPlay(partial(open_world, settings.env))

    def work(self, levels: Sequence[Task]) -> list[LevelPlayed]:
        """Play some levels; those that were played before are read from disk."""
        found = {level.id: read_level(self._settings.out, level.id) for level in levels}
        todo = [level for level in levels if found[level.id] is None]
        if todo:
            samples = require(self._policy, Samples, self._settings.policy, "agent self-improve")
            settings = self._settings
            sampled = SampledPlay(samples, settings.temperature, settings.seed, settings.sticky)
            for played in self._worlds.play(sampled, todo, self._level):
                found[played.level] = played
        return [played for played in found.values() if played is not None]

    def close(self) -> None:
        self._worlds.close()

    def _name(self, level: str) -> str:
        return f"{self._settings.generation:03d}-{level.replace('/', '-')}"

    def _level(self, world: World, player: InStep, level: Task) -> LevelPlayed:
        out = self._settings.out
        for start in ("", ".tmp-"):  # of a level that was cut short, and of its last try
            for left in (out / "episodes").glob(f"{start}{self._name(level.id)}-*"):
                shutil.rmtree(left)
        chain = Chain(world)
        chain.enter(level.seed, level.options)
        tries: list[Try] = []
        audited: list[Audited] = []
        seen: list[Frame] = []
        todo: list[_Next] = []
        rejected = 0
        place, kind = self._name(level.id), level.id.partition("/")[0]
        for number in range(self._settings.tries):
            seen.append(chain.observation["pixels"])
            if not todo:
                todo, wrong = self._choose(chain, tuple(seen[-LOOKED_BACK:]), level, number)
                rejected += wrong
            if not todo:
                continue  # nothing here is worth a try; another draw may be
            one = todo.pop(0)
            if one.enter is not None:
                chain.enter(*one.enter)
                place, kind = f"{self._name(level.id)}-{number}", one.kind
            chain.watch(self._settings.env, one.instruction, one.others)
            tries.append(self._try(chain, player, level, number, replace(one, place=place, kind=kind), rejected))
            success = chain.truth is not None and chain.truth.success if chain.known else None
            why = chain.truth.why if chain.truth else "the time is up"
            audited.append(Audited(tries[-1].id, success, why, chain.others))
            rejected = 0
            if chain.over:
                break
            if not tries[-1].said_done:  # the same again, or else the rest of its plan is given up
                todo = [replace(one, left=one.left - 1, enter=None), *todo] if one.left else []
        played = LevelPlayed(level.id, tuple(tries), tuple(audited))
        write_whole(level_file(out, level.id), json.dumps(played.to_json()).encode())
        return played

    def _choose(self, chain: Chain, seen: tuple[Frame, ...], level: Task, number: int) -> tuple[list[_Next], int]:
        """What to try now, one after the other, nothing if no proposal is worth it; and how much of what the setter
        said was rejected. `seen`: what was in view before the last tries, and now."""
        settings, seed = self._settings, level.seed * self._settings.tries + number
        view = SetterView(
            world=settings.env,
            frames=seen,
            tried=self._curriculum.tried,
            skills=self._curriculum.skills(),
            tick_hz=chain.tick_hz,
            seed=seed % 2**31,
            kinds=settings.kinds,
        )
        proposed = propose(self._setter, view, settings.proposals)
        said = [one.instruction for one in proposed.proposals]
        elsewhere = self._curriculum.remembered(settings.remembered, seed, besides=said)
        proposals = (*proposed.proposals, *(Proposal(text, settings.time_limit) for text in elsewhere))
        if settings.choose:
            choices = self._curriculum.choose(proposals, 1, seed, settings.trust)
        else:
            choices = self._curriculum.draw(proposals, 1, seed)
        if not choices:
            return [], len(proposed.rejected)
        if kind := choices[0].proposal.kind:  # a new level, which no generation plays otherwise
            new = world_tasks.suite(kind).practice(settings.seed, _mixed(level.id, number) % 2**31)
            there = replace(choices[0].proposal, seed=new.seed, options=new.options)
            choices = [replace(choices[0], proposal=there)]
        return self._plan(choices[0], proposals, seen), len(proposed.rejected)

    def _plan(self, choice: Choice, proposals: Sequence[Proposal], seen: tuple[Frame, ...]) -> list[_Next]:
        """What a choice is tried as: the goal itself, or the steps that the planner breaks it into."""
        chosen, settings = choice.proposal, self._settings
        goal = chosen.instruction
        here = (
            one.instruction for one in proposals if one.options is None and not one.kind and one.instruction != goal
        )
        alone = _Next(
            goal, min(chosen.time_limit, settings.time_limit), choice.rehearsal,
            others=() if chosen.options is not None else tuple(dict.fromkeys(here)), left=settings.attempts - 1,
            task=chosen.task, enter=None if chosen.options is None else (chosen.seed or 0, dict(chosen.options)),
            kind=chosen.kind or chosen.task.partition("/")[0],
        )  # fmt: skip
        steps = self._planner.steps(goal, seen) if self._planner and alone.enter is None else ()
        if len(steps) < 2:
            return [alone]
        step = replace(alone, rehearsal=False, task="", whole=goal, steps=len(steps))
        return [replace(step, instruction=text, step=number) for number, text in enumerate(steps, 1)]

    def _try(self, chain: Chain, player: InStep, level: Task, number: int, one: _Next, rejected: int) -> Try:
        settings = self._settings
        seed, options = one.enter or (level.seed, level.options)
        name = f"{self._name(level.id)}-{number}"
        task = Task(name, one.instruction, settings.env, seed, options, one.time_limit)
        folder = settings.out / "episodes" / task.id
        recorder = Recorder(folder, task=task, policy=settings.policy, durable=False)
        seeded = InStep(_Reseeded(player.policy, name))
        outcome = play(
            chain, seeded, task.instruction, seed=task.seed, options=task.options, time_limit=task.time_limit,
            subscribers=(recorder,), observe="decision", end_on_done=True,
        )  # fmt: skip
        if recorder.episode is None:
            raise OSError(f"{folder}: {'; '.join(outcome.problems)}")
        return Try(
            task.id, task.instruction, folder.name, outcome.ticks, outcome.done, one.rehearsal, rejected, one.place,
            one.others, one.whole, one.step, one.steps, one.task, one.kind,
        )  # fmt: skip


def level_file(out: Path, level: str) -> Path:
    """Where what happened in a level is noted, once it is whole."""
    return out / "levels" / f"{level.replace('/', '-')}.json"


def read_level(out: Path, level: str) -> LevelPlayed | None:
    """What happened in a level, None if it was not played to its end."""
    try:
        return LevelPlayed.from_json(json.loads(level_file(out, level).read_text()))
    except FileNotFoundError:
        return None


def load_player(name: str) -> Policy:
    """A policy by name, or `small` from a checkpoint folder."""
    small = plugins.load("policy", "small")
    policy: Policy = small(Path(name)) if Path(name).is_dir() else plugins.load("policy", name)()
    return policy


def open_world(name: str) -> World:
    """A world by name."""
    world: World = plugins.load("world", name)()
    return world
