"""Suites: the same task every time, and splits that stay apart."""

from __future__ import annotations

import json

import pytest

from envs.doom.layouts import HELD_OUT_LAYOUTS, VAULT_LAYOUTS
from envs.doom.levels import TRAINING_THEMES
from envs.doom.looks import MIXED
from tasks import world_tasks
from tasks.doom import dialogues, phrases, suites
from tasks.doom.free_sentences import FREE
from tasks.doom.language import Meaning, read
from tasks.doom.suites import EVALUATION_SEEDS, HELD_OUT_PAIRS, SUITES
from tasks.doom.typed import task_from_instruction
from tasks.speech import NOT_UNDERSTOOD
from tasks.task import Task

TRAINING = [name for name, suite in SUITES.items() if not suite.held_out]


def named(meaning: Meaning) -> set[tuple[str | None, str | None]]:
    extra = {p for p in (meaning.other, meaning.avoid) if p is not None}
    return {(meaning.kind, meaning.colour)} | extra | {pair for step in meaning.then for pair in named(step)}


def meant(task: Task) -> set[tuple[str | None, str | None]]:
    """The pairs that a task names, in its instruction or in its answer."""
    question = dialogues.read_question(task.instruction)
    if question is not None:
        answer = task.answer.split()
        return {(question[1], answer[-1] if question[0] == "colour" else question[2])}
    if task.picture:
        kind, colour, _ = task.picture.removeprefix("portrait:").split("/")
        return {(kind, colour or None)}
    meaning = FREE.get(task.instruction) or read(task.instruction)
    assert meaning is not None, task.instruction
    asked = task.answer.split()
    return named(meaning) | ({(asked[1], asked[3]), (asked[1], asked[6])} if task.verb == "which" else set())


def levels(tasks: list[Task]) -> set[str]:
    return {json.dumps(task.options["level"]["rooms"]) + str(task.options["level"]["start"]) for task in tasks}


@pytest.mark.parametrize("name", sorted(SUITES))
def test_tasks_are_the_same_every_time_and_can_be_judged(name: str) -> None:
    suite = suites.evaluation(name)
    tasks = list(suite.tasks(5, 12))
    assert tasks == list(suite.tasks(5, 12))
    assert len({t.id for t in tasks}) == 12
    assert [t.verb for t in tasks] == [suite.verbs[i % len(suite.verbs)] for i in range(12)]
    for task in tasks:
        assert (world_tasks.verifier_of(task) is None) == bool(task.answer)
        assert task.answer == NOT_UNDERSTOOD or meant(task), task.instruction
        assert task.seed >= EVALUATION_SEEDS


@pytest.mark.parametrize("name", TRAINING)
def test_training_names_nothing_that_is_held_out(name: str) -> None:
    suite = suites.training(name)
    for task in suite.tasks(0, 40, evaluation=False):
        assert task.seed < EVALUATION_SEEDS
        assert not meant(task) & HELD_OUT_PAIRS
        level = task.options["level"]
        assert {room["theme"]["name"] for room in level["rooms"]} <= {*TRAINING_THEMES, *[MIXED] * suite.looks}
        bars = {door["kind"] for door in level["doors"]} - {"open", "door"}
        assert not bars or suite.kind == "steps"
        assert all(panel["door"] is None for panel in level["panels"]), "a switch that opens something is a discovery"
        locks = {door["colour"] for door in level["doors"] if door["kind"] == "locked"}
        keys = {thing["colour"] for thing in level["things"] if thing["kind"] == "key"}
        assert not locks & keys or task.verb == "pick_up", "and so is a key that fits"
        assert task.verb not in ("unlock", "switch")


@pytest.mark.parametrize("name", TRAINING)
def test_training_and_evaluation_share_no_level(name: str) -> None:
    suite = suites.training(name)
    assert not levels(list(suite.tasks(0, 30, evaluation=False))) & levels(list(suite.tasks(0, 30)))


@pytest.mark.parametrize("name", sorted(set(SUITES) - set(TRAINING)))
def test_training_cannot_reach_what_is_held_out(name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' is held out"):
        suites.training(name)
    with pytest.raises(ValueError, match="held out from training"):
        suites.evaluation(name).task(0, 0, evaluation=False)


def test_an_unknown_suite_is_said_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="unknown suite 'doom'; known: doom-basic"):
        suites.evaluation("doom")


def test_held_out_suites_hold_what_they_say() -> None:
    for task in suites.evaluation("doom-pairs").tasks(0, 16):
        assert named(read(task.instruction) or Meaning("")) <= {
            *HELD_OUT_PAIRS,
            *((k, None) for k, _ in HELD_OUT_PAIRS),
        }
    assert set(SUITES["doom-layouts"].layouts) == set(HELD_OUT_LAYOUTS)
    assert set(SUITES["doom-vault"].layouts) == set(VAULT_LAYOUTS)
    vault = list(suites.evaluation("doom-vault").tasks(0, 20))
    kinds = {door["kind"] for task in vault for door in task.options["level"]["doors"]}
    assert {"locked", "remote"} <= kinds
    words = [
        w for table in (phrases.HELD_OUT_NOUNS, phrases.HELD_OUT_COLOUR_WORDS) for ws in table.values() for w in ws
    ]
    for task in suites.evaluation("doom-synonyms").tasks(0, 16):
        assert any(w in task.instruction.lower() for w in words) or read(task.instruction).colour is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "verb", "verifier"),
    [
        ("pick up the red key", "pick_up", "pick_up"),
        ("Look up, please", "look", "look"),
        ("press the switch", "press", "press"),
        ("open the door", "open", "open"),
        ("unlock the blue door", "unlock", "open"),
        ("press the switch to open the gate", "switch", "open"),
        ("enter the room with the imp", "enter", "enter"),
        ("go to the farther torch", "go_to", "go_to"),
        ("get the blue key, then go to the green torch", "pick_up+go_to", "sequence"),
        ("get the key without touching the imp", "pick_up", "pick_up"),
    ],
)  # fmt: skip
def test_what_is_typed_becomes_a_task_that_can_be_judged(text: str, verb: str, verifier: str) -> None:
    task = task_from_instruction(text, 3)
    assert task == task_from_instruction(text, 3)
    assert task.instruction == text
    assert task.seed >= EVALUATION_SEEDS
    assert task.verb == verb
    assert task.verifier is not None
    assert task.verifier.name == verifier
    assert world_tasks.verifier_of(task) is not None


@pytest.mark.parametrize(
    "text", ["sing a song", "pick up the red medikit", "unlock the green door", "shoot the barrel"]
)
def test_what_cannot_be_judged_is_a_room_without_a_verifier(text: str) -> None:
    task = task_from_instruction(text, 0)
    assert task.verifier is None
    assert task.options["level"]["things"]


def test_any_colour_is_right_where_none_is_named() -> None:
    task = task_from_instruction("go to the torch", 1)
    things = task.options["level"]["things"]
    assert task.verifier is not None
    assert task.verifier.args["targets"] == [i for i, t in enumerate(things) if t["kind"] == "torch"]
