"""`agent replay`: an episode step by step, as a video again, or played again and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from agent.cli.options import Resolution
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.episodes import Episode

app = console.verb()


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(metavar="EPISODE_OR_RUN", help="The folder of an episode or of a run.")],
    verify: Annotated[bool, typer.Option("--verify", help="Play the actions again; compare every frame.")] = False,
    video: Annotated[Path | None, typer.Option(help="Write a video with instruction, keys and mouse drawn in.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=100.0, help="Of the video: so many times as fast.")] = 1.0,
    resolution: Resolution = None,
    env: Annotated[
        str | None,
        typer.Option(help="The world to play it again in, if it is not one of agent list worlds [default: its own]."),
    ] = None,
    json: console.Json = False,
) -> None:
    """Show what happened in an episode: a table of its steps, one row for each thing done.

    With --resolution the video is drawn anew: the actions are played again in a world of that size. An episode may
    come from anybody, so --verify and --resolution play it in a registered world or in the one that --env names. Exit
    status 1 if --verify finds a difference.

    \b
    Examples:
      agent replay runs/20261122-170712-pick-up-the-red-key
      agent replay data/basic/doom-basic-0-000007 --verify
      agent replay data/mine/pong-0 --verify --env gymnasium:ALE/Pong-v5
      agent replay runs/20261122-170712-tour --video tour.mp4 --resolution 640x480
      agent replay runs/20261122-170712-tour --video tour.webp --speed 4
    """
    screen = console.console(machine=json)
    from training.data.episodes import EpisodeError

    try:
        results = _replay(screen, _episodes(path), verify, video, speed, resolution, env, json)
    except EpisodeError as error:
        raise UserError(f"{error}; nothing can be made of it: take another episode, or record it again") from error
    if json:
        console.print_json(results)
    if any(not result.get("verify", {"same": True})["same"] for result in results):
        raise typer.Exit(1)


def _replay(
    screen: Console,
    episodes: list[Episode],
    verify: bool,
    video: Path | None,
    speed: float,
    resolution: str | None,
    env: str | None,
    json: bool,
) -> list[dict[str, Any]]:
    """Show the episodes, and what was asked for of them; a result for each. Raises EpisodeError."""
    results: list[dict[str, Any]] = []
    for episode in episodes:
        result: dict[str, Any] = {
            "episode": str(episode.path),
            "instruction": episode.instruction,
            "ticks": episode.meta["ticks"],
            "success": episode.success,
        }
        if not json:
            _tell(screen, episode)
        if verify:
            with screen.status("playing it again"):
                result["verify"] = _verify(episode, env)
            if not json:
                _tell_verify(screen, result["verify"])
        results.append(result)
    if video is not None:
        from agent.cli.film import film

        with screen.status(f"writing {video}"):
            drawn = film(video, episodes, resolution=resolution, env=env, speed=speed)
        screen.print(f"\nVideo: {video}", markup=False)
        if resolution is not None and drawn is None:
            screen.print("It shows the recorded frames: the world can't be played again here (--env names it)")
    return results


def _episodes(path: Path) -> list[Episode]:
    from training.data.episodes import find_episodes, read_episode

    if not path.exists():
        raise UserError(f"{path}: there is no such folder")
    found = find_episodes(path)
    if not found:
        raise UserError(f"{path}: no episode is in there")
    return [read_episode(folder) for folder in found]


def _tell(screen: Console, episode: Episode) -> None:
    """What was done, a row for each stretch of ticks with the same hands."""
    from agent.cli.film import steps
    from agent.show.report import held

    outcome = episode.outcome
    word = {True: "done", False: "failed", None: "not judged"}[episode.success]
    screen.print(f"\n{episode.instruction}", style="bold", markup=False)
    screen.print(f"{word}: {outcome.get('why', '')}   {episode.path}", markup=False)
    rows: list[tuple[int, int, str, str, str]] = []
    for step in steps(episode):
        hands = ", ".join(held(step.action)) or "nothing"
        hands = f"{hands} (starved)" if step.starved else hands
        words = (
            "; ".join(part for part in (step.decision.thought, step.decision.speech) if part) if step.decision else ""
        )
        if rows and rows[-1][2:] == (hands, step.actor, words):
            rows[-1] = (rows[-1][0], step.tick, *rows[-1][2:])
        else:
            rows.append((step.tick, step.tick, hands, step.actor, words))
    cells = [(f"{a}" if a == b else f"{a}-{b}", hands, actor, words) for a, b, hands, actor, words in rows]
    screen.print(console.table(("ticks", "hands", "actor", "said and thought"), cells))


def _verify(episode: Episode, env: str | None) -> dict[str, Any]:
    """Compare every recorded frame with the one that the same actions lead to now."""
    import numpy as np

    from agent.cli.film import again, open_world
    from agent.view import OTHER_VIEW

    world = open_world(episode, env=env)
    try:
        recorded = episode.frames()
        at = {row["tick"]: row["frame"] for row in episode.steps.to_pylist() if row["frame"] >= 0}
        if len(at) < len(recorded):
            at[episode.meta["ticks"]] = len(recorded) - 1  # the final view
        compared, first, worst = 0, None, 0.0
        for tick, frame in enumerate(again(episode, world)):
            if tick not in at:
                continue
            then = recorded[at[tick]]
            alike = frame.shape == then.shape  # a window may have been resized
            difference = float(np.abs(frame.astype(np.int16) - then).mean()) if alike else 255.0
            same = difference == 0 if episode.meta["quality"] == "lossless" else difference < OTHER_VIEW
            first = tick if first is None and not same else first
            compared, worst = compared + 1, max(worst, difference)
    finally:
        world.close()
    return {
        "same": first is None and compared == len(at),
        "compared": compared,
        "frames": len(recorded),
        "first_difference": first,
        "worst_mean_difference": worst,
        "quality": episode.meta["quality"],
    }


def _tell_verify(screen: Console, found: dict[str, Any]) -> None:
    about = f"{found['compared']} of {found['frames']} frames compared"
    if not found["same"]:
        where = (
            f"first at tick {found['first_difference']}" if found["first_difference"] is not None else "it ends early"
        )
        screen.print(f"not the same: {where}; {about}", style="red")
    elif found["quality"] == "lossless":
        screen.print(f"the same, bit for bit: {about}", style="green")
    else:
        worst = found["worst_mean_difference"]
        screen.print(f"the same up to compression (mean difference at most {worst:.1f} of 255): {about}", style="green")
