"""The queue between inference and the loop, and when players are asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from agent.loop.players import Beside, ChunkQueue, DecisionRequest, InStep, TimedDecision
from agent.policy import Context, Decision, PolicySpec
from envs.action import Action

CHUNK = tuple(Action(look=(float(i), 0.0)) for i in range(4))


def answer(tick: int, epoch: int, actions: tuple[Action, ...] = CHUNK) -> TimedDecision:
    return TimedDecision(tick, epoch, Decision(actions), 0.001)


def test_a_chunk_counts_from_the_tick_it_was_asked_for() -> None:
    queue = ChunkQueue()
    queue.reset()
    assert queue.take(0) == ((), None)
    assert queue.take(1) == ((), None)
    assert queue.merge(answer(0, queue.epoch))
    assert queue.remaining(2) == 2
    assert queue.take(2)[0] == CHUNK[2:3]
    assert queue.take(3, most=4)[0] == CHUNK[3:]
    assert queue.take(4)[0] == ()
    assert list(queue.late) == [2]


def test_a_newer_decision_replaces_the_older_plan() -> None:
    queue = ChunkQueue()
    queue.reset()
    queue.merge(answer(0, queue.epoch))
    assert queue.take(0)[0] == CHUNK[:1]
    other = (Action(keys=frozenset({"KeyW"})),)
    queue.merge(answer(1, queue.epoch, other))
    actions, source = queue.take(1, most=4)
    assert actions == other
    assert source is not None
    assert source.index == 1
    assert queue.remaining(2) == 0


def test_a_chunk_that_is_wholly_past_or_of_an_earlier_epoch_is_dropped() -> None:
    queue = ChunkQueue()
    queue.reset()
    old = queue.epoch
    for tick in range(4):
        queue.take(tick)
    assert not queue.merge(answer(0, old))
    queue.reset(tick=4)
    assert not queue.merge(answer(3, old))
    assert queue.stale == 1
    assert queue.take(4) == ((), None)
    assert queue.merge(answer(4, queue.epoch))


def test_a_late_player_is_asked_earlier() -> None:
    class Waits:
        spec = PolicySpec(chunk=4)

        def __init__(self) -> None:
            self.go = threading.Semaphore(0)

        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            self.go.acquire()
            return [Decision(CHUNK) for _ in contexts]

    policy = Waits()
    player = Beside(policy)
    player.begin()
    assert player.due(0)
    player.ask(DecisionRequest(0, player.queue.epoch, Context((), "go")))
    for tick in range(2):
        assert not player.due(tick)  # it is thinking
        player.queue.take(tick)
    policy.go.release()
    assert player._idle.wait(5)
    assert player.queue.take(2)[0] == CHUNK[2:3]
    assert player.due(2)  # it was two ticks late: asked at 2, it will answer when tick 4 is played
    player.close()


def test_in_step_asks_again_where_a_decision_was_shorter_than_the_chunk() -> None:
    class Short:
        spec = PolicySpec(chunk=4)

        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            return [Decision(CHUNK[:2]) for _ in contexts]

    player = InStep(Short())
    player.begin()
    player.ask(DecisionRequest(0, player.queue.epoch, Context((), "go")))
    assert [player.due(tick) for tick in range(3)] == [False, False, True]
