"""`agent rewards`: the rewards that are installed, and what one of them says of recorded episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from rewards.reward import Reward
    from rewards.score import Failure, Score
    from training.data.episodes import Episode

app = console.verb("Rewards: list, score episodes, calibrate, attack.", group=True)

_BATCH = 16  # episodes that are read and scored together
_SIDES = ("positive", "negative")
_SHOWN = 5  # damaged episodes and failures that are named one by one


@app.command("list")
def list_rewards(json: console.Json = False) -> None:
    """List the rewards; the same as agent list rewards.

    \b
    Examples:
      agent rewards list
    """
    from agent.cli.list import list_parts

    list_parts("rewards", json=json)


@app.command()
def score(
    reward: Annotated[
        str,
        typer.Option(help="A reward's name, judge:POLICY_OR_FOLDER, judge:openai:MODEL@URL, or package.module:Name."),
    ],
    episodes: Annotated[Path, typer.Option(help="A folder of recorded episodes, such as agent record makes.")],
    more: Annotated[list[Path] | None, typer.Argument(help="More such folders.", metavar="[DIR]...")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the results there as JSON; - for standard output.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also write the scores to scores.jsonl in each folder.")
    ] = False,
) -> None:
    """Score recorded episodes. Where the truth is known, it also says how far the reward agrees with it.

    \b
    AUROC: the chance that a success is scored above a failure.
    false positives: failures that the reward calls a success, of all failures.
    false negatives: successes that the reward calls a failure, of all successes.
    Shares come with 95 % Wilson intervals. A damaged episode is named and skipped.

    \b
    Examples:
      agent record --suite doom-room --policy small --episodes 50 --evaluation --out data/room
      agent rewards score --reward judge --episodes data/room
      agent rewards score --reward judge:runs/mine/small --episodes data/room data/house --json scores.json
      agent rewards score --reward truth --episodes data/room --write
      agent rewards score --reward judge:openai:MODEL@http://127.0.0.1:8000/v1 --episodes data/room
    """
    machine = console.for_machines(json)
    screen = console.console(machine=machine)
    roots = [episodes, *(more or [])]
    with screen.status("starting"):
        from rewards.reward import load_reward

        found = _find(roots)
        scorer = load_reward(reward)
    scored = _Scored()
    with console.progress(screen) as bars:
        bar = bars.add_task(scorer.name, total=len(found), note="")
        for start in range(0, len(found), _BATCH):
            batch = found[start : start + _BATCH]
            _score(scorer, [path for path, _ in batch], scored)
            bars.update(bar, advance=len(batch))
    written = _write(scorer.name, found, scored) if write else []
    report = _report(scorer.name, scored)
    if machine:
        console.print_json(report)
        return
    screen.print(_table(report))
    screen.print(_summary(report), markup=False)
    _complain(screen, report)
    for path in written:
        screen.print(f"Scores: {path}", markup=False)
    if json is not None:
        console.save_json(screen, json, report)


@app.command()
def calibrate(
    reward: Annotated[str, typer.Option(help="A reward's name, NAME:ARGUMENT, or package.module:Name.")],
    episodes: Annotated[Path, typer.Option(help="A folder of recorded episodes with verdicts.")],
    more: Annotated[list[Path] | None, typer.Argument(help="More such folders.", metavar="[DIR]...")] = None,
    out: Annotated[Path, typer.Option(help="The folder for threshold, figures and report.")] = Path("runs/reward"),
    limit: Annotated[float, typer.Option(help="The largest share of failures that may be called a success.")] = 0.05,
    mistakes: Annotated[int, typer.Option(help="Mistakes that the report shows.")] = 12,
    beside: Annotated[
        str | None, typer.Option(help="Another reward: how far both agree on the episodes that are measured.")
    ] = None,
    json: console.Json = False,
) -> None:
    """Fit a reward's threshold, and measure how wrong it is.

    \b
    Of every recorded success, failures are made of which the truth is known: the wrong object, a near miss, cut short,
    rewound, idle, done before it began, another instruction. The threshold is fitted on one half of the episodes and
    measured on the other. OUT gets reward.json (what --reward calibrated:OUT reads), figures.json and report.html.

    \b
    Examples:
      agent record --suite doom-room --policy small --episodes 300 --evaluation --out data/room
      agent rewards calibrate --reward clip:runs/clip/model --episodes data/room --out runs/clip-calibrated
      agent rewards calibrate --reward judge --beside clip --episodes data/room
      agent rewards score --reward calibrated:runs/clip-calibrated --episodes data/house
    """
    screen = console.console(machine=json)
    if not 0.0 < limit < 1.0:
        raise UserError(f"--limit {limit:g}: expected a share between 0 and 1")
    with screen.status("starting"):
        from rewards.reward import load_reward
        from training.evaluation import reward_calibration, reward_report

        found = [path for path, _ in _find([episodes, *(more or [])])]
        scorer = load_reward(reward)
        other = None if beside is None else load_reward(beside)
    for name, one in ((reward, scorer), (beside, other)):
        if one is not None and one.sees_truth:
            raise UserError(f"{name}: it is the truth that rewards are measured against")
    with console.progress(screen) as bars:
        bar = bars.add_task("read", total=len(found), note="")
        cases, damaged = _cases(found, lambda: bars.update(bar, advance=1))
        bar = bars.add_task(scorer.name, total=len(cases), note="")
        scored = reward_calibration.score_cases(scorer, cases, lambda done: bars.update(bar, completed=done))
        measured, report = reward_calibration.calibrate(reward, scored, limit)
        held_back = [one for one in scored if one.case.held_back]
        if other is not None:
            bar = bars.add_task(other.name, total=len(held_back), note="")
            theirs = reward_calibration.score_cases(
                other, [one.case for one in held_back], lambda done: bars.update(bar, completed=done)
            )
            report["beside"] = {"reward": beside, **reward_calibration.beside(measured.calibration, held_back, theirs)}
    report["damaged"] = damaged
    out.mkdir(parents=True, exist_ok=True)
    shown = reward_calibration.worst(measured.calibration, held_back, mistakes)
    reward_report.write_report(out / "report.html", report, held_back, shown)
    _save(out / "figures.json", report)
    _save(out / "reward.json", measured.to_json())
    if json:
        console.print_json(report)
        return
    screen.print(_calibrated_table(report))
    for path, why in damaged.items():
        screen.print(f"damaged, skipped: {path}: {why}", style="yellow", markup=False)
    verdict = "within" if measured.trusted else "above"
    screen.print(
        f"AUROC {report['auroc']:.3f}, {_percent(report['false_positive'])} % of failures called a success: {verdict} "
        f"the limit of {100 * limit:g} %", markup=False,
    )  # fmt: skip
    if beside is not None:
        screen.print(_beside(report))
    screen.print(f"Report: {out / 'report.html'}", markup=False)
    screen.print(f"Use it: --reward calibrated:{f'{reward}@' if ':' in reward else ''}{out}", markup=False)


@app.command()
def attack(
    reward: Annotated[str, typer.Option(help="A reward's name, NAME:ARGUMENT, or package.module:Name.")],
    episodes: Annotated[
        Path | None, typer.Option(help="A folder of recorded successes that the attacks are made of.")
    ] = None,
    each: Annotated[
        int | None, typer.Option(help="Take only so many of these successes for each verb, the shortest ones.")
    ] = None,
    verb: Annotated[list[str] | None, typer.Option(help="Only of tasks with this verb; may be repeated.")] = None,
    found: Annotated[
        Path | None, typer.Option(help="A folder of episodes of a player that was trained to please this reward.")
    ] = None,
    keep: Annotated[
        int, typer.Option(help="Save at most so many of the failures that fooled the reward, those it scores highest.")
    ] = 20,
    zoo: Annotated[
        Path | None, typer.Option(help="A folder of attacks that --save wrote. Without any folder: the zoo that ships.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Add the attacks to a folder, for any judge to be scored on.")
    ] = None,
    json: console.Json = False,
) -> None:
    """Try to fool a reward.

    \b
    Attacks: words on the screen, the goal's picture pasted in, blank, noisy and frozen frames, staring from afar, the
    goal's pose without a deed, swinging in and out of the goal, and failures of a player that learned to please the
    reward. The table says how many failures the reward calls a success, with 95 % Wilson intervals, and how many points
    more than without the attack; and how many successes it calls a failure, so that always saying no helps nobody.

    \b
    Examples:
      agent rewards attack --reward judge
      agent record --suite doom-room --policy expert --episodes 60 --evaluation --out data/expert
      agent rewards attack --reward clip:runs/clip/model --episodes data/expert
      agent rewards attack --reward judge --episodes data/expert --save data/zoo
      agent rewards attack --reward mine.judge:MyJudge --zoo data/zoo
    """
    screen = console.console(machine=json)
    if each is not None and each < 1:
        raise UserError(f"--each {each}: expected at least 1")
    with screen.status("starting"):
        from rewards.reward import load_reward
        from training.evaluation import reward_attacks
        from training.evaluation import zoo as zoos
        from training.evaluation.reward_calibration import score_cases

        scorer = load_reward(reward)
        if episodes is None and found is None and zoo is None:
            zoo = zoos.SHIPPED
        cases = [] if zoo is None else zoos.load_zoo(zoo)
    if scorer.sees_truth:
        raise UserError(f"--reward {reward}: nothing that is shown fools the truth")
    damaged: dict[str, str] = {}
    played: list[Any] = []
    if episodes is not None:
        whole, damaged = _whole([path for path, _ in _find([episodes])])
        cases += reward_attacks.attacked([one for one in whole if not verb or one[1].verb in verb], each=each)
    if found is not None:
        whole, broken = _whole([path for path, _ in _find([found])])
        damaged |= broken
        played += reward_attacks.found(whole, reward)
    if not cases and not played:
        raise UserError(
            "there is no episode that an attack can be made of: --episodes needs successes of several steps, and "
            "--found failures"
        )
    with console.progress(screen) as bars:
        bar = bars.add_task(scorer.name, total=len(cases) + len(played), note="")
        scored = score_cases(scorer, [*cases, *played], lambda done: bars.update(bar, completed=done))
    if save is not None:
        zoos.add_to_zoo(save, [*cases, *reward_attacks.best_scored(scored[len(cases) :], keep)])
    attacks = reward_attacks.report(scored)
    if json:
        console.print_json({"reward": reward, "attacks": attacks, "damaged": damaged})
        return
    screen.print(_attacked_table(reward, attacks))
    for path, why in damaged.items():
        screen.print(f"damaged, skipped: {path}: {why}", style="yellow", markup=False)


def _attacked_table(reward: str, attacks: dict[str, Any]) -> Any:
    columns = ("", "cases", "no score", "failures called a success %", "points more", "successes called a failure %",
               "mean value")  # fmt: skip
    rows = []
    for name, row in attacks.items():
        shares = [row.get(f"false_{side}") for side in _SIDES]
        positive, negative = ("" if one is None else _percent(one) for one in shares)
        n = next(one["n"] for one in shares if one is not None)
        points, mean = (f"{row['points']:+.1f}" if row["points"] is not None else "", row["mean"])
        rows.append(
            [name, str(n + row["unscored"]), str(row["unscored"]), positive, points, negative,
             "-" if mean is None else f"{mean:.1f}"]
        )  # fmt: skip
    return console.table(columns, rows, title=reward)


def _beside(report: dict[str, Any]) -> Any:
    """Both rewards on the cases that both of them score."""
    found = report["beside"]
    rows = []
    for name, row in (("threshold", found["this"]), ("as it is", found["as it is"]), ("", found["other"])):
        shared = row.get("agreement")
        rows.append([
            f"{report['reward']}, {name}" if name else found["reward"],
            "-" if row["auroc"] is None else f"{row['auroc']:.3f} ({row['auroc_ci'][0]:.3f}–{row['auroc_ci'][1]:.3f})",
            *(_percent(row[f"false_{side}"]) for side in _SIDES),
            "-" if shared is None else _percent(shared["same"]),
            "-" if shared is None or shared["kappa"] is None else f"{shared['kappa']:.2f}",
        ])  # fmt: skip
    count = found["other"]["true_success"]["n"]
    columns = ("", "AUROC", "failures called a success %", "successes called a failure %", "agrees %", "kappa")
    return console.table(columns, rows, title=f"the {count} cases that both score")


def _whole(paths: Sequence[Path]) -> tuple[list[Any], dict[str, str]]:
    """Episodes with their tasks, and what is wrong with the damaged ones."""
    from training.data.episodes import DamagedEpisodeError, read_episode
    from training.data.footage import task_of

    whole, damaged = [], {}
    for path in paths:
        try:
            episode = read_episode(path)
            episode.verify()
            whole.append((episode, task_of(episode)))
        except DamagedEpisodeError as error:
            damaged[str(path)] = str(error)
    return whole, damaged


def _cases(paths: Sequence[Path], advance: Any) -> tuple[list[Any], dict[str, str]]:
    """The cases of all episodes, and the damaged episodes. Raises UserError where no episode has a verdict."""
    from training.data.episodes import DamagedEpisodeError
    from training.evaluation.reward_cases import cases_of

    whole, damaged = _whole(paths)
    tasks = [task for _, task in whole]
    cases = []
    for episode, _ in whole:
        try:
            cases += list(cases_of(episode, tasks))
        except DamagedEpisodeError as error:
            damaged[str(episode.path)] = str(error)
        advance()
    if not cases:
        raise UserError("--episodes: no episode has a verdict; agent record --suite SUITE makes some that do")
    return cases, damaged


def _save(path: Path, data: dict[str, Any]) -> None:
    from json import dumps

    from envs.files import write_whole

    write_whole(path, dumps(data, indent=2) + "\n")


def _calibrated_table(report: dict[str, Any]) -> Any:
    columns = ("", "cases", "no score", "failures called a success %", "successes called a failure %")
    rows = {"all": report, **report["by_kind"], **{verb or "no verb": row for verb, row in report["by_verb"].items()}}
    cells = [
        [name, str(row["cases"]), str(row["unscored"]), *(_percent(row[f"false_{side}"]) for side in _SIDES)]
        for name, row in rows.items()
    ]
    return console.table(columns, cells, title=f"{report['reward']}: threshold {report['threshold']:.1f}")


@dataclass(frozen=True)
class _Row:
    """An episode and what the reward says of it; `truth` is None if it is not known."""

    path: Path
    verb: str
    instruction: str
    result: Score | Failure
    truth: bool | None


@dataclass
class _Scored:
    rows: list[_Row] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)


def _find(roots: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each episode folder with the root that it lies under, every episode once. Raises UserError."""
    from training.data.episodes import find_episodes

    found: dict[Path, tuple[Path, Path]] = {}
    for root in roots:
        if not root.is_dir():
            raise UserError(f"--episodes {root}: there is no such folder")
        for path in find_episodes(root):
            found.setdefault(path.resolve(), (path, root))
    if not found:
        raise UserError(f"--episodes: no episode under {', '.join(map(str, roots))}; agent record makes some")
    return list(found.values())


