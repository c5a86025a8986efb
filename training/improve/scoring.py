"""Scoring: what a reward says of the tries, in two views, and of controls, which show no success.

A try is claimed a success where both views say so: the second view is another reward, or the same one on other frames.
A control holds an episode against an instruction that it almost surely doesn't fulfil. It is as close to the tries as
it can be without ground truth: a try of the instruction, played backwards, or another try of the same level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewards.reward import Reward, VerifiedFootage, load_reward, score_pairs
from rewards.score import Failure, Score
from rewards.views import Backwards, Thinned
from tasks.goal_text import goal_of, same
from tasks.task import Task
from training.data.episodes import read_episode
from training.data.footage import RecordedFootage
from training.improve.collect import Try
from training.workers.workers import Failed, Workers

_BATCH = 16  # episodes that are scored together

Pair = tuple[Task, VerifiedFootage]
Result = Score | Failure
OnScored = Callable[[int, int], None]


@dataclass(frozen=True)
class Judgement:
    """What is said of an episode. `success` and `value` (0 to 100): None if the reward failed. `again`: what the second
    view says of a success; None where it was not asked or failed. `verb`: of the goal, "" if the reward failed."""

    success: bool | None
    value: float | None
    why: str
    verb: str = ""
    again: bool | None = None

    @property
    def claimed(self) -> bool | None:
        """Whether it counts as a success; None if nobody knows."""
        return self.success if not self.success else self.again is not False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Judgement:
        return cls(**data)


@dataclass(frozen=True)
class Judges:
    """Who looks at episodes of the world `env`. `second`: the reward of the second view, None for the same reward on
    other frames. `twice`: whether there is a second view."""

    env: str
    reward: Reward
    second: Reward | None = None
    twice: bool = True

    def judge(self, pairs: Sequence[Pair]) -> list[Judgement]:
        """A judgement of each pair of a task and an episode; the second view is asked about successes alone."""
        first = score_pairs(self.reward, pairs)
        again: dict[int, Result] = {}
        asked = [i for i, result in enumerate(first) if isinstance(result, Score) and result.success]
        if self.twice and asked:
            again = dict(zip(asked, self._again([pairs[i] for i in asked]), strict=True))
        return [self._judgement(pairs[i][0], result, again.get(i)) for i, result in enumerate(first)]

    def _again(self, pairs: Sequence[Pair]) -> list[Result]:
        if self.second is not None:
            return score_pairs(self.second, pairs)
        return score_pairs(self.reward, [(task, Thinned(episode)) for task, episode in pairs])

    def _judgement(self, task: Task, first: Result, again: Result | None) -> Judgement:
        if not isinstance(first, Score):
            return Judgement(None, None, first.why)
        second = again.success if isinstance(again, Score) else None
        return Judgement(first.success, first.value, first.why, goal_of(self.env, task.instruction).verb, second)


def by_truth(env: str, tries: Sequence[Try], truth: Mapping[str, bool | None]) -> list[Judgement]:
    """What ground truth says of tries, for runs that learn from it: the upper bound that rewards are compared with."""
    return [
        Judgement(done, None if done is None else 100.0 * done, "", goal_of(env, one.instruction).verb)
        for one, done in ((one, truth.get(one.id)) for one in tries)
    ]


Asked = tuple[Task, Path, bool]  # a task, an episode's folder, and whether it is played backwards


def judge_all(judges: Judges, asked: Sequence[Asked]) -> list[Judgement]:
    """Judgements of episodes on disk."""
    footage = [RecordedFootage(read_episode(folder)) for _, folder, _ in asked]
    seen = [Backwards(one) if backwards else one for one, (_, _, backwards) in zip(footage, asked, strict=True)]
    return judges.judge([(task, one) for (task, _, _), one in zip(asked, seen, strict=True)])


class Scorer:
    """A worker that judges episodes, by rewards of its own. `second`: "" for the same reward on other frames."""

    def __init__(self, env: str, reward: str, second: str, twice: bool) -> None:
        self._judges = Judges(env, load_reward(reward), load_reward(second) if second else None, twice)

    def work(self, job: tuple[int, Sequence[Asked]]) -> list[Judgement]:
        """Judgements of some episodes. The number of a job is for whoever gave it."""
        return judge_all(self._judges, job[1])

    def close(self) -> None:
        pass


def judge_with(
    workers: Workers, asked: Sequence[Asked], on_scored: OnScored = lambda done, of: None
) -> list[Judgement]:
    """Judgements by workers that are Scorers, in the order of what is asked. Raises RuntimeError where a reward raises
    an error of its own."""
    jobs = [(start, asked[start : start + _BATCH]) for start in range(0, len(asked), _BATCH)]
    said: dict[int, list[Judgement]] = {}
    for (start, _), result in workers.run(jobs):
        if isinstance(result, Failed):
            raise RuntimeError(f"scoring: {result.error}")
        said[start] = result
        on_scored(sum(map(len, said.values())), len(asked))
    return [judgement for start, _ in jobs for judgement in said[start]]


def scorings(tries: int) -> int:
    """How many jobs the scoring of so many tries is."""
    return -(-tries // _BATCH)


@dataclass(frozen=True)
class Control:
    """An instruction that an episode does not fulfil. `episode`: its folder's name. `kind`: why it doesn't."""

    instruction: str
    verb: str
    episode: str
    kind: str

    @property
    def backwards(self) -> bool:
        return self.kind == "backwards"


def controls(env: str, tries: Sequence[Try], verbs: set[str], most: int, seed: int) -> list[Control]:
    """Controls for some verbs, at most `most` of each kind for each verb."""
    rng = np.random.default_rng([seed, 17])
    by_verb: dict[str, list[Try]] = {}
    for one in tries:
        verb = goal_of(env, one.instruction).verb
        if verb in verbs and one.ticks:
            by_verb.setdefault(verb, []).append(one)
    return [control for verb in sorted(by_verb) for control in _of_verb(env, verb, by_verb[verb], tries, most, rng)]


def _of_verb(
    env: str, verb: str, mine: Sequence[Try], tries: Sequence[Try], most: int, rng: np.random.Generator
) -> Iterator[Control]:
    chosen = [mine[i] for i in rng.permutation(len(mine))[:most]]
    for one in chosen:
        yield Control(one.instruction, verb, one.episode, "backwards")
        goal = goal_of(env, one.instruction)
        others = [
            other for other in tries
            if other.level == one.level and other.ticks and not same(goal_of(env, other.instruction), goal)
        ]  # fmt: skip
        if others:
            yield Control(one.instruction, verb, others[int(rng.integers(len(others)))].episode, "another try")
