"""`judge`: a model that looks at frames of an episode and says how well it did what the instruction asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.capabilities import HasSpec, Judges, JudgesProgress, require
from agent.small.checkpoint import SHIPPED, CheckpointError
from agent.small.judge_view import Frames, picks, view
from agent.small.model import FRAME_SIZE
from agent.view import View
from envs import plugins
from envs.errors import UserError
from rewards.calibration import CALIBRATION, Calibration
from rewards.reward import Footage
from rewards.score import Failure, Score
from tasks.goal_text import goal_of
from tasks.task import Task

if TYPE_CHECKING:
    from rewards.model_judge import ModelJudge

SHIPPED_JUDGE = Path(__file__).resolve().parent / "weights" / "judge"
UNCALIBRATED = Calibration(50.0)  # of a judge that nobody calibrated: success from half of its scale on
SETTINGS = (".yaml", ".yml")  # files with the settings of a chat model
BATCH = 16  # episodes that share a pass of the model


class Judge:
    """Scores episodes with a policy that judges.

    The policy gets frames (B, 8, H, W, 3), which `view` chooses, as its spec wants to see them, or else at 120x160.
    `calibration`: what the policy's values mean. The score is the chance of success times 100; success is a value of
    at least the threshold of the instruction's verb. Progress comes from a policy that tells it, where the calibration
    found it to be worth something. `batch`: episodes that share a pass of the model.
    """

    sees_truth = False

    def __init__(self, policy: Judges, calibration: Calibration, *, name: str = "judge", batch: int = BATCH) -> None:
        self.name, self.calibration = name, calibration
        self._policy, self._batch = policy, batch
        self._sight = policy.spec.view if isinstance(policy, HasSpec) else View.stretched(FRAME_SIZE)

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        """One result for each episode of a task; a Failure where its frames can't be read or the model fails."""
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, Footage]]) -> list[Score | Failure]:
        """One result for each pair of a task and an episode of it; tasks may differ within a batch."""
        results: list[Score | Failure] = []
        for start in range(0, len(pairs), self._batch):
            results += self._score(pairs[start : start + self._batch])
        return results

    def _score(self, pairs: Sequence[tuple[Task, Footage]]) -> list[Score | Failure]:
        results: dict[int, Score | Failure] = {}
        clips: dict[int, Frames] = {}
        saw: dict[int, tuple[int, ...]] = {}
        for i, (_, episode) in enumerate(pairs):
            try:
                frames = episode.decision_frames()
                clips[i] = np.stack([self._sight.newest(frame) for frame in view(frames)])
                saw[i] = picks(len(frames))
            except Exception as error:  # a broken file must not end the scoring of the others
                results[i] = Failure(f"its frames can't be read: {error}")
        if clips:
            said = self._ask([pairs[i][0] for i in clips], np.stack(list(clips.values())))
            height, width = next(iter(clips.values())).shape[1:3]
            for i, one in zip(clips, said, strict=True):
                results[i] = replace(one, saw=saw[i], size=(height, width)) if isinstance(one, Score) else one
        return [results[i] for i in range(len(pairs))]

    def _ask(self, tasks: list[Task], clips: Frames) -> list[Score | Failure]:
        try:
            texts = [task.instruction for task in tasks]
            answers: list[tuple[float, str, float | None]]
            if self.calibration.tells_progress and isinstance(self._policy, JudgesProgress):
                answers = list(self._policy.judge_progress(texts, clips))
            else:
                answers = [(value, why, None) for value, why in self._policy.judge(texts, clips)]
            if len(answers) != len(tasks):
                raise ValueError(f"{len(answers)} answers for {len(tasks)} episodes")
        except Exception as error:  # a foreign model: it may raise anything
            return [Failure(f"the judge failed: {type(error).__name__}: {error}")] * len(tasks)
        return [self._result(task, *answer) for task, answer in zip(tasks, answers, strict=True)]

    def _result(self, task: Task, value: float, why: str, progress: float | None) -> Score | Failure:
        if not 0.0 <= value <= 100.0:  # false for NaN too
            return Failure(f"the judge failed: it gave {value!r} instead of a value from 0 to 100")
        if progress is not None and not 0.0 <= progress <= 1.0:
            return Failure(f"the judge failed: it gave {progress!r} instead of a progress from 0 to 1")
        chance = float(self.calibration.chance(value))
        least = self.calibration.threshold
        if self.calibration.verbs:
            least = self.calibration.threshold_of(goal_of(task.world, task.instruction).verb)
        return Score(100.0 * chance, value >= least, why, self.name, progress=progress)


def load_judge(policy: str = "") -> Judge | ModelJudge:
    """The judge that a policy is: a policy's name, `package.module:Name`, or a checkpoint folder; the one that ships by
    default, which is `small` after it learned to judge alone. A chat model, such as openai:MODEL@URL, gemini:MODEL and
    hf:FOLDER, or a YAML file of its settings, is a `ModelJudge`.

    The calibration comes from `judge.json` in the checkpoint folder. A policy without a folder is taken as
    UNCALIBRATED. Raises UserError for a policy that doesn't judge and for a folder without a calibration.
    """
    if not policy:
        return Judge(_checkpoint(SHIPPED_JUDGE), Calibration.load(SHIPPED_JUDGE))
    if _is_chat_model(policy):
        from rewards.model_judge import load_model_judge  # needs the extra `models`

        return load_model_judge(policy)
    folder = _folder(policy)
    model = plugins.load("policy", policy)() if folder is None or policy == "small" else _checkpoint(folder)
    judging: Judges = require(model, Judges, policy, "reward judge")
    try:
        calibration = UNCALIBRATED if folder is None else Calibration.load(folder)
    except ValueError as error:
        raise UserError(
            f"{error}; make {CALIBRATION} with: agent eval --suite doom-judge --policy {policy} --calibrate"
        ) from error
    return Judge(judging, calibration, name=f"judge:{policy}")


def _is_chat_model(name: str) -> bool:
    """Whether `judge:NAME` is a chat model: a model of the group ludens.models beside `small`, whose role it is
    anyway, or a file of settings."""
    backend = name.partition(":")[0]
    return Path(name).suffix in SETTINGS or (backend != "small" and backend in plugins.entries("model"))


def _folder(policy: str) -> Path | None:
    """The checkpoint folder of a policy; None where it has none."""
    if policy == "small":
        return SHIPPED
    path = Path(policy).expanduser()
    written_as_path = ":" not in policy and (os.sep in policy or policy.startswith((".", "~")))
    return path if written_as_path or path.is_dir() else None


def _checkpoint(folder: Path) -> Judges:
    from agent.small.policy import load_small

    try:
        return load_small(folder)
    except CheckpointError as error:
        raise UserError(f"judge {folder}: {error}") from error
