"""Things that are told by where they stand: what is asked of a scene, and that it is true there."""

from __future__ import annotations

import numpy as np

from envs.doom.level import Level
from envs.doom.things import CLASSES
from tasks.doom import suites
from tasks.doom.language import read
from tasks.doom.scene import Scene, Seen
from training.small import lesson_world
from training.small.lesson_world import Moment
from training.small.mix import Mix
from training.small.standing import by_standing, one_of_two


def seen(kind: str, colour: str | None, column: float, distance: float = 300.0) -> Seen:
    return Seen(CLASSES[kind, colour], column, 0.6, 100, distance)


def asked(scene: Scene) -> set[tuple[str | None, str | None, str | None, float]]:
    rng = np.random.default_rng(0)
    drawn = [found for _ in range(200) if (found := by_standing(rng, scene)) is not None]
    return {(goal.relation, goal.kind, goal.colour, thing.column) for goal, thing in drawn}


def test_the_thing_is_the_one_that_stands_there() -> None:
    scene = (seen("torch", "red", 0.2), seen("candelabra", None, 0.5), seen("torch", "red", 0.8))
    assert asked(scene) == {
        (relation, "torch", colour, column)
        for relation, column in (("left_of", 0.2), ("right_of", 0.8))
        for colour in ("red", None)
    }


def test_two_colours_of_a_kind_are_told_by_the_kind_alone() -> None:
    scene = (seen("torch", "red", 0.3, 200.0), seen("torch", "green", 0.6, 400.0))
    assert asked(scene) == {("nearer", "torch", None, 0.3), ("farther", "torch", None, 0.6)}


def test_what_does_not_clearly_hold_is_not_asked() -> None:
    assert not asked((seen("torch", "red", 0.2), seen("candelabra", None, 0.5)))
    aside = (seen("torch", "red", 0.2), seen("torch", "red", 0.35), seen("candelabra", None, 0.5))
    assert not asked(aside), "both are left of it"
    near = (seen("torch", "red", 0.3, 200.0), seen("torch", "red", 0.6, 250.0))
    assert not asked(near), "nearly as far"


def test_a_frame_is_asked_for_it_by_an_instruction_that_is_read() -> None:
    scene = np.zeros((16, 5), np.uint8)
    scene[:2] = [(CLASSES["torch", "red"], 20, 12, 100, 25), (CLASSES["torch", "red"], 60, 10, 90, 60)]
    moment = Moment(scene, np.zeros((0, 6), np.int64), np.zeros((0, 16, 5), np.uint8))
    found = lesson_world.of("doom").pointed(np.random.default_rng(0), Mix(standing=3), moment)
    assert len(found) == 3
    for said, place in found:
        assert isinstance(said, str)
        meaning = read(said)
        assert meaning is not None
        assert place == {"nearer": [20, 12], "farther": [60, 10]}[str(meaning.relation)]


def test_levels_of_a_crowd_have_things_that_are_alike_and_a_goal_that_is_alone() -> None:
    for index in range(12):
        task = suites.training("doom-crowd").task(0, index, evaluation=False)
        level = Level.from_json(task.options["level"])
        pairs = [(thing.kind, thing.colour) for thing in level.things]
        kinds = [kind for kind, _ in pairs]
        assert sum(kinds.count(kind) > 1 for kind in set(kinds)) == 2
        assert task.verifier is not None
        (target,) = task.verifier.args["targets"]
        assert kinds.count(kinds[target]) == 1


def test_a_kind_of_which_two_colours_are_in_view_does_not_say_which() -> None:
    scene = (seen("torch", "red", 0.2), seen("candelabra", None, 0.5), seen("torch", "green", 0.8))
    found = one_of_two(np.random.default_rng(0), scene)
    assert found is not None
    meaning, colours = found
    assert (meaning.kind, meaning.colour, set(colours)) == ("torch", None, {"red", "green"})
    assert one_of_two(np.random.default_rng(0), (scene[0], scene[1])) is None
    same = (seen("torch", "red", 0.2), seen("torch", "red", 0.8))
    assert one_of_two(np.random.default_rng(0), same) is None
