"""`agent export`: recorded episodes in the formats of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import console

if TYPE_CHECKING:
    from rich.console import Console

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
    _tell_skipped(screen, done.skipped)


def _tell_skipped(screen: Console, skipped: Mapping[str, str]) -> None:
    """Which episodes were left out, and why."""
    for path, why in list(skipped.items())[:_SHOWN]:
        screen.print(f"skipped: {path}: {why}" if path not in why else f"skipped: {why}", style="yellow", markup=False)
    if len(skipped) > _SHOWN:
        screen.print(f"skipped: {len(skipped) - _SHOWN} more", style="yellow", markup=False)


@app.command()
def minari(
    episodes: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of recorded episodes.")],
    name: Annotated[str, typer.Option(help="The dataset's name, such as ludens/doom-basic-v0.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder that holds datasets [default: MINARI_DATASETS_PATH, or Minari's own]."),
    ] = None,
    successes: Annotated[bool, typer.Option("--successes", help="Only episodes that are known to succeed.")] = False,
    json: console.Json = False,
) -> None:
    """Write episodes as a dataset of Minari, for offline reinforcement learning with Gymnasium.

    \b
    A step is a decision: the frame it was made on and the instruction, the actions until the next one as numbers, and a
    reward of 1 at the end of a success. Frames are kept without loss. docs/ecosystem.md tells more.

    \b
    Examples:
      agent record --suite doom-basic --episodes 100 --out data/basic
      agent export minari data/basic --name ludens/doom-basic-v0
      python -c "import minari; print(minari.load_dataset('ludens/doom-basic-v0').total_steps)"
    """
    screen = console.console(machine=json)
    with console.progress(screen) as bars:
        from training.data.minari_export import export

        bar = bars.add_task("export", total=None, note="")
        done = export(
            episodes, name, out, successes=successes,
            on_episode=lambda count, of: bars.update(bar, completed=count, total=of),
        )  # fmt: skip
    if json:
        console.print_json({**asdict(done), "folder": str(done.folder)})
        return
    screen.print(f"{done.episodes:,} episodes, {done.steps:,} steps: {done.name} in {done.folder}", markup=False)
    _tell_skipped(screen, done.skipped)
