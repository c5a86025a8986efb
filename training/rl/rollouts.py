"""Rollouts: episodes that a policy samples in many worlds at once, with the reward of every decision.

The worlds of a process are stepped together in one thread. The policy decides for all of them in one pass, and a reward
that scores frames sees all their frames in one pass. What is drawn depends on the seeds alone, and not on how fast
anything was, so that a run that was killed goes on as if it had not been.

The verifier's verdict is kept beside the reward, for people. It ends no episode and decides nothing, other than for a
reward that sees ground truth, which is an upper bound.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agent.loop.context import ContextBuilder
from agent.loop.instruction import LiveInstruction
from agent.memory import memory_of
from agent.policy import Context, Decision, PolicySpec
from envs.action import NEUTRAL
from envs.world import World
from rewards.combine import Corrected
from rewards.reward import Frames, Reward, score_pairs
from rewards.score import Failure, Score
from rewards.wrapper import FrameReward
from tasks import pictures, world_tasks
from tasks.confirmation import confirmed
from tasks.speech import LINGER, answered
from tasks.task import Task
from tasks.verifier import Verdict

Sample = Callable[[Sequence[Context]], list[Decision]]
Floats = npt.NDArray[np.float64]

_PATIENT = "stand_still"  # who is done with it may not say so at once


@dataclass(frozen=True)
class Start:
    """Where an episode begins. Those of one `group` begin alike: the same task with the same seed and options.
    `attempt`: the memory of an earlier attempt at it."""

    task: Task
    group: int
    attempt: str = ""


@dataclass(frozen=True)
class Rollout:
    """An episode that was sampled, T decisions long.

    `contexts`, `decisions`: what the policy saw, without the word that it is asked with, and what it drew, with its
    tokens and their log-probabilities. `rewards` (T,): of each decision. `scored`: whether the reward called it a
    success. `timed_out`: the time limit cut it short, and what is seen then is in `after`, so that a value function can
    say what was still to come. `values` (T,): what was expected before each decision, and `value_after`, at the
    time-out; a learner with a value head fills them in.
    `true_success`: the verifier's verdict, None where there is no verifier. Nothing learns from it. `why`: what the
    reward said, of one that scores whole episodes. `memory`: what was done, seen and said in all.
    """

    start: Start
    contexts: tuple[Context, ...]
    decisions: tuple[Decision, ...]
    rewards: Floats
    scored: bool
    timed_out: bool = False
    after: Context | None = None
    values: Floats | None = None
    value_after: float = 0.0
    true_success: bool | None = None
    why: str = ""
    memory: str = ""

    @property
    def total(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum())


@dataclass(frozen=True)
class Collected:
    """What was collected. `failures`: why episodes were dropped that the reward could not score. `seconds`: spent in
    "world", "policy" and "reward", and in "all" by every process together."""

    rollouts: tuple[Rollout, ...]
    failures: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pay:
    """How a reward becomes the rewards of decisions.

    A FrameReward scores the frame after each decision: 1 where the goal is reached, and the episode ends there. With
    `shaped` the difference of chances comes on top. Another reward scores the whole episode at its end: 1 for a
    success, or with `graded` its value from 0 to 1. A corrected reward pays what has the mean of the true one, which
    may be below 0 and above 1. `unfinished`: an episode that the time limit cut short, and that such a reward calls no
    success, is no failure: it is paid nothing, and a value function tells what would still have come. `token_price`:
    what each token costs that a decision writes beyond `free_tokens`, its thoughts above all. `said`: the share of what
    a reward of whole episodes pays that goes only to who says that it is done, since who is never paid for saying so
    stops saying it. By ground truth that is within LINGER ticks of the success, and the episode goes on until then;
    another reward looks at the end, so it has to end before the time is up. `confirmed`: what comes on top for the
    right confirmation of the instruction, in the decision that says it.
    """

    shaped: bool = False
    graded: bool = False
    unfinished: bool = False
    token_price: float = 0.0
    free_tokens: int = 0
    said: float = 0.0
    confirmed: float = 0.0

    def price(self, decision: Decision) -> float:
        """What the tokens of a decision cost."""
        return self.token_price * max(0, len(decision.tokens) - self.free_tokens)


class Clock:
    """Adds up seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - began


