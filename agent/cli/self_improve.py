"""`agent self-improve`: the agent sets itself tasks, tries them, is judged, and learns from it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from agent.cli.options import Port, Workers
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from training.improve.ask import Question
    from training.improve.loop import SelfImprovement
    from training.improve.recipe import ImproveRecipe
    from training.improve.run_page import RunPage
    from training.recipe import Progress

app = console.verb()

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": None}
_COLUMNS = ("generation", "tasks", "tried", "judged %", "true %", "gap", "held out %", "old %", "promoted", "minutes")


@app.command(name="self-improve")
def self_improve(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/improve"),
    quick: Annotated[bool, typer.Option("--quick", help="A small run: minutes on 2 cores.")] = False,
    config: Annotated[Path | None, typer.Option(help="A recipe, a YAML file; options below go before it.")] = None,
    env: Annotated[str | None, typer.Option(help="A world's name: agent list worlds. [default: the suite's]")] = None,
    suite: Annotated[
        str | None, typer.Option(help="Where the levels come from: agent list suites. [default: doom-vault]")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="The first player: small, or a checkpoint folder.")] = None,
    setter: Annotated[str | None, typer.Option(help="Who proposes tasks: agent list task-setters.")] = None,
    reward: Annotated[str | None, typer.Option(help="Who judges: agent list rewards.")] = None,
    generations: Annotated[int | None, typer.Option(min=1, help="How many generations.")] = None,
    levels: Annotated[int | None, typer.Option(min=1, help="Levels of a generation.")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="Tasks of each suite in an evaluation.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of levels and sampling.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0.1, help="Minutes after which no further generation begins.")
    ] = None,
    ask_me: Annotated[
        int | None, typer.Option(min=0, help="Tries of a generation to ask you about: was it done?")
    ] = None,
    page: Annotated[bool, typer.Option("--page", help="Show the run on a page in the browser, and ask there.")] = False,
    port: Port = 0,
    workers: Workers = "2",
    json: console.Json = False,
) -> None:
    """The agent sets itself tasks in levels it was never taught, tries them, is judged by a reward that sees pixels
    alone, and practises what it set itself, for that reward. A generation becomes the next player only if it does
    better on tasks that nobody trained on, and no worse on the old ones.

    The report compares the reward with ground truth, which nothing learns from. Every stage writes files: Ctrl+C or a
    kill loses at most the stage at hand, and the same command goes on.

    \b
    Examples:
      agent self-improve --quick
      agent self-improve --suite doom-vault --generations 8 --out runs/vault
      agent self-improve --setter suite:doom-vault-steps --reward judge --budget 60
      torchrun --nproc-per-node 4 -m agent self-improve --out runs/vault    # practice on four GPUs
      agent self-improve --ask-me 20 --page    # watch it in the browser; 20 clips a generation, yes or no
      agent play "pick up the blue key" --policy runs/improve/generation-001/learned/model
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.improve.loop import SelfImprovement
        from training.ranks import launched

        options = {
            "env": env, "suite": suite, "policy": policy, "setter": setter, "reward": reward,
            "generations": generations, "levels": levels, "episodes": episodes, "seed": seed, "ask_me": ask_me,
        }  # fmt: skip
        recipe = _recipe(config, quick, {name: value for name, value in options.items() if value is not None})
    seconds = None if budget is None else 60.0 * budget
    with launched() as ranks:
        begin = partial(SelfImprovement, recipe, out, workers=workers, budget=seconds, ranks=ranks)
        if not ranks.leads:  # of several processes the first one speaks
            begin().run()
            return
        run, summaries = _watched(begin, recipe, out, screen, _page(screen, recipe, out, port) if page else None)
    if json:
        console.print_json({"out": str(out), "generations": summaries})
        return
    screen.print(console.table(_COLUMNS, [_row(summary) for summary in summaries]))
    if summaries and summaries[-1]["stop"]:
        screen.print(f"Stopped: {summaries[-1]['stop']}", markup=False)
    screen.print(f"Player: {run.player(len(summaries) + 1)}", markup=False)
    screen.print(f"Report: {out / 'report.html'}", markup=False)


