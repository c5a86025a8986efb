"""`agent import`: data of others as recorded episodes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import console

app = console.verb("Data of others as recorded episodes.", group=True)

_SHOWN = 5  # skipped episodes that are named one by one


@app.command()
def lerobot(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The folder of a LeRobotDataset v3.")],
    out: Annotated[Path, typer.Option(help="The folder of the episodes; those that are in it are kept.")],
    json: console.Json = False,
) -> None:
    """Read a LeRobotDataset v3 of keyboard and mouse back into episodes. LeRobot itself is not needed.

    \b
    What agent export lerobot wrote comes back without loss; frames are as they are in the dataset's video. A dataset
    that LeRobot recorded or edited is read as well if its actions have our names (key.KeyW, button.left, look.yaw). A
    second run goes on where the first stopped. An episode that can't be read is named and skipped.

    \b
    Examples:
      agent import lerobot data/basic-lerobot --out data/again
      agent train bc --data data/again --model NAME --out runs/mine
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.data.lerobot.dataset import open_dataset
        from training.data.lerobot.load import load

        found = open_dataset(dataset)
    with console.progress(screen) as bars:
        bar = bars.add_task("import", total=len(found.episodes), note="")
        done = load(found, out, on_episode=lambda: bars.update(bar, advance=1))
    if json:
        console.print_json({**asdict(done), "out": str(done.out)})
    else:
        kept = "as they were" if done.lossless else "as H.264 left them"
        screen.print(
            f"{done.episodes:,} episodes, {done.ticks:,} ticks, frames {kept}: {done.out}"
            + (f" ({done.there:,} were there)" if done.there else ""),
            markup=False,
        )
        for what, count in done.lost.items():
            screen.print(f"note: {count:,} episodes lack {what}", style="yellow", markup=False)
        for number, why in list(done.skipped.items())[:_SHOWN]:
            screen.print(f"skipped: episode {number}: {why}", style="yellow", markup=False)
        if len(done.skipped) > _SHOWN:
            screen.print(f"skipped: {len(done.skipped) - _SHOWN} more", style="yellow", markup=False)
    if done.skipped and not done.episodes and not done.there:
        raise typer.Exit(1)
