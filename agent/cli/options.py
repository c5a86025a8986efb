"""Options that several verbs share, declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ClockName(StrEnum):
    """Whether the world waits for the player, or moves on with the wall clock."""

    lockstep = "lockstep"
    realtime = "realtime"


Env = Annotated[str, typer.Option(help="A world's name (agent list worlds), or package.module:Name.")]
TasksEnv = Annotated[
    str | None,
    typer.Option(help="A world's name (agent list worlds), or package.module:Name. [default: that of the tasks]"),
]
PolicyName = Annotated[
    str, typer.Option(help="A policy's name (agent list policies), package.module:Name, or a checkpoint folder.")
]
Clock = Annotated[
    ClockName | None,
    typer.Option(
        help="lockstep: the world waits for the player; realtime: it does not. [default: lockstep where it can wait]"
    ),
]
Resolution = Annotated[
    str | None, typer.Option(help="WIDTHxHEIGHT of the world's frames, such as 640x480 [default: the world's own].")
]
_VIEW = (
    "as NAME=VALUE,...: size (the most: WIDTHxHEIGHT, or world) or exactly, aspect (letterbox, crop, stretch), frames, "
    "apart (milliseconds, or decisions), earlier (the most of earlier pictures), tokens and bytes (the most of a "
    "request's pictures; any), encoding (png, jpeg:QUALITY)"
)
ViewText = Annotated[
    str | None,
    typer.Option(
        "--view",
        metavar="VIEW",
        help=f"What a prompted model sees, {_VIEW}. [default: size=1280x720,frames=4,apart=500,earlier=320x180,"
        "tokens=8192,encoding=jpeg:90]",
    ),
]
PlannerView = Annotated[
    str | None,
    typer.Option(
        "--planner-view", metavar="VIEW", help="What the planner sees, as --view says it. [default: 3 frames a second]"
    ),
]
TimeLimit = Annotated[
    float | None, typer.Option(min=0.1, help="Seconds of game time for an episode [default: the task's own].")
]
Think = Annotated[str, typer.Option(help="Thoughts before a decision: off, auto, or the most tokens of one.")]
Workers = Annotated[
    str,
    typer.Option(
        metavar="N|NAME:ARGUMENT",
        help="Processes, a core each where there are enough; ray:HEAD:PORT, a Ray cluster; or any of ludens.workers.",
    ),
]
RealDesktop = Annotated[
    bool,
    typer.Option("--allow-real-desktop", help="A desktop world may press keys on this display, not on one of its own."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file with the token of remote:HOST:PORT [default: the environment's LUDENS_TOKEN]."),
]
PageOn = Annotated[bool, typer.Option("--page/--no-page", help="Serve the live page on this machine.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port of the live page; 0 takes a free one.")]
PlannerName = Annotated[
    str | None,
    typer.Option("--planner", help="A slow model that instructs the player step by step: smol, openai:MODEL@URL, ..."),
]
PlannerLong = Annotated[
    bool,
    typer.Option(
        "--long", help="The planner keeps at it: map, summary, critic, and goals that expire (docs/errands.md)."
    ),
]
PlannerEvery = Annotated[float, typer.Option(min=0.5, help="Seconds of play after which the planner looks again.")]
VoiceName = Annotated[
    str | None,
    typer.Option(
        "--voice",
        help="A chat model that answers you and understands you, in any language, for a policy that only plays: "
        "openai:MODEL@URL, ... [default: the policy's own model, where it is one that chats]",
    ),
]
