"""`Rewindable`: a real room goes back when it is asked to, and its judge with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agent.loop.players import ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Decision
from envs.action import NEUTRAL, Action
from envs.playroom.state import PlayroomState
from envs.playroom.world import Playroom
from envs.snapshots import MOST, Rewindable
from tasks.verifier import Verdict
from tests.support.components import needs
from tests.support.worlds import SquareWorld

pytestmark = needs("mujoco-drawing")
WALK = Action(keys=frozenset({"KeyW"}), look=(5.0, 0.0))


@pytest.fixture(scope="module")
def world() -> Iterator[Rewindable]:
    made = Rewindable(Playroom("64x48"))
    yield made
    made.close()


def test_it_goes_back_before_the_next_tick_and_says_so(world: Rewindable) -> None:
    world.reset(seed=1)
    world.step(WALK)
    world.keep("start")
    *_, info = world.step(WALK)
    assert info["saved"] == ("start",)
    there = info["state"]
    for _ in range(20):
        *_, info = world.step(WALK)
    assert "restored" not in info
    assert world.go_back("start")
    *_, info = world.step_chunk([WALK])
    assert info["restored"] == "start"
    assert (info["state"].tick, info["state"].x, info["state"].yaw) == (there.tick, there.x, there.yaw)
    assert not world.go_back("nowhere")
    world.reset(seed=1)
    assert world.kept == (), "places are of one episode"
    assert not world.go_back("start")


def test_no_more_places_are_kept_than_there_is_room_for(world: Rewindable) -> None:
    world.reset(seed=1)
    for number in range(MOST + 3):
        world.keep(str(number))
    world.step(NEUTRAL)
    assert world.kept == tuple(str(number) for number in range(3, MOST + 3))
    assert not world.go_back("0")
    world.keep("3")  # under its name again: it is the newest now
    world.step(NEUTRAL)
    assert world.kept[-1] == "3"


def test_a_world_that_can_not_save_is_refused() -> None:
    with pytest.raises(ValueError, match="SquareWorld does not save"):
        Rewindable(SquareWorld())


@pytest.mark.parametrize("back", [False, True])
def test_what_was_done_before_going_back_is_not_done(world: Rewindable, back: bool) -> None:
    """A judge who counts: it must see four ticks to the right of the start, in all."""

    class Judge:
        seen = 0

        def update(self, state: PlayroomState) -> Verdict | None:
            self.seen += 1
            return Verdict(True, "seen") if self.seen == 12 else None

    asked = iter(range(1000))

    def decide(state: PlayroomState) -> Decision:
        tick = next(asked)
        if tick == 1:
            world.keep("here")
        if tick == 2 and back:
            world.go_back("here")
        return Decision((WALK,) * 4)

    outcome = play(world, ScriptedPlayer(decide), "walk", seed=2, judge=Judge().update, time_limit=40)
    assert outcome.success
    assert outcome.decided == (11 + 4 * back)
    assert np.isfinite(outcome.seconds)
