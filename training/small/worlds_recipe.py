"""One model for several worlds: demonstrations of each world, and rounds of learning from all worlds together.

In every world its teacher demonstrates. A round may begin with corrections (DAgger): the model of the last round plays,
and the teacher says what it should have done. The first round's model is the checkpoint to start from. A recipe can use
corpora that an earlier run recorded, also those of `agent train small`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydantic

from tasks import world_tasks
from training.recipe import OnProgress, Section, ignore_progress, same_recipe
from training.small.judge_episodes import Added
from training.small.judge_goals import judged_suite
from training.small.mix import Mix
from training.small.recipe import Counts, collect_judged, gather
from training.small.stage import Stage, train_stage


class WorldSection(Section):
    """A world's part. `share`: of a batch. `glances`: further frames a step, of which only the cells are learned.
    `since`: the round in which it joins. `demonstrations`: how many episodes to record, by suite. `corpora`: folders
    with corpora that exist already. All corpora of a world get equal shares."""

    share: pydantic.PositiveFloat = 1.0
    glances: pydantic.NonNegativeInt = 0
    since: pydantic.PositiveInt = 1
    demonstrations: Counts = pydantic.Field(default_factory=dict)
    corpora: tuple[Path, ...] = ()

    @pydantic.model_validator(mode="after")
    def _not_empty(self) -> WorldSection:
        if not self.demonstrations and not self.corpora:
            raise ValueError("neither demonstrations nor corpora")
        return self


class RoundSection(Section):
    """A round of learning. `corrections`: how many episodes to play before it, by world and suite. `recent`: the share
    that they get of their world's part in this round; 0 for as much as any other corpus. `keep`: the share of the
    weights before the round in the weights after it (WiSE-FT). `mean_of`: the weights after the round are the mean of
    what it learned and of those after the rounds before it, so many rounds in all."""

    frames: pydantic.PositiveInt
    rate: pydantic.PositiveFloat
    recent: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    keep: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    mean_of: pydantic.PositiveInt = 1
    corrections: dict[str, Counts] = pydantic.Field(default_factory=dict)


class JointRecipe(Section):
    """The configuration file of `agent train worlds`; training/small/recipes/worlds.yaml says what its fields are."""

    seed: int = 1
    workers: pydantic.PositiveInt = 2
    batch: pydantic.PositiveInt = 32
    queries: pydantic.PositiveInt = 5
    mix: Mix = Mix()
    views: Counts = pydantic.Field(default_factory=dict)
    views_share: pydantic.PositiveFloat = 0.1
    judged: Counts = pydantic.Field(default_factory=dict)
    failures: tuple[Added, ...] = ()
    worlds: dict[str, WorldSection]
    rounds: tuple[RoundSection, ...] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _known(self) -> JointRecipe:
        for name, section in self.worlds.items():
            _check(name, section.demonstrations)
        for learning in self.rounds:
            for name, counts in learning.corrections.items():
                if name not in self.worlds:
                    raise ValueError(f"corrections in {name!r}, which is not among the worlds")
                _check(name, counts)
        for suite in self.views:
            if (world := judged_suite(suite).world) not in self.worlds:
                raise ValueError(f"views are of {world}, which is not among the worlds")
        for number, learning in enumerate(self.rounds, 1):
            if learning.mean_of > number:
                raise ValueError(f"round {number} can't be the mean of {learning.mean_of} rounds")
        if all(section.since > 1 for section in self.worlds.values()):
            raise ValueError("the first round has no world: every world has a later `since`")
        return self


def _check(world: str, counts: Counts) -> None:
    for suite in counts:
        if world_tasks.training(suite).world != world:
            raise ValueError(f"suite {suite!r} is not played in {world!r}")


def train_worlds(recipe: JointRecipe, start: Path, out: Path, on_progress: OnProgress = ignore_progress) -> Path:
    """Record what is not recorded yet and train the checkpoint `start` further, on all worlds of the recipe together.

    Returns the folder of the finished checkpoint, `out`/model. A run that exists in `out` goes on.
    """
    same_recipe(recipe, out)
    if not (out / "model").exists():
        run = _Run(recipe, out, on_progress)
        run.gather_views()
        previous = start
        for number in range(1, len(recipe.rounds) + 1):
            previous = run.round(number, previous)
    return out / "model"


class _Run:
    """A run of a recipe: the corpora of every world so far, and the rounds that learn from them."""

    def __init__(self, recipe: JointRecipe, out: Path, on_progress: OnProgress) -> None:
        self._recipe, self._out, self._on_progress = recipe, out, on_progress
        self._corpora: dict[str, list[Path]] = {}
        self._views: list[tuple[Path, float]] = []

    def gather_views(self) -> None:
        """Record what is only looked at, and what the judge learns from."""
        recipe = self._recipe
        if recipe.views:
            self._views.append((self._gathered("views", recipe.views, recipe.seed), recipe.views_share))
        if recipe.judged:
            collect_judged(self._out, recipe.judged, recipe.seed, recipe.workers, self._on_progress, recipe.failures)

    def round(self, number: int, previous: Path) -> Path:
        """Record what round `number` brings, and learn from all there is; the checkpoint after the round."""
        recipe, learning = self._recipe, self._recipe.rounds[number - 1]
        for name, section in recipe.worlds.items():
            if section.since == number:
                self._corpora[name] = list(section.corpora)
                if section.demonstrations:
                    self._corpora[name].append(self._gathered(name, section.demonstrations, recipe.seed))
        for name, counts in learning.corrections.items():
            folder = self._gathered(f"corrections-{number}-{name}", counts, recipe.seed + number, previous)
            self._corpora[name].append(folder)
        after = self._out / ("model" if number == len(recipe.rounds) else f"round-{number}")
        if not after.exists():
            train_stage(self._stage(number, previous, after), recipe.workers, self._on_progress)
        return after

    def _stage(self, number: int, previous: Path, after: Path) -> Stage:
        recipe, learning = self._recipe, self._recipe.rounds[number - 1]
        return Stage(
            name=f"round-{number}",
            out=after,
            corpora=(*self._shares(learning), *self._views),
            glances=tuple(
                (tuple(folders), recipe.worlds[name].glances)
                for name, folders in self._corpora.items()
                if recipe.worlds[name].glances
            ),
            frames=learning.frames,
            rate=learning.rate,
            mix=recipe.mix,
            judged=self._out / "judged" if recipe.judged else None,
            batch=recipe.batch,
            seed=recipe.seed * 100 + number,
            parent=previous,
            keep=learning.keep,
            mean_with=tuple(self._out / f"round-{number - back}" for back in range(1, learning.mean_of)),
            log=self._out / "tensorboard",
        )

    def _shares(self, learning: RoundSection) -> Iterator[tuple[Path, float]]:
        """Every corpus and its share of a batch."""
        for name, folders in self._corpora.items():
            recent = learning.recent if name in learning.corrections else 0.0
            yield from zip(folders, shares(self._recipe.worlds[name].share, len(folders), recent), strict=True)

    def _gathered(self, name: str, counts: Counts, seed: int, policy: Path | None = None) -> Path:
        """The corpus `name`, recorded unless it exists: demonstrations, or corrections to a `policy` that plays."""
        recipe = self._recipe
        gather(
            self._out, name, counts, seed, self._on_progress,
            policy=policy, workers=recipe.workers, queries=recipe.queries,
        )  # fmt: skip
        return self._out / name / "corpus"


def shares(whole: float, count: int, recent: float) -> list[float]:
    """The shares of `count` corpora of a world, together `whole`. `recent`: that of the last one, as a part of the
    whole; 0 for as much as any other."""
    if recent == 0.0 or count == 1:
        return [whole / count] * count
    return [*[whole * (1.0 - recent) / (count - 1)] * (count - 1), whole * recent]
