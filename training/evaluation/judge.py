"""How good a judge is: does it rank successes above failures, how often is it fooled, and do its values mean chances.

The threshold and the calibration come from training levels (`calibrate`), the figures from levels that training never
sees (`evaluate_judge`).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.capabilities import Judges, JudgesProgress
from rewards.calibration import Calibration, fit
from training.evaluation.statistics import (
    auroc,
    auroc_interval,
    calibration_error,
    proportion,
    rank_correlation,
    reliability,
)
from training.recipe import OnProgress, Progress, ignore_progress
from training.small.judge_episodes import CUT, SOURCES, collect, load
from training.small.judge_goals import HOUSES, THEMES

SUITES = {
    "doom-judge": ("doom-room", HOUSES.name),
    "doom-judge-themes": ("doom-themes", THEMES.name),
    "doom-judge-vault": ("doom-vault", "doom-vault-steps"),
}
CALIBRATION_SEED = 0xCA1  # of the levels that a threshold is fixed on: training data should take another
BATCH = 32
FEW = 5  # episodes
_CUT_PART = 4  # beside so many episodes, one is cut short
_LEAST_CUT = 12  # episodes that progress is measured on

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def ask(
    policy: Judges,
    instructions: Sequence[str],
    frames: npt.NDArray[np.uint8],
    on_progress: OnProgress = ignore_progress,
    stage: str = "judge",
) -> tuple[Floats, list[str]]:
    """The judge's values and reasons for all rows. `frames`: uint8 (N, 8, 120, 160, 3). Raises ValueError where it
    does not answer with one number from 0 to 100 a row."""
    said: list[tuple[float, str]] = []
    for start in range(0, len(frames), BATCH):
        batch = np.array(frames[start : start + BATCH])  # a copy: a mapped file is read-only
        answers = policy.judge(list(instructions[start : start + BATCH]), batch)
        if len(answers) != len(batch):
            raise ValueError(f"the judge gave {len(answers)} answers for {len(batch)} episodes")
        said += answers
        on_progress(Progress(stage, len(said), len(frames)))
    values = np.array([value for value, _ in said], np.float64)
    if not ((values >= 0.0) & (values <= 100.0)).all():
        raise ValueError("the judge gave values that are no numbers from 0 to 100")
    return values, [reason for _, reason in said]


def measure(
    values: npt.ArrayLike, reasons: Sequence[str], lines: Sequence[dict[str, Any]], calibration: Calibration
) -> dict[str, Any]:
    """The figures of a judge, JSON values. `lines`: what `training.small.judge_episodes.load` gives for the same
    episodes."""
    values = np.asarray(values, np.float64)
    truth = np.array([line["success"] for line in lines], bool)
    passed = values >= np.array([calibration.threshold_of(line["verb"]) for line in lines])
    chances = calibration.chance(values)
    same = np.array([said == line["reason"] for said, line in zip(reasons, lines, strict=True)], bool)
    sources = np.array([line["source"] for line in lines])
    groups = {
        name: {
            group: _group(values, truth, passed, np.array([line[name] for line in lines]) == group)
            for group in sorted({line[name] for line in lines})
        }
        for name in ("suite", "verb")
    }
    return {
        "episodes": len(lines),
        "failures": int((~truth).sum()),
        "auroc": auroc(values, truth),
        "auroc_ci": list(auroc_interval(values, truth)),
        "threshold": calibration.threshold,
        "threshold_by_verb": dict(calibration.verbs),
        "cannot_tell": _share((calibration.chance(values) > 0.5) != passed),
        "false_positive": _share(passed[~truth]),
        "true_positive": _share(passed[truth]),
        "calibration_error": calibration_error(chances, truth),
        "calibration_error_raw": calibration_error(values / 100.0, truth),
        "reasons_exact": _share(same),
        "by_source": {
            # every kind of failure against all successes
            source: {
                **_share(passed[sources == source]),
                "auroc": _finite(auroc(*_against(values, truth, sources == source))),
            }
            for source in SOURCES
            if (sources == source).any()
        },
        "by_suite": groups["suite"],
        "by_verb": groups["verb"],
        "reliability": reliability(chances, truth),
    }


def _against(values: Floats, truth: Bools, mine: Bools) -> tuple[Floats, Bools]:
    chosen = mine | truth
    return values[chosen], truth[chosen]


def _group(values: Floats, truth: Bools, passed: Bools, mine: Bools) -> dict[str, Any]:
    return {
        "episodes": int(mine.sum()),
        "auroc": _finite(auroc(values[mine], truth[mine])),
        "false_positive": _share(passed[mine & ~truth])["rate"],
        "true_positive": _share(passed[mine & truth])["rate"],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _share(passed: Bools) -> dict[str, Any]:
    return proportion(int(passed.sum()), len(passed))


def calibrate(
    policy: Judges,
    episodes: int = 2000,
    seed: int = CALIBRATION_SEED,
    *,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> Calibration:
    """Fit threshold and curve on episodes of training levels. Use a `seed` that the judge's training data has not."""
    with tempfile.TemporaryDirectory() as folder:
        frames, lines = _collected(Path(folder), "doom-judge", episodes, seed, False, workers, on_progress)
        values, _ = ask(policy, _texts(lines), frames, on_progress, "calibrate")
    found = fit(values, [line["success"] for line in lines], verbs=[line["verb"] for line in lines])
    if not isinstance(policy, JudgesProgress):
        return found
    told = measure_progress(
        policy, "doom-judge", episodes // _CUT_PART, seed, False, workers=workers, on_progress=on_progress
    )
    return replace(found, progress=told["rank_correlation"])


