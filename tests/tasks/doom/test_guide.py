"""The guide does what it is asked by what was in view alone, in words that can be written, and says when it is done."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent import doom_codec as codec
from agent.episode import Outcome
from agent.loop.players import ScriptedPlayer
from agent.policy import Decision
from agent.sight import COLUMNS, DIRECTIONS, NOWHERE, ROWS
from agent.small.token_ids import spell
from agent.small.vocabulary import VOCABULARY
from envs.angles import wrapped
from envs.doom.things import CLASSES
from envs.doom.world import DoomState, DoomWorld
from tasks import speech
from tasks.doom import suites
from tasks.doom.geometry import bearing, distance
from tasks.doom.guide import Guide, GuidePolicy, compass, in_picture
from tasks.doom.search import Search, exits
from tasks.play import play_task
from tasks.task import Task
from tasks.teacher import Advice
from training.data.disturb import NOISE, Disturbed

WORDS = set(VOCABULARY)
SPOKEN = ("doom-missing", "doom-which", "doom-ask")
LINGER = 35  # ticks: a second


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld(labels=True)
    yield made
    made.close()


def play(world: DoomWorld, task: Task, *, noise: float = 0.0) -> tuple[Outcome, list[Advice]]:
    """Play a task as the guide advises; the outcome, and the advice."""
    guide, heard = Guide(task), list[Advice]()

    def decide(state: DoomState) -> Decision:
        heard.append(guide.advise(state))
        advice = heard[-1]
        return Decision(codec.decode(advice.tokens).actions, advice.thought, advice.speech, advice.done)

    player: ScriptedPlayer = ScriptedPlayer(decide, spec=GuidePolicy.spec)
    if noise:
        player = Disturbed(player, noise)
    done = {"end_on_done": True} if task.answer else {"linger": LINGER}
    return play_task(world, player, task, observe="decision", **done), heard


def succeeded(task: Task, outcome: Outcome) -> bool:
    said = speech.judge_speech(task, outcome)
    return bool(outcome.success) if said is None else said


@pytest.mark.parametrize(
    ("name", "n", "lost"),
    [
        ("doom-room", 16, 0),
        ("doom-compounds", 12, 1),
        ("doom-rooms", 16, 1),
        ("doom-told", 16, 1),
        ("doom-layouts", 8, 1),
    ],
)
def test_it_reaches_its_goals_and_says_so(world: DoomWorld, name: str, n: int, lost: int) -> None:
    failed = []
    for task in suites.evaluation(name).tasks(21, n):
        outcome, heard = play(world, task)
        if not outcome.success:
            failed.append((task.id, outcome.why))
        elif task.verb != "stand_still":
            assert outcome.done
            assert outcome.said[-1][1] == "done"
            assert [a.speech for a in heard].count("done") == 1
            ending = [a for a in heard if a.done]
            assert all(a.tokens == codec.tokens_of(hand="done") and a.thought == "done" for a in ending)
    assert len(failed) <= lost, failed


@pytest.mark.parametrize("name", SPOKEN)
def test_it_says_what_has_to_be_said(world: DoomWorld, name: str) -> None:
    tasks = list(suites.evaluation(name).tasks(22, 16))
    outcomes = [play(world, task)[0] for task in tasks]
    assert sum(succeeded(t, o) for t, o in zip(tasks, outcomes, strict=True)) >= 15
    assert not any(speech.false_claim(t, o) for t, o in zip(tasks, outcomes, strict=True))


@pytest.mark.parametrize("name", ["doom-room", "doom-rooms", "doom-missing"])
def test_it_comes_back_from_noise(world: DoomWorld, name: str) -> None:
    tasks = [t for t in suites.evaluation(name).tasks(23, 12) if t.verb != "stand_still"]
    assert sum(succeeded(t, play(world, t, noise=NOISE)[0]) for t in tasks) >= len(tasks) - 2


@pytest.mark.parametrize(
    "name", ["doom-room", "doom-compounds", "doom-rooms", "doom-missing", "doom-which", "doom-ask"]
)
def test_its_words_can_be_written(world: DoomWorld, name: str) -> None:
    for task in suites.training(name).tasks(24, 6, evaluation=False):
        for advice in play(world, task)[1]:
            assert set(advice.thought.split()) <= WORDS
            assert set(advice.speech.split()) <= WORDS
            column, row = advice.place
            assert 0 <= column <= COLUMNS
            assert 0 <= row <= ROWS


def test_what_was_not_seen_changes_nothing(world: DoomWorld) -> None:
    """Two levels that differ in a thing's place get the same advice until it comes into view."""
    compared = 0
    for task in suites.evaluation("doom-room").tasks(25, 40):
        spec = task.verifier
        if spec is None or spec.name not in ("go_to", "pick_up", "shoot", "touch"):
            continue
        _, info = world.reset(seed=task.seed, options=task.options)
        state = info["state"]
        target = state.level.things[spec.args["targets"][0]]
        hidden = in_picture(state, [CLASSES[target.kind, target.colour]])[1] == 0
        behind = [o for o in state.objects if (o.kind, o.colour) == (target.kind, target.colour)]
        if not hidden or not behind:
            continue
        x, y = 2 * state.x - behind[0].x, behind[0].y
        moved = replace(state, objects=tuple(replace(o, x=x, y=y) if o in behind else o for o in state.objects))
        assert Guide(task).advise(state) == Guide(task).advise(moved)
        compared += 1
    assert compared >= 5


