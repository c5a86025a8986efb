"""One model for several worlds: demonstrations of each, and one stage of learning from all of them together.

Doom's demonstrations are the guide's, annotated as for `agent train small`; those of other worlds are their expert's
(training.elsewhere). What a run of `agent train small` has recorded can be used again.
"""

from __future__ import annotations

from pathlib import Path

import pydantic

from tasks import worlds as known
from training.lessons import Mix
from training.small import Counts, Progress, Section, Told, gather, same_recipe
from training.stage import Stage, launch


class WorldSection(Section):
    """A world's part. `share`: of a batch. `demonstrations`: episodes of each suite. `corpora`: folders with corpora
    that are there already; all of a world's corpora get equal shares."""

    share: pydantic.PositiveFloat = 1.0
    demonstrations: Counts = pydantic.Field(default_factory=dict)
    corpora: tuple[Path, ...] = ()

    @pydantic.model_validator(mode="after")
    def _not_empty(self) -> WorldSection:
        if not self.demonstrations and not self.corpora:
            raise ValueError("neither demonstrations nor corpora")
        return self


class JointRecipe(Section):
    """The configuration file of `agent train worlds`; training/worlds.yaml says what its fields are."""

    seed: int = 1
    workers: pydantic.PositiveInt = 2
    batch: pydantic.PositiveInt = 32
    queries: pydantic.PositiveInt = 5
    frames: pydantic.PositiveInt
    rate: pydantic.PositiveFloat
    mix: Mix = Mix()
    judged: Path | None = None
    worlds: dict[str, WorldSection]

    @pydantic.field_validator("worlds")
    @classmethod
    def _known(cls, worlds: dict[str, WorldSection]) -> dict[str, WorldSection]:
        for name, section in worlds.items():
            for suite in section.demonstrations:
                known.training(suite)
                if known.world_of(suite) != name:
                    raise ValueError(f"suite {suite!r} is not played in {name!r}")
        return worlds


def train_worlds(recipe: JointRecipe, start: Path, out: Path, told: Told = lambda progress: None) -> Path:
    """Record what is not recorded yet and train the checkpoint `start` further, on all worlds of the recipe together;
    the folder of the finished checkpoint, `out`/model. A run that is there goes on."""
    out.mkdir(parents=True, exist_ok=True)
    same_recipe(recipe, out)
    corpora = [part for name in recipe.worlds for part in _corpora(recipe, name, out, told)]
    model = out / "model"
    if not model.exists():
        stage = Stage(
            name="worlds",
            out=model,
            corpora=tuple(corpora),
            frames=recipe.frames,
            rate=recipe.rate,
            mix=recipe.mix,
            judged=recipe.judged,
            batch=recipe.batch,
            seed=recipe.seed,
            parent=start,
            log=out / "tensorboard",
        )
        launch(stage, recipe.workers, lambda done, figures: told(Progress("worlds", done, recipe.frames, figures)))
    return model


def _corpora(recipe: JointRecipe, name: str, out: Path, told: Told) -> list[tuple[Path, float]]:
    """A world's corpora with their shares; what it is to demonstrate is recorded where it is not there yet."""
    section = recipe.worlds[name]
    folders = list(section.corpora)
    if section.demonstrations:
        counts, seed = section.demonstrations, recipe.seed
        gather(out, name, counts, seed, told, workers=recipe.workers, queries=recipe.queries)
        folders.append(out / name / "corpus")
    return [(folder, section.share / len(folders)) for folder in folders]
