"""`clip`: a CLIP model tells from single frames whether a goal is reached.

As in "Vision-Language Models as a Source of Rewards" (arXiv 2312.09187):

    p = exp(f(o)·g(l) / tau) / sum over l' in L of exp(f(o)·g(l') / tau)

where o is a frame, l what it shows when the goal is reached, and L holds l and negatives, fixed for a run. The reward
is 1 where p >= beta. Negatives are captions of other goals, and of the same thing in other states.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from envs.errors import UserError
from rewards.calibrated import Measured, calibrated
from rewards.clip_encoder import ClipEncoder, Frames, folder_of_spec, load_encoder
from rewards.reward import Footage, Reward
from rewards.score import Failure, Score
from rewards.wrapper import goal_and_frames
from tasks import world_tasks
from tasks.task import Task

SHIPPED = Path(__file__).with_name("weights") / "clip"
SETTINGS = "clip.json"  # in a model's folder
BATCH = 64  # frames that share a pass

Chances = npt.NDArray[np.float32]
Variant = Literal["softmax", "cosine", "goal_baseline"]


@dataclass(frozen=True)
class ClipSettings:
    """How goals become scores.

    `temperature`: tau; None for the model's own. `threshold`: beta, from which on a goal counts as reached.
    `negatives`: captions of other goals, drawn by `seed`. `contrasts`: whether the same thing in other states is among
    the negatives. `prompt`: "outcome" for captions of the world's outcomes, or a template with {instruction}. `hold`:
    how many of the last frames of an episode must show it; the first must not. `variant`: "softmax" is the formula
    above. "cosine" is (1 + f·g) / 2, without negatives. "goal_baseline" moves f towards the line from `baseline` to the
    goal by the share `alpha`, and is
    1 - |f - g|^2 / 2 (Rocamonde et al., arXiv 2310.12921). Raises ValueError.
    """

    temperature: float | None = None
    threshold: float = 0.5
    negatives: int = 32
    seed: int = 0
    contrasts: bool = True
    prompt: str = "outcome"
    hold: int = 1
    variant: Variant = "softmax"
    baseline: str = "a video game"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0.0:
            raise ValueError(f"temperature: expected a number above 0, got {self.temperature!r}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold: expected 0 to 1, got {self.threshold!r}")
        if self.negatives < 0 or self.hold < 1:
            raise ValueError("expected at least 0 negatives and a hold of at least 1 frame")
        if self.prompt != "outcome" and "{instruction}" not in self.prompt:
            raise ValueError(f'prompt: expected "outcome" or a template with {{instruction}}, got {self.prompt!r}')

    def save(self, folder: Path) -> None:
        """Write the settings into a model's folder."""
        (folder / SETTINGS).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ClipSettings:
        """The settings in a model's folder; the defaults where there are none. Raises ValueError."""
        path = folder / SETTINGS
        if not path.exists():
            return cls()
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: no settings of a clip reward: {error}") from error


# For worlds that say nothing about their outcomes.
TEMPLATE = "a video game, after the player has done this: {instruction}"
ANYTHING = (
    "a video game", "a video game, before anything was done", "the player stands before a wall", "an empty room",
    "a menu", "a blank screen", "the player is lost", "something else",
)  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """A goal as vectors: `wanted` (D,) of what the frame shows once it is reached, `others` (N, D) of the negatives.
    `said`: the caption."""

    said: str
    wanted: Tensor
    others: Tensor