class Collector:
    """Samples episodes in up to `count` worlds of one process. `make_world`: called when a world is needed."""

    def __init__(self, make_world: Callable[[], World], count: int, reward: Reward, pay: Pay = Pay()) -> None:
        self._make_world, self._count, self._reward, self._pay = make_world, count, reward, pay
        self._worlds: list[World] = []

    def collect(self, spec: PolicySpec, sample: Sample, starts: Sequence[Start]) -> Collected:
        """An episode from each start, in their order; those that the reward can't score are dropped.

        Raises ValueError for a world in real time, and for a task that a FrameReward can't see the outcome of.
        """
        clock = Clock()
        with clock("all"):
            with clock("world"):
                self._open(min(self._count, len(starts)))
            played = self._play(spec, sample, starts, clock)
            with clock("reward"):
                results = self._pay_whole(played)
        rollouts = tuple(result for result in results if isinstance(result, Rollout))
        failures = tuple(result.why for result in results if isinstance(result, Failure))
        return Collected(rollouts, failures, clock.seconds)

    def close(self) -> None:
        for world in self._worlds:
            world.close()
        self._worlds = []

    def _open(self, count: int) -> None:
        while len(self._worlds) < count:
            world = self._make_world()
            self._worlds.append(world)
            if world.realtime:
                raise ValueError("rollouts need worlds in lockstep, and this one is in real time")

    def _play(self, spec: PolicySpec, sample: Sample, starts: Sequence[Start], clock: Clock) -> list[_Episode]:
        """The episodes of the starts. A world that is free takes the next start, so that batches stay large."""
        waiting, free = deque(starts), list(self._worlds)
        playing: list[_Episode] = []
        played: list[_Episode] = []
        while waiting or playing:
            new = []
            with clock("world"):
                while waiting and free:
                    new.append(_Episode(free.pop(), waiting.popleft(), spec, self._reward, self._pay))
            played, playing = played + new, playing + new
            self._see(new, clock)
            with clock("policy"):
                decisions = sample([one.context() for one in playing])
            with clock("world"):
                for one, decision in zip(playing, decisions, strict=True):
                    one.act(decision)
            self._pay_frames(playing, clock)
            free += [one.world for one in playing if one.over]
            playing = [one for one in playing if not one.over]
        return played

    def _see(self, new: Sequence[_Episode], clock: Clock) -> None:
        """The chances that episodes begin with, which the first difference is from."""
        if new and self._pay.shaped and isinstance(self._reward, FrameReward):
            with clock("reward"):
                for one, chance in zip(new, self._chances(self._reward, new), strict=True):
                    one.chance = chance

    def _pay_frames(self, playing: Sequence[_Episode], clock: Clock) -> None:
        """The rewards of the last decisions, where the reward scores frames."""
        reward = self._reward
        if not isinstance(reward, FrameReward):
            return
        with clock("reward"):
            for one, chance in zip(playing, self._chances(reward, playing), strict=True):
                one.reached = chance >= reward.threshold
                one.rewards[-1] += float(one.reached) + (chance - one.chance if self._pay.shaped else 0.0)
                one.chance = chance

    @staticmethod
    def _chances(reward: FrameReward, playing: Sequence[_Episode]) -> list[float]:
        frames = np.stack([one.frame for one in playing])
        chances: list[float] = reward.chances([one.goal for one in playing], frames).tolist()
        return chances

    def _pay_whole(self, played: Sequence[_Episode]) -> list[Rollout | Failure]:
        """The rollouts, with the rewards of a reward that scores whole episodes at their ends."""
        if isinstance(self._reward, FrameReward):
            return [one.rollout(one.reached) for one in played]
        results: list[Rollout | Failure] = []
        for one, score in zip(played, score_pairs(self._reward, [(one.task, one) for one in played]), strict=True):
            if isinstance(score, Failure):
                results.append(score)
                continue
            whole = replace(one.rollout(score.success), why=score.why)
            # Of an unfinished episode all is still to come. To pay what it is worth so far too would pay it twice, and
            # make waiting the best that can be done.
            if not (self._pay.unfinished and whole.timed_out):
                paid = self._paid(score)
                whole.rewards[-1] += paid * (1.0 - one.unsaid) if paid > 0.0 else paid
                whole = replace(whole, timed_out=False, after=None)
            results.append(whole)
        return results

    def _paid(self, score: Score) -> float:
        if isinstance(self._reward, Corrected):
            return self._reward.reward(score.success)
        return score.value / 100.0 if self._pay.graded else float(score.success)


