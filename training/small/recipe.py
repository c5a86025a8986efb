"""How `small` is made from nothing: demonstrations and stages of learning, the last three with corrections.

Vision learns to name every cell of the picture; its target is the label buffer. Grounding learns to find in the picture
what words name. Cloning adds the expert's actions for single goals. Talking adds all the rest: the episode's own goal
with what was done and thought before, speech, questions, captions, proposals and judgement. Refining, polishing and
finishing go on with corrections (DAgger): frames that the policy itself reached just before the stage. Every stage
starts from the weights of the last one and writes a folder of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import pydantic

from agent.small.checkpoint import load_model, save_small
from agent.small.output_grammar import CHOICES, FIELD
from agent.small.token_ids import PLACE
from tasks.doom.language import taught
from training.recipe import OnProgress, Progress, Section, ignore_progress, same_recipe
from training.small.corpus import build
from training.small.demonstrate import demonstrate
from training.small.judge_episodes import collect
from training.small.mix import Mix
from training.small.stage import Stage, train_stage


class ModelSection(Section):
    width: int = 128
    heads: int = 4
    layers: int = 4
    text_layers: int = 2


class StageSection(Section):
    frames: pydantic.PositiveInt
    rate: pydantic.PositiveFloat


Counts = dict[str, pydantic.NonNegativeInt]


class SmallRecipe(Section):
    """The configuration file of `agent train small`; training/small/recipes/small.yaml says what its fields are."""

    seed: int = 1
    workers: pydantic.PositiveInt = 2
    model: ModelSection = ModelSection()
    demonstrations: Counts
    corrections: Counts
    views: Counts
    judged: Counts
    batch: pydantic.PositiveInt = 32
    queries: pydantic.PositiveInt = 5
    mix: Mix = Mix()
    vision: StageSection
    grounding: StageSection
    cloning: StageSection
    talking: StageSection
    refining: StageSection
    polishing: StageSection
    finishing: StageSection


Mode = Literal["vision", "grounding", "cloning", "talking", "refining", "polishing", "finishing"]
MODES: tuple[Mode, ...] = get_args(Mode)
GOALS_ONLY = ("vision", "grounding", "cloning")
CHOSEN = {"vision": range(0), "grounding": range(FIELD + PLACE)}  # the kinds of CHOICES that count, where not all do
ROUNDS = {"refining": "corrections", "polishing": "corrections-2", "finishing": "corrections-3"}  # of DAgger
SHARES = {"demonstrations": 0.75, "views": 0.5} | dict.fromkeys(ROUNDS.values(), 0.75)  # of a batch


def train_small(recipe: SmallRecipe, out: Path, on_progress: OnProgress = ignore_progress) -> Path:
    """Run all stages that are not done yet; the folder of the finished checkpoint, `out`/small."""
    same_recipe(recipe, out)
    _gather(recipe, out, "demonstrations", recipe.demonstrations, None, on_progress)
    previous: Path | None = None
    for mode in MODES:
        if mode == "talking":
            _gather(recipe, out, "views", recipe.views, None, on_progress)
            collect_judged(out, recipe.judged, recipe.seed, recipe.workers, on_progress)
        if mode in ROUNDS:
            assert previous is not None
            _gather(recipe, out, ROUNDS[mode], recipe.corrections, previous, on_progress)
        stage = out / mode
        if not stage.exists():
            run_stage(recipe, out, mode, previous, on_progress)
        previous = stage
    assert previous is not None
    return _finished(recipe, out, previous)


def _finished(recipe: SmallRecipe, out: Path, last: Path) -> Path:
    """Write the last stage's weights as the run's checkpoint, which tells how all of them were made."""
    times = {mode: json.loads((out / mode / "manifest.json").read_text())["trained"] for mode in MODES}
    trained = {"recipe": recipe.model_dump(), "stages": times}
    save_small(
        load_model(last),
        out / "small",
        parent=last,
        trained=trained,
        nouns=taught(wide=True),
        recipe=recipe.model_dump(),
    )
    return out / "small"


def _gather(
    recipe: SmallRecipe, out: Path, name: str, counts: Counts, policy: Path | None, on_progress: OnProgress
) -> None:
    seed = len(SHARES) * recipe.seed + list(SHARES).index(name)  # levels of its own for each
    gather(out, name, counts, seed, on_progress, policy=policy, workers=recipe.workers, queries=recipe.queries)


def gather(
    out: Path,
    name: str,
    counts: Counts,
    seed: int,
    on_progress: OnProgress,
    *,
    policy: Path | None = None,
    workers: int = 2,
    queries: int = 5,
) -> None:
    """Record annotated episodes of some suites, and decode them into the corpus `out`/NAME/corpus, unless that exists.
    Those named "views" are for looking alone. `policy`: the checkpoint that plays, as in `demonstrate`."""
    if (out / name / "corpus").exists():
        return
    total = sum(counts.values())
    successes = done = decisions = 0
    start = time.monotonic()
    results = demonstrate(
        out / name / "episodes",
        counts,
        seed,
        policy=str(policy) if policy else None,
        views=name == "views",
        workers=workers,
        queries=queries,
    )
    for success, count in results:
        done, successes, decisions = done + 1, successes + bool(success), decisions + count
        rate = decisions / (time.monotonic() - start)
        on_progress(Progress(name, done, total, {"success": successes / done, "decisions/s": rate}))
    build(
        out / name / "episodes",
        out / name / "corpus",
        advised=name != "views",
        workers=workers,
        on_progress=lambda news: on_progress(replace(news, stage=f"{name}: {news.stage}")),
    )


def collect_judged(
    out: Path, counts: Counts, seed: int, workers: int, on_progress: OnProgress, failures: Sequence[str] = ()
) -> None:
    """Play what the judge learns from into `out`/judged, unless that is done. `failures`: kinds that are added."""
    if not (out / "judged" / "episodes.jsonl").exists():
        collect(
            out / "judged", counts, seed, workers=workers, added=failures,
            on_progress=lambda news: on_progress(replace(news, stage="judged")),
        )  # fmt: skip


def run_stage(recipe: SmallRecipe, out: Path, mode: Mode, parent: Path | None, on_progress: OnProgress) -> None:
    """Train one stage in new processes. `parent`: the checkpoint to start from."""
    section: StageSection = getattr(recipe, mode)
    names = ["demonstrations"]
    if mode not in GOALS_ONLY:
        names.append("views")
    names += [ROUNDS[earlier] for earlier in MODES[: MODES.index(mode) + 1] if earlier in ROUNDS]
    stage = Stage(
        name=mode,
        out=out / mode,
        corpora=tuple((out / name / "corpus", SHARES[name]) for name in names),
        frames=section.frames,
        rate=section.rate,
        mix=recipe.mix,
        judged=None if mode in GOALS_ONLY else out / "judged",
        goals_only=mode in GOALS_ONLY,
        choices=CHOSEN.get(mode, range(len(CHOICES))),
        batch=recipe.batch,
        seed=recipe.seed * 10 + MODES.index(mode),
        sizes=recipe.model.model_dump(),
        parent=parent,
        log=out / "tensorboard",
    )
    train_stage(stage, recipe.workers, on_progress)
