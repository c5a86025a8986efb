"""Recorded episodes for people: their steps, their actions played again, and videos with the actions drawn in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.cli.compose import world_factory
from agent.episode import Frame, Step
from agent.policy import Decision
from agent.show.overlay import draw, write_video
from agent.view import FOR_PEOPLE, is_small, same_view
from envs import plugins
from envs.errors import UserError
from envs.world import World
from training.data.episodes import DamagedEpisodeError, Episode, EpisodeError

_END_SECONDS = 1.2  # the outcome stays in view
_ANIMATION_HZ = 12.0  # GIF and WebP are for pages: fewer pictures


def steps(episode: Episode) -> Iterator[Step]:
    """The steps of an episode as the loop told them, without frames and memories. A decision's thought and speech stand
    at its first tick."""
    for row, action in zip(episode.steps.to_pylist(), episode.actions(), strict=True):
        yield Step(
            tick=row["tick"],
            frame=None,
            action=action,
            reward=row["reward"],
            instruction=row["instruction"],
            actor=row["actor"],
            starved=row["starved"],
            decision=None if row["starved"] else Decision((action,), row["thought"], row["speech"]),
            index=row["decision"],
            asked=row["asked"],
            info={},
            time=row["time"],
        )


def open_world(episode: Episode, resolution: str | None = None, *, env: str | None = None) -> World:
    """The world that an episode was played in, with frames of its size or of `resolution`.

    `env`: the world to make, as the person names it. Without it the episode's own metadata names the world, and may
    name only a registered one: an episode may come from anybody, so it must not choose code or programs.

    Raises UserError if it can't be played again.
    """
    if env is None and episode.task is None:
        raise UserError(f"{episode.path}: it does not say in which world it was played; name it with --env")
    name = env if env is not None or episode.task is None else str(episode.task["world"])
    assert name is not None
    trusted = env is not None
    height, width = episode.meta["frame_size"]
    try:
        world = world_factory(name, references=trusted, resolution=resolution)()
    except plugins.ForeignNameError as error:
        raise UserError(
            f"{episode.path}: it was played in {name!r}, which is not a registered world. An episode may come from "
            f"anybody, so Ludens does not run what it names; if you trust it, name the world yourself: --env {name}"
        ) from error
    if resolution is None and world.observation_space["pixels"].shape[:2] != (height, width):  # type: ignore[index]
        world.close()
        world = world_factory(name, references=trusted, resolution=f"{width}x{height}")()
    if not world.deterministic:
        world.close()
        raise UserError(f"{episode.path}: world {name!r} does not promise the same frames for the same actions")
    return world


def again(episode: Episode, world: World) -> Iterator[Frame]:
    """Play the recorded actions in `world`: the frame before each tick, then the last one."""
    options = episode.meta.get("options")
    if options is None and episode.task is not None:
        options = episode.task.get("options", {})  # the episode leaves out what its task says
    with _playable(episode):
        observation, _ = world.reset(seed=episode.meta.get("seed"), options=options)
    yield observation["pixels"]
    for action in episode.actions():
        with _playable(episode):
            observation, _, terminated, truncated, _ = world.step(action)
        yield observation["pixels"]
        if terminated or truncated:
            return


@contextmanager
def _playable(episode: Episode) -> Iterator[None]:
    """What a world says of options or actions that it does not know is told of the episode: they came from there."""
    try:
        yield
    except Exception as error:
        why = f"its world can't play it again: {type(error).__name__}: {error}"
        raise DamagedEpisodeError(episode.path, why) from error


def for_people(episodes: Sequence[Episode]) -> str | None:
    """The resolution to draw a video at: larger than what was recorded, in the same shape; None where that is large
    enough, or of another shape."""
    return FOR_PEOPLE if all(is_small(episode.meta["frame_size"]) for episode in episodes) else None


def film(
    path: Path,
    episodes: Sequence[Episode],
    *,
    resolution: str | None = FOR_PEOPLE,
    env: str | None = None,
    speed: float = 1.0,
) -> str | None:
    """Write one video of `episodes`: .mp4, .webp or .gif; `speed` times as fast as they were played.

    With `resolution` they are drawn anew, the recorded actions being played again; without it, or where a world can't
    do that, the recorded frames are shown. `env`: as in `open_world`. Returns the resolution that was drawn. Raises
    UserError on a path that can't be written and EpisodeError on a damaged episode.
    """
    used = resolution if resolution is not None and all(_same_world(e, resolution, env) for e in episodes) else None
    hz = episodes[0].tick_hz * speed  # of the video, if it had all ticks
    every = max(1, round(hz / (episodes[0].tick_hz if path.suffix == ".mp4" else _ANIMATION_HZ)))
    try:
        write_video(path, _pictures(episodes, used, every, env, round(_END_SECONDS * hz / every)), hz / every)
    except EpisodeError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: {error}") from error
    return used


def _same_world(episode: Episode, resolution: str, env: str | None) -> bool:
    """Whether the world can be drawn anew and begins as the episode does: a film must not show another level."""
    try:
        world = open_world(episode, resolution, env=env)
    except UserError:
        return False
    try:
        return same_view(next(again(episode, world)), episode.frame(0))
    except IndexError:  # there is no frame, or the world gives none
        return False
    finally:
        world.close()


def _pictures(
    episodes: Sequence[Episode], resolution: str | None, every: int, env: str | None, ending: int
) -> Iterator[Frame]:
    for episode in episodes:
        world = open_world(episode, resolution, env=env) if resolution is not None else None
        try:
            frames = again(episode, world) if world is not None else _recorded(episode)
            yield from _drawn(episode, frames, every, ending)
        finally:
            if world is not None:
                world.close()


def _recorded(episode: Episode) -> Iterator[Frame]:
    """The recorded frame of each tick, then the last one; a tick that was not drawn shows the one before."""
    frames = episode.frames()
    seen = [index for index in episode.steps["frame"].to_pylist() if index >= 0]
    now = 0
    for index in episode.steps["frame"].to_pylist():
        now = index if index >= 0 else now
        yield frames[now]
    yield frames[-1] if len(frames) > len(seen) else frames[now]


def _drawn(episode: Episode, frames: Iterator[Frame], every: int, ending: int) -> Iterator[Frame]:
    hz, words, last = episode.tick_hz, "", None
    for step, frame in zip(steps(episode), frames, strict=False):
        if step.decision is not None and (step.decision.thought or step.decision.speech):
            words = step.decision.speech or step.decision.thought
        if step.tick % every == 0:
            yield draw(frame, step.instruction, step.action, tick=step.tick, tick_hz=hz, thought=words)
        last = step
    final = next(frames, None)
    if final is not None and last is not None:
        ended = draw(
            final, last.instruction, tick=last.tick + 1, tick_hz=hz, success=episode.success,
            why=episode.outcome.get("why") or "",
        )  # fmt: skip
        for _ in range(max(1, ending)):
            yield ended
