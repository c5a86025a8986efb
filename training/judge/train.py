"""A judge of its own: `small` learns to judge alone, and its image encoder stays as it is.

A judgement is a few words about eight frames, so nearly all the work is in seeing the frames. Here each frame is seen
once, before the training, and an episode then costs a fiftieth of what it costs in a stage of training.small.stage. The
checkpoint judges better than the one that it came from, and acts worse: it is a reward, not a player.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from torch import Tensor

from agent.lineage import Data
from agent.small.checkpoint import SHIPPED, load_model, read_manifest, save_small
from agent.small.judge_view import JUDGE_FRAMES
from agent.small.model import SmallModel
from agent.small.policy import load_small
from agent.small.token_ids import spell
from rewards.calibration import fit
from training.evaluation.judge import CALIBRATION_SEED, ask, measure_progress
from training.judge.plays import play, tried_suite
from training.loop import Loop, Plan
from training.recipe import OnProgress, Progress, Section, ignore_progress, same_recipe
from training.small.batches import Batch
from training.small.clips import Clips
from training.small.judge_episodes import ADDED, Added, collect, load
from training.small.judge_goals import judged_suite
from training.small.losses import text_loss
from training.small.recipe import Counts
from training.small.stage import AVERAGE, adamw, blend

MODEL, STATE, LOGS, SEEN = "model", "state.pt", "tensorboard", "seen.npy"
SHOWN, TRIED = "shown", "tried"  # folders of episodes
_CUT_PART = 8  # for so many shown episodes, its progress is measured on one
_AT_ONCE = 16  # episodes whose frames are seen together

Rows = npt.NDArray[np.int64]


class ShownSection(Section):
    """The expert's episodes. `suites`: how many of each. `failures`: further kinds of training.small.judge_episodes."""

    seed: int = 1
    suites: Counts
    failures: tuple[Added, ...] = ADDED


class TriedSection(Section):
    """A player's own tries. `suites`: how many of each, of any world. `temperature`: of sampling. `time_limit`: ticks
    of a try, at most. `held_out`: the share that the judge is calibrated by instead of learning from it."""

    seed: int = 1
    suites: Counts
    temperature: float = pydantic.Field(1.0, gt=0.0)
    time_limit: pydantic.PositiveInt = 240
    held_out: float = pydantic.Field(0.1, gt=0.0, lt=1.0)


class JudgeRecipe(Section):
    """The configuration file of `agent train judge`.

    `parent`: a checkpoint folder of `small`; the shipped one by default. `epochs`: how often each episode is learned
    from. `spoiled`: the share of the successes that are shown without the deed, as failures: their end alone, or
    swinging about before it. `batch`: episodes in a step. `rate`: the learning rate at its peak. `keep`: the share of
    the parent's weights in those that are saved (WiSE-FT). `workers`: processes that play.
    """

    parent: Path | None = None
    seed: int = 1
    workers: pydantic.PositiveInt = 2
    shown: ShownSection
    tried: TriedSection
    epochs: pydantic.PositiveFloat = 5.0
    spoiled: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    batch: pydantic.PositiveInt = 32
    rate: pydantic.PositiveFloat = 5e-4
    keep: float = pydantic.Field(0.2, ge=0.0, lt=1.0)

    @pydantic.model_validator(mode="after")
    def _known(self) -> JudgeRecipe:
        for section in (self.shown, self.tried):
            if not sum(section.suites.values()):
                raise ValueError("shown and tried: expected episodes of at least one suite each")
        for suite in self.shown.suites:
            judged_suite(suite)
        for suite in self.tried.suites:
            tried_suite(suite)
        return self


