"""`agent eval --suite doom-judge`: how good a policy is in the role of the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.cli import console
from envs.errors import UserError

# Episodes in levels of training's kind, in textures that no judge learns from, and in vaults.
SUITES = ("doom-judge", "doom-judge-themes", "doom-judge-vault")


def evaluate(
    suite: str,
    policy: str,
    view: str | None,
    episodes: int,
    seed: int,
    workers: str,
    json: Path | None,
    plot: Path | None,
    calibrate: bool,
) -> None:
    """Judge episodes of levels that training never sees, and say how well that went. `suite`: of
    training.evaluation.judge.SUITES.

    `calibrate`: first fix the threshold, on twice as many episodes of training levels, and write it beside the
    checkpoint where the policy has one.
    """
    machine = console.for_machines(json)
    screen = console.console(machine=machine)
    with screen.status("starting"):
        from agent.capabilities import Judges, require
        from agent.cli import compose
        from rewards.calibration import Calibration
        from training.evaluation.judge import calibrate as fit_calibration
        from training.evaluation.judge import evaluate_judge

        judge: Judges = require(compose.load_policy(policy, view=view), Judges, policy, f"--suite {suite}")
        folder, calibration = _folder(policy), None
        if not calibrate:
            if folder is None:
                raise UserError(f"policy {policy!r} has no folder that holds a judge's threshold: add --calibrate")
            try:
                calibration = Calibration.load(folder)
            except ValueError as error:
                raise UserError(f"{error}; add --calibrate, which makes one") from error
    with console.progress(screen) as bars:
        on_progress = console.follow(bars)
        try:
            if calibration is None:
                calibration = fit_calibration(judge, 2 * episodes, workers=workers, on_progress=on_progress)
                if folder is not None:
                    calibration.save(folder)
            report = evaluate_judge(
                judge, calibration, episodes, seed, suite=suite, workers=workers, plot=plot, on_progress=on_progress
            )
        except (OSError, ValueError) as error:
            raise UserError(f"the judge can't be measured: {error}") from error
    report = {"suite": suite, "policy": policy, "seed": seed, **report, **compose.provenance()}
    if machine:
        console.print_json(report)
        return
    screen.print(_table(report))
    screen.print(_sources(report))
    if plot is not None:
        screen.print(f"Plot: {plot}", markup=False)
    if json is not None:
        console.save_json(screen, json, report)


def _folder(policy: str) -> Path | None:
    """The checkpoint folder of a policy, or None if it has none."""
    from agent.cli import compose
    from agent.small.checkpoint import SHIPPED

    if compose.is_path(policy):
        return Path(policy).expanduser()
    return SHIPPED if policy == "small" else None


def _percent(share: dict[str, Any]) -> str:
    from training.evaluation.statistics import percent

    return percent(share["rate"], share["ci"], ci_digits=1, unit=" %")


def _area(value: float, ci: list[float]) -> str:
    return f"{value:.3f} ({ci[0]:.3f}–{ci[1]:.3f})"


def _progress(told: dict[str, Any] | None) -> list[list[str]]:
    """How well the progress that a judge tells ranks episodes that were cut short, where it tells it."""
    if told is None:
        return []
    area = _area(told["rank_correlation"], told["ci"])
    return [[f"progress, rank correlation, n = {told['episodes']}", area], ["its mean error", f"{told['error']:.2f}"]]


def _table(report: dict[str, Any]) -> Any:
    blind = report["no_language"]
    return console.table(
        ["judge", report["policy"]],
        [
            ["episodes, of which failures", f"{report['episodes']}, {report['failures']}"],
            ["AUROC", _area(report["auroc"], report["auroc_ci"])],
            ["AUROC without instruction", _area(blind["auroc"], blind["auroc_ci"])],
            ["threshold", f"{report['threshold']:.1f} of 100"],
            *([f"threshold of {verb}", f"{least:.1f}"] for verb, least in report["threshold_by_verb"].items()),
            ["can't tell (sure:)", _percent(report["cannot_tell"])],
            ["false positives", _percent(report["false_positive"])],
            ["true positives", _percent(report["true_positive"])],
            ["expected calibration error", f"{100 * report['calibration_error']:.1f} %"],
            ["reasons word for word", _percent(report["reasons_exact"])],
            *_progress(report.get("progress")),
        ],
    )


def _sources(report: dict[str, Any]) -> Any:
    """What passes the threshold, by source, suite and verb."""
    from training.evaluation.statistics import percent

    def area(group: dict[str, Any]) -> str:
        return "-" if group["auroc"] is None else f"{group['auroc']:.3f}"

    lines = []
    for name, group in report["by_source"].items():
        passed = percent(group["rate"])
        right = name == "success"
        lines.append([name, str(group["episodes"]), "" if right else passed, passed if right else "", area(group)])
    for kind in ("by_suite", "by_verb"):
        for name, group in report[kind].items():
            false, true = percent(group["false_positive"]), percent(group["true_positive"])
            lines.append([name, str(group["episodes"]), false, true, area(group)])
    return console.table(["", "episodes", "false positives %", "true positives %", "AUROC"], lines)