class Clip:
    """Scores episodes and single frames by a CLIP model. A goal whose outcome one frame can't show gets a Failure."""

    sees_truth = False

    def __init__(self, encoder: ClipEncoder, settings: ClipSettings, *, name: str = "clip") -> None:
        self.name, self.settings, self.encoder = name, settings, encoder
        self._goals: dict[tuple[str, str, str], Goal | None] = {}

    @classmethod
    def load(cls, model: str, *, name: str = "") -> Clip:
        """With a model that rewards.clip_encoder.load_encoder knows. A folder brings its own settings. Raises
        UserError."""
        encoder = load_encoder(model)
        try:
            settings = ClipSettings.load(folder_of_spec(model) or Path(model))
        except ValueError as error:
            raise UserError(str(error)) from error
        return cls(encoder, settings, name=name or f"clip:{model}")

    @property
    def threshold(self) -> float:
        """The chance from which on a goal counts as reached."""
        return self.settings.threshold

    def goal(self, world: str, instruction: str, picture: str = "") -> Goal | None:
        """A goal of a world; None where one frame can't show its outcome. `picture`: the name of one that shows what is
        wanted, in place of words."""
        key = (world, instruction, picture)
        if key not in self._goals:
            self._goals[key] = self._make(world, instruction, picture)
        return self._goals[key]

    def chances(self, goals: Sequence[Goal], frames: Frames) -> Chances:
        """The chance that each of B frames, uint8 (B, H, W, 3), shows the goal of its row. The rows may be of different
        worlds: they share the encoder's passes."""
        vectors = torch.cat([self.encoder.images(frames[i : i + BATCH]) for i in range(0, len(frames), BATCH)])
        return np.array([self._chance(vector, goal) for vector, goal in zip(vectors, goals, strict=True)], np.float32)

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        """One result for each episode of a task."""
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, Footage]]) -> list[Score | Failure]:
        """One result for each pair of a task and an episode of it."""
        return [self._score(task, episode) for task, episode in pairs]

    def _score(self, task: Task, episode: Footage) -> Score | Failure:
        found = goal_and_frames(self, task, episode)
        if isinstance(found, Failure):
            return found
        goal, frames = found
        saw = (0, *range(max(1, len(frames) - self.settings.hold), len(frames)))
        chances = self.chances([goal] * len(saw), frames[list(saw)])
        value = came_true(chances)
        return Score(
            100.0 * value, value >= self.settings.threshold,
            f"{goal.said}: {chances[-1]:.2f} at the end, {chances[0]:.2f} at the start", self.name, saw=saw,
            size=self.encoder.prepare.size,
        )  # fmt: skip

    def _chance(self, vector: Tensor, goal: Goal) -> float:
        settings = self.settings
        if settings.variant == "softmax":
            scale = self.encoder.scale if settings.temperature is None else 1.0 / settings.temperature
            logits = scale * torch.cat([goal.wanted[None], goal.others]) @ vector
            return float(torch.softmax(logits, 0)[0])
        if settings.variant == "cosine":
            return float((1.0 + goal.wanted @ vector) / 2.0)
        line = goal.wanted - goal.others[0]
        along = goal.others[0] + ((vector - goal.others[0]) @ line) / (line @ line).clamp(min=1e-9) * line
        moved = settings.alpha * along + (1.0 - settings.alpha) * vector
        return float((1.0 - 0.5 * (moved - goal.wanted).square().sum()).clamp(0.0, 1.0))

    def _make(self, world: str, instruction: str, picture: str) -> Goal | None:
        texts = self._texts(world, instruction)
        if picture:
            drawn = world_tasks.of(world).picture(picture)
            if drawn is None:
                return None
            others = texts[1] if texts is not None else list(ANYTHING)
            return Goal(f"as in {picture}", self.encoder.images(drawn[None])[0], self.encoder.texts(others))
        if texts is None:
            return None
        wanted, others = texts
        if self.settings.variant == "goal_baseline":
            others = [self.settings.baseline]
        return Goal(wanted, self.encoder.texts([wanted])[0], self.encoder.texts(others))

    def _texts(self, world: str, instruction: str) -> tuple[str, list[str]] | None:
        """The caption of the goal and its negatives."""
        settings, outcomes = self.settings, world_tasks.of(world).outcomes
        if outcomes is None:
            template = TEMPLATE if settings.prompt == "outcome" else settings.prompt
            return template.format(instruction=instruction), list(ANYTHING)
        caption = outcomes.caption(instruction)
        if caption is None:
            return None
        contrasts = list(outcomes.contrasts(instruction)) if settings.contrasts else []
        others = outcomes.others(instruction)
        rng = np.random.default_rng([settings.seed, zlib.crc32(world.encode())])
        negatives = [others[i] for i in sorted(rng.permutation(len(others))[: settings.negatives].tolist())]
        if settings.prompt == "outcome":
            return caption, [*contrasts, *negatives]
        sentences = [outcomes.sentence(rng, said) or said for said in (*contrasts, *negatives)]
        return settings.prompt.format(instruction=instruction), [
            settings.prompt.format(instruction=said) for said in sentences
        ]


def load_clip(model: str = "") -> Reward:
    """The clip reward of a model, as `Clip.load` takes it: by default the one that ships, with how wrong it is. Raises
    UserError."""
    if not model:
        return calibrated(Clip.load(str(SHIPPED), name="clip"), Measured.load(SHIPPED))
    return Clip.load(model)


def came_true(chances: npt.ArrayLike) -> float:
    """How far a goal was reached in an episode: how much likelier all its last frames show it than the first one does.

    `chances`: of the first frame, then of the last ones. A single frame is both.
    """
    first, *last = np.asarray(chances, np.float64).tolist()
    return float(max(0.0, min(last or [first]) - first))
