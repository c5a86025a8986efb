"""`agent chat`: a conversation with the agent while it plays, in the terminal and on the live page."""

from __future__ import annotations

import secrets
import sys
import threading
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import console
from agent.cli.options import (
    Clock,
    Env,
    PageOn,
    PlannerEvery,
    PlannerName,
    PlannerView,
    PolicyName,
    Port,
    Resolution,
    Think,
    TokenFile,
    ViewText,
    VoiceName,
)
from envs import extras
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from agent.talk.conversation import Conversation
    from agent.talk.transcript import Line

app = console.verb()

_HISTORY = 1000  # messages that are kept from run to run
_HELP = "Say what to do, ask, correct (no, the other one), stop, pause, continue. /step  /quit  Ctrl+D ends."
_FOREVER = 10**8  # ticks


@app.command()
def chat(
    instruction: Annotated[str | None, typer.Argument(help="What to do first, in words.")] = None,
    env: Env = "doom",
    policy: PolicyName = "small",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of level and policy [default: random].")] = None,
    think: Think = "auto",
    time: Clock = None,
    resolution: Resolution = None,
    planner: PlannerName = None,
    planner_every: PlannerEvery = 10.0,
    view: ViewText = None,
    planner_view: PlannerView = None,
    voice: VoiceName = None,
    token_file: TokenFile = None,
    trust: Annotated[list[str] | None, typer.Option(help="A player in the game who may give instructions.")] = None,
    memory: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder of earlier runs: the agent knows what it saw there, see agent ask."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: runs/TIME-chat].")] = None,
    page: PageOn = True,
    port: Port = 0,
    json: Annotated[bool, typer.Option("--json", help="Print every line as a JSON object.")] = False,
) -> None:
    """Talk with the agent while it plays: it follows, answers, asks, and waits when there is nothing to do.

    \b
    Examples:
      agent chat
      agent chat "go to the torch" --seed 7
      agent chat --no-page --time realtime
      agent chat --planner openai:MODEL@URL
      agent chat --policy openai:MODEL@URL "geh zur Fackel"
      agent chat --policy openai:MODEL@URL --view size=640x480,frames=2,apart=1000
      agent chat --voice gemini:MODEL
      agent chat --memory runs
      echo "what do you see?" | agent chat --no-page --json
    """
    if page:
        extras.require("agent chat", "page")  # before the model is loaded, which takes seconds
    screen = console.console(machine=json)
    with screen.status("starting"):
        from agent.capabilities import Scripted, spec_of
        from agent.cli import compose
        from agent.cli.live import Invitation
        from agent.cli.session import Session

        brain = compose.load_policy(policy, think, view, token_file)
        if isinstance(brain, Scripted):
            raise UserError(f"policy {policy!r} follows a script and does not listen; talk with --policy small")
        make_world = compose.world_factory(env, resolution=resolution, view=spec_of(brain).view)
        thinker = compose.planner(planner, brain, planner_view)
        lent = compose.lent_voice(voice)
    remember = None
    if memory is not None:
        from agent.cli.ask import remembering

        remember = remembering(screen, memory, policy, brain)
    with screen.status("starting"):
        first = secrets.randbelow(2**31) if seed is None else seed
        made = make_world()
        pace = compose.clock_of(made, time.value if time else None)
        world = compose.keep_clock(made, pace)
    served = None
    try:
        folder = compose.run_folder(out, "chat")
        options = {
            "env": env,
            "policy": policy,
            "planner": planner,
            "view": view,
            "planner_view": planner_view,
            "voice": voice,
            "memory": None if memory is None else str(memory),
            "think": think,
            "seed": first,
            "time": pace,
        }
        seen = compose.views(brain, thinker, world)
        about = {"options": options, "views": seen, **compose.provenance()}
        session = Session(folder, world, policy=policy, config=about)
        for who, told in seen.items():
            screen.print(f"The {who} sees {told}", style="dim", markup=False)
        reader = compose.reader(brain, policy, env) if thinker is None else None
        talk = compose.conversation(
            brain,
            thinker,
            planner_every,
            voice=lent,
            remember=remember,
            keep=True,
            trusted=trust or (),
            reader=reader,
        )
        talk.attended += 1
        served = compose.serve(talk, folder, port, env, world) if page else None
        if served is not None:
            screen.print(f"Page: {served.address}", markup=False)
        invitation = Invitation(screen, made)
        terminal = _Terminal(talk, screen, json)
        interrupted, number = False, 0
        with terminal.open():
            while not (interrupted or talk.over):
                words = (instruction or "").strip() if number == 0 else ""
                task = compose.instructed(words, env, first + number)
                # Without a verifier: the episode ends when the user says so.
                task = replace(task, instruction=words, verifier=None, time_limit=_FOREVER)
                player = compose.make_player(brain, task, world, pace)
                watchers = (*([served.hub] if served else ()), invitation)
                outcome = session.play(task, player, *watchers, talk=talk)
                player.close()
                interrupted, number = outcome.interrupted, number + 1
    finally:
        if served is not None:
            served.close()
        if thinker is not None:
            thinker.close()
        if lent is not None:
            lent.close()
        world.close()
    with screen.status("writing the report"):
        report, _ = session.finish("A conversation", filmed=False)
    if json:
        made_of = {"folder": str(folder), "report": str(report) if report else None, "lost": session.lost}
        console.echo(console.json_line({**made_of, "episodes": session.episodes}))
    else:
        screen.print(f"Report: {report or 'none'}", markup=False)
    console.tell_lost(screen, session.lost)
    if interrupted:
        raise typer.Exit(130)
    if session.lost:
        raise typer.Exit(1)


