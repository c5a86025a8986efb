"""`LongPlanner`: a planner that keeps at one goal for an hour: goals that end, a map, a summary, a critic, tools."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent.episode import Frame, Start, Step, Subscriber
from agent.long.critic import Critic, GoalJudge
from agent.long.goals import LIVES, End, GoalStack
from agent.long.odometer import Odometer
from agent.long.places import Places
from agent.long.thinker import Desk, Thinker
from agent.long.tools import TOLD_SNAPSHOTS, Tools
from agent.talk import intents
from agent.talk.planner import DONE, GIVEN_UP, Plan, Situation, clean
from envs.snapshots import Rewindable

CRITIC_EVERY = 8  # turns
LOOK = 0.4  # seconds between two frames that are described: a search turns by a quarter meanwhile
ROUNDS = 2  # of questions to the tools in one turn
MOST_REFUSALS = 2  # of the judge, after which the thinker is believed
_IN_VIEW = 1.5  # seconds for which the player needs no way to what it saw
_FRAMES = 400  # that are kept for judge and critic
_LINE = 600  # characters of a line of the desk


@dataclass(frozen=True)
class Claim:
    """A step that counts as done from `tick` on. `verified`: whether a judge saw it; None where nobody judged."""

    tick: int
    text: str
    verified: bool | None


class LongPlanner(Subscriber):
    """`thinker` as a planner, with a desk that is kept for it; subscribe it to the episode that it plans.

    A turn is one question to the thinker. At a turn: steps that the player says it has done are shown to the `judge`;
    goals that are too old expire; every `critic_every` turns the `critic` looks; the thinker plans, and may ask the
    tools first. `describe`: what is in a frame, in words, for the map; None where nobody can tell. `lives`: turns after
    which goals expire. `looks_again`: what was believed is given up where the player sees that it is not so. `ways`:
    the player is told the ways that the map knows. Only the user's sentence is the primary goal: nothing that a
    thinker, a critic or a tool says changes it.
    """

    def __init__(
        self,
        thinker: Thinker,
        *,
        describe: Callable[[Frame], str] | None = None,
        judge: GoalJudge | None = None,
        critic: Critic | None = None,
        critic_every: int = CRITIC_EVERY,
        lives: Mapping[str, int] = LIVES,
        looks_again: bool = True,
        ways: bool = True,
    ) -> None:
        self.name, self.view = thinker.name, thinker.view
        self.claims: list[Claim] = []
        self.desk = Desk()
        self._thinker, self._describe, self._judge, self._critic = thinker, describe, judge, critic
        self._critic_every, self._lives, self._looks_again, self._ways = critic_every, lives, looks_again, ways
        self._lock = threading.Lock()
        self._odometer = Odometer({}, 1.0)
        self._tools: Tools | None = None
        self._snapshots: Rewindable | None = None
        self._fresh: list[tuple[int, str]] = []  # captions that the tools do not have yet
        self._gone_back: list[str] = []  # moments that the game went back to, likewise
        self._gone: list[str] = []  # things that are not where they were seen; the summary does not say so yet
        self._history: tuple[tuple[str, str], ...] = ()
        self._frames: deque[tuple[int, Frame]] = deque(maxlen=_FRAMES)
        self._set_at: dict[str, int] = {}  # the tick at which a step was set
        self._described = 0
        self._refused = 0  # times that the judge did not see the user's goal reached
        self._critic_at = 0  # tick

    def offer(self, world: Rewindable) -> None:
        """From the next episode on, which is played in `world`, the thinker may save moments and go back to them."""
        self._snapshots = world

    # The loop calls these.

    def on_start(self, start: Start) -> None:
        with self._lock:
            self.desk = Desk(
                GoalStack(lives=self._lives), Places(looks_again=self._looks_again), tick_hz=start.tick_hz or 1.0,
                looks_again=self._looks_again,
            )  # fmt: skip
            self._odometer = Odometer(start.controls, start.tick_hz)
            self._frames.clear()
            self._fresh, self._gone, self._history, self._set_at, self.claims = [], [], (), {}, []
            self._gone_back = []
            self._described, self._critic_at = -(10**9), 0
            tools, self._tools = self._tools, None
        if tools is not None:
            tools.close()

    def on_step(self, step: Step) -> None:
        self._odometer.on_step(step)
        desk = self.desk
        desk.tick = step.tick
        if (name := step.info.get("restored")) is not None and self._tools is not None:
            self._odometer.jump(self._tools.poses.get(name, self._odometer.pose))
            with self._lock:
                self._gone_back.append(name)
        if step.frame is None:
            return
        if step.decision is None or not self._frames or step.tick - self._frames[-1][0] >= len(step.decision.actions):
            with self._lock:
                self._frames.append((step.tick, step.frame))
        desk.places.at(self._odometer.pose)
        if self._describe is not None and step.tick - self._described >= LOOK * desk.tick_hz:
            self._described = step.tick
            if caption := self._describe(step.frame):
                gone = desk.places.saw(caption, step.tick)
                with self._lock:
                    self._fresh.append((step.tick, caption))
                    self._gone += gone

    def way(self, instruction: str) -> str:
        """In which direction the way begins to what an instruction names, as far as the map knows; see Places.way."""
        thing = intents.thing_of(instruction)
        if thing is None or not self._ways:
            return ""
        words, desk = thing.words, self.desk
        since = desk.tick - round(_IN_VIEW * desk.tick_hz)
        return desk.places.way(lambda name: intents.same_thing(words, name), since)

    # The planner's side.

    def plan(self, now: Situation) -> Plan:
        """The next plan. Raises agent.models.ModelError."""
        desk = self.desk
        desk.turn += 1
        if desk.goals.primary is None or desk.goals.primary.text != now.goal:
            desk.goals.begin(now.goal, desk.turn)
            self._history, self._refused = (), 0
            desk.meant = self._toolbox().meant(now.goal)
        before = len(desk.goals.ended)
        self._hear(now.history)
        for goal in desk.goals.expire(desk.turn):
            desk.summary.note(f"gave up after {desk.turn - goal.since} turns: {goal.text}")
        with self._lock:
            gone, self._gone = self._gone, []
            back, self._gone_back = self._gone_back, []
        for name in back:
            desk.summary.note(f"went back to {name}: what came after it is not done")
        for name in gone:
            desk.summary.note(f"{name}: not where it was seen")
        desk.ended = tuple(desk.goals.ended[before:])
        desk.opinion = None
        if self._critic is not None and desk.turn % self._critic_every == 0:
            self._criticise(now)
        plan = self._thought(now)
        if plan.done and self._refuses(now.goal):
            plan = replace(plan, done=False)
        if plan.parts:
            desk.goals.set("secondary", plan.parts, desk.turn)
        self._set(plan.steps)
        desk.summary.turn()
        return plan

    def close(self) -> None:
        self._thinker.close()

    def _thought(self, now: Situation) -> Plan:
        """What the thinker plans, once the tools have answered what it asks."""
        more = self._lines()
        for _ in range(ROUNDS):
            plan = self._thinker.think(replace(now, more=tuple(more)), self.desk)
            if not plan.asks:
                return plan
            more += [(f"Answer to {clean(ask, 60)!r}", clean(self._ask(ask), _LINE)) for ask in plan.asks]
        return self._thinker.think(replace(now, more=(*more, ("Tools", "no more questions now"))), self.desk)

    def _refuses(self, goal: str) -> bool:
        """Whether the judge does not see that the user's goal is reached; it may be wrong: it is not asked for ever."""
        if self._judge is None or self._refused >= MOST_REFUSALS:
            return False
        opinion = self._judge.reached(goal, self._since(0))
        if opinion is None or opinion.yes:
            return False
        self._refused += 1
        self.desk.summary.note(f"not done yet: {opinion.why}")
        return True

    def _lines(self) -> list[tuple[str, str]]:
        """The desk, as a model reads it."""
        desk = self.desk
        meant = "; ".join(f"{said}: the {name}" for said, name in desk.meant.items())
        lines = [
            ("Goals", desk.goals.text),
            ("Meant", meant),
            ("Summary", desk.summary.text),
            ("Map", desk.places.text()),
        ]
        if self._snapshots is not None:
            lines.append(("You may also ask", TOLD_SNAPSHOTS))
        if desk.opinion is not None and not desk.opinion.yes:
            lines.append(("Critic", desk.opinion.why))
        lines += [("Ended", f"{one.goal.text}: {one.end}{f' ({one.why})' * bool(one.why)}") for one in desk.ended]
        return [(name, clean(text, _LINE)) for name, text in lines if text]

    def _ask(self, question: str) -> str:
        tools, desk = self._toolbox(), self.desk
        return tools.ask(question, desk.tick)

    def _toolbox(self) -> Tools:
        """The tools, which belong to the thread that plans, with all that was seen so far."""
        if self._tools is None:
            self._tools = Tools(self.desk.places, self.desk.tick_hz, self._snapshots)
        with self._lock:
            fresh, self._fresh = self._fresh, []
        for tick, caption in fresh:
            self._tools.keep(tick, caption)
        return self._tools

    def _hear(self, history: tuple[tuple[str, str], ...]) -> None:
        """What came of steps since the last turn."""
        known = self._history
        start = next((k for k in range(len(known) + 1) if known[k:] == history[: len(known) - k]), len(known))
        for step, came in history[len(known) - start :]:
            self._came(step, came)
        self._history = history

    def _came(self, step: str, came: str) -> None:
        desk, verified, why = self.desk, None, came
        end: End = "done" if came == DONE else "dropped" if came == GIVEN_UP else "failed"
        if came == DONE and self._judge is not None:
            opinion = self._judge.reached(step, self._since(self._set_at.get(step, 0)))
            verified, why = (None, "") if opinion is None else (opinion.yes, opinion.why)
            end = "refuted" if verified is False else "done"
        if end == "done":
            self.claims.append(Claim(desk.tick, step, verified))
        known = desk.goals.end(step, end, desk.turn, verified=verified, why=why)
        words = {"done": "done", "refuted": "said done but it does not look so", "dropped": "left"}.get(end, came)
        if known is not None:
            desk.summary.note(f"{step}: {words}")

    def _criticise(self, now: Situation) -> None:
        assert self._critic is not None
        step = now.steps[0] if now.steps else now.goal
        self.desk.opinion = self._critic.works(now.goal, step, self._since(self._critic_at))
        self._critic_at = self.desk.tick
        if self.desk.opinion is not None and not self.desk.opinion.yes:
            self.desk.summary.note(f"critic on {step}: {self.desk.opinion.why}")

    def _since(self, tick: int) -> list[Frame]:
        with self._lock:
            return [frame for at, frame in self._frames if at >= tick]

    def _set(self, steps: tuple[str, ...]) -> None:
        desk = self.desk
        desk.goals.set("tertiary", steps, desk.turn)
        self._set_at = {step: self._set_at.get(step, desk.tick) for step in steps}
