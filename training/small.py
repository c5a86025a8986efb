"""How `small` is made, from nothing: demonstrations and stages of learning, the last of them after corrections.

Vision learns to name every cell of the picture (target: the label buffer). Grounding learns to find in the picture
what words name. Cloning adds the expert's actions for single goals. Talking adds all the rest: own goals with what was
done and thought before, speech, questions, captions, proposals, judgement. Refining, polishing and finishing go on with
frames that the policy itself ran into just before them (DAgger). Every stage starts from the last one's weights and
writes a folder of its own.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pydantic
import yaml

from envs.reaper import die_with_parent
from training.clips import Clips
from training.corpus import Corpus, build
from training.crew import ONE_THREAD, environment
from training.demonstrate import demonstrate
from training.judging import collect
from training.lessons import Mix
from training.stage import Mode, run

# glibc gives freed memory back at once by default, and training takes it again at every step: twice the time.
_ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "500000000",
}


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    width: int = 128
    heads: int = 4
    layers: int = 4
    text_layers: int = 2


class StageSection(_Section):
    frames: pydantic.PositiveInt
    rate: pydantic.PositiveFloat


Counts = dict[str, pydantic.NonNegativeInt]


class SmallRecipe(_Section):
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

    @classmethod
    def load(cls, path: Path) -> SmallRecipe:
        """Read a YAML file. Raises ValueError with the path of the field that is wrong."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text()))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {error}") from error


MODES: tuple[Mode, ...] = get_args(Mode)
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
    _same_recipe(recipe, out)
    _collect(recipe, out, "demonstrations", recipe.demonstrations, None, told)
    previous: Path | None = None
    for mode in MODES:
        if mode == "talking":
            _collect(recipe, out, "views", recipe.views, None, told)
            _collect_judged(recipe, out, told)
        if mode in ROUNDS:
            assert previous is not None
            _collect(recipe, out, ROUNDS[mode], recipe.corrections, previous, told)
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


def _same_recipe(recipe: SmallRecipe, out: Path) -> None:
    file = out / "recipe.json"
    text = json.dumps(recipe.model_dump(), indent=2)
    if file.exists() and file.read_text() != text:
        raise ValueError(f"{out} holds a run of another recipe (see {file.name}); give another --out or remove it")
    file.write_text(text)


def _collect(recipe: SmallRecipe, out: Path, name: str, counts: Counts, policy: Path | None, told: Told) -> None:
    """Record annotated episodes and decode them into a corpus, unless that is done."""
    if (out / name / "corpus").exists():
        return
    seed = len(SHARES) * recipe.seed + list(SHARES).index(name)  # levels of their own
    total = sum(counts.values())
    successes = done = decisions = 0
    start = time.monotonic()
    results = demonstrate(
        out / name / "episodes",
        counts,
        seed,
        policy=str(policy) if policy else None,
        views=name == "views",
        workers=recipe.workers,
        queries=recipe.queries,
    )
    for success, count in results:
        done, successes, decisions = done + 1, successes + bool(success), decisions + count
        rate = decisions / (time.monotonic() - start)
        told(Progress(name, done, total, {"success": successes / done, "decisions/s": rate}))
    build(
        out / name / "episodes",
        out / name / "corpus",
        advised=name != "views",
        workers=recipe.workers,
        told=lambda n, of: told(Progress(f"{name}: decode", n, of, {})),
    )


def _collect_judged(recipe: SmallRecipe, out: Path, told: Told) -> None:
    """Play what the judge learns from, unless that is done."""
    if not (out / "judged" / "episodes.jsonl").exists():
        collect(
            out / "judged", recipe.judged, recipe.seed, workers=recipe.workers,
            told=lambda done, total: told(Progress("judged", done, total, {})),
        )  # fmt: skip


def run_stage(recipe: SmallRecipe, out: Path, mode: Mode, parent: Path | None, told: Told) -> None:
    """Train one stage in processes of their own; `parent` is the checkpoint to start from."""
    import torch

    workers = 1 if torch.cuda.is_available() else recipe.workers
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    meeting = out / f".meeting-{mode}"
    meeting.unlink(missing_ok=True)
    boss, raw = os.getpid(), recipe.model_dump()
    crew = [
        context.Process(
            target=_trainer, args=(boss, rank, workers, meeting, raw, out, mode, parent, reports), daemon=True
        )
        for rank in range(workers)
    ]
    with environment(_ALLOCATOR | ONE_THREAD):  # the allocator reads its settings when a process starts
        for process in crew:
            process.start()
    try:
        while any(process.is_alive() for process in crew):
            with contextlib.suppress(queue.Empty):
                told(reports.get(timeout=0.5))
            if any(process.exitcode for process in crew):
                raise RuntimeError(f"stage {mode}: a training process died; see the messages above")
    finally:
        for process in crew:
            process.terminate()
            process.join()
        meeting.unlink(missing_ok=True)
    if not (out / mode).exists():
        raise RuntimeError(f"stage {mode} ended without a checkpoint")


def _trainer(
    boss: int,
    rank: int,
    workers: int,
    meeting: Path,
    raw: dict[str, Any],
    out: Path,
    mode: Mode,
    parent: Path | None,
    reports: Any,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that leads; it ends us
    die_with_parent(boss)
    recipe = SmallRecipe.model_validate(raw)
    section: StageSection = getattr(recipe, mode)
    names = ["demonstrations"]
    if MODES.index(mode) >= MODES.index("talking"):
        names.append("views")
    names += [ROUNDS[earlier] for earlier in MODES[: MODES.index(mode) + 1] if earlier in ROUNDS]
    run(
        rank=rank,
        workers=workers,
        meeting=meeting,
        mode=mode,
        corpora=[(Corpus.open(out / name / "corpus"), SHARES[name]) for name in names],
        judged=Clips.open(out / "judged") if "views" in names else None,
        mix=recipe.mix,
        frames=section.frames,
        rate=section.rate,
        batch=recipe.batch,
        sizes=recipe.model.model_dump(),
        seed=recipe.seed * 10 + MODES.index(mode),
        parent=parent,
        out=out / mode,
        log=out / "tensorboard",
        told=lambda done, figures: reports.put(Progress(mode, done, section.frames, figures)),
    )
