"""The thinker saves a moment of a real room and goes back to it; what it knows stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.long.harness import LongPlanner
from agent.long.thinker import Desk
from agent.loop.players import ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Decision
from agent.talk.planner import Plan, Situation
from agent.view import View
from envs.action import Action
from envs.playroom.state import PlayroomState
from envs.playroom.world import Playroom
from envs.snapshots import Rewindable
from tests.support.components import needs

pytestmark = needs("mujoco-drawing")
WALK = Action(keys=frozenset({"KeyW"}), look=(3.0, 0.0))
NOW = Situation("find the ball")


class Asking:
    """A thinker that asks one thing, and then plans."""

    name, view = "asking", View()

    def __init__(self) -> None:
        self.ask = ""
        self.told: dict[str, str] = {}

    def think(self, now: Situation, desk: Desk) -> Plan:
        self.told = dict(now.more)
        ask, self.ask = self.ask, ""
        return Plan(asks=(ask,)) if ask else Plan(("go on",))

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def world() -> Iterator[Rewindable]:
    made = Rewindable(Playroom("64x48"))
    yield made
    made.close()


def test_it_goes_back_and_still_knows(world: Rewindable) -> None:
    thinker = Asking()
    planner = LongPlanner(thinker, describe=lambda frame: "blue ball ahead")
    planner.offer(world)
    where: list[tuple[int, float, float]] = []
    answers: list[str] = []

    def ask(text: str) -> None:
        thinker.ask = text
        planner.plan(NOW)
        answers.append(thinker.told[f"Answer to {text!r}"])

    def decide(state: PlayroomState) -> Decision:
        where.append((state.tick, state.x, state.y))
        if len(where) == 2:
            ask("save corner")
        if len(where) == 6:
            ask("back nowhere")
            ask("back corner")
        return Decision((WALK,) * 4)

    play(world, ScriptedPlayer(decide), "walk", seed=3, subscribers=[planner], time_limit=28)
    assert answers == [
        "this moment is kept as corner",
        "no moment is called nowhere; kept: corner",
        "the game goes back to corner",
    ]
    assert where[6] == where[2], "four ticks after the moment that was kept"
    planner.plan(NOW)
    assert '"back NAME"' in thinker.told["You may also ask"]
    assert "went back to corner: what came after it is not done" in thinker.told["Summary"]
    assert planner.desk.places.measure("blue ball"), "what was seen meanwhile is known"
    assert planner.desk.places.here.heading == pytest.approx(24.0, abs=13.0), "not the 84 degrees that it turned in all"
    planner.close()


def test_where_the_world_can_not_go_back_there_is_no_such_tool() -> None:
    thinker = Asking()
    thinker.ask = "save corner"
    LongPlanner(thinker).plan(NOW)
    assert thinker.told["Answer to 'save corner'"] == "there is no tool for 'save corner'"
    assert "You may also ask" not in thinker.told
