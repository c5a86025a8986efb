"""`agent export`: recorded episodes in the formats of others."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import console

app = console.verb("Recorded episodes in the formats of others.", group=True)

_SHOWN = 5  # skipped episodes that are named one by one


class Frames(StrEnum):
    """h264: H.264 that any player shows. lossless: RGB in H.264, three to six times as large."""

    h264 = "h264"
    lossless = "lossless"


@app.command()
def lerobot(
    episodes: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of recorded episodes.")],
    out: Annotated[Path, typer.Option(help="The folder of the dataset; it must not exist.")],
    frames: Annotated[Frames, typer.Option(help="How frames are kept.")] = Frames.h264,
    successes: Annotated[bool, typer.Option("--successes", help="Only episodes that are known to succeed.")] = False,
    language: Annotated[
        bool,
        typer.Option("--language/--no-language", help="The language columns, which lerobot before 0.6 can't load."),
    ] = True,
    json: console.Json = False,
) -> None:
    """Write episodes as a LeRobotDataset v3. LeRobot itself is not needed.

    \b
    A row for each tick: the frame, the keys and the mouse as numbers with names, reward, done, success, the scores that
    agent rewards score --write left, the instruction as its task, and what was said, planned and remembered. All
    episodes have one frame size and one tick rate. An episode that is damaged or empty is named and skipped.
    docs/ecosystem.md describes every column.

    \b
    Examples:
      agent record --suite doom-basic --episodes 100 --out data/basic
      agent export lerobot data/basic --out data/basic-lerobot
      agent export lerobot data/basic data/room --successes --frames lossless --out data/lerobot
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.data.lerobot.export import export, sources

        found = sources(episodes)
    with console.progress(screen) as bars:
        bar = bars.add_task("export", total=len(found), note="")
        done = export(
            found,
            out,
            coding=frames.value,
            language=language,
            successes=successes,
            on_episode=lambda: bars.update(bar, advance=1),
        )
    if json:
        console.print_json({**asdict(done), "out": str(done.out)})
        return
    screen.print(
        f"{done.episodes:,} episodes, {done.frames:,} frames, {done.tasks:,} tasks, {done.fps} fps, "
        f"{done.bytes / 2**20:.1f} MiB: {done.out}",
        markup=False,
    )
    for note in done.notes:
        screen.print(f"note: {note}", style="yellow", markup=False)
    for path, why in list(done.skipped.items())[:_SHOWN]:
        screen.print(f"skipped: {path}: {why}" if path not in why else f"skipped: {why}", style="yellow", markup=False)
    if len(done.skipped) > _SHOWN:
        screen.print(f"skipped: {len(done.skipped) - _SHOWN} more", style="yellow", markup=False)