def train_judge(recipe: JudgeRecipe, out: Path, on_progress: OnProgress = ignore_progress) -> Path:
    """Record what is not recorded yet and train; the finished checkpoint, OUT/model. A run that is in `out` goes on.

    Raises CheckpointError for a parent that can't be used, and ValueError where `out` holds another run.
    """
    same_recipe(recipe, out)
    if (out / MODEL).exists():
        return out / MODEL
    parent = recipe.parent or SHIPPED
    folders = _recorded(recipe, out, on_progress)
    clips = [Clips.open(folder) for folder in folders]
    model = load_model(parent)
    torch.manual_seed(recipe.seed)
    seen = _seen(model, clips, out / SEEN, on_progress)
    held_out = _held_out(recipe, len(seen))
    lessons = _Lessons(clips, seen, held_out, recipe)
    _learn(recipe, model, lessons, out, on_progress)
    made = out / f"{MODEL}.part"
    save_small(
        model, made, parent=parent, trained={"stage": "judge", "episodes": len(seen) - len(held_out)},
        nouns=read_manifest(parent)["nouns"],
        data=[Data(folder.name, len(part.frames), "episodes") for folder, part in zip(folders, clips, strict=True)],
        recipe=recipe.model_dump(mode="json"),
    )  # fmt: skip
    _calibrate(made, folders[-1], held_out - len(seen) + len(clips[-1].frames), recipe, on_progress)
    made.rename(out / MODEL)
    (out / STATE).unlink(missing_ok=True)
    (out / SEEN).unlink()
    return out / MODEL


def _held_out(recipe: JudgeRecipe, total: int) -> Rows:
    """Which rows are not learned from: some of the tries, which are the last ones."""
    tried = sum(recipe.tried.suites.values())
    count = max(1, int(recipe.tried.held_out * tried))
    return total - tried + np.sort(np.random.default_rng([recipe.seed, 9]).permutation(tried)[:count])


def _calibrate(folder: Path, tries: Path, rows: Rows, recipe: JudgeRecipe, on_progress: OnProgress) -> None:
    """Fit what the judge's values mean to tries that it did not learn from, and measure its progress on further
    episodes of the expert."""
    frames, lines = load(tries)
    judge = load_small(folder)
    values, _ = ask(judge, [lines[row]["instruction"] for row in rows], frames[rows])
    truth = np.array([lines[row]["success"] for row in rows])
    if truth.any() and not truth.all():
        count = sum(recipe.shown.suites.values()) // _CUT_PART
        far = measure_progress(
            judge, "doom-judge", count, CALIBRATION_SEED, False, workers=recipe.workers, on_progress=on_progress
        )
        replace(fit(values, truth), progress=far["rank_correlation"]).save(folder)


def _recorded(recipe: JudgeRecipe, out: Path, on_progress: OnProgress) -> list[Path]:
    """The folders of episodes, which are recorded where they are not whole."""
    shown, tried = recipe.shown, recipe.tried
    if not (out / SHOWN / "episodes.jsonl").exists():
        collect(
            out / SHOWN, shown.suites, shown.seed, workers=recipe.workers, added=shown.failures,
            on_progress=on_progress,
        )  # fmt: skip
    if not (out / TRIED / "episodes.jsonl").exists():
        play(
            out / TRIED, tried.suites, tried.seed, policy=str(recipe.parent or "small"),
            temperature=tried.temperature, time_limit=tried.time_limit, workers=recipe.workers,
            on_progress=on_progress,
        )  # fmt: skip
    return [out / SHOWN, out / TRIED]


