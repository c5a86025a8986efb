"""`agent eval`: how often a policy does what it is told, beside the expert, chance and controls of language."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console, judging
from agent.cli.options import PolicyName, TasksEnv, Think, ViewText, Workers
from envs.errors import UserError

if TYPE_CHECKING:
    from agent.view import View
    from envs.world import World
    from tasks.task import Task

app = console.verb()


@app.command(name="eval")
def evaluate(
    suite: Annotated[str, typer.Option(help="A suite of tasks: agent list suites.")] = "doom-basic",
    policy: PolicyName = "small",
    think: Think = "auto",
    view: ViewText = None,
    episodes: Annotated[int, typer.Option(min=1, help="Tasks to play; with --tasks, at most so many.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tasks.")] = 0,
    workers: Workers = "2",
    tasks: Annotated[
        Path | None,
        typer.Option(help="A YAML file of own tasks instead of a suite; verifiers of yours that it names run code."),
    ] = None,
    env: TasksEnv = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--policy-only", help="Also play expert, random and the controls of language.")
    ] = True,
    json: Annotated[Path | None, typer.Option(help="Write the results there as JSON; - for standard output.")] = None,
    plot: Annotated[Path | None, typer.Option(help="doom-judge: draw its calibration to this PNG.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="doom-judge: first fix its threshold, on training levels.")
    ] = False,
    bench: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A frozen reference suite instead: ludens-bench-1, or a YAML file."),
    ] = None,
    allow_differences: Annotated[
        bool, typer.Option("--allow-differences", help="--bench: play it although versions or hashes differ, labelled.")
    ] = False,
) -> None:
    """Measure success with 95 % Wilson intervals, per verb and in all, on levels that training never sees.

    \b
    no language: the same policy with an empty instruction.
    language control: the instruction names another thing, the verifier wants the first. Who listens fails.

    \b
    Examples:
      agent eval --suite doom-basic --policy small --episodes 500
      agent eval --suite doom-pairs --policy runs/mine/small --policy-only --json pairs.json
      agent eval --tasks examples/tasks.yaml --policy small
      agent eval --suite doom-answers --policy small --episodes 1000
      agent eval --suite doom-conversation --policy small --episodes 200 --seed 11
      agent eval --suite doom-judge --policy small --episodes 1000 --seed 11 --plot judge.png
      agent eval --bench ludens-bench-1 --policy small --json small.json
    """
    _check_workers(workers)
    if bench is not None:
        if (suite, episodes, seed, tasks, env) != ("doom-basic", 500, 0, None, None):
            raise UserError("--bench has frozen its tasks: leave --suite, --episodes, --seed, --tasks and --env out")
        from agent.cli import benching

        benching.evaluate(bench, policy, think, view, workers, json, allow_differences)
        return
    if allow_differences:
        raise UserError("--allow-differences belongs to --bench")
    if suite in ("doom-answers", "doom-proposals", "doom-plans", "doom-conversation") and not tasks:
        from agent.cli import roles

        roles.evaluate(suite, policy, view, episodes, seed, workers, json)
        return
    if suite in judging.SUITES and not tasks:
        judging.evaluate(suite, policy, view, episodes, seed, workers, json, plot, calibrate)
        return
    if plot is not None or calibrate:
        raise UserError("--plot and --calibrate belong to --suite doom-judge")
    machine = console.for_machines(json)
    screen = console.console(machine=machine)
    with screen.status("starting"):
        from agent.capabilities import Scripted, reads_labels, spec_of
        from agent.cli import compose
        from tasks import world_tasks
        from training.evaluation import success as evaluation

        chosen = _from_file(tasks, episodes, seed) if tasks else _from_suite(suite, episodes, seed)
        env = chosen[0].world if env is None else env
        for task in chosen:
            if not compose.same_world(task.world, env):
                raise UserError(f"{task.id} is played in world {task.world!r}, not in {env!r}: say --env {task.world}")
        # wrong names and checkpoints that do not fit are told before processes start
        compose.world_factory(env)
        loaded = compose.load_policy(policy, think, view)
        labels = reads_labels(loaded)
        scripted = isinstance(loaded, Scripted)  # a script does not read the instruction, so the controls do not apply
        others = evaluation.BASELINES if scripted else (*evaluation.BASELINES, *evaluation.CONTROLS)
        if not world_tasks.of(env).has_expert:
            others = tuple(row for row in others if row != "expert")
        rows = ["policy", *(row for row in others if baselines and row != policy)]
    with console.progress(screen) as bars:
        tallies = evaluation.evaluate(
            chosen,
            partial(compose.load_policy, policy, think, view),
            partial(_open_world, env, labels, spec_of(loaded).view),
            workers=workers,
            rows=rows,
            on_progress=console.follow(bars),
        )
    results = {row: tally.to_json() for row, tally in tallies.items()}
    mine = results.pop("policy")
    report = {
        "suite": str(tasks) if tasks else suite,
        "policy": policy,
        "think": think,
        "view": view,
        "seed": seed,
        **mine,
        "baselines": results,
        **compose.provenance(),
    }
    if machine:
        console.print_json(report)
        return
    screen.print(_table(policy, {policy: mine, **results}))
    for why, count in list(mine["failures"].items())[:5]:
        screen.print(f"  {count:4d} x {why}", style="dim", markup=False)
    signals = mine["done_signalled"]
    if signals["share"]:
        screen.print(f"said within a second that it was done: {100 * signals['share']:.1f} % of {signals['episodes']}")
    confirmed = mine["confirmed"]
    if confirmed["share"] is not None:
        screen.print(f"confirmed the instruction: {100 * confirmed['share']:.1f} % of {confirmed['episodes']}")
    claims = mine["false_claims"]
    if claims["share"]:
        screen.print(f"said that what is there is not: {100 * claims['share']:.1f} % of {claims['episodes']}")
    late = mine["late"]
    if late["share"]:
        screen.print(f"{100 * late['share']:.1f} % of {late['ticks']:,} ticks came late", style="yellow")
    if json is not None:
        console.save_json(screen, json, report)


def _check_workers(workers: str) -> None:
    from training.workers.hire import check

    check(workers)


def _open_world(name: str, labels: bool, view: View) -> World:
    from agent.cli import compose

    return compose.world_factory(name, view=view, labels=labels or None)()


def _from_suite(name: str, episodes: int, seed: int) -> list[Task]:
    from tasks import world_tasks

    return list(world_tasks.suite(name).tasks(seed, episodes))


def _from_file(path: Path, episodes: int, seed: int) -> list[Task]:
    from tasks.task_file import load_tasks

    try:
        found = load_tasks(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    judged = [task for task in found if task.verifier is not None]
    if not judged:
        raise UserError(f"{path}: no task has a verifier, so nothing can be measured")
    return judged[:episodes]


def _table(policy: str, results: dict[str, dict[str, Any]]) -> Any:
    """A row for the whole and one for each verb, a column for each player."""

    from training.evaluation.statistics import percent

    def cell(value: dict[str, Any] | None) -> str:
        return "-" if value is None else percent(value["success"], value["ci"])

    verbs = sorted({verb for result in results.values() for verb in result["by_verb"]})
    lines = [["all", *(cell(r) for r in results.values())]]
    lines += [[verb, *(cell(r["by_verb"].get(verb)) for r in results.values())] for verb in verbs]
    lines.append(["episodes", *(str(r["episodes"]) for r in results.values())])
    return console.table(["success %", *results], lines)