def test_a_search_counts_its_turns_in_its_thought(world: DoomWorld) -> None:
    task = next(t for t in suites.evaluation("doom-missing").tasks(26, 2) if t.answer)
    _, heard = play(world, task)
    first = [int(a.thought.split()[1]) for a in heard if a.thought.startswith("look ")]
    assert first[0] == 0
    assert first[-1] >= 9
    assert all(0 <= b - a <= 1 for a, b in itertools.pairwise(first))
    assert sum(a.thought.startswith("walk") for a in heard) == 8
    assert all(a.place == NOWHERE for a in heard if a.thought.startswith(("look", "second")))


def test_who_turns_too_far_back_is_not_counted_below_nothing(world: DoomWorld) -> None:
    """Whoever plays may turn as he likes; the thought has to stay one that can be written."""
    task = suites.evaluation("doom-rooms").task(27, 0)
    _, info = world.reset(seed=task.seed, options=task.options)
    state = info["state"]
    search = Search()
    search.watch(state)
    search._turn("room")
    for degrees in (120.0, 90.0, 45.0):
        state = replace(state, angle=(state.angle + degrees) % 360.0)
        search.watch(state)
        spell(search.advise(state).thought)


def test_who_turned_past_an_exit_goes_on_turning(world: DoomWorld) -> None:
    """On which side it was lies neither in the frame nor in the thought."""
    ahead, door = next(_far_exits(world))
    for aside in (-60.0, 60.0):
        search = Search()
        search.watch(ahead)
        search.restart(door)
        assert search.advise(ahead).off is not None
        turned = replace(ahead, angle=(ahead.angle + aside) % 360.0)
        search.watch(turned)
        move = search.advise(turned)
        assert (move.thought, move.off) == ("door", None)
        assert sum(action.look[0] for action in codec.decode(move.tokens).actions) > 20.0


def _far_exits(world: DoomWorld) -> Iterator[tuple[DoomState, int]]:
    """States with a far exit ahead and none 60 degrees to either side, and the number of the exit."""
    for task in suites.evaluation("doom-rooms").tasks(27, 40):
        _, info = world.reset(seed=task.seed, options=task.options)
        for angle in range(0, 360, 5):
            state = replace(info["state"], angle=float(angle))
            beside = [exits(replace(state, angle=(angle + aside) % 360.0)) for aside in (-60.0, 60.0)]
            for exit_ in exits(state):
                far = distance(state, *state.level.doors[exit_.door].rect.centre) > 200.0
                if far and abs(exit_.off) < 5.0 and not any(beside):
                    yield state, exit_.door


