"""The loop: what policies may see, starved ticks, changed instructions, subscribers that fail, Ctrl+C."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from agent.episode import Outcome, Start, Step, Subscriber
from agent.loop.control import Control, Order
from agent.loop.instruction import LiveInstruction
from agent.loop.players import Beside, InStep, ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import NEUTRAL, Action
from envs.world import World
from envs.wrappers import RealTime
from tests.support.worlds import SquareWorld

SPEC = PolicySpec(View.stretched((24, 32), 3), history=3, chunk=4, tick_hz=50.0)
FORWARD = Action(keys=frozenset({"KeyW"}))


class Walk:
    """Walks, with `spec.chunk` different actions a decision; keeps the contexts that it was given."""

    def __init__(self, spec: PolicySpec = SPEC, wait: Callable[[], float] = lambda: 0.0, done_at: int = -1) -> None:
        self.spec, self.wait, self.done_at = spec, wait, done_at
        self.contexts: list[Context] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.contexts += contexts
        time.sleep(self.wait())
        chunk = tuple(Action(keys=FORWARD.keys, look=(float(i), 0.0)) for i in range(self.spec.chunk))
        return [Decision(chunk, thought="on", done=len(self.contexts) == self.done_at) for _ in contexts]


class Log(Subscriber):
    def __init__(self) -> None:
        self.start: Start | None = None
        self.steps: list[Step] = []
        self.ends: list[tuple[Outcome, Any]] = []

    def on_start(self, start: Start) -> None:
        self.start = start

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def on_end(self, outcome: Outcome, frame: Any) -> None:
        self.ends.append((outcome, frame))


class Ruling:
    def __init__(self, success: bool, why: str) -> None:
        self.success, self.why = success, why


def test_a_policy_decides_every_chunk_and_sees_its_history_and_what_it_did() -> None:
    policy, log = Walk(), Log()
    outcome = play(SquareWorld(length=14), InStep(policy), "go", seed=5, subscribers=[log])

    assert (outcome.ticks, outcome.decisions, outcome.starved, outcome.clock) == (14, 4, 0, "lockstep")
    assert outcome.success is None
    assert outcome.why == "the world ended the episode"
    assert [step.tick for step in log.steps] == list(range(14))
    assert [step.index for step in log.steps] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 2
    assert [step.asked for step in log.steps] == [0] * 4 + [4] * 4 + [8] * 4 + [12] * 2
    assert [len(context.frames) for context in policy.contexts] == [1, 2, 3, 3]
    assert [len(context.actions) for context in policy.contexts] == [0, 1, 2, 2]
    last = policy.contexts[-1]
    for frame, tick in zip(last.frames, (4, 8, 12), strict=True):
        np.testing.assert_array_equal(frame, log.steps[tick].frame)
    assert last.actions == tuple(tuple(step.action for step in log.steps[a : a + 4]) for a in (4, 8))
    assert len({context.seed for context in policy.contexts}) == 4
    assert outcome.chunk_age_mean == pytest.approx(np.mean([0, 1, 2, 3] * 3 + [0, 1]))


def test_looking_only_at_decisions_plays_the_same_game() -> None:
    every, few = Log(), Log()
    play(SquareWorld(), InStep(Walk()), "go", seed=5, subscribers=[every], time_limit=30)
    outcome = play(SquareWorld(), InStep(Walk()), "go", seed=5, subscribers=[few], time_limit=30, observe="decision")

    assert outcome.ticks == 30
    assert [step.action for step in few.steps] == [step.action for step in every.steps]
    assert [step.tick for step in few.steps if step.frame is not None] == list(range(0, 30, 4))
    for seen, other in zip(few.steps[::4], every.steps[::4], strict=True):
        np.testing.assert_array_equal(seen.frame, other.frame)
    assert sum(step.reward for step in few.steps) == 30.0


def test_ground_truth_reaches_the_judge_and_scripts_but_no_policy_and_no_subscriber() -> None:
    judged: list[Any] = []

    def judge(state: Any) -> Ruling | None:
        judged.append(state)
        return Ruling(True, "there") if len(judged) == 9 else None

    policy, log = Walk(), Log()
    outcome = play(SquareWorld(), InStep(policy), "go", seed=1, judge=judge, subscribers=[log])
    assert (outcome.success, outcome.why, outcome.ticks) == (True, "there", 8)
    assert all(set(state) == {"x", "y"} for state in judged)
    assert all("state" not in step.info for step in log.steps)

    asked: list[Any] = []
    script = ScriptedPlayer(lambda state: (asked.append(state), Decision((FORWARD,) * 4))[1], spec=SPEC)
    log = Log()
    play(SquareWorld(), script, "go", seed=1, subscribers=[log], annotate=lambda state: {"x": state["x"]})
    assert len(asked) == 10
    assert {step.actor for step in log.steps} == {"expert"}
    assert [step.notes for step in log.steps if step.notes] == [{"x": state["x"]} for state in asked]


def test_who_is_not_done_in_time_has_failed_and_a_player_may_say_that_it_is_done() -> None:
    late = play(SquareWorld(), InStep(Walk()), "go", time_limit=10, judge=lambda state: None)
    assert (late.success, late.why, late.ticks) == (False, "the time is up", 10)
    done = play(SquareWorld(), InStep(Walk(done_at=2)), "go", end_on_done=True)
    assert (done.success, done.why, done.ticks) == (None, "the player says that it is done", 8)
    ignored = play(SquareWorld(), InStep(Walk(done_at=2)), "go")
    assert ignored.ticks == 40


def test_who_is_asked_before_his_chunk_ends_is_done_when_he_says_so_again() -> None:
    class Early(InStep):
        def due(self, tick: int) -> bool:
            return tick % 2 == 0

    class Done(Walk):
        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            return [Decision((NEUTRAL,) * 4, done=True) for _ in contexts]

    outcome = play(SquareWorld(), Early(Done()), "go", end_on_done=True, time_limit=40)
    assert outcome.why == "the player says that it is done"
    assert outcome.ticks < 12
    # who thinks better of it goes on
    once = play(SquareWorld(), Early(Walk(done_at=2)), "go", end_on_done=True, time_limit=40)
    assert not once.done


def test_frames_come_in_the_size_that_the_policy_declares() -> None:
    policy = Walk(PolicySpec(View.stretched((12, 16)), chunk=4))
    log = Log()
    play(SquareWorld(), InStep(policy), "go", seed=2, time_limit=1, subscribers=[log])
    assert policy.contexts[0].frames[0].shape == (12, 16, 3)
    assert log.steps[0].frame is not None
    area = log.steps[0].frame.reshape(12, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(policy.contexts[0].frames[0], area, atol=1)


class MovesOn(SquareWorld):
    """A world in real time whose clock is in the test's hand: `wait(tick)` passes the time until a tick is due."""

    realtime = True

    def __init__(self, wait: Callable[[int], object]) -> None:
        super().__init__()
        self.wait = wait

    def pace(self) -> None:
        self.wait(self.tick)


