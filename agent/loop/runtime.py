"""The control loop: observe, decide, act, tell the subscribers.

`play` is the loop. `_Rollout` holds the state of the episode and has a method for each part of the loop, in the order
in which `play` calls them.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from agent.episode import Frame, Judge, Outcome, Start, Subscriber, Verdict
from agent.loop.context import ContextBuilder
from agent.loop.control import Control, Hands
from agent.loop.instruction import LiveInstruction
from agent.loop.players import DecisionRequest, Player, TimedDecision
from agent.loop.statistics import EpisodeStatistics
from agent.loop.subscribers import Segment, Subscribers
from agent.memory import memory_of, with_way
from envs.action import NEUTRAL, Action
from envs.foreign import ForeignError
from envs.world import World

_BLANK = "the picture was of a single colour all the time: the game may show nothing, or not have begun"
_PAUSE = 0.01  # seconds between two looks at whether a pause is over


def hold(last: Action) -> Action:
    """The fallback of a starved tick that keeps what is held, without turning."""
    return Action(keys=last.keys, buttons=last.buttons, pointer=last.pointer)


def release(last: Action) -> Action:
    """The fallback of a starved tick that releases everything."""
    return NEUTRAL


def play(
    world: World,
    player: Player,
    instruction: str | LiveInstruction,
    *,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    picture: Frame | None = None,
    time_limit: int = 700,
    judge: Judge | None = None,
    annotate: Callable[[Any], Mapping[str, Any]] | None = None,
    subscribers: Sequence[Subscriber] = (),
    observe: Literal["tick", "decision"] = "tick",
    end_on_done: bool = False,
    linger: int = 0,
    fallback: Callable[[Action], Action] | None = None,
    control: Control | None = None,
    attempt: str = "",
    compass: Callable[[Any], str] | None = None,
) -> Outcome:
    """Play one episode of at most `time_limit` ticks and say how it went.

    `picture`: what an instruction shows instead of naming it, if the instruction is a text. `judge` sees ground truth
    after the reset and after every step, and ends the episode with its verdict; pass a fresh `verifier.update`. It
    rules on the first instruction: once the instruction changes, other than by a step towards it, there is no verdict.
    `annotate` sees ground truth at the ticks where a decision is asked for; the subscribers get what it returns, for
    training data. `observe`: look at every tick, or only where a decision is due, which is faster in lockstep.
    `end_on_done`: the player may end the episode. `linger`: ticks to play on after success, to see whether the player
    says that it is done. `fallback`: the action of a starved tick, made from the last action; by default what the
    policy's spec says. `control`: pauses and ends the episode, and may replace the player. `attempt`: the memory of an
    earlier attempt at the same, which the player is told. `compass` tells it from ground truth in which direction the
    way to what is wanted begins, where the task has one; else `control` may know it.

    The first Ctrl+C ends the episode in order, the second one at once. The world stays open: its owner closes it.
    Raises what the world or the player raises.
    """
    if isinstance(instruction, str):
        instruction = LiveInstruction(instruction, picture)
    fallback = fallback or {"hold": hold, "release": release}[player.spec.starved]
    rules = _Rules(time_limit, linger, end_on_done, observe == "tick", fallback)
    rollout = _Rollout(
        world, player, instruction, control or Control(), rules, judge, annotate, subscribers, seed, attempt, compass
    )
    failure: Exception | None = None

    with _interrupt() as interrupted:
        try:
            rollout.start(seed, dict(options or {}))
            while not rollout.over() and not interrupted.is_set():
                if not rollout.may_play(interrupted):
                    continue
                hands = rollout.follow_orders()
                notes = rollout.ask_player(hands)  # it decides while the tick is not yet due
                world.pace()
                actions, decision = rollout.choose_actions(hands)
                segment = rollout.step(actions, decision, hands, notes)
                rollout.remember(segment, decision)
                rollout.tell(segment)
                rollout.judge_state()
                rollout.hear_done(decision)
        except KeyboardInterrupt:
            interrupted.set()
        except SystemExit as error:  # of the world or the player; the run must not end in silence
            failure = ForeignError(
                f"{type(world).__name__} or its player wanted to end the program: sys.exit({error.code!r}); expected "
                "an exception, or the end of the episode"
            )
        except Exception as error:
            failure = error  # raised below, after the subscribers are told that it is over

        outcome = rollout.outcome(interrupted.is_set(), failure)
        rollout.end(outcome, failed=failure is not None)
    if failure:
        raise failure
    # Ctrl+C may have come while the subscribers finished: the caller must learn of it too.
    return replace(outcome, interrupted=interrupted.is_set(), problems=rollout.subscribers.problems)


@dataclass(frozen=True, slots=True)
class _Rules:
    """How an episode is played, see `play`. `every_tick`: look at every tick."""

    time_limit: int
    linger: int
    end_on_done: bool
    every_tick: bool
    fallback: Callable[[Action], Action]


class _Rollout:
    """One episode while it is played."""

    def __init__(
        self,
        world: World,
        player: Player,
        instruction: LiveInstruction,
        control: Control,
        rules: _Rules,
        judge: Judge | None,
        annotate: Callable[[Any], Mapping[str, Any]] | None,
        subscribers: Sequence[Subscriber],
        seed: int | None,
        attempt: str,
        compass: Callable[[Any], str] | None,
    ) -> None:
        self.world, self.player, self.control, self.rules = world, player, control, rules
        self.live, self.instruction = instruction, instruction.now
        self.judge, self.annotate, self.compass = judge, annotate, compass
        self.subscribers = Subscribers(subscribers)
        self.statistics = EpisodeStatistics(world.tick_hz, world.realtime)
        self.contexts = ContextBuilder(player.spec, seed, world.tick_hz)
        # ticks in one pass of the loop
        self.most = 1 if rules.every_tick else min(max(1, player.spec.chunk), self.contexts.every or 1 << 30)
        self.memory = memory_of(world, self.instruction.text, attempt)
        self.tick = 0
        self.frame: Frame | None = None  # the newest
        self.info: Mapping[str, Any] = {}
        self.action = NEUTRAL  # the last one
        self.replaced = False  # whether another actor replaces the player
        self.blank = True  # every picture so far is of a single colour
        self.ended = False  # by the world
        self.why = ""  # the player or the control ended it
        self.verdict: Verdict | None = None
        self.decided = 0  # the tick of the verdict
        self.judges: dict[str, Judge | None] = {}  # as they were at places to which the world may go back
        self.said: list[tuple[int, str]] = []
        self.spoken = -1  # the decision that spoke last
        self.ending = -1  # the decision that says "done" and is being played
        self.done = False  # whether the player said that it is done

    def start(self, seed: int | None, options: dict[str, Any]) -> None:
        """Reset the player and the world, and tell the subscribers."""
        self.player.begin()
        observation, self.info = self.world.reset(seed=seed, options=options)
        frame = self.frame = observation["pixels"]
        self.look(frame)
        self.contexts.saw(frame, 0)
        text, hertz, size = self.instruction.text, self.world.tick_hz, frame.shape[:2]
        controls, space = self.world.controls, self.world.action_space
        self.subscribers.start(Start(text, seed, options, hertz, size, self.player.actor, controls, space))
        self.judge_state()
        self.statistics.start()

    def over(self) -> bool:
        """Whether no further tick is played, other than by Ctrl+C."""
        if self.ended or self.why:
            return True
        if self.verdict is None:
            return self.tick >= self.control.since + self.rules.time_limit
        return self.tick >= self.decided + self.rules.linger * self.verdict.success

    def may_play(self, interrupted: threading.Event) -> bool:
        """Whether the control lets this tick be played; waits while it pauses the episode."""
        while (order := self.control.order(self.tick)) == "wait":
            self.statistics.paused()
            if interrupted.wait(_PAUSE):
                break
        if order == "end":
            self.why = self.control.why
        return order == "play"

    def follow_orders(self) -> Hands | None:
        """The hands that replace the player, if any. A change of hands or instruction drops the plan."""
        hands = self.control.hands(self.tick)
        if (hands is not None) != self.replaced:
            self.replaced = hands is not None
            self.player.begin(self.tick)
            self.contexts.forget()
        if (now := self.live.now).version != self.instruction.version:
            if now.purpose != self.instruction.purpose:
                self.judge = None
            self.instruction = now
            self.player.begin(self.tick)
            self.contexts.forget_thoughts()
            self.memory.instructed(now.text)
        return hands

    def ask_player(self, hands: Hands | None) -> Mapping[str, Any] | None:
        """Ask for a decision, if one is due; the annotation of the frame that it is made from."""
        if hands is not None or not self.player.due(self.tick):
            return None
        assert self.frame is not None
        state = self.info.get("state")
        notes = self.annotate(state) if self.annotate else None
        memory = with_way(self.memory.text, self.compass(state) if self.compass else self.control.way)
        context = self.contexts.context(self.frame, self.instruction, self.control.dialogue, memory, self.tick)
        context = replace(context, mouse=str(self.info.get("mouse", "")))
        seen = state if self.player.sees_state else None
        self.player.ask(DecisionRequest(self.tick, self.player.queue.epoch, context, seen))
        return notes

    def choose_actions(self, hands: Hands | None) -> tuple[Sequence[Action], TimedDecision | None]:
        """The actions of this tick or of this decision, none on a starved tick; and the decision in force."""
        if hands is not None:
            return (hands.action,), None
        return self.player.queue.take(self.tick, max(1, min(self.most, self.rules.time_limit - self.tick)))

    def step(
        self,
        actions: Sequence[Action],
        decision: TimedDecision | None,
        hands: Hands | None,
        notes: Mapping[str, Any] | None,
    ) -> Segment:
        """Step the world by `actions`, or by the fallback if there are none."""
        assert self.frame is not None
        starved = not actions
        actions = actions or (self.rules.fallback(self.action),)
        tick, seen, now = self.tick, self.frame, time.time()
        self.statistics.stepping()
        if len(actions) == 1:
            observation, reward, terminated, truncated, self.info = self.world.step(actions[0])
        else:
            observation, reward, terminated, truncated, self.info = self.world.step_chunk(actions)
            actions = actions[: self.info.get("ticks", len(actions))]
        self.frame, self.ended, self.action = observation["pixels"], terminated or truncated, actions[-1]
        self.look(self.frame)
        self.tick += len(actions)
        self.contexts.saw(self.frame, self.tick)
        actor = hands.actor if hands else self.player.actor
        source = None if starved else decision
        text = self.instruction.text
        return Segment(tick, seen, notes, actions, float(reward), text, actor, starved, source, self.info, now)

    def look(self, frame: Frame) -> None:
        """Note whether anything was ever to be seen."""
        self.blank = self.blank and bool((frame == frame[0, 0]).all())

    def remember(self, segment: Segment, decision: TimedDecision | None) -> None:
        """Keep what was done, thought and said for later decisions."""
        thought = segment.decision.decision.thought if segment.decision else ""
        self.contexts.acted(segment.tick, segment.actions, thought)
        self.memory.acted(segment.actions, by_other=self.replaced and segment.actor != self.player.actor)
        self.memory.thought(thought)
        if decision and decision.decision.speech and decision.index != self.spoken:
            self.spoken = decision.index
            self.said.append((self.tick, decision.decision.speech))
            self.memory.said(decision.decision.speech)

    def tell(self, segment: Segment) -> None:
        """Tell the subscribers."""
        self.statistics.add(segment)
        self.subscribers.steps(segment)

    def judge_state(self) -> None:
        """Let the judge look at ground truth, until it has ruled. Where the world went back, the judge goes back, too:
        what was done since is not done."""
        for name in self.info.get("saved", ()):
            self.judges[name] = copy.deepcopy(self.judge)
        if (name := self.info.get("restored")) in self.judges and self.judge is not None:
            self.judge = copy.deepcopy(self.judges[name])
        if self.judge and self.verdict is None:
            self.verdict, self.decided = self.judge(self.info.get("state")), self.tick

    def hear_done(self, decision: TimedDecision | None) -> None:
        """Whether the player says that it is done: at the end of the chunk that says so.

        A player that is asked early decides anew before that chunk ends. Then it is done if it says so again.
        """
        if decision is None or not decision.decision.done:
            self.ending = -1
            return
        again = self.ending not in (-1, decision.index)
        self.ending = decision.index
        if not again and self.player.queue.remaining(self.tick):
            return
        self.done, self.ending = True, -1
        self.memory.claimed_done()
        if self.rules.end_on_done and not self.control.done(decision.decision):
            self.why = "the player says that it is done"

    def outcome(self, interrupted: bool, failure: Exception | None) -> Outcome:
        """How the episode went."""
        success: bool | None
        if self.verdict:
            success, why = self.verdict.success, self.verdict.why
        elif failure:
            success, why = None, f"{type(failure).__name__}: {failure}"
        elif interrupted:
            success, why = None, "interrupted"
        else:
            success = False if self.judge else None
            why = self.why or ("the world ended the episode" if self.ended else "the time is up")
        return replace(
            self.statistics.outcome(success, why, self.player),
            interrupted=interrupted,
            said=tuple(self.said),
            done=self.done,
            decided=self.decided if self.verdict else None,
            warnings=(*self.world.warnings, *([_BLANK] if self.blank and self.tick else [])),
        )

    def end(self, outcome: Outcome, *, failed: bool) -> None:
        """Tell the subscribers, and release the keys in a world that goes on without us."""
        self.subscribers.end(outcome, self.frame)
        if self.world.realtime and not self.ended and not failed:
            self.world.step(NEUTRAL)


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """The first Ctrl+C sets the event, so that no step is cut in half; the second one raises KeyboardInterrupt.

    Outside of the main thread, where Python delivers no signals, the event stays unset.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def on_signal(signum: int, stack: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
