"""One model for several worlds: demonstrations of each, and rounds of learning from all of them together.

Doom's demonstrations are the guide's, annotated as for `agent train small`; those of other worlds are their expert's
(training.elsewhere). A round may begin with corrections (DAgger): the model of the round before, or the one to start
from, plays, and the teacher says what it should have done. What a run of `agent train small` has recorded can be used
again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pydantic

from tasks import worlds as known
from training.lessons import Mix
from training.small import Counts, Progress, Section, Told, collect_judged, gather, same_recipe
from training.stage import Stage, launch

_VIEWS = 0.1  # share of a batch, beside doom's


class WorldSection(Section):
    """A world's part. `share`: of a batch. `glances`: further frames a step, of which only what is in the cells is
    learned. `since`: the round that it joins in. `demonstrations`: episodes of each suite. `corpora`: folders with
    corpora that are there already; all of a world's corpora get equal shares."""

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
    """A round of learning. `corrections`: episodes of each suite, by world, that are played before it. `keep`: how much
    of the weights before it stays in those after it, of which the average is taken (WiSE-FT)."""

    frames: pydantic.PositiveInt
    rate: pydantic.PositiveFloat
    keep: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    corrections: dict[str, Counts] = pydantic.Field(default_factory=dict)


class JointRecipe(Section):
    """The configuration file of `agent train worlds`; training/worlds.yaml says what its fields are."""

    seed: int = 1
    workers: pydantic.PositiveInt = 2
    batch: pydantic.PositiveInt = 32
    queries: pydantic.PositiveInt = 5
    mix: Mix = Mix()
    views: Counts = pydantic.Field(default_factory=dict)
    judged: Counts = pydantic.Field(default_factory=dict)
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
        if self.views and "doom" not in self.worlds:
            raise ValueError("views are of doom, which is not among the worlds")
        if all(section.since > 1 for section in self.worlds.values()):
            raise ValueError("no world is there in the first round")
        return self


def _check(world: str, counts: Counts) -> None:
    for suite in counts:
        known.training(suite)
        if known.world_of(suite) != world:
            raise ValueError(f"suite {suite!r} is not played in {world!r}")


def train_worlds(recipe: JointRecipe, start: Path, out: Path, told: Told = lambda progress: None) -> Path:
    """Record what is not recorded yet and train the checkpoint `start` further, on all worlds of the recipe together;
    the folder of the finished checkpoint, `out`/model. A run that is there goes on."""
    out.mkdir(parents=True, exist_ok=True)
    same_recipe(recipe, out)
    model = out / "model"
    if model.exists():
        return model
    views = []
    if recipe.views:
        views.append((_gathered(recipe, out, "views", recipe.views, recipe.seed, told), _VIEWS))
    if recipe.judged:
        collect_judged(out, recipe.judged, recipe.seed, recipe.workers, told)
    corpora: dict[str, list[Path]] = {}
    before = start
    for number, learning in enumerate(recipe.rounds, 1):
        for name, section in recipe.worlds.items():
            if section.since == number:
                corpora[name] = list(section.corpora)
                if section.demonstrations:
                    corpora[name].append(_gathered(recipe, out, name, section.demonstrations, recipe.seed, told))
        for name, counts in learning.corrections.items():
            folder, seed = f"corrections-{number}-{name}", recipe.seed + number
            corpora[name].append(_gathered(recipe, out, folder, counts, seed, told, before))
        after = model if number == len(recipe.rounds) else out / f"round-{number}"
        if not after.exists():
            shares = [
                (folder, recipe.worlds[name].share / len(folders))
                for name, folders in corpora.items()
                for folder in folders
            ]
            glances = [
                (tuple(folders), recipe.worlds[name].glances)
                for name, folders in corpora.items()
                if recipe.worlds[name].glances
            ]
            stage = Stage(
                name=f"round-{number}",
                out=after,
                corpora=(*shares, *views),
                glances=tuple(glances),
                frames=learning.frames,
                rate=learning.rate,
                mix=recipe.mix,
                judged=out / "judged" if recipe.judged else None,
                batch=recipe.batch,
                seed=recipe.seed * 100 + number,
                parent=before,
                keep=learning.keep,
                log=out / "tensorboard",
            )
            launch(stage, recipe.workers, partial(_tell, told, stage))
        before = after
    return model


def _tell(told: Told, stage: Stage, done: int, figures: dict[str, float]) -> None:
    told(Progress(stage.name, done, stage.frames, figures))


def _gathered(
    recipe: JointRecipe, out: Path, name: str, counts: Counts, seed: int, told: Told, policy: Path | None = None
) -> Path:
    """The corpus of what is demonstrated, or corrected where `policy` plays; recorded where it is not there yet."""
    gather(out, name, counts, seed, told, policy=policy, workers=recipe.workers, queries=recipe.queries)
    return out / name / "corpus"
