"""What models that are only prompted are told of a world, and how their turns are read.

A turn is text: an optional thought, the action in the language of agent/codec.py, and optional speech:

    think: the key is to the left
    act: look -16 0 hold KeyW
    say: i see it
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agent.codec import VERSION, ActionTextError, Codec
from agent.plan import STEP, Plan, ticks_of
from agent.policy import Context, PolicySpec
from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.world import World

HISTORY = 4  # frames in a prompt
THOUGHT_TOKENS = 64
_MARKS = ("think:", "act:", "say:")

# A policy that was not told its world takes it for one like Doom.
USUAL = Codec(
    KeyboardMouse(("KeyW", "KeyA", "KeyS", "KeyD", "KeyE"), ("left",), max_look=45.0),
    {"KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right", "KeyE": "use", "left": "attack"},
)


@dataclass(frozen=True)
class Turn:
    """What a model says in one turn."""

    plan: Plan
    thought: str = ""
    speech: str = ""


@dataclass(frozen=True)
class Setting:
    """Where a model plays: the world's language, its tick rate, and whether it goes on while the model thinks."""

    codec: Codec = USUAL
    tick_hz: float = 35.0
    realtime: bool = False

    @classmethod
    def of(cls, world: World) -> Setting:
        return cls(Codec(world.action_space, world.controls), world.tick_hz, world.realtime)

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            history=HISTORY,
            chunk=max(1, ticks_of(STEP, self.tick_hz)),
            tick_hz=self.tick_hz,
            codec=VERSION,
            starved="release",
            whole=True,
        )

    def instructions(self) -> str:
        """What the model is told before all else: what it does, the controls, the form of an answer."""
        clock = " It goes on while you think; what you hold is let go of when your action is over." * self.realtime
        return f"""You see a game and play it with keyboard and mouse.{clock}
{self.codec.describe()}
Answer with these lines and nothing else:
think: what you see and plan, if it helps
act: the action
say: something to the one who instructs you, if there is need
Example: act: {self.codec.example}"""

    def past(self, context: Context, shown: int) -> list[str]:
        """What the model did after each of the last `shown` frames but the newest, as its turns; "" where nothing."""
        count = shown - 1
        chunks = context.actions[-count:] if count > 0 else ()
        thoughts = context.thoughts[-count:] if count > 0 else ()
        turns = [self._past(chunk, thought) for chunk, thought in zip(chunks, _padded(thoughts, chunks), strict=True)]
        return [""] * (count - len(turns)) + turns

    def _past(self, chunk: Sequence[Action], thought: str) -> str:
        if not chunk:
            return ""
        try:
            plan = self.codec.plan_of(chunk, self.tick_hz, taps=True)
            return self.write(Turn(plan, thought))
        except ValueError:  # longer than a plan may be, or what a person held that no plan may
            return self.write(Turn(Plan(), thought))

    def write(self, turn: Turn) -> str:
        """A turn as text."""
        lines = [f"think: {turn.thought}"] * bool(turn.thought) + [f"act: {self.codec.write(turn.plan)}"]
        return "\n".join([*lines, *[f"say: {turn.speech}"] * bool(turn.speech)])

    def read(self, text: str) -> Turn:
        """The turn that a model wrote: its lines in any case and order, with other words between them; a JSON object
        with the same names; or the bare action. Raises ActionTextError where there is no action that can be read."""
        found = _json(text) or _lines(text)
        think, act, say = (found.get(mark, "") for mark in _MARKS)
        plan = self.codec.read(act if found else text.strip().strip("`*"))
        return Turn(plan, " ".join(think.split()), " ".join(say.split()))

    def actions(self, turn: Turn, context: Context) -> tuple[Action, ...]:
        """The actions of a turn, one a tick. Raises ActionTextError."""
        last = next((chunk[-1] for chunk in reversed(context.actions) if chunk), NEUTRAL)
        return self.codec.actions(turn.plan, self.tick_hz, last)

    def idle(self) -> tuple[Action, ...]:
        """The actions of a decision that does nothing."""
        return (NEUTRAL,) * self.spec.chunk


def repair(error: ActionTextError) -> str:
    """What a model is told whose action can't be read."""
    return f"That can't be used: {error}. Answer anew, with the line 'act:'."


def _padded(thoughts: Sequence[str], chunks: Sequence[object]) -> list[str]:
    return [""] * (len(chunks) - len(thoughts)) + list(thoughts[-len(chunks) :] if chunks else ())


def _lines(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        bare = line.strip().strip("`*").strip()
        for mark in _MARKS:
            if bare.lower().startswith(mark):
                found.setdefault(mark, bare[len(mark) :].strip().strip("`*").strip())
    return found


def _json(text: str) -> dict[str, str]:
    begin, end = text.find("{"), text.rfind("}")
    if not 0 <= begin < end:
        return {}
    try:
        data = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or "act" not in data:
        return {}
    return {mark: str(data.get(mark[:-1]) or "") for mark in _MARKS}
