"""`judge:openai:MODEL@URL`, `judge:gemini:MODEL`, `judge:hf:FOLDER`: a chat model that sees pictures judges episodes.

It sees pixels and the instruction alone. A judge that fails gives no score: a Failure with the reason, never 0.

| mode          | the model is asked               | the score                                             |
| ------------- | -------------------------------- | ----------------------------------------------------- |
| `json`        | for score, progress and reason   | the score; the mean of several samples                |
| `expectation` | for one digit by the same rubric | 100 E[digit] / 9, from log-probabilities of the digits |
| `yes`         | "was it done?"                   | 100 P(yes) / (P(yes) + P(no))                         |

`auto` takes `yes` for models of Hugging Face, `expectation` where a service tells log-probabilities, otherwise `json`.
The expectation over the score's token is G-Eval's (arXiv 2303.16634), P(yes) is VQAScore's (arXiv 2404.01291).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from agent.models.base import BadReplyError, ChatModel, Message, ModelError, Picture
from agent.models.choice import NoChoiceError
from agent.models.load import load_model
from envs import plugins
from envs.errors import UserError
from envs.yaml_files import read_settings
from rewards.calibration import Calibration
from rewards.judge_prompt import (
    BETTER_DIGIT,
    BETTER_JSON,
    BETTER_SCHEMA,
    DIGIT,
    DIGITS,
    JSON,
    SCORE_SCHEMA,
    YES,
    Glimpse,
    better_messages,
    glimpse,
    score_messages,
)
from rewards.reward import Footage
from rewards.score import Failure, Score
from tasks import world_tasks
from tasks.task import Task

_TEMPERATURE = 0.7  # where several samples are averaged
_PROBE = "Answer with one digit from 0 to 9 and nothing else: how much is 3 + 4?"

Mode = Literal["auto", "json", "expectation", "yes"]
_T = TypeVar("_T")


class JudgeSettings(BaseModel):
    """How a chat model judges.

    `samples`: answers that are averaged in the mode json; a single one is at temperature 0. `threshold`: the least
    score that counts as success. `frames`: the most pictures of an episode, `size`: pixels of their longer side.
    `think`: tokens of thoughts, None for the model's own; `max_tokens`: of an answer in JSON. `least`: the share of the
    answers that must be digits, or yes and no. `at_once`: episodes that are asked about at the same time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "auto"
    samples: int = Field(default=1, ge=1)
    threshold: float = Field(default=80.0, ge=0.0, le=100.0)
    frames: int = Field(default=8, ge=2)
    size: int = Field(default=512, ge=8)
    think: int | None = Field(default=None, ge=0)
    max_tokens: int = Field(default=1024, ge=1)
    seed: int = 0
    least: float = Field(default=0.05, ge=0.0, le=1.0)
    at_once: int = Field(default=8, ge=1)


@dataclass(frozen=True)
class Verdict:
    """What a model says of an episode. `value`: 0 to 100, before any calibration. `progress`: 0 to 1, None where the
    model was not asked for it. `saw` and `size`: what it was shown, as in `Score`."""

    value: float
    reason: str
    progress: float | None = None
    saw: tuple[int, ...] = ()
    size: tuple[int, int] | None = None