def test_inference_shorter_than_a_tick_starves_nothing() -> None:
    player, log = Beside(Walk(wait=lambda: 0.002)), Log()
    outcome = play(MovesOn(lambda tick: player._idle.wait(20)), player, "go", subscribers=[log])
    player.close()
    assert (outcome.clock, outcome.starved, outcome.decisions, outcome.chunk_age_mean) == ("realtime", 0, 10, 1.5)
    assert [step.asked for step in log.steps] == [tick // 4 * 4 for tick in range(40)]
    assert outcome.latency_p50_ms >= 2.0


def test_slow_inference_starves_ticks_holds_the_keys_and_drops_what_is_past() -> None:
    go = threading.Semaphore(0)

    def think() -> float:
        go.acquire()
        return 0.0

    def wait(tick: int) -> None:
        """Answers come two ticks late: of the four actions of a chunk the last two are played."""
        if player._asked is not None and tick - player._asked == 2:
            go.release()
            player._idle.wait(20)

    player, log = Beside(Walk(wait=think)), Log()
    outcome = play(MovesOn(wait), player, "go", subscribers=[log])
    go.release()
    player.close()
    # Asked at 0, 3, 6, ..., as soon as the last answer was there; answered at 2, 5, 8, ...
    starved = [0, 1, *range(4, 40, 3)]
    assert [step.tick for step in log.steps if step.starved] == starved
    assert (outcome.starved, outcome.chunk_age_mean) == (len(starved), pytest.approx(2.5, abs=0.05))
    for before, step in zip([None, *log.steps], log.steps, strict=False):
        if step.starved:
            held = before.action if before else NEUTRAL
            assert step.action == Action(keys=held.keys)
            assert (step.decision, step.index, step.asked) == (None, -1, -1)
        else:
            assert step.action.look[0] == step.tick - step.asked  # the position in the chunk is that of the tick


def test_a_world_kept_to_the_clock_takes_its_time() -> None:
    player = Beside(Walk(wait=lambda: 0.008))
    outcome = play(RealTime(SquareWorld()), player, "go")
    player.close()
    assert outcome.clock == "realtime"
    assert outcome.seconds > 40 / 50 - 0.05
    assert outcome.latency_p50_ms >= 8.0


def test_ticks_that_come_late_are_counted_and_pauses_are_not() -> None:
    class Stalls(SquareWorld):
        realtime = True

        def pace(self) -> None:
            time.sleep(0.05 if self.tick in (5, 20) else 0.0)  # a tick lasts 20 ms

    class Pauses(Control):
        waited = 0

        def order(self, tick: int) -> Order:
            self.waited += tick == 30
            return "wait" if tick == 30 and self.waited < 8 else "play"

    log = Log()
    outcome = play(Stalls(), InStep(Walk()), "go", subscribers=[log], control=Pauses())
    assert outcome.late >= 2
    gaps = [b.time - a.time for a, b in pairwise(log.steps) if a.time and b.time]
    assert len(gaps) == 39
    late = [tick + 1 for tick, gap in enumerate(gaps) if gap >= 0.03 and tick + 1 != 30]
    assert {5, 20} <= set(late)
    assert outcome.late == len(late)
    assert outcome.to_json()["late"] == outcome.late
    Stalls.realtime = False
    assert play(Stalls(), InStep(Walk()), "go").late == 0  # nothing is late in lockstep


def test_what_was_planned_for_another_instruction_or_episode_is_never_played() -> None:
    """Randomised delays against randomised changes: each action tells its instruction, and must be played under it."""
    rng = random.Random(7)

    class Echo:
        spec = PolicySpec(View.stretched((24, 32)), chunk=6)

        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            time.sleep(rng.choice((0.0, 0.0005, 0.001, 0.003)))
            return [Decision((Action(look=(0.0, 0.0), wheel=float(c.instruction)),) * 6) for c in contexts]

    class Paced(SquareWorld):
        def pace(self) -> None:
            time.sleep(0.0003)

        def step(self, action: Action) -> Any:
            return super().step(Action(keys=action.keys))

    player, log, goal = Beside(Echo()), Log(), LiveInstruction("0")
    over = threading.Event()

    def change() -> None:
        n = 0
        while not over.is_set():
            n += 1
            goal.set(str(n))
            time.sleep(rng.uniform(0.0, 0.004))

    thread = threading.Thread(target=change)
    thread.start()
    stale = played = 0
    try:
        for _ in range(25):
            outcome = play(Paced(length=60), player, goal, subscribers=[log])
            stale += outcome.stale
    finally:
        over.set()
        thread.join()
        player.close()
    for step in log.steps:
        if not step.starved:
            played += 1
            assert str(int(step.action.wheel)) == step.instruction
    assert stale > 5  # there was something to mix up
    assert played > 50


def test_an_instruction_changes_from_the_next_decision_on() -> None:
    goal, log, policy = LiveInstruction("left"), Log(), Walk()

    class Nagger(Subscriber):
        def on_step(self, step: Step) -> None:
            if step.tick == 5:
                goal.set("right")

    play(SquareWorld(), InStep(policy), goal, subscribers=[log, Nagger()], time_limit=12)
    assert [step.instruction for step in log.steps] == ["left"] * 6 + ["right"] * 6
    assert [step.asked for step in log.steps] == [0] * 4 + [4] * 2 + [6] * 4 + [10] * 2
    assert [context.instruction for context in policy.contexts] == ["left", "left", "right", "right"]
    assert [len(chunk) for chunk in policy.contexts[-2].actions] == [4, 2]


def test_a_subscriber_that_raises_does_not_stop_the_game() -> None:
    class Broken(Subscriber):
        def on_step(self, step: Step) -> None:
            raise RuntimeError("no paper")

    log = Log()
    outcome = play(SquareWorld(), InStep(Walk()), "go", subscribers=[Broken(), log])
    assert len(log.steps) == outcome.ticks == 40
    assert outcome.problems == ("Broken: RuntimeError: no paper",)
    assert log.ends[0][0].problems == outcome.problems


@pytest.mark.parametrize("player", [InStep(Walk()), Beside(Walk())])
def test_ctrl_c_ends_the_episode_and_everyone_hears_of_it(player: InStep | Beside) -> None:
    class Finger(Subscriber):
        def on_step(self, step: Step) -> None:
            if step.tick == 6:
                os.kill(os.getpid(), signal.SIGINT)

    log, before = Log(), signal.getsignal(signal.SIGINT)
    outcome = play(SquareWorld(), player, "go", judge=lambda state: None, subscribers=[Finger(), log])
    player.close()
    assert (outcome.interrupted, outcome.success, outcome.why, outcome.ticks) == (True, None, "interrupted", 7)
    assert log.ends[0][0] == outcome
    assert log.ends[0][1] is not None
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_does_not_wait_for_the_policy() -> None:
    def press_twice() -> float:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return 60.0

    log = Log()
    start = time.monotonic()
    outcome = play(SquareWorld(), InStep(Walk(wait=press_twice)), "go", subscribers=[log])
    assert time.monotonic() - start < 5
    assert outcome.interrupted
    assert len(log.ends) == 1


def test_real_time_worlds_are_left_with_nothing_held() -> None:
    world: World = RealTime(SquareWorld())
    play(world, InStep(Walk()), "go", time_limit=6)
    assert world.held == (frozenset(), frozenset())


@pytest.mark.parametrize("make", [InStep, Beside])
def test_what_a_policy_raises_reaches_the_caller_and_subscribers_hear_the_end(make: Any) -> None:
    class Broken:
        spec = SPEC

        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            raise ValueError("no such token")

    log, player = Log(), make(Broken())
    with pytest.raises(ValueError, match="no such token"):
        play(RealTime(SquareWorld()), player, "go", subscribers=[log])
    player.close()
    assert log.ends[0][0].why == "ValueError: no such token"