def _score(reward: Reward, paths: Sequence[Path], scored: _Scored) -> None:
    """Read and score a batch of episodes."""
    from rewards.reward import score_pairs
    from training.data.episodes import DamagedEpisodeError, read_episode
    from training.data.footage import RecordedFootage, task_of

    whole: list[Episode] = []
    for path in paths:
        try:
            episode = read_episode(path)
            episode.verify()
            whole.append(episode)
        except DamagedEpisodeError as error:
            scored.damaged[path] = str(error)
    tasks = [task_of(episode) for episode in whole]
    pairs = [(task, RecordedFootage(episode)) for task, episode in zip(tasks, whole, strict=True)]
    for episode, task, result in zip(whole, tasks, score_pairs(reward, pairs), strict=True):
        scored.rows.append(_Row(episode.path, task.verb, task.instruction, result, episode.success))


def _write(reward: str, found: Sequence[tuple[Path, Path]], scored: _Scored) -> list[Path]:
    """Write the scores beside the episodes: one file in each folder that was named."""
    from rewards.score_file import save_scores

    results = {row.path: row.result for row in scored.rows}
    folders: dict[Path, dict[str, Score | Failure]] = {}
    for path, root in found:
        if path in results:
            folder = root.resolve().parent if path == root else root  # an episode is sealed: nothing goes inside
            name = root.resolve().name if path == root else path.relative_to(root).as_posix()
            folders.setdefault(folder, {})[name] = results[path]
    return [save_scores(folder, reward, of_folder) for folder, of_folder in folders.items()]


