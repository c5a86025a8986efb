"""Tasks of the playroom: sentences, verifiers on the real physics, splits, and the scripted expert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.episode import Outcome
from agent.loop.players import ScriptedPlayer
from envs.errors import UserError
from envs.playroom.room import Room
from envs.playroom.rooms import HELD_OUT_THEMES
from envs.playroom.things import COLOURS, KINDS
from envs.playroom.world import Playroom
from tasks import world_tasks
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from tasks.playroom import language, suites
from tasks.playroom.language import HELD_OUT, PLACES, TRAINING, Meaning, phrase, read
from tasks.task import Task, VerifierSpec
from tasks.templates import Grammar
from tests.support.components import needs

pytestmark = needs("mujoco-drawing")


@pytest.fixture(scope="module")
def world() -> Iterator[Playroom]:
    made = Playroom()
    yield made
    made.close()


def expert_plays(world: Playroom, task: Task, wanted: VerifierSpec | None = None) -> Outcome:
    """The outcome when the expert does what `wanted` says, or else what the task asks."""
    told = replace(task, verifier=wanted) if wanted else task
    policy = ExpertPolicy()
    return play_task(world, ScriptedPlayer(policy.start(told), spec=policy.spec), task, observe="decision")


def name_of(task: Task, thing: int) -> str:
    item = Room.from_json(task.options["room"]).things[thing]
    return f"{item.colour} {item.kind}"


@pytest.mark.parametrize("verb", list(TRAINING))
def test_what_is_said_is_read_back(verb: str) -> None:
    rng = np.random.default_rng(0)
    assert not set(TRAINING[verb]) & set(HELD_OUT[verb])
    for i in range(300):
        kind, colour = str(rng.choice(list(KINDS))), str(rng.choice(list(COLOURS)))
        place = str(rng.choice(suites.PLACES[verb])) if verb in suites.PLACES else None
        meaning = Meaning(verb, None if verb.startswith("sort") else kind, colour, place)
        if verb == "stack":
            meaning = replace(meaning, other=(str(rng.choice(suites.FLAT)), str(rng.choice(list(COLOURS)))))
        text = phrase(rng, meaning, "held_out" if i % 3 == 0 else "training")
        assert read(text) == meaning, text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Please lift the duck!", Meaning("lift", "duck", None)),
        ("put the red cube on the table", Meaning("put_on", "cube", "red", "table")),
        ("drop the ball into the box", Meaning("put_in", "ball", None, "bin")),
        ("push the blue car onto the carpet", Meaning("push_to", "car", "blue", "rug")),
        ("put the red cube on the blue book", Meaning("stack", "cube", "red", None, ("book", "blue"))),
        ("stack the duck on top of a plate, please", Meaning("stack", "duck", None, None, ("plate", None))),
        ("put everything green in the crate", Meaning("sort_in", None, "green", "bin")),
        ("move all the white things to the table", Meaning("sort_on", None, "white", "table")),
        ("put everything green on the bin", None),
        ("put all things in the bin", None),
        ("put the red cube on the moon", None),
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
    said_in_evaluation = Grammar(HELD_OUT, dict.fromkeys(HELD_OUT, ()))
    for name, suite in suites.SUITES.items():
        if suite.held_out:
            with pytest.raises(ValueError, match="held out"):
                suite.task(0, 0, evaluation=False)
        for task in suite.tasks(0, 6):
            assert task.seed >= suites.EVALUATION_SEEDS
            assert task == suite.task(0, int(task.id.split("/")[-1]))
            room = Room.from_json(task.options["room"])
            target = room.things[0]
            assert (room.theme.name in HELD_OUT_THEMES) == name.endswith("-themes")
            if "sort" not in name:  # which names a colour alone
                assert ((target.kind, target.colour) in suites.HELD_OUT_PAIRS) == name.endswith("-pairs")
            assert language.read(task.instruction) is not None
            assert (task.verb in dict(said_in_evaluation.readings(task.instruction))) == name.endswith("-phrasings")
    for task in suites.SUITES["playroom-basic"].tasks(0, 6, evaluation=False):
        assert task.seed < suites.EVALUATION_SEEDS


def test_the_expert_does_what_it_is_asked(world: Playroom) -> None:
    outcomes = []
    for name, count in (
        ("playroom-basic", 9),
        ("playroom-themes", 3),
        ("playroom-put", 4),
        ("playroom-stack", 3),
        ("playroom-push", 3),
        ("playroom-sort", 2),
    ):
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
    with pytest.raises(UserError, match=r"the expert cannot do playroom\.juggle; it can do playroom\.look_at"):
        ExpertPolicy().start(replace(task, verifier=VerifierSpec("playroom.juggle")))


def test_pushing_or_sorting_something_else_is_a_failure(world: Playroom) -> None:
    task = suites.SUITES["playroom-push"].task(4, 0)
    other = replace(task, verifier=VerifierSpec("playroom.push_to", {"targets": [1]}))
    why = f"brought the {name_of(task, 0)} to the rug, which was not asked for"
    assert expert_plays(world, other, task.verifier).why == why
    # all that was asked for, and one more
    task = suites.SUITES["playroom-sort"].task(4, 1)
    assert task.verifier is not None
    targets = task.verifier.args["targets"]
    assert {Room.from_json(task.options["room"]).things[thing].colour for thing in targets} == {
        name_of(task, 0).split()[0]
    }
    fewer = replace(task, verifier=VerifierSpec("playroom.sort", {"targets": targets[1:], "place": "bin"}))
    outcome = expert_plays(world, fewer, VerifierSpec("playroom.sort", {"targets": targets[:1], "place": "bin"}))
    assert outcome.why == f"took the {name_of(task, 0)}, which was not asked for"


def test_one_of_several_is_not_sorted(world: Playroom) -> None:
    task = suites.SUITES["playroom-sort"].task(4, 1)
    one = replace(task, verifier=VerifierSpec("playroom.put_in", {"targets": [0]}))
    alone = expert_plays(world, one)
    assert alone.success
    assert not expert_plays(world, replace(task, time_limit=alone.ticks + 30), one.verifier).success


def test_what_is_stacked_lies_on_what_was_named(world: Playroom) -> None:
    task = suites.SUITES["playroom-stack"].task(4, 0)
    assert task.verifier is not None
    (below,) = task.verifier.args["supports"]
    other = VerifierSpec("playroom.stack", {"targets": [0], "supports": [below + 1]})  # its kind in another colour
    there = expert_plays(world, replace(task, verifier=other))
    assert there.success
    assert not expert_plays(world, replace(task, time_limit=there.ticks + 30), other).success
    wrong = VerifierSpec("playroom.stack", {"targets": [below], "supports": [below + 1]})
    assert expert_plays(world, task, wrong).why == f"took the {name_of(task, below)}, which was not asked for"


def test_a_sentence_has_a_verifier_from_where_one_stands(world: Playroom) -> None:
    tasks = world_tasks.of("playroom")
    task = suites.task_from_instruction("lift the red cube", 2)
    _, info = world.reset(seed=task.seed, options=task.options)
    state = info["state"]
    assert tasks.verifier_in(state, "sing a song") is None
    able = tasks.verifier_in(state, "take the red cube")
    assert able is not None
    assert able.update(state) is None
    kind = next(kind for kind in KINDS if kind not in {thing.kind for thing in state.room.things})
    held = replace(state, held=0, on=frozenset())
    for now, text in ((state, f"go to the {kind}"), (held, "lift the red cube")):
        impossible = tasks.verifier_in(now, text)
        assert impossible is not None
        verdict = impossible.update(now)
        assert verdict is not None
        assert "can't be done here, or it is done already" in verdict.why


def test_another_thing_of_the_room_can_be_asked_for() -> None:
    task, rng = suites.task_from_instruction("lift the red cube", 2), np.random.default_rng(0)
    others = [world_tasks.of("playroom").other_task(rng, task) for _ in range(20)]
    things = Room.from_json(task.options["room"]).things
    for other in others:
        assert other is not None
        meaning = read(other.instruction)
        assert meaning is not None
        assert meaning.verb == "lift"
        assert other.verifier is not None
        assert {things[i].kind for i in other.verifier.args["targets"]} == {meaning.kind}
        assert 0 not in other.verifier.args["targets"]
    assert world_tasks.of("gymnasium").other_task(rng, replace(task, world="gymnasium")) is None


def test_unknown_verifiers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown verifier 'playroom.fly'; this world knows playroom.go_to"):
        world_tasks.of("playroom").verifier(VerifierSpec("playroom.fly"))
    with pytest.raises(ValueError, match="wrong arguments"):
        world_tasks.of("playroom").verifier(VerifierSpec("playroom.put_on", {"targets": [0]}))
