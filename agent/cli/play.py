"""`agent play`: one command from an instruction to an agent at play, with a video and a report of it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import console
from agent.cli.options import (
    Clock,
    Env,
    PageOn,
    PlannerEvery,
    PlannerLong,
    PlannerName,
    PlannerView,
    PolicyName,
    Port,
    RealDesktop,
    Resolution,
    Think,
    TimeLimit,
    TokenFile,
    ViewText,
    VoiceName,
)
from envs import extras
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from agent.episode import Outcome, Subscriber
    from agent.page.server import Page
    from agent.talk.transcript import Line

app = console.verb()

TOUR = (
    "go to the green torch",
    "pick up the red key",
    "shoot the cacodemon",
    "face the blue column",
    "look up",
)
_TOUR_WORLD = "doom"
_OF_THIS_RUN = ("out", "page", "port", "wait", "json")  # options that another run of the same need not have


@app.command()
def play(
    instruction: Annotated[str | None, typer.Argument(help="What to do, in words. Without: a tour of five.")] = None,
    env: Env = _TOUR_WORLD,
    policy: PolicyName = "small",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of level and policy [default: random].")] = None,
    think: Think = "auto",
    image: Annotated[Path | None, typer.Option(help='A picture of what is meant, for "go to this".')] = None,
    time: Clock = None,
    planner: PlannerName = None,
    planner_every: PlannerEvery = 10.0,
    view: ViewText = None,
    planner_view: PlannerView = None,
    long: PlannerLong = False,
    voice: VoiceName = None,
    token_file: TokenFile = None,
    resolution: Resolution = None,
    allow_real_desktop: RealDesktop = False,
    time_limit: TimeLimit = None,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: runs/TIME-INSTRUCTION].")] = None,
    page: PageOn = True,
    port: Port = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Begin when somebody has opened the page.")] = False,
    attempts: Annotated[int, typer.Option(min=1, max=9, help="Try again where it went wrong, so often in all.")] = 1,
    critic: Annotated[
        str | None, typer.Option(help="Who says so, from pixels: agent list rewards. [default: judge]")
    ] = None,
    json: console.Json = False,
) -> None:
    """Play a world by instruction. Writes a run folder: configuration, episode, video and report.

    \b
    Examples:
      agent play
      agent play --env doom "pick up the red key"
      agent play "go to the blue torch" --policy expert --seed 7
      agent play "shoot the imp" --time realtime --json
      agent play "go to this" --image torch.png
      agent play "go to the torch" --wait
      agent play "pick up the red key" --attempts 2
      agent play "take the keys, the red one first" --planner openai:MODEL@URL
      agent play "take the key, then open the red door" --planner small --long --planner-every 3
      agent play "pick up the red key" --policy remote:HOST:PORT
      agent play "open the door" --policy openai:MODEL@URL --view size=640x480,frames=2,apart=1000
    """
    given = dict(locals())
    if instruction is not None and not instruction.strip():
        raise UserError('the instruction is empty; for example: agent play "pick up the red key"')
    if instruction is None and env != _TOUR_WORLD:
        raise UserError(f'world {env!r} has no tour; give an instruction: agent play --env {env} "..."')
    if wait and not page:
        raise UserError("--wait waits for the page, which --no-page leaves out")
    if critic is not None and attempts == 1:
        raise UserError("--critic says whether to try again: give --attempts 2 or more")
    screen = console.console(machine=json)
    if page and not wait and not extras.installed("page"):
        screen.print(f"No live page here: {extras.command('page')}", markup=False)
        page = False
    with screen.status("starting"):
        from agent.capabilities import reads_labels, spec_of
        from agent.cli import compose
        from agent.cli.attempts import Attempts, critic_of
        from agent.cli.live import LiveLine
        from agent.cli.session import Session
        from agent.long.harness import LongPlanner
        from agent.talk.understanding import Understanding
        from envs.snapshots import Rewindable, Snapshots
        from envs.wrappers import Standing

        brain = compose.load_policy(policy, think, view, token_file)
        make_world = compose.world_factory(
            env,
            view=spec_of(brain).view,
            resolution=resolution,
            labels=reads_labels(brain) or None,
            allow_real_desktop=allow_real_desktop or None,
        )
        thinker = compose.planner(planner, brain, planner_view, long=long)
        lent = compose.lent_voice(voice)
        first = secrets.randbelow(2**31) if seed is None else seed
        reader = compose.reader(brain, policy, env) if thinker is None and image is None else None
        said = [instruction.strip()] if instruction else TOUR
        wanted = [Understanding(lambda noun: noun, reader).followed(text) for text in said]
        tasks = [compose.instructed(text, env, first + index) for index, text in enumerate(wanted)]
        if image is not None:
            tasks = [compose.pictured(task, image) for task in tasks]
        judged_by = critic_of(critic or "judge") if attempts > 1 else None
        made = make_world()
        clock = compose.clock_of(made, time.value if time else None)
        world = compose.keep_clock(made, clock)
        standing = Standing(world) if attempts > 1 and not world.deterministic else None
        world = standing or world
        if isinstance(thinker, LongPlanner) and standing is None and isinstance(world, Snapshots):
            world = rewindable = Rewindable(world)
            thinker.offer(rewindable)
    served: Page | None = None
    watchers: list[Subscriber] = []
    try:
        tasks = [compose.limited(task, time_limit, world) for task in tasks]
        players = [compose.make_player(brain, task, world, clock) for task in tasks]
        folder = compose.run_folder(out, instruction or "tour")
        options = {
            "env": env,
            "policy": policy,
            "planner": planner,
            "long": long,
            "view": view,
            "planner_view": planner_view,
            "voice": voice,
            "think": think,
            "seed": first,
            "time": clock,
            "resolution": resolution,
        }
        seen = compose.views(brain, thinker, world)
        about = {"options": options, "views": seen, **compose.provenance()}
        session = Session(folder, world, policy=policy, config=about)
        for who, told in seen.items():
            screen.print(f"The {who} sees {told}", style="dim", markup=False)
        talk = compose.conversation(brain, thinker, planner_every, voice=lent, reader=reader)
        if thinker is not None:
            talk.listeners.append(lambda line: _overheard(screen, line))
        if isinstance(thinker, LongPlanner):  # it draws its map of what is played
            watchers.append(thinker)
        if page:
            served = compose.serve(talk, folder, port, env, world)
            screen.print(f"Page:   {served.address}", markup=False)
            watchers.append(served.hub)
            if wait:
                served.wait_for_viewer()
        interrupted = False
        tries = Attempts(session, screen, _tell, most=attempts, critic=judged_by, standing=standing)
        for task, player in zip(tasks, players, strict=True):
            screen.print(f"\n{task.instruction}", style="bold", markup=False)
            outcome = tries.play(task, player, LiveLine(screen), *watchers, talk=talk)
            interrupted = interrupted or outcome.interrupted
            if interrupted or talk.over:
                break
    finally:
        if served is not None:
            served.close()
        if thinker is not None:
            thinker.close()
        if lent is not None:
            lent.close()
        world.close()
    with screen.status("writing the video and the report"):
        report, video = session.finish(instruction or "A tour of five instructions")
    if json:
        paths = {
            "folder": str(folder),
            "report": str(report) if report else None,
            "video": str(video) if video else None,
        }
        console.print_json({**paths, "lost": session.lost, "episodes": session.episodes})
    else:
        screen.print(f"\nVideo:  {video or 'none'}", markup=False)
        screen.print(f"Report: {report or 'none'}", markup=False)
        again = console.command_line("play", play, {**given, "seed": first}, without=_OF_THIS_RUN)
        screen.print(f"Again:  {again}", markup=False)
    console.tell_lost(screen, session.lost)
    if interrupted:
        raise typer.Exit(130)
    if session.lost:
        raise typer.Exit(1)


def _overheard(screen: Console, line: Line) -> None:
    """Print the planner's lines and the notes of the conversation."""
    if line.who in ("note", "planner"):
        screen.print(f"{line.who}: {line.text}", style="dim" if line.who == "note" else None, markup=False)