def _report(reward: str, scored: _Scored) -> dict[str, Any]:
    rows = scored.rows
    return {
        "reward": reward,
        **_group(rows),
        "by_verb": {verb: _group([r for r in rows if r.verb == verb]) for verb in sorted({r.verb for r in rows})},
        "damaged": {str(path): why for path, why in scored.damaged.items()},
        "scores": [_line(row) for row in rows],
    }


def _group(rows: Sequence[_Row]) -> dict[str, Any]:
    """The figures of some episodes; `agreement` is None if the truth is not known of any."""
    from rewards.score import Score
    from training.evaluation.agreement import agreement, share

    scores = [row.result for row in rows if isinstance(row.result, Score)]
    known = [(r.result, r.truth) for r in rows if isinstance(r.result, Score) and r.truth is not None]
    return {
        "episodes": len(rows),
        "scored": len(scores),
        "mean": sum(s.value for s in scores) / len(scores) if scores else None,
        "success": share(sum(s.success for s in scores), len(scores)),
        "agreement": agreement([s for s, _ in known], [truth for _, truth in known]) if known else None,
    }


def _line(row: _Row) -> dict[str, Any]:
    from rewards.score import Failure

    about = {"episode": str(row.path), "instruction": row.instruction, "verb": row.verb, "truth": row.truth}
    if isinstance(row.result, Failure):
        return {**about, "failure": row.result.why}
    said = {"value": row.result.value, "success": row.result.success, "why": row.result.why}
    return {**about, **said, "progress": row.result.progress}


