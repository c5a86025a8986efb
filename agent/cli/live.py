"""`LiveLine`: one line in the terminal that shows what the agent does right now."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from agent.episode import Frame, Outcome, Start, Step, Subscriber
from agent.show.report import held
from envs.world import World

_REFRESH = 0.1  # seconds


class LiveLine(Subscriber):
    """Shows tick, action, thought and speech on one line of a terminal; without a terminal, prints only the speech."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._next = 0.0
        self._index = -1
        self._hz = 1.0

    def on_start(self, start: Start) -> None:
        self._hz = start.tick_hz
        if self._console.is_terminal:
            self._live.start()

    def on_step(self, step: Step) -> None:
        decision = step.decision
        if decision is not None and step.index != self._index:
            self._index = step.index
            if decision.speech:
                self._console.print(
                    Text.assemble((f"{step.tick / self._hz:6.1f} s  ", "dim"), f"says: {decision.speech}")
                )
        now = time.monotonic()
        if self._console.is_terminal and now >= self._next:
            self._next = now + _REFRESH
            line = Text(no_wrap=True, overflow="ellipsis")
            line.append(f"{step.tick / self._hz:6.1f} s  tick {step.tick:4d}  ", "dim")
            line.append(("starved" if step.starved else ", ".join(held(step.action)) or "still").ljust(24))
            if decision is not None and decision.thought:
                line.append(f"  {decision.thought}", "italic")
            self._live.update(line, refresh=True)

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        if self._console.is_terminal:
            self._live.stop()


class Invitation(Subscriber):
    """Says how a person joins the game, where the world has a command for it, once the game is there."""

    def __init__(self, console: Console, world: World) -> None:
        self._console, self._world = console, world
        self._said = ""

    def on_start(self, start: Start) -> None:
        words = str(getattr(self._world, "invitation", ""))
        if words and words != self._said:
            self._said = words
            self._console.print(f"Join:   {words}", markup=False)
