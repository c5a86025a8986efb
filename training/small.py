"""How `small` is made, from nothing: demonstrations and stages of learning, the last of them after corrections.

Vision learns to name every cell of the picture (target: the label buffer). Grounding learns to find in the picture
what words name. Cloning adds the expert's actions for single goals. Talking adds all the rest: own goals with what was
done and thought before, speech, questions, captions, proposals, judgement. Refining, polishing and finishing go on with
frames that the policy itself ran into just before them (DAgger). Every stage starts from the last one's weights and
writes a folder of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

import pydantic
import yaml

from agent.small.layout import PLACE
from agent.small.turn import CHOICES, FIELD
from training.corpus import build
from training.demonstrate import demonstrate
from training.judging import collect
from training.lessons import Mix
from training.stage import Stage, launch


class Section(pydantic.BaseModel):
    """A part of a recipe, or all of one; what it does not know is refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a YAML file. Raises ValueError with the path of the field that is wrong."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text()))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {error}") from error


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
    """The configuration file of `agent train small`; training/small.yaml says what its fields are."""

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
CHOSEN = {"vision": range(0), "grounding": range(FIELD + PLACE)}  # of turn.CHOICES, where not all of them count
ROUNDS = {"refining": "corrections", "polishing": "corrections-2", "finishing": "corrections-3"}  # of DAgger
SHARES = {"demonstrations": 0.75, "views": 0.5} | dict.fromkeys(ROUNDS.values(), 0.75)  # of a batch


@dataclass(frozen=True)
class Progress:
    """What a stage tells while it works: `done` of `total` units, and figures."""

    stage: str
    done: int
    total: int
    figures: dict[str, float]


Told = Callable[[Progress], None]


def train_small(recipe: SmallRecipe, out: Path, told: Told = lambda progress: None) -> Path:
    """Run all stages that are not done yet; the folder of the finished checkpoint, `out`/small."""
    out.mkdir(parents=True, exist_ok=True)
    same_recipe(recipe, out)
    _gather(recipe, out, "demonstrations", recipe.demonstrations, None, told)
    previous: Path | None = None
    for mode in MODES:
        if mode == "talking":
            _gather(recipe, out, "views", recipe.views, None, told)
            collect_judged(out, recipe.judged, recipe.seed, recipe.workers, told)
        if mode in ROUNDS:
            assert previous is not None
            _gather(recipe, out, ROUNDS[mode], recipe.corrections, previous, told)
        stage = out / mode
        if not stage.exists():
            run_stage(recipe, out, mode, previous, told)
        previous = stage
    assert previous is not None
    from agent.small.policy import load_model, save_small
    from tasks.language import taught

    times = {mode: json.loads((out / mode / "manifest.json").read_text())["trained"] for mode in MODES}
    save_small(
        load_model(previous), out / "small", trained={"recipe": recipe.model_dump(), "stages": times}, nouns=taught()
    )
    return out / "small"


def same_recipe(recipe: Section, out: Path) -> None:
    """Note the recipe of a run. Raises ValueError where `out` holds a run of another one."""
    file = out / "recipe.json"
    text = json.dumps(recipe.model_dump(mode="json"), indent=2)
    if file.exists() and file.read_text() != text:
        raise ValueError(f"{out} holds a run of another recipe (see {file.name}); give another --out or remove it")
    file.write_text(text)


def _gather(recipe: SmallRecipe, out: Path, name: str, counts: Counts, policy: Path | None, told: Told) -> None:
    seed = len(SHARES) * recipe.seed + list(SHARES).index(name)  # levels of their own
    gather(out, name, counts, seed, told, policy=policy, workers=recipe.workers, queries=recipe.queries)


def gather(
    out: Path,
    name: str,
    counts: Counts,
    seed: int,
    told: Told,
    *,
    policy: Path | None = None,
    workers: int = 2,
    queries: int = 5,
) -> None:
    """Record annotated episodes of some suites, and decode them into the corpus `out`/NAME/corpus, unless that is done.
    Those called "views" are for looking alone; `policy`: plays, as in `demonstrate`."""
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
        told(Progress(name, done, total, {"success": successes / done, "decisions/s": rate}))
    build(
        out / name / "episodes",
        out / name / "corpus",
        advised=name != "views",
        workers=workers,
        told=lambda n, of: told(Progress(f"{name}: decode", n, of, {})),
    )


def collect_judged(out: Path, counts: Counts, seed: int, workers: int, told: Told) -> None:
    """Play what the judge learns from into `out`/judged, unless that is done."""
    if not (out / "judged" / "episodes.jsonl").exists():
        collect(
            out / "judged", counts, seed, workers=workers,
            told=lambda done, total: told(Progress("judged", done, total, {})),
        )  # fmt: skip


def run_stage(recipe: SmallRecipe, out: Path, mode: Mode, parent: Path | None, told: Told) -> None:
    """Train one stage in processes of their own; `parent` is the checkpoint to start from."""
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
    launch(stage, recipe.workers, lambda done, figures: told(Progress(mode, done, section.frames, figures)))