class _Terminal:
    """Prints the dialogue and reads the user's messages, in a thread of its own; the game does not wait for either."""

    def __init__(self, talk: Conversation, screen: Console, machine: bool) -> None:
        self._talk = talk
        self._screen = screen
        self._machine = machine
        self._person = sys.stdin.isatty() and not machine
        self._shown: dict[int, int] = {}  # characters of a line that are printed
        self._open: int | None = None  # the line on the screen that is not whole yet

    @contextmanager
    def open(self) -> Iterator[None]:
        self._talk.listeners.append(self._print)
        if self._person:
            self._screen.print(_HELP, style="dim", markup=False)
        threading.Thread(target=self._read, name="terminal", daemon=True).start()
        with _history(self._person):
            yield
        self._talk.listeners.remove(self._print)

    def _read(self) -> None:
        talk = self._talk
        talk.started.wait()
        while True:
            try:
                text = input("> " if self._person else "").strip()
            except EOFError:
                break
            if text == "/quit":
                break
            try:
                if text == "/step":
                    talk.step()
                elif text.startswith("/"):
                    self._screen.print(_HELP, style="dim", markup=False)
                elif text:
                    talk.user(text)
            except ValueError as error:
                self._screen.print(str(error), style="red", markup=False)
        while not self._person and talk.busy:  # a script that pipes messages in wants to see what comes of them
            clock.sleep(0.05)
        talk.quit()

    def _print(self, line: Line) -> None:
        if self._machine:
            value = {"who": line.who, "text": line.text, "tick": line.tick, "number": line.number, "whole": line.whole}
            console.echo(console.json_line(value))
            return
        if line.who == "user" and self._person:
            return  # the user's own typing is on the screen already
        said = self._shown.get(line.number, 0)
        self._shown[line.number] = len(line.text)
        piece = line.text[said:] if said else f"{line.who}: {line.text}"
        screen = console.raw_stdout()  # what is written is our own, or clean
        if self._open not in (None, line.number):
            screen.write("\n")
        goes_on = self._open == line.number
        start = "" if goes_on else "\r\x1b[K" if self._person else ""
        screen.write(start + console.clean(piece).replace("\n", " "))
        self._open = None if line.whole else line.number
        if line.whole:
            screen.write("\n")
            if self._person:
                import readline

                screen.write("> " + readline.get_line_buffer())
        screen.flush()


@contextmanager
def _history(person: bool) -> Iterator[None]:
    """Earlier messages under the arrow keys, if a person types."""
    if not person:
        yield
        return
    import readline

    from platformdirs import user_state_path

    path = user_state_path("ludens") / "chat"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(path)