def _table(report: dict[str, Any]) -> Any:
    """A row for the whole and one for each verb."""
    columns = ("", "scored", "mean", "success %", "true success %", "AUROC", "false positives %", "false negatives %")
    groups = {"all": report, **{verb or "no verb": group for verb, group in report["by_verb"].items()}}
    return console.table(columns, [_cells(name, group) for name, group in groups.items()], title=report["reward"])


def _cells(name: str, group: dict[str, Any]) -> list[str]:
    scored = str(group["scored"])
    if group["scored"] < group["episodes"]:
        scored += f" of {group['episodes']}"
    mean = "-" if group["mean"] is None else f"{group['mean']:.1f}"
    cells = [name, scored, mean, _percent(group["success"])]
    known = group["agreement"]
    if known is None:
        return [*cells, "-", "-", "-", "-"]
    area = "-" if known["auroc"] is None else f"{known['auroc']:.3f}"
    return [*cells, _percent(known["true_success"]), area, *(_percent(known[f"false_{x}"]) for x in _SIDES)]


def _percent(share: dict[str, Any]) -> str:
    from training.evaluation.statistics import percent

    return percent(share["rate"], share["ci"], digits=0)


def _summary(report: dict[str, Any]) -> str:
    """The figures of the whole in a line, as counts."""
    known = report["agreement"]
    if known is None:
        return "the truth of these episodes is not known"
    errors = ", ".join(f"{known[f'false_{x}']['count']} false {x}s of {known[f'false_{x}']['n']}" for x in _SIDES)
    if known["auroc"] is None:
        return errors
    low, high = known["auroc_ci"]
    return f"AUROC {known['auroc']:.3f} ({low:.3f}–{high:.3f}), {errors}"


def _complain(screen: Any, report: dict[str, Any]) -> None:
    """Name damaged episodes, and those that the reward could not score."""
    failed = {line["episode"]: line["failure"] for line in report["scores"] if "failure" in line}
    for what, cases in (("damaged, skipped", report["damaged"]), ("not scored", failed)):
        for path, why in list(cases.items())[:_SHOWN]:
            screen.print(
                f"{what}: {path}: {why}" if path not in why else f"{what}: {why}", style="yellow", markup=False
            )
        if len(cases) > _SHOWN:
            screen.print(f"{what}: {len(cases) - _SHOWN} more", style="yellow", markup=False)
