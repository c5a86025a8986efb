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

app = console.verb("Rewards: list them, score recorded episodes.", group=True)

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
    reward: Annotated[str, typer.Option(help="A reward's name, judge:POLICY_OR_FOLDER, or package.module:Name.")],
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
    """
    machine = json is not None and str(json) == "-"
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
    return {**about, "value": row.result.value, "success": row.result.success, "why": row.result.why}


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