class ModelJudge:
    """Scores episodes with a chat model that sees pictures. Safe to share between threads where the model is.

    `calibration`: what the model's scores mean, as for `rewards.judge.Judge`; without one a score is taken as it is and
    `settings.threshold` decides.
    """

    sees_truth = False

    def __init__(
        self,
        model: ChatModel,
        settings: JudgeSettings | None = None,
        *,
        calibration: Calibration | None = None,
        name: str = "",
    ) -> None:
        self.model, self.settings, self.name = model, settings or JudgeSettings(), name or f"judge:{model.name}"
        self.calibration = calibration or Calibration(self.settings.threshold)
        self._here = model.name.startswith("hf:")  # in this process: it answers one question at a time
        self._mode: Mode = "yes" if self.settings.mode == "auto" and self._here else self.settings.mode
        self._choosing, self._reading = threading.Lock(), threading.Lock()

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        """One result for each episode of a task; a Failure where frames can't be read or the model gives no score."""
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, Footage]]) -> list[Score | Failure]:
        """One result for each pair of a task and an episode of it. The model is asked about several at once."""
        if self._here or len(pairs) < 2:
            return [self._scored(*pair) for pair in pairs]
        with ThreadPoolExecutor(min(self.settings.at_once, len(pairs))) as pool:
            return list(pool.map(lambda pair: self._scored(*pair), pairs))

    def verdict(self, task: Task, episode: Footage) -> Verdict | Failure:
        """What the model says of an episode, uncalibrated, with the progress that it sees."""

        def ask() -> Verdict:
            wanted, (seen,) = self._shown(task, [episode], self.settings.frames)
            height, width = seen.pictures[-1].shape[:2]
            return replace(said(wanted, seen), saw=seen.at, size=(height, width))

        def said(wanted: Picture | None, seen: Glimpse) -> Verdict:
            mode = self._settled_mode()
            if mode == "json":
                return self._by_json(score_messages(task.instruction, wanted, seen, JSON))
            if mode == "yes":
                chance = self._shares(score_messages(task.instruction, wanted, seen, YES), ("yes", "no"))["yes"]
                return Verdict(100.0 * chance, f'"was it done?": yes with a chance of {chance:.2f}')
            shares = self._shares(score_messages(task.instruction, wanted, seen, DIGIT), DIGITS)
            mean = sum(int(digit) * share for digit, share in shares.items())
            return Verdict(min(100.0, 100.0 * mean / 9.0), f"{mean:.1f} of 9 by the rubric")

        return _bounded(ask)

    def prefer(self, task: Task, a: Footage, b: Footage) -> float | Failure:
        """The chance that episode `a` of a task went better than `b`.

        The model is asked in both orders, and the mean taken: models prefer what they see first, or last. Each episode
        is shown in half as many pictures as for a score.
        """

        def ask() -> float:
            wanted, (one, two) = self._shown(task, [a, b], max(2, self.settings.frames // 2))
            forward = self._first_better(task.instruction, wanted, one, two)
            return (forward + 1.0 - self._first_better(task.instruction, wanted, two, one)) / 2.0

        return _bounded(ask)

    def close(self) -> None:
        """Give back what the model holds."""
        self.model.close()

    def _scored(self, task: Task, episode: Footage) -> Score | Failure:
        said = self.verdict(task, episode)
        if isinstance(said, Failure):
            return said
        chance = float(self.calibration.chance(said.value))
        success = said.value >= self.calibration.threshold
        return Score(100.0 * chance, success, said.reason, self.name, said.saw, said.size, said.progress)

    def _shown(self, task: Task, episodes: Sequence[Footage], most: int) -> tuple[Picture | None, list[Glimpse]]:
        """The picture of what is wanted, and what is shown of each episode. Raises _UnseenError."""
        wanted = None
        if task.picture:
            # Of the world alone: an episode that somebody else recorded must not have a file of this machine sent.
            try:
                wanted = world_tasks.of(task.world).picture(task.picture)
            except Exception as error:  # the name stands in a file, which may hold anything
                raise _UnseenError(f"the picture {task.picture!r} can't be drawn: {error}") from error
            if wanted is None:
                raise _UnseenError(f"the world {task.world!r} draws no picture {task.picture!r} of what is wanted")
        seen = []
        for episode in episodes:
            try:
                with self._reading:  # one episode in memory at a time
                    seen.append(glimpse(episode.decision_frames(), most, self.settings.size))
            except Exception as error:  # a broken file must not end the scoring of the others
                raise _UnseenError(f"its frames can't be read: {error}") from error
        return wanted, seen

    def _settled_mode(self) -> Mode:
        """The mode; in auto, what a question without pictures shows that the service can do. It stays as it is then, so
        that all scores mean the same."""
        with self._choosing:
            if self._mode == "auto":
                try:
                    self._shares((Message("user", _PROBE),), DIGITS)
                    self._mode = "expectation"
                except (NoChoiceError, BadReplyError):
                    self._mode = "json"
            return self._mode

    def _shares(self, messages: Sequence[Message], choices: Sequence[str]) -> Mapping[str, float]:
        """The probabilities of the choices among each other, which sum to 1. Raises ModelError."""
        logs = self.model.choose(messages, choices)
        chances = {choice: math.exp(log) for choice, log in logs.items()}
        total = sum(chances.values())
        if total <= 0.0 or total < self.settings.least:
            raise BadReplyError(
                f"{self.model.name} answers with one of {', '.join(choices)} in only {100 * total:.1f} % of cases",
                retryable=False,
            )
        return {choice: chance / total for choice, chance in chances.items()}

    def _by_json(self, messages: Sequence[Message]) -> Verdict:
        said = self._samples(messages, SCORE_SCHEMA)
        values = [float(data["score"]) for data in said]
        mean = sum(values) / len(values)
        nearest = min(said, key=lambda data: abs(float(data["score"]) - mean))  # its reason stands for all
        progress = sum(float(data["progress"]) for data in said) / len(said)
        return Verdict(mean, _line(nearest["reason"]), progress)

    def _first_better(self, instruction: str, wanted: Picture | None, first: Glimpse, second: Glimpse) -> float:
        """The chance that the episode that is shown first went better. Raises ModelError."""
        if self._settled_mode() == "json":
            said = self._samples(better_messages(instruction, wanted, first, second, BETTER_JSON), BETTER_SCHEMA)
            return sum({"first": 1.0, "second": 0.0, "equal": 0.5}[data["better"]] for data in said) / len(said)
        return self._shares(better_messages(instruction, wanted, first, second, BETTER_DIGIT), ("1", "2"))["1"]

    def _samples(self, messages: Sequence[Message], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """As many answers as the settings want. Raises ModelError where one of them fails: a mean over those that came
        would depend on which questions a model refuses."""
        mine = self.settings
        return [
            self.model.chat(
                messages,
                schema=schema,
                think=mine.think,
                max_tokens=mine.max_tokens,
                seed=mine.seed + i,
                temperature=_TEMPERATURE if mine.samples > 1 else 0.0,
            ).data
            for i in range(mine.samples)
        ]


class _UnseenError(Exception):
    """An episode, or what its instruction means, can't be shown."""


def _bounded(ask: Callable[[], _T]) -> _T | Failure:
    try:
        return ask()
    except _UnseenError as error:
        return Failure(str(error))
    except ModelError as error:
        return Failure(f"the judge failed: {type(error).__name__}: {error}")


def _line(text: str) -> str:
    return " ".join(text.split())


class _File(JudgeSettings):
    """What a file of settings holds. `model`: a registered name, such as openai:MODEL@URL. `calibration`: the folder of
    a judge.json, seen from the file."""

    model: str
    calibration: Path | None = None


def _chats(name: str) -> bool:
    """Whether it is the name of a chat model; `small` has a role of its own for judging."""
    backend = name.partition(":")[0]
    return backend != "small" and backend in plugins.entries("model")


def load_model_judge(name: str) -> ModelJudge:
    """The judge that a chat model is: its name, or a YAML file with `model` and any of JudgeSettings. Raises UserError
    for a model that can't be loaded and for a wrong file."""
    if _chats(name):
        return ModelJudge(load_model(name), name=f"judge:{name}")
    path = Path(name).expanduser()
    told = read_settings(_File, path, f"judge {path}")
    if not _chats(told.model):  # no package.module:Name, which a file must not have imported
        raise UserError(f"judge {path}: model: expected a name such as openai:MODEL@URL or hf:FOLDER")
    try:
        calibration = None if told.calibration is None else Calibration.load(path.parent / told.calibration)
    except ValueError as error:
        raise UserError(f"judge {path}: {error}") from error
    settings = JudgeSettings(**told.model_dump(exclude={"model", "calibration"}))
    return ModelJudge(load_model(told.model), settings, calibration=calibration, name=f"judge:{name}")