def _seen(model: SmallModel, clips: Sequence[Clips], path: Path, on_progress: OnProgress) -> npt.NDArray[np.float16]:
    """The image tokens of all episodes' frames, float16 (N, JUDGE_FRAMES, 80, width), in a file."""
    total = sum(len(part.frames) for part in clips)
    if not path.exists():
        partly = path.with_suffix(".part.npy")
        shape = (total, JUDGE_FRAMES, 80, model.config.width)
        array = np.lib.format.open_memmap(partly, mode="w+", dtype=np.float16, shape=shape)
        row = 0
        for part in clips:
            for at in range(0, len(part.frames), _AT_ONCE):
                frames = np.array(part.frames[at : at + _AT_ONCE])
                with torch.inference_mode():
                    tokens = model.see(torch.from_numpy(frames.reshape(-1, *frames.shape[2:])).permute(0, 3, 1, 2))
                array[row : row + len(frames)] = tokens.unflatten(0, (-1, JUDGE_FRAMES)).numpy()
                row += len(frames)
                on_progress(Progress("see", row, total))
        array.flush()
        partly.rename(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


class _Lessons:
    """The batches of a run by step: every episode that is not held out once an epoch, in a shuffled order."""

    def __init__(
        self, clips: Sequence[Clips], seen: npt.NDArray[np.float16], held_out: Rows, recipe: JudgeRecipe
    ) -> None:
        self._seen, self._seed, self._size = seen, recipe.seed, recipe.batch
        self._rows = np.setdiff1d(np.arange(len(seen)), held_out)
        self._spoiled = recipe.spoiled
        texts = [text for part in clips for text in part.instructions]
        self._successes = np.array([one for part in clips for one in part.successes])
        # The second half is what the first one looks like without the deed.
        self._clips = Clips(
            np.zeros((2 * len(seen), 1, 1, 1, 3), np.uint8),
            texts * 2,
            [*self._successes.tolist(), *[False] * len(seen)],
            [reason for part in clips for reason in part.reasons] + [spell("nothing was done")] * len(seen),
            [far for part in clips for far in part.progress] + [None] * len(seen),
        )
        self.steps = max(1, round(recipe.epochs * len(self._rows) / recipe.batch))

    def at(self, step: int) -> tuple[Batch, Tensor]:
        """The batch of a step, and the image tokens of its frames."""
        places = range(step * self._size, (step + 1) * self._size)
        epochs = [divmod(place, len(self._rows)) for place in places]
        rows = np.sort([self._order(epoch)[at] for epoch, at in epochs])
        rng = np.random.default_rng([self._seed, step, 10])
        tokens = self._seen[rows].astype(np.float32)
        spoiled = self._successes[rows] & (rng.random(len(rows)) < self._spoiled)
        for row in np.flatnonzero(spoiled):
            tokens[row] = tokens[row][without_deed(rng)]
        batch = self._clips.batch(rows + len(self._seen) * spoiled, np.random.default_rng([self._seed, step, 7]))
        return batch, torch.from_numpy(tokens).flatten(0, 1)

    def _order(self, epoch: int) -> Rows:
        return np.random.default_rng([self._seed, epoch, 8]).permutation(self._rows)


def without_deed(rng: np.random.Generator) -> Rows:
    """Which of a success's frames to show in their place, JUDGE_FRAMES of them, so that nothing was done: the end
    alone, one moment before it alone, or swinging about before it."""
    kind = rng.integers(3)
    if kind < 2:
        return np.full(JUDGE_FRAMES, JUDGE_FRAMES - 1 if kind == 0 else rng.integers(1, JUDGE_FRAMES - 1))
    steps = np.cumsum(rng.choice([-1, 1], JUDGE_FRAMES - 1))
    last = JUDGE_FRAMES - 2
    return np.concatenate([[0], last - np.abs(steps - steps.max()) % last])


def _learn(recipe: JudgeRecipe, model: SmallModel, lessons: _Lessons, out: Path, on_progress: OnProgress) -> None:
    model.vision.requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    plan = Plan(
        name="judge", steps=lessons.steps, size=recipe.batch, unit="episodes", rate=recipe.rate,
        warmup=min(100, max(1, lessons.steps // 10)), average=AVERAGE, seed=recipe.seed,
    )  # fmt: skip
    loop: Loop[tuple[Batch, Tensor]] = Loop(
        model.train(), partial(adamw, rate=recipe.rate), plan, state=out / STATE, log=out / LOGS,
        on_progress=on_progress,
    )  # fmt: skip

    def batches() -> Iterator[list[tuple[Batch, Tensor]]]:
        for step in range(loop.first, lessons.steps):
            yield [lessons.at(step)]

    loop.run(batches(), lambda learner, part: text_loss(learner, part[0], clips=True, seen=part[1]))
    blend(model.eval(), before, recipe.keep)