def _tell(screen: Console, outcome: Outcome) -> None:
    """Print how the episode went, and at what pace."""
    word, style = {True: ("done", "green"), False: ("failed", "red"), None: ("not judged", "yellow")}[outcome.success]
    if not outcome.ticks and outcome.success is None:
        word = "not played"
    screen.print(f"{word}: {outcome.why}" if outcome.why else word, style=style, markup=False)
    starved = 100.0 * outcome.starved / max(1, outcome.ticks)
    screen.print(
        f"{outcome.clock}: {outcome.ticks} ticks in {outcome.seconds:.1f} s, "
        f"{outcome.decisions_per_second:.1f} decisions/s, {outcome.starved} starved ticks ({starved:.2f} %), "
        + (f"{outcome.late} late ticks, " if outcome.clock == "realtime" else "")
        + f"chunk age mean {outcome.chunk_age_mean:.1f} p99 {outcome.chunk_age_p99:.1f} ticks, "
        f"latency p50 {outcome.latency_p50_ms:.1f} p99 {outcome.latency_p99_ms:.1f} ms",
        style="dim",
        markup=False,
    )
    if outcome.pictures:
        screen.print(
            f"a request: {outcome.pictures:.1f} pictures"
            + (f", {outcome.sent_bytes / 1000:,.0f} kB" if outcome.sent_bytes else "")
            + (f", {outcome.read_tokens:,.0f} tokens read" if outcome.read_tokens else ""),
            style="dim",
            markup=False,
        )
    for warning in outcome.warnings:
        screen.print(f"warning: {warning}", style="yellow", markup=False)
    for problem in outcome.problems:
        screen.print(f"problem: {problem}", style="red", markup=False)
