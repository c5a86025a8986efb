"""`converse`: a scripted person talks with the agent while it plays; ground truth tells whether it reacts rightly."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.loop.control import Control, Hands, Order
from agent.loop.players import Player
from agent.loop.runtime import play
from agent.policy import Decision
from agent.talk import intents
from agent.talk.conversation import Conversation
from agent.talk.listener import Listener
from agent.talk.voice import Voice
from envs.action import NEUTRAL, Action
from envs.doom.world import DoomState
from envs.world import Observation, World
from envs.wrappers import WorldWrapper
from tasks import world_tasks
from tasks.confirmation import beyond
from tasks.doom.conversation_scripts import Line, Script
from tasks.doom.language import read
from tasks.doom.questions import Question, ask
from tasks.doom.scene import scene_of
from tasks.speech import NOT_THERE
from tasks.task import VerifierSpec, thing_name
from tasks.verifier import Verifier

LIMIT = 525  # ticks within which the agent has to fulfil a line
LINGER = 70  # ticks after a success within which the agent says that it is done; then the person goes on all the same
STILL = 70  # ticks that an agent that was stopped is watched
SLIDE = 12  # ticks in which an agent that lets go comes to a halt
GRACE = 35  # ticks in which the old goal may still happen to be fulfilled
POLLS = 3  # checks of a game that has to stand still
PATIENCE = 120.0  # seconds within which the agent has to answer
_FOREVER = 10**9  # ticks
Worded = Callable[[Question], Question | None]
_UNSURE = re.compile(rf"{NOT_THERE}\b|i (?:don't|do not) know\b")


@dataclass(frozen=True)
class Talked:
    """How a conversation went: `right`, and `why` not. `lines`: (tick, who, what) of all that was said."""

    script: Script
    right: bool
    why: str
    ticks: int
    lines: tuple[tuple[int, str, str], ...]


class Watched(WorldWrapper):
    """A world of which ground truth is kept beside what the player gets. `seen`: the state of the frame that the player
    was shown last; `state`: as it is now."""

    seen: DoomState
    state: DoomState
    action: Action = NEUTRAL

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.world.reset(seed=seed, options=options)
        self.seen = self.state = info["state"]
        return observation, info

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        result = self.world.step(action)
        self.seen, self.state, self.action = self.state, result[4]["state"], action
        return result

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        return World.step_chunk(self, actions)  # ground truth is read at every tick


def converse(
    world: World,
    player: Player,
    voice: Voice | None,
    script: Script,
    *,
    heard: bool = True,
    listener: Listener | None = None,
    worded: Worded | None = None,
) -> Talked:
    """Play a script once in a world with labels, in lockstep. `heard`: whether the agent hears what is said after the
    first line; one that does not is the control. `listener`: understands the person for the agent. `worded`: how the
    person asks a question about the picture, such as in another language, with its answer; None for one that he does
    not ask."""
    talk = Conversation(voice, listener=listener, keep=True, paced=False)
    watched = Watched(world)
    person = _Person(talk, watched, script, heard, worded or _as_it_is)
    talk.attach(watched)
    talk.begin()
    try:
        outcome = play(
            watched, player, talk.instruction, seed=script.seed, options=script.options, control=person,
            subscribers=[talk], end_on_done=True, time_limit=_FOREVER,
        )  # fmt: skip
        broken = "; ".join(outcome.problems)
    except Exception as error:  # a crash counts as a line that was handled wrongly
        broken = f"{type(error).__name__}: {error}"
    finally:
        talk.close()
    lines = tuple((line.tick, line.who, line.text) for line in talk.lines)
    why = f"crashed: {broken}" if broken else person.verdict
    return Talked(script, why == "right", why, talk.tick, lines)


class _Person(Control):
    """Says the lines of a script in the loop's own thread, before it is asked what to play; watches what comes of it.

    `verdict`: "" until it is known, then "right" or what went wrong.
    """

    def __init__(self, talk: Conversation, world: Watched, script: Script, heard: bool, worded: Worded) -> None:
        self.verdict = ""
        self._worded = worded
        self._talk, self._world, self._script, self._heard = talk, world, script, heard
        self._rng = np.random.default_rng([script.seed, 0x9E7])
        self._number = -1  # of the current line
        self._met = False  # whether the agent has done what the line expects
        self._since = 0  # tick of its line
        self._revision = 0  # of the conversation, when it was said
        self._text = ""
        self._goal: Verifier | None = None
        self._shun: Verifier | None = None
        self._reached = 0  # tick at which the goal was fulfilled
        self._claimed = False  # the agent said that it is done
        self._last = -1  # the last tick whose state was checked
        self._polls = 0
        self._before: DoomState | None = None  # the state once an agent that lets go has come to a halt

    # What the loop asks.

    def order(self, tick: int) -> Order:
        if not self.verdict:
            self.verdict = self._watch(tick) or self._speak(tick)
        order: Order = "end" if self.verdict else self._talk.order(tick)
        self._follow()
        return order

    def hands(self, tick: int) -> Hands | None:
        hands = self._talk.hands(tick)
        self._follow()
        return hands

    def done(self, decision: Decision) -> bool:
        self._claimed = self._claimed or self._talk.mode == "acting"
        return self._talk.done(decision)

    @property
    def why(self) -> str:
        return self.verdict

    def _follow(self) -> None:
        self.dialogue, self.since = self._talk.dialogue, self._talk.since

    # What the person sees.

    @property
    def _line(self) -> Line:
        return self._script.lines[self._number]

    def _watch(self, tick: int) -> str:
        """Update the verdict: what went wrong, or whether the agent has done what the line expects."""
        if self._number < 0:
            return ""
        state = self._world.state
        if tick != self._last:
            self._last = tick
            if wrong := self._judge(tick, state):
                return wrong
        if not self._met and (wrong := getattr(self, f"_{self._line.expect}")(tick, state)):
            return f"{self._text!r}: {wrong}"
        if tick - self._since > LIMIT and not (self._met and (self._goal is None or self._reached)):
            return f"{self._text!r}: the time is up"
        return ""

    def _judge(self, tick: int, state: DoomState) -> str:
        if self._goal is not None and not self._reached:
            verdict = self._goal.update(state)
            if verdict is not None and not verdict.success:
                return f"{self._text!r}: {verdict.why}"
            self._reached = tick if verdict is not None else 0
            if self._claimed and not self._reached:
                return f"{self._text!r}: said {self._said()[-1:]} too early"
        self._claimed = False
        if self._line.shun is not None and not self._reached and tick - self._since > GRACE:
            self._shun = self._shun or _verifier(self._line.shun)
            assert self._shun is not None
            verdict = self._shun.update(state)
            if verdict is not None and verdict.success:
                return f"{self._text!r}: went on with what it was told before"
        if self._line.expect in ("still", "deny") and tick - self._since >= SLIDE:
            self._before = self._before or state
            lost = {o.id for o in self._before.objects} - {o.id for o in state.objects}
            names = [thing_name(o.kind, o.colour) for o in self._before.objects if o.id in lost]
            if names:
                return f"{self._text!r}: the {names[0]} is gone"
        return ""

    def _do(self, tick: int, state: DoomState) -> str:
        self._met = bool(self._reached)
        return ""

    def _ask(self, tick: int, state: DoomState) -> str:
        said = self._said()
        self._met = bool(said) and _bag(said[0]) == _bag(self._line.said)
        return "" if self._met or not said else f"said {said[0]!r}"

    def _answer(self, tick: int, state: DoomState) -> str:
        return ""  # the game waits for the answer: see `_inquire`

    def _still(self, tick: int, state: DoomState) -> str:
        self._met = tick - self._since >= STILL
        held = tick - self._since > 4 and self._world.action != NEUTRAL
        return f"still does {self._world.action}" if held else ""

    def _wait(self, tick: int, state: DoomState) -> str:
        self._polls += 1
        self._met = self._polls >= POLLS
        return "went on" if tick > self._since else ""

    def _deny(self, tick: int, state: DoomState) -> str:
        said = self._said()
        right = _bag(said[-1]) == _bag(self._line.said) if said and self._line.said else False
        unsure = bool(said) and not self._line.said and _UNSURE.search(said[-1]) is not None
        self._met = right or unsure
        return f"said {said[-1]!r}" if said and not self._met else ""

    def _said(self) -> list[str]:
        """What the agent said since the last line, beside confirmations."""
        return beyond(line.text for line in self._talk.news(self._revision) if line.who == "agent")

    # What the person says.

    def _speak(self, tick: int) -> str:
        """Say the next line when it is due; the verdict is "right" after the last one."""
        lines = self._script.lines
        if self._number < 0:  # the person and the agent see the same frame
            return self._say(tick, lines[0]) if self._talk.started.is_set() else ""
        fulfilled = self._met and (self._line.expect != "do" or self._ready(tick))
        left = self._line.leave and tick - self._since >= 4 * self._line.leave
        if self._number + 1 < len(lines) and (fulfilled or left):
            return self._say(tick, lines[self._number + 1])
        if self._number + 1 == len(lines) and self._met and (self._goal is None or self._reached):
            return "right"
        return ""

    def _ready(self, tick: int) -> bool:
        """Whether the agent has said that it is done, or will not."""
        return self._talk.mode == "idle" or tick - self._reached >= LINGER

    def _say(self, tick: int, turn: Line) -> str:
        text = turn.text
        if "{n}" in text:
            asked = intents.which(self._said()[0])
            assert asked is not None
            text = text.format(n=("first", "second")[asked.choices.index(turn.said)])
        answer = turn.said
        if not text:
            question = ask(self._rng, scene_of(self._world.seen), phrasing=self._script.phrasing)
            question = None if question is None else self._worded(question)
            if question is None:
                return ""  # no clear question fits this frame; a later one may
            text, answer = question.text, question.answer
        self._number, self._since, self._last, self._met, self._text = self._number + 1, tick, tick, False, text
        self._revision = self._talk.revision
        self._shun = self._before = None
        if turn.goal is not None or turn.expect in ("still", "deny"):
            self._goal, self._reached, self._claimed = _verifier(turn.goal), 0, False
            if self._goal is not None:
                self._goal.update(self._world.state)
        if self._number and not self._heard:
            return f"{text!r}: no answer" if turn.expect == "answer" else ""
        self._talk.user(text)
        self._settle(lambda: self._talk.hearing)
        return self._inquire(answer) if turn.expect == "answer" else ""

    def _settle(self, busy: Callable[[], bool]) -> None:
        """The game waits, so that the speed of a model has no say in what comes of a line."""
        end = time.monotonic() + PATIENCE
        while busy() and time.monotonic() < end:
            time.sleep(0.002)

    def _inquire(self, answer: str) -> str:
        """Wait for the answer; returns what is wrong with it, or ""."""
        self._settle(lambda: self._talk.answering)
        said = self._said()
        own = said[-1].removeprefix("i am to ") if said else ""
        self._met = bool(said) and (_bag(said[-1]) == _bag(answer) or (own != said[-1] and read(own) == read(answer)))
        return "" if self._met else f"{self._text!r}: said {said}, right is {answer!r}"


def _as_it_is(question: Question) -> Question:
    return question


def _verifier(spec: VerifierSpec | None) -> Verifier | None:
    return None if spec is None else world_tasks.of("doom").verifier(spec)


def _bag(line: str) -> list[str]:
    return sorted(re.findall(r"[a-z0-9]+", line.lower()))