class _Episode:
    """One episode while it is sampled. What it does at a decision is what agent.loop.runtime.play does in lockstep."""

    def __init__(self, world: World, start: Start, spec: PolicySpec, reward: Reward, pay: Pay) -> None:
        self.world, self.start, self.task, self._pay = world, start, start.task, pay
        task = self.task
        self.goal: Any = None
        if isinstance(reward, FrameReward):
            self.goal = reward.goal(task.world, task.instruction, task.picture)
            if self.goal is None:
                raise ValueError(f"reward {reward.name!r}: one frame can't show whether {task.instruction!r} is done")
        self._ends_by_truth = reward.sees_truth
        self._keeps_frames = self.goal is None
        self._instruction = LiveInstruction(task.instruction, pictures.load(task.picture, task.world)).now
        self._contexts = ContextBuilder(spec, task.seed, world.tick_hz)
        self._memory = memory_of(world, self._instruction.text, start.attempt)
        self._verifier = world_tasks.verifier_of(task)
        self._verdict: Any = None
        self._tick = self._judged = 0  # now, and when the verdict came
        self._ended = False  # by the world or the player
        self._shut = False  # by the world, so that the player could not say that it is done
        self._cut = False  # by the world's own time limit
        self._now: Context | None = None
        self._spoke = False
        self._seen: list[Context] = []
        self._drawn: list[Decision] = []
        self.rewards: list[float] = []
        self.chance, self.reached = 0.0, False
        observation, info = world.reset(seed=task.seed, options=dict(task.options))
        asks = self._verifier is None and not task.answer  # for what somebody set in this level
        if asks and info.get("state") is not None:
            self._verifier = world_tasks.of(task.world).verifier_in(info["state"], task.instruction)
        self.frame: Frames = observation["pixels"]
        self._frames: list[Frames] = []
        self._look(info)

    @property
    def over(self) -> bool:
        by_truth = self._ends_by_truth and self._verdict is not None and not self._may_say_so
        return self._ended or self._cut or self.reached or by_truth or self._tick >= self.task.time_limit

    @property
    def _may_say_so(self) -> bool:
        """Whether it succeeded just now, and is paid for saying so."""
        by_truth = self._ends_by_truth and bool(self.success)
        return self._pays_for_words and by_truth and self._tick < self._judged + LINGER

    @property
    def _pays_for_words(self) -> bool:
        return self._pay.said > 0.0 and not self.task.answer and self.task.verb != _PATIENT

    @property
    def unsaid(self) -> float:
        """The share of the pay that it does not get, since it did not say that it is done."""
        silent = not self._drawn[-1].done and not self._shut
        return self._pay.said if self._pays_for_words and silent else 0.0

    def context(self) -> Context:
        """What the policy decides from now; to be called once for every decision."""
        self._now = self._contexts.context(self.frame, self._instruction, (), self._memory.text, self._tick)
        return self._now

    def act(self, decision: Decision) -> None:
        """Carry a decision out that was drawn for `context()`."""
        assert self._now is not None
        self._seen.append(self._now)
        self._drawn.append(decision)
        self.rewards.append(-self._pay.price(decision))
        left = self.task.time_limit - self._tick
        actions = (decision.actions or (NEUTRAL,))[:left]
        observation, _, terminated, truncated, info = self.world.step_chunk(actions)
        actions = actions[: info.get("ticks", len(actions))]
        self.frame = observation["pixels"]
        began, self._tick = self._tick, self._tick + len(actions)
        self._ended, self._cut, self._shut = terminated or decision.done, truncated, terminated
        self._contexts.acted(began, actions, decision.thought)
        self._memory.acted(actions, by_other=False)
        self._memory.thought(decision.thought)
        if decision.speech:
            self._memory.said(decision.speech)
            self._hear(decision.speech)
        self._look(info)

    def _hear(self, line: str) -> None:
        """What is paid for a confirmation, and the verdict of a task that asks for an answer."""
        if self._pay.confirmed and not self._spoke and confirmed(self.task, [line]):
            self.rewards[-1] += self._pay.confirmed
        self._spoke = True
        right = answered(self.task, [line]) if self.task.answer and self._verdict is None else None
        if right is not None:
            self._verdict = Verdict(right, f"said {line!r}")

    def _look(self, info: Any) -> None:
        if self._keeps_frames:
            self._frames.append(self.frame)
        if self._verifier is not None and self._verdict is None:
            self._verdict, self._judged = self._verifier.update(info.get("state")), self._tick

    # What a reward sees of it, as rewards.reward.VerifiedFootage; score_pairs hides the verdict.

    def decision_frames(self) -> Frames:
        return np.stack(self._frames)

    @property
    def success(self) -> bool | None:
        if self._verifier is None and not self.task.answer:
            return None
        return self._verdict is not None and bool(self._verdict.success)

    @property
    def why(self) -> str:
        return str(self._verdict.why) if self._verdict is not None else "the time is up"

    def rollout(self, scored: bool) -> Rollout:
        """What became of it."""
        timed_out = not self._ended and not scored
        after = self.context() if timed_out else None
        return Rollout(
            self.start, tuple(self._seen), tuple(self._drawn), np.array(self.rewards), scored, timed_out, after,
            true_success=self.success, memory=self._memory.text,
        )  # fmt: skip


def sampler(learnable: Any, temperature: float, seed: int) -> Sample:
    """Draws decisions of a training.rl.learnable.Learnable with random numbers of its own."""
    generator = torch.Generator().manual_seed(seed)
    return lambda contexts: learnable.sample(contexts, temperature=temperature, generator=generator)
