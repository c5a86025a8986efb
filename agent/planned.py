"""`PlannedConversation`: a conversation in which a slow planner instructs the fast player under the user's goals."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from agent import messages
from agent.chat import Conversation, Wanted
from agent.control import Hands, Order
from agent.models.base import ModelError
from agent.planner import ALL_DONE, DONE, GIVEN_UP, PASSED, Plan, Planner, Situation
from agent.policy import Decision
from agent.runtime import Frame, Step
from agent.surroundings import Surroundings
from agent.voice import Voice
from envs.action import NEUTRAL

EVERY = 10.0  # seconds
STUCK = 4.0  # seconds
_FRAMES = 3  # that a planner is shown, a second apart
_HISTORY = 12  # steps that it is told of
_MOVED = 1.5  # mean difference of two frames, of 255, above which something has moved
_AGAIN = 2.0  # seconds until a planner that is out is asked again


class _Surroundings(Surroundings):
    """What is strange to the player need not be so to who instructs him."""

    def strange(self, texts: Iterable[str]) -> str:
        return ""


class PlannedConversation(Conversation):
    """A conversation whose player is instructed by `planner`. The user's goals stay as they are; the steps that the
    planner wants lie on top of them, and are what the player is told.

    It is asked when there is a new goal; when its steps are done; when the player sees no such thing, asks, or has not
    moved for `stuck` seconds; and at least every `every` seconds of play. It thinks in a thread of its own. Until its
    first answer the player follows the user's own words; where all steps are done it holds still until the next answer.
    Whatever the user says that changes his goals drops the plan. While the planner is out the player goes on with its
    last step, or the user's words.

    Worlds that wait run no faster than the clock, so that there is time to think in. `waits`: they wait for the planner
    instead, so that what it is worth does not depend on how fast the machine is.
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
        self._around = _Surroundings(voice)
        self.notebook = ""  # what the planner noted last
        self.history: deque[tuple[str, str]] = deque(maxlen=_HISTORY)  # steps, and what came of them
        self._planner = planner
        self._every, self._stuck, self._waits = every, stuck, waits
        self._version = 0  # of the user's goals
        self._why = ""  # the planner is to be asked, because
        self._thinks = self._holds = False
        self._since_asked: list[str] = []  # steps that are done since
        self._asked_at = self._moved_at = self._looked_at = 0  # ticks
        self._views: deque[Frame] = deque(maxlen=_FRAMES)
        self._out = ""  # why it gives no plans
        self._again = 0.0  # when it is asked again, by the clock
        self._asks: SimpleQueue[tuple[int, Situation] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._think, name="planner", daemon=True)
        self._thread.start()

    def begin(self, instruction: str = "", picture: Frame | None = None) -> None:
        with self._lock:
            self._around.begin()
            self._views.clear()
            self._asked_at = self._moved_at = self._looked_at = 0
            super().begin(instruction, picture)

    def close(self) -> None:
        """Neither plan nor answer any more. Safe to call twice; the planner is its owner's to close."""
        super().close()
        self._asks.put(None)
        self._thread.join(_AGAIN)

    # What the loop asks.

    @property
    def _accompanied(self) -> bool:
        return not self._waits or super()._accompanied

    def order(self, tick: int) -> Order:
        if self._waits and self._thinks and not self._ending and not self._realtime:
            self.tick = tick
            self._listen()
            return "wait"
        return super().order(tick)

    def hands(self, tick: int) -> Hands | None:
        hands = super().hands(tick)
        return Hands(NEUTRAL, "agent") if hands is None and self._holds else hands

    def done(self, decision: Decision) -> bool:
        with self._lock:
            if self._asked is not None or not self._goals or (self._out and not self._goals[0].planned):
                return super().done(decision)
            step, missing = self._goals[0], _misses(decision.speech)
            self.history.append((step.text, decision.speech if missing else DONE))
            if step.planned:
                self._goals.pop(0)
                self._since_asked.append(step.text)
                self._aim()
            if not missing:
                self._deeds.append(messages.deed(step.text, self._around.known))
            if missing or not self._goals[0].planned:
                # What comes next nobody knows yet. The player would begin anew with what he has done.
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
                self._keep_view(step.frame, step.tick)
            said = self._spoken[0] if self._spoken != spoken else ""
            if why := self._reason(step.tick, said):
                self._consult(why)

    def _reason(self, tick: int, said: str) -> str:
        """Why the planner should be asked at this tick, at which the player has `said` something; "" where it should
        not. While it thinks only news counts."""
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
        """Keep a frame a second, and note when the last one differed."""
        if self._views and tick - self._looked_at < 1.0 / self._period:
            return
        last = self._views[-1] if self._views else None
        self._views.append(frame)
        self._looked_at = tick
        if last is None or np.abs(frame[::2, ::2].astype(np.int16) - last[::2, ::2]).mean() > _MOVED:
            self._moved_at = tick

    # What the plan does. All of these hold the lock.

    def _pursue(self) -> None:
        """The user's goals have changed: what was planned for the old ones counts no more."""
        self._goals = [goal for goal in self._goals if not goal.planned]
        self._version += 1
        self._holds, self._since_asked = False, []
        self.history.clear()
        super()._pursue()
        self._why = ""
        if self._goals:
            self._consult("the goal is new")

    def _consult(self, why: str) -> None:
        """Ask the planner, at once, or when it has answered, or when there is something to be seen."""
        self._why = why
        frame = self._around.frame
        if self._thinks or frame is None or self._again == math.inf:
            return
        goal = next(goal for goal in self._goals if not goal.planned)
        steps = tuple(step.text for step in self._goals if step.planned)
        earlier = [view for view in self._views if view is not frame]
        now = Situation(
            goal.text, why, self.notebook, steps, tuple(self.history), self.dialogue,
            frames=(*earlier[1 - _FRAMES :], frame), picture=goal.picture,
        )  # fmt: skip
        self._why, self._thinks, self._asked_at, self._since_asked = "", True, self.tick, []
        self._asks.put((self._version, now))

    def _adopt(self, plan: Plan, version: int) -> None:
        self._thinks = False
        if self._out:
            self._out = ""
            self._note("the planner is back")
        if version != self._version:  # the user wants something else by now
            self._resume()
            return
        self.notebook = plan.memory
        if plan.say:
            self._add("planner", plan.say)
        if plan.done:
            self._note("the planner says that it is done")
            self._goals = [goal for goal in self._goals if not goal.planned][1:]
            if self._goals or self._keep:
                self._pursue()
            else:
                self._ending = "the planner says that it is done"
        elif self._why:  # something has happened that it could not know of
            self._resume()
        else:
            self._instruct_player(plan.steps)

    def _instruct_player(self, steps: tuple[str, ...]) -> None:
        late = list(self._since_asked)
        while late and steps and steps[0] == late[0]:  # done while it was thinking
            late, steps = late[1:], steps[1:]
        before = tuple(goal.text for goal in self._goals if goal.planned)
        user = [goal for goal in self._goals if not goal.planned]
        if before and before[:1] != steps[:1]:
            self.history.append((before[0], GIVEN_UP))
        pictures = {user[0].text: user[0].picture}
        self._goals = [*(Wanted(step, pictures.get(step), planned=True) for step in steps), *user]
        self._asked, self._holds = None, False
        self._moved_at = self.tick
        if steps != before:
            self._note(f"plan: {', then '.join(steps) or 'as you say'}")
        self._aim()

    def _aim(self) -> None:
        """What is first is the player's from the next decision on; what he does already he goes on with."""
        first = self._goals[0]
        if self.goal.now.text != first.text:
            self.goal.set(first.text, first.picture, step=True)

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

    # Plans, in a thread of their own: the game does not wait for them.

    def _think(self) -> None:
        while (asked := self._asks.get()) is not None:
            version, now = asked
            try:
                view = self._voice.describe(now.frames[-1]) if self._voice is not None else ""
                plan = self._planner.plan(replace(now, view=view))
            except Exception as error:  # a planner may be a model far away, or somebody's own; the game outlives it
                with self._lock:
                    self._failed(error)
            else:
                with self._lock:
                    self._adopt(plan, version)


def _misses(speech: str) -> bool:
    """Whether the player says that he can't go on like this: no such thing in view, or more than one."""
    return speech.startswith("i see no") or messages.which(speech) is not None