def _watched(
    begin: Callable[..., SelfImprovement], recipe: ImproveRecipe, out: Path, screen: Console, shown: RunPage | None
) -> tuple[SelfImprovement, list[dict[str, Any]]]:
    """Play a run with bars and its report, and on a page; the run and the summaries of its generations."""
    from training.improve.report import write_report

    summaries: list[dict[str, Any]] = []
    with console.progress(screen) as bars:
        tasks: dict[str, Any] = {}

        def on_progress(progress: Progress) -> None:
            if shown is not None:
                shown.progress(progress)
            if progress.stage not in tasks:
                for done in tasks.values():
                    bars.update(done, visible=False)
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total, note="")
            note = ", ".join(f"{name} {value:.3g}" for name, value in list(progress.figures.items())[:3])
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total, note=note)

        def on_generation(summary: dict[str, Any]) -> None:
            summaries.append(summary)
            write_report(out, recipe.model_dump(mode="json"), summaries)
            if shown is not None:
                shown.generations(summaries, [_COLUMNS, *map(_row, summaries)])
            bars.print(_line(summary), markup=False)

        def ask(question: Question, number: int, of: int) -> bool | None:
            if shown is not None:
                return shown(question, number, of)
            bars.stop()
            try:
                return _ask(screen, question, number, of)
            finally:
                bars.start()

        run = begin(on_progress=on_progress, on_generation=on_generation, ask=ask)
        run.run()
    return run, summaries


def _page(screen: Console, recipe: ImproveRecipe, out: Path, port: int) -> RunPage:
    """The page of the run. Raises UserError."""
    from envs import extras

    if not extras.installed("page"):
        raise UserError(f"--page: {extras.command('page')}")
    from training.improve.run_page import RunPage

    shown = RunPage(out, recipe.suite or recipe.env, port)
    screen.print(f"Live: {shown.address}", markup=False)
    return shown


def _ask(screen: Console, question: Question, number: int, of: int) -> bool | None:
    """Ask in the terminal until the answer is one. Raises EOFError where no more answers come."""
    screen.print(f"{number} of {of}: {question.instruction}\n{question.picture}", markup=False)
    while True:
        screen.print("Was it done? y(es), n(o), Enter to skip, Ctrl+D to ask no more: ", end="", markup=False)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        answer = line.strip().lower()
        if answer in _ANSWERS:
            return _ANSWERS[answer]


def _recipe(config: Path | None, quick: bool, options: dict[str, Any]) -> ImproveRecipe:
    import pydantic

    from tasks import world_tasks
    from training.improve.recipe import QUICK, ImproveRecipe, recipe_for

    try:
        base = ImproveRecipe.load(config).model_dump(exclude_unset=True) if config else {}
        told = {**base, **options}
        suite = told.get("suite", "")
        env = told.get("env") or (world_tasks.suite(suite).world if suite else "doom")
        own = {} if env == "doom" else recipe_for(env, suite)
        own = {name: value for name, value in own.items() if name not in base}
        return ImproveRecipe.model_validate({**base, **(QUICK if quick else {}), **own, **options})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def _line(summary: dict[str, Any]) -> str:
    cells = ", ".join(f"{name} {cell}" for name, cell in zip(_COLUMNS[1:], _row(summary)[1:], strict=True))
    return f"generation {summary['generation']}: {cells}"


def _row(summary: dict[str, Any]) -> list[str]:
    def rate(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    def share(suites: dict[str, Any]) -> str:
        n = sum(row["n"] for row in suites.values())
        sides = (
            None if not n or any(row[side] is None for row in suites.values())
            else sum((row[side]["success"] or 0.0) * row["n"] for row in suites.values()) / n
            for side in ("parent", "candidate")
        )  # fmt: skip
        return " to ".join(rate(side) for side in sides)

    return [
        str(summary["generation"]), str(summary["tasks"]), str(summary["tried"]), rate(summary["judged"]["rate"]),
        rate(summary["true"]["rate"]), "-" if summary["gap"] is None else f"{summary['gap']:+.1f}",
        share(summary["held_out"]), share(summary["old"]), "yes" if summary["promoted"] else "no",
        f"{summary['minutes']:.1f}",
    ]  # fmt: skip
