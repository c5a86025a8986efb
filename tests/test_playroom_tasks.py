"""Tasks of the playroom: sentences, verifiers on the real physics, splits, and the scripted expert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.inference import Scripted
from envs.errors import UserError
from envs.playroom import drawing
from envs.playroom.room import Room
from envs.playroom.rooms import HELD_OUT_THEMES
from envs.playroom.things import COLOURS, KINDS
from envs.playroom.world import Playroom
from tasks.expert import ExpertPolicy
from tasks.play import play_task
from tasks.playroom import language, suites
from tasks.playroom.language import HELD_OUT, PLACES, TRAINING, Meaning, phrase, read
from tasks.task import Task, VerifierSpec
from tasks.verify import make_verifier

pytestmark = pytest.mark.skipif(drawing.backend() is None, reason=f"MuJoCo has nothing to draw with: {drawing.MEND}")


@pytest.fixture(scope="module")
def world() -> Iterator[Playroom]:
    made = Playroom()
    yield made
    made.close()


def expert_plays(world: Playroom, task: Task, wanted: VerifierSpec | None = None):
    """The outcome when the expert does what `wanted` says, or else what the task asks."""
    told = replace(task, verifier=wanted) if wanted else task
    policy = ExpertPolicy()
    return play_task(world, Scripted(policy.start(told), spec=policy.spec), task, observe="decision")


@pytest.mark.parametrize("verb", list(TRAINING))
def test_what_is_said_is_read_back(verb: str) -> None:
    rng = np.random.default_rng(0)
    assert not set(TRAINING[verb]) & set(HELD_OUT[verb])
    for i in range(300):
        kind, colour = str(rng.choice(list(KINDS))), str(rng.choice(list(COLOURS)))
        place = str(rng.choice(suites.PLACES[verb])) if verb in suites.PLACES else None
        meaning = Meaning(verb, kind, colour, place)
        text = phrase(rng, meaning, "held_out" if i % 3 == 0 else "training")
        assert read(text) == meaning, text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Please lift the duck!", Meaning("lift", "duck", None)),
        ("put the red cube on the table", Meaning("put_on", "cube", "red", "table")),
        ("drop the ball into the box", Meaning("put_in", "ball", None, "bin")),
        ("push the blue car onto the carpet", Meaning("push_to", "car", "blue", "rug")),
        ("put the red cube in the table", None),
        ("lift the moon", None),
        ("", None),
    ],
)
def test_typed_sentences(text: str, meaning: Meaning | None) -> None:
    assert read(text) == meaning
    task = suites.task_from_instruction(text, 3)
    assert task == suites.task_from_instruction(text, 3)
    assert (task.verifier is None) == (meaning is None)
    assert set(PLACES) == {"table", "shelf", "bin", "bench", "bed", "rug"}


def test_splits_keep_training_and_evaluation_apart() -> None:
    for name, suite in suites.SUITES.items():
        if suite.held_out:
            with pytest.raises(ValueError, match="held out"):
                suite.task(0, 0, evaluation=False)
        for task in suite.tasks(0, 6):
            assert task.seed >= suites.EVALUATION_SEEDS
            assert task == suite.task(0, int(task.id.split("/")[-1]))
            room = Room.from_json(task.options["room"])
            target = room.things[0]
            assert (room.theme.name in HELD_OUT_THEMES) == (name == "playroom-themes")
            assert ((target.kind, target.colour) in suites.HELD_OUT_PAIRS) == (name == "playroom-pairs")
            assert language.read(task.instruction) is not None
    for task in suites.SUITES["playroom-basic"].tasks(0, 6, evaluation=False):
        assert task.seed < suites.EVALUATION_SEEDS


def test_the_expert_does_what_it_is_asked(world: Playroom) -> None:
    outcomes = []
    for name, count in (("playroom-basic", 9), ("playroom-themes", 3), ("playroom-put", 4)):
        for task in suites.SUITES[name].tasks(5, count):
            outcomes.append((task.id, expert_plays(world, task)))
    assert [(task, outcome.why) for task, outcome in outcomes if not outcome.success] == []


@pytest.mark.parametrize("verb", ["look_at", "go_to", "lift"])
def test_the_wrong_thing_is_a_failure(world: Playroom, verb: str) -> None:
    """The kind in another colour, which is thing number 2 of each room."""
    index = ("look_at", "go_to", "lift").index(verb)
    lost = 0
    for task in (suites.SUITES["playroom-basic"].task(6, index + 3 * k) for k in range(2)):
        assert task.verifier is not None
        outcome = expert_plays(world, task, VerifierSpec(task.verifier.name, {"targets": [2]}))
        lost += not outcome.success
    assert lost == 2


def test_what_is_not_put_where_it_was_asked_is_not_done(world: Playroom) -> None:
    task = suites.SUITES["playroom-put"].task(7, 1)
    assert task.verb == "put_in"
    wanted = VerifierSpec("playroom.put_on", {"targets": [0], "support": "bed"})
    assert not expert_plays(world, replace(task, time_limit=300), wanted).success
    assert not expert_plays(
        world, replace(task, time_limit=300), VerifierSpec("playroom.lift", {"targets": [0]})
    ).success


def test_who_carries_has_not_pushed(world: Playroom) -> None:
    task = suites.task_from_instruction("push the red cube to the rug", 1)
    outcome = expert_plays(world, task, VerifierSpec("playroom.lift", {"targets": [0]}))
    assert outcome.why == "carried it instead of pushing it"
    with pytest.raises(UserError, match="the expert cannot do"):
        ExpertPolicy().start(task)


def test_unknown_verifiers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown verifier 'playroom.fly'; known: playroom.go_to"):
        make_verifier(VerifierSpec("playroom.fly"))
    with pytest.raises(ValueError, match="wrong arguments"):
        make_verifier(VerifierSpec("playroom.put_on", {"targets": [0]}))
