"""`agent train`: make a policy from one configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from training.small import Progress

app = console.verb("Train a policy from one configuration file.", group=True)

_RECIPE = Path(__file__).resolve().parents[2] / "training" / "small.yaml"


@app.command()
def small(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/small"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _RECIPE,
    json: console.Json = False,
) -> None:
    """Make `small` from nothing: demonstrations, vision, grounding, cloning, corrections, refining.

    With the recipe that comes with the package it takes the better part of an hour on 2 cores. Ctrl+C or a kill loses
    at most half a minute: the same command goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train small
      agent train small --config my.yaml --out runs/mine
      agent play "pick up the red key" --policy runs/mine/small
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.small import SmallRecipe, train_small

        try:
            recipe = SmallRecipe.load(config)
        except ValueError as error:
            raise UserError(str(error)) from error
    with console.progress(screen) as bars:
        stages: dict[str, TaskID] = {}

        def told(news: Progress) -> None:
            if news.stage not in stages:
                stages[news.stage] = bars.add_task(news.stage, total=news.total, note="")
            note = "  ".join(f"{name} {value:.3g}" for name, value in news.figures.items())
            bars.update(stages[news.stage], completed=news.done, total=news.total, note=note)

        try:
            checkpoint = train_small(recipe, out, told)
        except ValueError as error:
            raise UserError(str(error)) from error
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
    else:
        screen.print(f"Checkpoint: {checkpoint}", markup=False)
        screen.print(f'Play it:    agent play "pick up the red key" --policy {checkpoint}', markup=False)
        screen.print(f"Measure it: agent eval --policy {checkpoint}", markup=False)