def evaluate_judge(
    policy: Judges,
    calibration: Calibration,
    episodes: int = 1000,
    seed: int = 0,
    *,
    suite: str = "doom-judge",
    workers: str | int = 2,
    plot: Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Any]:
    """Judge episodes of levels that training never sees; the figures of `measure`, and AUROC of the same judge without
    instructions as `no_language`, for who looks at the frames alone. `progress` is how well one that tells it ranks
    further episodes, all of them a success that was cut short. `suite`: of SUITES. `plot`: a PNG of its calibration."""
    with tempfile.TemporaryDirectory() as folder:
        frames, lines = _collected(Path(folder), suite, episodes, seed, True, workers, on_progress)
        values, reasons = ask(policy, _texts(lines), frames, on_progress)
        blind, _ = ask(policy, [""] * len(lines), frames, on_progress, "no language")
    truth = [line["success"] for line in lines]
    report = measure(values, reasons, lines, calibration)
    report["no_language"] = {"auroc": auroc(blind, truth), "auroc_ci": list(auroc_interval(blind, truth))}
    if isinstance(policy, JudgesProgress):
        report["progress"] = measure_progress(
            policy, suite, episodes // _CUT_PART, seed, True, workers=workers, on_progress=on_progress
        )
    if plot is not None:
        draw(plot, report, values, truth)
    return report


def _texts(lines: Sequence[dict[str, Any]]) -> list[str]:
    return [line["instruction"] for line in lines]


def measure_progress(
    policy: JudgesProgress,
    suite: str,
    episodes: int,
    seed: int,
    evaluation: bool,
    *,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Any]:
    """How well the progress that a judge tells of successes that were cut short fits the share of the decisions that
    was done: rank correlation with its interval, and the mean error. A few `episodes` are made at least."""
    episodes = max(_LEAST_CUT, episodes)
    with tempfile.TemporaryDirectory() as folder:
        frames, lines = _collected(Path(folder), suite, episodes, seed, evaluation, workers, on_progress, only=(CUT,))
        told: list[float] = []
        for start in range(0, len(frames), BATCH):
            texts = _texts(lines[start : start + BATCH])
            told += [far for _, _, far in policy.judge_progress(texts, np.array(frames[start : start + BATCH]))]
            on_progress(Progress("progress", len(told), len(frames)))
    truth = np.array([line["progress"] for line in lines], np.float64)
    return {
        "episodes": len(lines),
        **rank_correlation(told, truth),
        "error": float(np.abs(np.array(told) - truth).mean()),
    }


def _collected(
    folder: Path,
    suite: str,
    episodes: int,
    seed: int,
    evaluation: bool,
    workers: str | int,
    on_progress: OnProgress,
    only: Sequence[str] = (),
) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    of = SUITES[suite]
    share = {name: episodes // len(of) + (i < episodes % len(of)) for i, name in enumerate(of)}
    return load(collect(folder, share, seed, evaluation, workers, on_progress, only=only))


def draw(path: Path, report: dict[str, Any], values: npt.ArrayLike, truth: npt.ArrayLike) -> None:
    """A PNG: how often episodes of a given chance succeeded, and what values successes and failures got."""
    from matplotlib.figure import Figure

    values, truth = np.asarray(values, np.float64), np.asarray(truth, bool)
    blue, orange, grey = "#2563a8", "#d9772b", "#8a8f98"
    dashes = (0, (4, 3))
    figure = Figure(figsize=(9.0, 4.0), dpi=150, layout="constrained")
    curve, counts = figure.subplots(1, 2)

    rows = report["reliability"]
    curve.plot([0, 1], [0, 1], color=grey, linewidth=1, linestyle=dashes, zorder=1)
    for row in rows:
        sure = row["episodes"] >= FEW  # a share of a handful says next to nothing
        if sure:
            curve.vlines(row["chance"], row["low"], row["high"], color=blue, linewidth=1.2)
        curve.plot(
            row["chance"], row["share"], "o", markersize=6, color=blue, markerfacecolor=blue if sure else "white",
            zorder=3,
        )  # fmt: skip
        top = row["high"] if sure else row["share"]
        curve.annotate(
            f"{row['episodes']}", (row["chance"], top), textcoords="offset points", xytext=(0, 5), ha="center",
            fontsize=7, color=grey,
        )  # fmt: skip
    full = [row for row in rows if row["episodes"] >= FEW]
    curve.plot([row["chance"] for row in full], [row["share"] for row in full], color=blue, linewidth=1.2, zorder=2)
    curve.set(
        xlabel="chance of success that the judge gives", ylabel="share that succeeded", xlim=(-0.04, 1.04),
        ylim=(-0.04, 1.12), title=f"Calibration: {100 * report['calibration_error']:.1f} % expected error",
    )  # fmt: skip

    edges = np.linspace(0.0, 100.0, 21)
    for mine, colour, name in ((~truth, orange, "failures"), (truth, blue, "successes")):
        counts.hist(values[mine], edges, color=colour, alpha=0.6, label=f"{int(mine.sum())} {name}")
    counts.axvline(report["threshold"], color="black", linewidth=1, linestyle=dashes, label="threshold")
    counts.set(
        xlabel="value", ylabel="episodes", xlim=(0, 100), yscale="log",
        title=f"AUROC {report['auroc']:.3f} on {report['episodes']} episodes",
    )  # fmt: skip
    counts.set_ylim(0.8, 3.0 * counts.get_ylim()[1])  # room for the legend
    counts.legend(frameon=False, loc="upper center", ncols=3, fontsize=8)
    for axes in (curve, counts):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_size(10)
    figure.savefig(path)
