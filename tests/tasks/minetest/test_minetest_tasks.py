"""Tasks of Minetest: sentences, splits, verifiers on ground truth, and the scripted expert in the real game."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.loop.players import ScriptedPlayer
from envs.minetest.level import SITES, Level, Thing
from envs.minetest.state import MinetestState, Placed
from envs.minetest.things import COLOURS, HELD_OUT_THEMES, KINDS
from envs.minetest.world import Minetest
from tasks import world_tasks
from tasks.expert_policy import ExpertPolicy
from tasks.minetest import suites
from tasks.minetest.expert import choose
from tasks.minetest.language import HELD_OUT, NUMBERS, TRAINING, Meaning, kinds_for, phrase, read
from tasks.play import play_task
from tasks.task import VerifierSpec
from tasks.verifier import Verdict
from tests.support.components import needs

LEVEL = Level(
    9, "meadow", (Thing("block", "red", 0, 4), Thing("block", "blue", 4, 4), Thing("house", "red", -6, 0, 1),
                  Thing("chest", "red", 0, -6), Thing("chest", "blue", 6, -6)), (0.0, 0.0, 0.0),
)  # fmt: skip
STATE = MinetestState(
    LEVEL, 0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0, None, float("inf"), False, {}, (), (), frozenset(), (0,) * 5,
    np.zeros((21, 21), np.int16), 20,
)  # fmt: skip


def verdict(name: str, *states: MinetestState, ticks: int = 40, **args: object) -> Verdict | None:
    """What a verifier says when each state lasts for some ticks."""
    verifier, tick = world_tasks.of("minetest").verifier(VerifierSpec(f"minetest.{name}", args)), 0
    for state in states:
        for _ in range(ticks):
            said = verifier.update(replace(state, tick=tick))
            if said is not None:
                return said
            tick += 1
    return None


@pytest.mark.parametrize("verb", list(TRAINING))
def test_what_is_said_is_read_back(verb: str) -> None:
    rng = np.random.default_rng(0)
    assert not set(TRAINING[verb]) & set(HELD_OUT[verb])
    for i in range(200):
        kind, colour = str(rng.choice(sorted(kinds_for(verb)))), str(rng.choice(list(COLOURS)))
        meaning = Meaning(verb, kind, colour, int(rng.choice(list(NUMBERS))) if verb == "collect" else 1)
        text = phrase(rng, meaning, "held_out" if i % 3 == 0 else "training")
        assert read(text) == meaning, text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Go to the red pillar!", Meaning("go_to", "pillar", "red")),
        ("please get 3 white crosses", Meaning("collect", "cross", "white", 3)),
        ("enter the house", Meaning("enter", "house", None)),
        ("put a block on the block", Meaning("place_on", "block", None)),
        ("enter the chest", None),
        ("dig the house", None),
        ("dig the orange block", None),
        ("", None),
    ],
)
def test_typed_sentences(text: str, meaning: Meaning | None) -> None:
    assert read(text) == meaning
    task = world_tasks.of("minetest").task_from_instruction(text, 3)
    assert task == suites.task_from_instruction(text, 3)
    assert (task.verifier is None) == (meaning is None)


def test_splits_keep_training_and_evaluation_apart() -> None:
    for name, suite in suites.SUITES.items():
        if suite.held_out:
            with pytest.raises(ValueError, match="held out"):
                suite.task(0, 0, evaluation=False)
        for task in suite.tasks(0, 6):
            assert task.seed >= suites.EVALUATION_SEEDS
            assert task == suite.task(0, int(task.id.split("/")[-1]))
            level = Level.from_json(task.options["level"])
            target = level.things[0]
            assert (level.theme in HELD_OUT_THEMES) == (name == "minetest-themes")
            assert ((target.kind, target.colour) in suites.HELD_OUT_PAIRS) == (name == "minetest-pairs")
            assert (level.site is None) == (name != "minetest-terrain")
            assert level.site is None or level.site >= len(SITES) // 2
            meaning = read(task.instruction)
            assert meaning is not None
            assert (meaning.kind, meaning.colour) == (target.kind, target.colour)
            # what is easily taken for it
            assert any(t.kind == target.kind and t.colour != target.colour for t in level.things)
            assert any(t.kind != target.kind and t.colour == target.colour for t in level.things)
    for task in suites.SUITES["minetest-terrain"].tasks(0, 6, evaluation=False):
        assert task.seed < suites.EVALUATION_SEEDS
        assert task.options["level"]["site"] < len(SITES) // 2


def test_every_kind_and_colour_is_known_from_training() -> None:
    known = {(kind, colour) for kind in KINDS for colour in COLOURS} - suites.HELD_OUT_PAIRS
    assert {kind for kind, _ in known} == set(KINDS)
    assert {colour for _, colour in known} == set(COLOURS)


def test_going_and_looking() -> None:
    at_red = replace(STATE, z=2.0)
    at_blue = replace(STATE, x=4.0, z=2.0)
    assert verdict("go_to", STATE, at_red, targets=[0]) == Verdict(True, "is at the red block")
    assert verdict("go_to", at_blue, targets=[0]) == Verdict(False, "stands at the blue block, which was not asked for")
    assert verdict("go_to", at_blue, at_red, ticks=5, targets=[0]) == Verdict(True, "is at the red block")
    assert verdict("go_to", replace(at_red, yaw=90.0), targets=[0]) is None
    looks = replace(STATE, pitch=-14.0, aimed=0)
    assert verdict("look_at", STATE, replace(looks, aimed=None), targets=[0]) == Verdict(True, "looks at it")
    assert verdict("look_at", looks, targets=[0]) == Verdict(True, "looks at it")
    assert verdict("look_at", looks, ticks=13, targets=[0]) is None
    assert verdict("look_at", replace(looks, aimed=1), targets=[1]) == Verdict(True, "looks at it")
    assert verdict("look_at", replace(looks, aimed=1), targets=[0]) == Verdict(
        False, "looks at the blue block, which was not asked for"
    )


def test_doing() -> None:
    assert verdict("dig", STATE, replace(STATE, dug=(0,)), targets=[0]) == Verdict(True, "dug it")
    assert verdict("dig", replace(STATE, dug=(1,)), targets=[0]) == Verdict(
        False, "dug the blue block, which was not asked for"
    )
    assert verdict("dig", replace(STATE, dug=(0,)), targets=[0, 1], count=2) is None
    assert verdict("dig", replace(STATE, dug=(0, 1)), targets=[0, 1], count=2) == Verdict(True, "has 2 of them")
    on_red, on_floor = Placed(0.0, 1.5, 4.0, 0), Placed(1.0, 0.5, 1.0, None)
    assert verdict("place_on", replace(STATE, placed=(on_red,)), targets=[0]) == Verdict(True, "the block is on it")
    for placed in ((on_floor,), (on_red,)):
        assert verdict("place_on", replace(STATE, placed=placed), targets=[1]) == Verdict(
            False, "put a block elsewhere, which was not asked for"
        )
    assert verdict("open", replace(STATE, opened=frozenset({3})), targets=[3]) == Verdict(True, "it is open")
    assert verdict("open", replace(STATE, opened=frozenset({4})), targets=[3]) == Verdict(
        False, "opened the blue chest, which was not asked for"
    )
    inside = replace(STATE, x=-6.0, opened=frozenset({2}))
    assert verdict("enter", replace(inside, x=0.0), inside, targets=[2]) == Verdict(True, "is inside")
    assert verdict("go_to", inside, targets=[0]) == Verdict(False, "opened the red house, which was not asked for")


def test_arguments_that_can_not_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown verifier 'minetest.fly'; this world knows minetest.dig"):
        world_tasks.of("minetest").verifier(VerifierSpec("minetest.fly"))
    with pytest.raises(ValueError, match="count: expected 1 to 1, got 2"):
        world_tasks.of("minetest").verifier(VerifierSpec("minetest.dig", {"targets": [0], "count": 2}))


def test_the_expert_turns_to_what_it_does_not_see() -> None:
    spec = VerifierSpec("minetest.go_to", {"targets": [3]})  # behind the player
    assert choose(STATE, spec) == choose(replace(STATE, tick=400), spec)
    away = replace(STATE, yaw=180.0)
    assert choose(STATE, spec) != choose(away, spec)


@needs("minetest")
class TestInTheGame:
    @pytest.fixture(scope="class")
    def world(self) -> Iterator[Minetest]:
        made = Minetest()
        yield made
        made.close()

    @pytest.mark.parametrize(
        ("suite", "index"),
        [
            ("minetest-basic", 0), ("minetest-basic", 1), ("minetest-basic", 2), ("minetest-build", 0),
            ("minetest-build", 1), ("minetest-house", 0), ("minetest-house", 1), ("minetest-terrain", 2),
        ],
    )  # fmt: skip
    def test_the_expert_does_what_it_is_asked(self, world: Minetest, suite: str, index: int) -> None:
        task, policy = suites.SUITES[suite].task(5, index), ExpertPolicy()
        for _ in range(3):  # the game goes on by itself: on a busy machine a late turn rests on another thing
            outcome = play_task(world, ScriptedPlayer(policy.start(task), spec=policy.spec), task)
            if outcome.success:
                break
        assert outcome.success, outcome.why

    def test_the_wrong_thing_is_a_failure(self, world: Minetest) -> None:
        task, policy = suites.SUITES["minetest-basic"].task(6, 2), ExpertPolicy()
        wrong = replace(task, verifier=VerifierSpec("minetest.dig", {"targets": [2]}))
        outcome = play_task(world, ScriptedPlayer(policy.start(wrong), spec=policy.spec), task)
        assert outcome.success is False
        assert "which was not asked for" in outcome.why
