"""`PlannedConversation`: a conversation in which a slow planner instructs the fast player towards the user's goals."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from agent.episode import Frame, Look, Step
from agent.glimpses import Glimpses
from agent.loop.control import Hands, Order
from agent.models.base import ModelError
from agent.policy import Decision
from agent.talk import intents
from agent.talk.conversation import Conversation
from agent.talk.following import Goal
from agent.talk.planner import ALL_DONE, DONE, GIVEN_UP, PASSED, Pathfinder, Plan, Planner, Situation
from agent.talk.understanding import Understanding
from agent.talk.voice import Voice
from envs.action import NEUTRAL

EVERY = 10.0  # seconds
STUCK = 4.0  # seconds
_HISTORY = 12  # past steps that a planner is told of
_MOVED = 1.5  # mean difference of two frames, of 255, above which something has moved
_AGAIN = 2.0  # seconds until a planner that failed is asked again


class PlannedConversation(Conversation):
    """A conversation in which `planner` instructs the player. The user's goals stay as they are; the planner's steps
    come before them, and the player is told one step at a time.

    The planner is asked when there is a new goal; when its steps are done; when the player says that it sees no such
    thing, asks which thing is meant, or has not moved for `stuck` seconds; and at least every `every` seconds of play.
    It thinks in its own thread. Until the first plan the player follows the user's own words. When all steps are
    done the player holds still until the next plan. If the user changes the goals, the plan is dropped. If the planner
    fails, the player goes on with its last step, or with the user's words.

    Lockstep worlds run no faster than the clock, so that the planner has time to think. `waits`: they wait for the
    planner instead, so that a measurement does not depend on the speed of the machine.
    """

    def __init__(
        self,
        planner: Planner,
        voice: Voice | None = None,
        *,
        every: float = EVERY,
        stuck: float = STUCK,
        waits: bool = False,
        **how: Any,
    ) -> None:
        super().__init__(voice, **how)
        self._understanding = Understanding(lambda noun: noun)  # the planner knows words that the player does not
        self.notebook = ""  # the planner's latest notes
        self.history: deque[tuple[str, str]] = deque(maxlen=_HISTORY)  # (step, what came of it)
        self._planner = planner
        self._every, self._stuck, self._waits = every, stuck, waits
        self._version = 0  # of the user's goals
        self._why = ""  # the reason to ask the planner
        self._thinks = self._holds = False
        self._since_asked: list[str] = []  # steps done since the planner was asked
        self._asked_at = self._moved_at = self._looked_at = 0  # ticks
        self._last_view: Frame | None = None  # a second ago or less
        self._glimpses = Glimpses(planner.view, 1.0)
        self._frame_at = 0  # the tick of the newest frame
        self._out = ""  # why the planner gives no plans
        self._again = 0.0  # when the planner is asked again, by the clock
        self._asks: SimpleQueue[tuple[int, Situation, Frame] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._think, name="planner", daemon=True)
        self._thread.start()

    def begin(self, instruction: str = "", picture: Frame | None = None) -> None:
        with self._lock:
            self._around.begin()
            self._last_view = None
            self._glimpses = Glimpses(self._planner.view, 1.0 / self._period if self._period else 1.0)
            self._asked_at = self._moved_at = self._looked_at = 0
            super().begin(instruction, picture)

    def close(self) -> None:
        """Stop planning and answering. Safe to call twice. The planner stays open: its owner closes it."""
        super().close()
        self._asks.put(None)
        self._thread.join(_AGAIN)

    # The loop calls these.

    @property
    def _accompanied(self) -> bool:
        return not self._waits or super()._accompanied

    def order(self, tick: int) -> Order:
        if self._waits and not self._ending and not self._realtime:
            with self._lock:
                if self._goals and self._why and not self._thinks:
                    self._ask_planner()
            if self._thinks:
                self.tick = tick
                self._listen()
                return "wait"
        return super().order(tick)

    @property
    def way(self) -> str:
        planner, now = self._planner, self.instruction.now
        return planner.way(now.text) if isinstance(planner, Pathfinder) and now.picture is None else ""

    def hands(self, tick: int) -> Hands | None:
        hands = super().hands(tick)
        return Hands(NEUTRAL, "agent") if hands is None and self._holds else hands

    def done(self, decision: Decision) -> bool:
        with self._lock:
            if self._open_question is not None or not self._goals or (self._out and not self._goals[0].planned):
                return super().done(decision)
            step, missing = self._goals[0], _misses(decision.speech)
            self.history.append((step.text, decision.speech if missing else DONE))
            if step.planned:
                self._goals.pop(0)
                self._since_asked.append(step.text)
                self._aim()
            if not missing:
                self._deeds.append(intents.deed(step.text, self._around.known))
            if missing or not self._goals[0].planned:
                # The next step is not known yet. Without a hold the player would start again on what it has done.
                self._holds = not self._out
                self._consult(f"the player says: {decision.speech}" if missing else ALL_DONE)
            return True

    def on_step(self, step: Step) -> None:
        spoken = self._spoken
        super().on_step(step)
        with self._lock:
            if self.human is not None or self.paused or not self._goals:
                self._asked_at = self._moved_at = step.tick
                return
            if step.frame is not None:
                self._frame_at = step.tick
                self._glimpses.saw(step.frame, step.tick)
                self._keep_view(step.frame, step.tick)
            said = self._spoken[0] if self._spoken != spoken else ""
            if why := self._reason(step.tick, said):
                self._consult(why)

    def _reason(self, tick: int, said: str) -> str:
        """Why the planner should be asked at this tick; "" if it should not. `said`: what the player says at this tick.
        While the planner thinks, only what the player says counts."""
        if self._out:
            return "you did not answer" if time.monotonic() >= self._again and not self._thinks else ""
        if _misses(said):
            return f"the player says: {said}"
        if self._why or self._thinks:
            return self._why
        if tick - self._moved_at >= self._stuck / self._period and not self._holds:
            self._moved_at = tick
            return f"nothing has moved for {self._stuck:g} seconds"
        return PASSED if tick - self._asked_at >= self._every / self._period else ""

    def _keep_view(self, frame: Frame, tick: int) -> None:
        """Keep one frame a second, and note when it last changed."""
        last = self._last_view
        if last is not None and tick - self._looked_at < 1.0 / self._period:
            return
        self._last_view, self._looked_at = frame, tick
        if last is None or np.abs(frame[::2, ::2].astype(np.int16) - last[::2, ::2]).mean() > _MOVED:
            self._moved_at = tick

    # Carry out plans. The caller holds the lock.

    def _pursue(self) -> None:
        """The user's goals changed: drop the plan for the old ones."""
        self._goals = [goal for goal in self._goals if not goal.planned]
        self._version += 1
        self._holds, self._since_asked = False, []
        self.history.clear()
        super()._pursue()
        self._why = ""
        if self._goals:
            self._consult("the goal is new")

    def _consult(self, why: str) -> None:
        """Ask the planner: at once, or as soon as it has answered and there is a frame. A world that `waits` asks
        before its next tick: what else happens at this one does not race with the answer."""
        self._why = why
        if not self._waits or self._realtime:
            self._ask_planner()

    def _ask_planner(self) -> None:
        frame, why = self._around.frame, self._why
        if self._thinks or frame is None or self._again == math.inf:
            return
        goal = next(goal for goal in self._goals if not goal.planned)
        steps = tuple(step.text for step in self._goals if step.planned)
        seen = self._glimpses.look(frame, self._frame_at)
        sizes = tuple((picture.shape[0], picture.shape[1]) for _, picture in seen)
        self.looks.tell(Look("planner", self.tick, tuple(tick for tick, _ in seen), sizes))
        now = Situation(
            goal.text, why, self.notebook, steps, tuple(self.history), self.dialogue,
            frames=tuple(picture for _, picture in seen), picture=goal.picture, controls=self._controls,
        )  # fmt: skip
        self._why, self._thinks, self._asked_at, self._since_asked = "", True, self.tick, []
        self._asks.put((self._version, now, frame))

    def _adopt(self, plan: Plan, version: int) -> None:
        self._thinks = False
        if self._out:
            self._out = ""
            self._note("the planner is back")
        if version != self._version:  # the user changed the goals meanwhile
            self._resume()
            return
        self.notebook = plan.notes
        if plan.say:
            self._add("planner", plan.say)
        if plan.done:
            self._note("the planner says that it is done")
            self._goals = [goal for goal in self._goals if not goal.planned][1:]
            if self._goals or self._keep:
                self._pursue()
            else:
                self._ending = "the planner says that it is done"
        elif self._why:  # something happened meanwhile that the planner could not know
            self._resume()
        else:
            self._instruct_player(plan.steps)

    def _instruct_player(self, steps: tuple[str, ...]) -> None:
        late = list(self._since_asked)
        while late and steps and steps[0] == late[0]:  # done while the planner was thinking
            late, steps = late[1:], steps[1:]
        before = tuple(goal.text for goal in self._goals if goal.planned)
        user = [goal for goal in self._goals if not goal.planned]
        if before and before[:1] != steps[:1]:
            self.history.append((before[0], GIVEN_UP))
        pictures = {user[0].text: user[0].picture}
        self._goals = [*(Goal(step, pictures.get(step), planned=True) for step in steps), *user]
        self._open_question, self._holds = None, False
        self._moved_at = self.tick
        if steps != before:
            self._note(f"plan: {', then '.join(steps) or 'as you say'}")
        self._aim()

    def _aim(self) -> None:
        """Instruct the player with the first goal; if the player already pursues it, nothing changes."""
        first = self._goals[0]
        if self.instruction.now.text != first.text:
            self.instruction.set(first.text, first.picture, step=True)

    def _failed(self, error: Exception) -> None:
        self._thinks = self._holds = False
        lasting = not isinstance(error, ModelError) or not error.retryable
        self._again = math.inf if lasting else time.monotonic() + _AGAIN
        if lasting or not self._out:
            self._note(f"{'the planner is off' if lasting else 'no plan'}: {error}")
        self._out = str(error) or type(error).__name__

    def _resume(self) -> None:
        if self._goals and self._why:
            self._consult(self._why)

    # Plan in a thread, so that the game goes on.

    def _think(self) -> None:
        while (asked := self._asks.get()) is not None:
            version, now, frame = asked
            try:
                view = self._around.describe(frame)
                plan = self._planner.plan(replace(now, view=view))
            except Exception as error:  # a planner may be a remote model or foreign code; the game outlives it
                with self._lock:
                    self._failed(error)
            else:
                with self._lock:
                    self._adopt(plan, version)


def _misses(speech: str) -> bool:
    """Whether the player says that it can't carry out the step: no such thing is in view, or more than one."""
    return speech.startswith("i see no") or intents.which(speech) is not None
