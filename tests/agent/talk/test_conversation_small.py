"""Conversations with the shipped model in Doom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agent.episode import Step, Subscriber
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context
from agent.small import SmallPolicy, load_small
from agent.talk import intents
from agent.talk.conversation import Conversation
from agent.talk.voice import PolicyVoice
from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.placement import TRAINING_THEMES, themes_of
from envs.doom.things import KINDS
from envs.doom.world import DoomWorld
from tasks.doom import suites
from tasks.doom.language import taught
from tests.support.talks import At, said, wait_for


@pytest.fixture(scope="module")
def small() -> SmallPolicy:
    return load_small()


@pytest.fixture(scope="module")
def doom() -> Any:
    world = DoomWorld()
    yield world
    world.close()


def test_small_tells_the_nouns_that_it_was_taught(small: SmallPolicy) -> None:
    assert taught().items() <= small.nouns.items()
    assert small.known("snowman") == "snowman"  # of the playroom
    assert small.known("rusty drum") == "barrel"
    assert small.known("first aid kit") == "medikit"
    assert small.known("unicorn") is None
    assert SmallPolicy(small.model).known("unicorn") == "unicorn"


def two_torches() -> dict[str, Any]:
    """A room with a red torch to the left and a green one to the right, both in view."""
    room = Room(Rect(0, 0, 640, 640), themes_of(list(TRAINING_THEMES))[0], ceiling=128, light=230, name="room")
    things = (Thing("torch", "red", 420, 430), Thing("torch", "green", 420, 210))
    return {"level": Level((room,), (120, 320, 0), things).to_json()}


def talked(
    small: SmallPolicy,
    doom: DoomWorld,
    instruction: str,
    person: Callable[[Conversation, Step], None],
    options: dict[str, Any],
) -> tuple[Conversation, At, list[str]]:
    """An episode in the room of two torches, with a person; the things that the player stood at, in order."""
    talk = Conversation(PolicyVoice(small), keep=True, paced=False)
    at = At({})
    visits: list[str] = []

    def near(state: Any) -> dict[str, Any]:
        for thing in state.objects:
            if np.hypot(thing.x - state.x, thing.y - state.y) < 84:
                visits.append(f"{thing.colour} {thing.kind}")
        return {}

    class Person(Subscriber):
        def on_step(self, step: Step) -> None:
            person(talk, step)

    talk.attach(doom)
    talk.begin(instruction)
    outcome = play(
        doom, InStep(small), talk.instruction, seed=3, options=options, control=talk, annotate=near, time_limit=400,
        subscribers=[talk, at, Person()], end_on_done=True,
    )  # fmt: skip
    assert not outcome.problems
    return talk, at, list(dict.fromkeys(visits))


def test_small_follows_a_new_instruction_and_answers_on_the_way(small: SmallPolicy, doom: DoomWorld) -> None:
    ticks: list[int] = []

    def person(talk: Conversation, step: Step) -> None:
        if step.tick == 4:
            talk.user("what do you see?")
        elif step.tick == 5:
            wait_for(lambda: said(talk, "agent"))
            ticks.append(step.tick)
        elif step.tick == 12:
            talk.user("go to the green torch")
        elif step.tick > 12 and talk.mode == "idle":
            talk.quit()

    talk, at, visits = talked(small, doom, "go to the red torch", person, two_torches())
    assert ticks
    assert "torch" in said(talk, "agent")[0]
    assert [step.instruction for step in at.steps[10:16]] == ["go to the red torch"] * 3 + ["go to the green torch"] * 3
    assert at.steps[13].asked == 13
    assert visits == ["green torch"]
    assert "done" in said(talk, "agent")
    assert talk.deeds == "i went to the green torch"


def test_small_asks_which_takes_the_answer_and_a_correction(small: SmallPolicy, doom: DoomWorld) -> None:
    stage, kind, first, second = [0], "", "", ""
    suite = suites.evaluation("doom-which")
    for index in range(40):  # how often it asks rightly is what the suite measures; here, what becomes of it
        task = suite.task(11, index)
        observation, _ = doom.reset(seed=task.seed, options=task.options)
        kind = task.answer.split()[1] if task.answer else ""
        speech = small.act([Context((observation["pixels"],), f"go to the {kind}")])[0].speech if kind else ""
        asked = intents.which(speech)
        if asked is not None and sorted(speech.split()) == sorted(task.answer.split()):
            first, second = asked.choices
            break
    assert kind in KINDS

    def person(talk: Conversation, step: Step) -> None:
        if stage[0] == 0 and talk.mode == "asking":
            talk.user(f"the {first} one")
            stage[0] = 1
        elif stage[0] == 1 and step.instruction == f"go to the {first} {kind}" and step.asked > 0:
            talk.user("no, the other one")
            stage[0] = 2
        elif stage[0] == 2 and talk.mode == "idle":
            talk.user("stop")
            talk.quit()

    talk, at, visits = talked(small, doom, f"go to the {kind}", person, task.options)
    assert said(talk, "agent")[0] == f"which {kind} the {first} or the {second} ?"
    goals = [goal for goal in dict.fromkeys(step.instruction for step in at.steps) if goal]
    assert goals == [f"go to the {kind}", f"go to the {first} {kind}", f"go to the {second} {kind}"]
    assert visits[-1] == f"{second} {kind}"
