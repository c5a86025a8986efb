"""Errands: locks inside locks that the expert can open, and a verifier that counts steps in their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.loop.players import InStep, ScriptedPlayer
from agent.loop.runtime import play
from agent.random_policy import RandomPolicy
from envs.doom.level import Level
from envs.doom.placement import TRAINING_THEMES
from envs.doom.world import DoomState, DoomWorld
from tasks import world_tasks
from tasks.doom.errands import ROOMS, STEPS, ErrandVerifier, steps_to
from tasks.doom.planning import Unsolvable, start_state, without
from tasks.doom.suites import SUITES
from tasks.expert_policy import ExpertPolicy
from tasks.task import Task, VerifierSpec


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return list(SUITES["doom-errands"].tasks(2, 8))


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld()
    yield made
    made.close()


def level_of(task: Task) -> Level:
    return Level.from_json(task.options["level"])


def steps_of(task: Task) -> list[dict[str, object]]:
    assert task.verifier is not None
    return list(task.verifier.args["steps"])


def test_houses_and_errands_are_as_large_as_they_should_be(tasks: list[Task]) -> None:
    for task in tasks:
        level = level_of(task)
        assert ROOMS[0] <= len(level.rooms) <= ROOMS[1]
        assert len(level.doors) == len(level.rooms) - 1  # one way from any room to any other
        assert STEPS[0] <= len(steps_of(task)) <= STEPS[1]
        assert {room.theme.name for room in level.rooms} <= set(TRAINING_THEMES)
        assert {door.kind for door in level.doors} >= {"locked", "remote"}
        assert steps_of(task)[-1]["asked"]


def test_there_are_locks_inside_locks(tasks: list[Task]) -> None:
    """Without the keys no errand can be done, and most houses have a key or a switch behind a lock or a gate."""
    nested = 0
    for task in tasks:
        level = level_of(task)
        asked = [s for s in steps_of(task) if s.get("asked")]
        goals = [VerifierSpec(str(s["name"]), dict(s["args"])) for s in asked]  # type: ignore[call-overload]
        needed = {i for s in steps_of(task) if not s.get("asked") for i in s["args"].get("targets", [])}  # type: ignore[attr-defined]
        if needed:
            bare = replace(level, things=tuple(t for t in level.things if t.kind != "key"))
            moved = [bare.things.index(level.things[g.args["targets"][0]]) for g in goals]
            with pytest.raises(Unsolvable):
                steps_to(bare, [VerifierSpec(g.name, {"targets": [i]}) for g, i in zip(goals, moved, strict=True)])
        opened = False
        for step in steps_of(task):
            bar = step["name"] == "open" and level.doors[step["args"]["doors"][0]].kind == "locked"  # type: ignore[index]
            if opened and not step.get("asked") and step["name"] in ("press", "pick_up"):
                nested += 1
                break
            opened = opened or bar or step["name"] == "press"
    assert nested >= len(tasks) - 2


@pytest.mark.parametrize("index", [1, 2])
def test_the_expert_does_an_errand(tasks: list[Task], world: DoomWorld, index: int) -> None:
    task = tasks[index]
    verifier = world_tasks.verifier_of(task)
    assert isinstance(verifier, ErrandVerifier)
    outcome = play(
        world, ScriptedPlayer(ExpertPolicy().start(task)), task.instruction, seed=task.seed, options=task.options,
        time_limit=task.time_limit, judge=verifier.update, observe="decision",
    )  # fmt: skip
    assert outcome.success, outcome.why
    assert verifier.progress == 1.0


def test_chance_does_no_errand(tasks: list[Task], world: DoomWorld) -> None:
    task = tasks[0]
    verifier = world_tasks.verifier_of(task)
    assert isinstance(verifier, ErrandVerifier)
    outcome = play(
        world, InStep(RandomPolicy()), task.instruction, seed=task.seed, options=task.options, time_limit=700,
        judge=verifier.update, observe="decision",
    )  # fmt: skip
    assert not outcome.success
    assert verifier.progress < 0.5


# The verifier, on states without an engine.


@pytest.fixture
def start(tasks: list[Task]) -> DoomState:
    return start_state(level_of(tasks[0]))


def at_room(state: DoomState, room: int) -> DoomState:
    x, y = state.level.rooms[room].rect.centre
    return replace(state, x=x, y=y)


def test_what_prepares_counts_whenever_it_is_done_and_in_order(start: DoomState) -> None:
    key = next(i for i, t in enumerate(start.level.things) if t.kind == "key")
    room = next(i for i, r in enumerate(start.level.rooms) if not r.rect.contains(start.x, start.y))
    verifier = ErrandVerifier([
        {"name": "enter", "args": {"room": room}},
        {"name": "pick_up", "args": {"targets": [key]}},
        {"name": "press", "args": {"panel": 0}},
    ])  # fmt: skip
    verifier.update(start)
    assert verifier.done == 0
    taken = without(start, [key])
    verifier.update(taken)
    assert verifier.done == 0, "the room comes first"
    verifier.update(at_room(taken, room))
    assert verifier.done == 2
    assert verifier.stage == 2
    verdict = verifier.update(replace(taken, markers=taken.markers - {0}))
    assert verdict is not None
    assert verdict.success, "the key may be taken before its turn"


def test_what_was_asked_for_counts_in_its_turn_alone(start: DoomState) -> None:
    first, second = [i for i, t in enumerate(start.level.things) if t.kind != "key"][:2]
    steps = [{"name": "pick_up", "args": {"targets": [i]}, "asked": True} for i in (first, second)]
    verifier = ErrandVerifier(steps)
    verifier.update(start)
    verifier.update(without(start, [second]))
    assert verifier.done == 0
    assert len(verifier.wrong) == 1
    right = ErrandVerifier(steps)
    right.update(start)
    right.update(without(start, [first]))
    assert right.progress == 0.5
    verdict = right.update(without(start, [first, second]))
    assert verdict is not None
    assert verdict.success


def test_what_nobody_asked_for_fails_the_errand_in_the_end(start: DoomState) -> None:
    other, wanted = [i for i, t in enumerate(start.level.things) if t.kind != "key"][:2]
    verifier = ErrandVerifier([{"name": "pick_up", "args": {"targets": [wanted]}, "asked": True}])
    verifier.update(start)
    assert verifier.update(without(start, [other])) is None, "it goes on"
    verdict = verifier.update(without(start, [other, wanted]))
    assert verdict is not None
    assert not verdict.success
    assert "not asked for" in verdict.why


def test_an_errand_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="needs steps"):
        world_tasks.of("doom").verifier(VerifierSpec("errand", {"steps": []}))
