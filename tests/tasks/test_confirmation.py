"""An instruction is confirmed in plain words, which can be written, before it is followed."""

from __future__ import annotations

import numpy as np
import pytest

from agent.episode import Outcome
from agent.small.output_grammar import SPOKEN
from agent.small.token_ids import spell
from envs.doom.world import DoomWorld
from tasks import speech, world_tasks
from tasks.confirmation import beyond, confirmation, confirmed
from tasks.doom import suites
from tasks.doom.guide import Guide
from tasks.task import Task, VerifierSpec
from training.evaluation.success import Result, Tally

SAID = [
    ("doom", "Please pick up the red key, then go to the green torch", "pick up red key then go to green torch"),
    ("doom", "go to the torch to the left of the imp", "go to torch left of imp"),
    ("doom", "walk to the nearer torch", "go to nearer torch"),
    ("doom", "go inside the room with the barrel", "enter room with barrel"),
    ("doom", "use the switch", "press switch"),
    ("doom", "pick up the blue key without touching the imp", "pick up blue key and not touch imp"),
    ("doom", "look up", "look up"),
    ("playroom", "put the red cube on the table", "put red cube on table"),
    ("playroom", "throw the cup in the crate", "put cup in bin"),
    ("playroom", "push the red cube to the mat", "push red cube to rug"),
    ("playroom", "stack the cup on the red book", "stack cup on red book"),
    ("playroom", "put all red things in the bin", "put red things in bin"),
    ("playroom", "find the duck", "look at duck"),
    ("minetest", "collect two red blocks", "collect 2 red block"),
    ("minetest", "put a block on the red block", "place block on red block"),
    ("minetest", "go into the blue house", "enter blue house"),
]


@pytest.mark.parametrize(("world", "text", "plain"), SAID)
def test_what_is_meant_is_said_in_plain_words(world: str, text: str, plain: str) -> None:
    language = world_tasks.of(world).language
    assert confirmation(text, world) == f"ok {plain}"
    again = language.read(plain.replace("room with ", "the room with ")) or language.read(text)
    assert language.plain(again) == plain


@pytest.mark.parametrize("text", ["", "sing me a song", "what colour is the torch?"])
def test_what_is_no_instruction_is_not_confirmed(text: str) -> None:
    assert confirmation(text) == ""
    assert confirmed(Task("t", text, "doom"), []) is None


def test_a_world_without_a_grammar_confirms_nothing() -> None:
    assert confirmation("go to the torch", "gymnasium:CartPole-v1") == ""


@pytest.mark.parametrize("name", ["doom-room", "doom-rooms", "doom-compounds", "doom-relations", "doom-missing"])
def test_every_confirmation_can_be_said(name: str) -> None:
    for task in suites.training(name).tasks(31, 24, evaluation=False):
        words = spell(confirmation(task.instruction))
        assert 1 < len(words) <= SPOKEN


@pytest.mark.parametrize("world", ["playroom", "minetest"])
def test_goals_of_other_worlds_can_be_confirmed(world: str) -> None:
    goals, rng = world_tasks.of(world).goals, np.random.default_rng(0)
    for (_, colour), thing in goals.CLASSES.items():
        for verb in range(len(goals.VERBS)) if colour else ():  # furniture has none, and is nowhere to be put
            text = goals.words(rng, (verb, thing, 0))
            assert len(spell(confirmation(text, world))) > 1 or world == "minetest"  # what can't be dug is not read


def test_the_guide_confirms_once_and_first() -> None:
    task = next(iter(suites.evaluation("doom-basic").tasks(32, 1)))
    with DoomWorld(labels=True) as world:
        _, info = world.reset(seed=task.seed, options=task.options)
        guide = Guide(task)
        assert guide.advise(info["state"]).speech == confirmation(task.instruction) != ""
        assert guide.advise(info["state"]).speech == ""


def outcome(*lines: str) -> Outcome:
    said = tuple((4 * i, line) for i, line in enumerate(lines))
    return Outcome(None, "", 4, 0.1, "lockstep", 1, 10.0, 0, 0, 0.0, 0.0, 0.0, 0.0, said=said)


def test_a_confirmation_is_no_answer() -> None:
    task = Task("t", "go to the torch", "doom", answer="i see no torch here", verifier=None)
    assert speech.judge_speech(task, outcome("ok go to torch", "i see no torch here"))
    assert speech.judge_speech(task, outcome("ok go to torch")) is False


def test_only_the_first_line_confirms() -> None:
    task = Task("t", "go to the torch", "doom", verifier=VerifierSpec("go_to", {"targets": [0]}))
    assert confirmed(task, ["ok go to torch", "done"])
    assert confirmed(task, ["done", "ok go to torch"]) is False
    assert confirmed(task, ["ok go to red torch"]) is False
    assert confirmed(task, []) is False
    assert beyond(["ok go to torch", "done"]) == ["done"]


def test_confirmations_are_counted() -> None:
    tally = Tally()
    for heard in (True, False, None):
        tally.add(Task("one", "go to the key", "doom", verb="go_to"), Result(True, "", 3, confirmed=heard))
    assert tally.to_json()["confirmed"]["share"] == 0.5
    assert tally.to_json()["confirmed"]["episodes"] == 2
    assert tally.to_json()["success"] == 1.0