def test_a_step_of_a_compound_is_kept_in_mind(world: DoomWorld) -> None:
    task = suites.evaluation("doom-compounds").task(27, 0)
    outcome, heard = play(world, task)
    assert outcome.success
    steps = [a.thought.split()[1] for a in heard if not a.done]
    assert set(steps) == {"1", "2"}
    assert steps == sorted(steps)


def test_speech_is_judged_by_its_words() -> None:
    task = Task("a", "go to the torch", "doom", answer="which torch the red or the green ?")
    said = Outcome(None, "", 1, 0.0, "lockstep", 1, 1.0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    assert speech.judge_speech(replace(task, answer=""), said) is None
    assert speech.judge_speech(task, said) is False
    assert speech.judge_speech(task, replace(said, said=((4, "Which torch, the green or the red?"),)))
    assert speech.judge_speech(task, replace(said, said=((4, "which torch the red or the blue ?"),))) is False
    claim = replace(said, said=((4, "i see no torch here"),))
    assert speech.false_claim(replace(task, answer=""), claim)
    assert not speech.false_claim(task, claim)


def test_half_of_the_tasks_have_nothing_to_be_said() -> None:
    for name in ("doom-missing", "doom-which"):
        tasks = list(suites.evaluation(name).tasks(28, 10))
        assert sum(bool(t.answer) for t in tasks) == 5
        assert all((t.verifier is None) == bool(t.answer) for t in tasks)
    answers = [t.answer for t in suites.evaluation("doom-ask").tasks(28, 40) if t.verb == "there"]
    assert {"yes", "no"} == set(answers)
    assert 5 <= answers.count("yes") <= 15


def test_what_it_does_not_know_it_says(world: DoomWorld) -> None:
    with pytest.raises(ValueError, match="does not know how to play 'sing'"):
        Guide(Task("a", "sing", "doom"))
    with pytest.raises(TypeError, match="ground truth"):
        GuidePolicy().act([])
    task = suites.evaluation("doom-room").task(29, 0)
    _, info = world.reset(seed=task.seed, options=task.options)
    with pytest.raises(ValueError, match="made with labels"):
        Guide(task).advise(replace(info["state"], labels=None))


def test_pixels_in_the_picture_are_counted() -> None:
    labels = np.zeros((120, 160), np.uint8)
    labels[60:64, 80:84] = 7
    state = DoomState(None, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, (), frozenset(), (), labels)  # type: ignore[arg-type]
    assert in_picture(state, [7]) == ((40, 12), 16)
    assert in_picture(state, [8]) == (NOWHERE, 0)


def test_who_is_told_the_way_goes_there_without_a_search(world: DoomWorld) -> None:
    told, searched = (suites.evaluation(name).tasks(21, 8) for name in ("doom-told", "doom-rooms"))
    pairs = [(play(world, ours), play(world, theirs)) for ours, theirs in zip(told, searched, strict=True)]
    assert not any(advice.thought.startswith(("look", "room")) for (_, heard), _ in pairs for advice in heard)
    assert sum(ours.ticks for (ours, _), _ in pairs) < 0.8 * sum(theirs.ticks for _, (theirs, _) in pairs)


def test_a_compass_tells_about_where_the_way_begins(world: DoomWorld) -> None:
    task = suites.evaluation("doom-told").task(21, 0)
    guide, tell = Guide(task), compass(task)
    asked = list[tuple[str, float]]()

    def decide(state: DoomState) -> Decision:
        assert tell(state) == tell(state)
        point = guide.wanted(state).way(state).point
        asked.append((tell(state), bearing(state, *point)))
        return codec.decode(guide.advise(state).tokens)

    play_task(world, ScriptedPlayer(decide, spec=GuidePolicy.spec), task, observe="decision")
    off = [abs(wrapped(45.0 * DIRECTIONS.index(word) - true)) for word, true in asked]
    assert len({word for word, _ in asked}) > 1
    assert max(off) <= 30.0 + 22.5
