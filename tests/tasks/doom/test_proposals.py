"""Proposals: what is proposed can be done, and the expert does it; the measures of answers and proposals are right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agent.cli import run
from envs.doom.layouts import TRAINING_LAYOUTS
from envs.doom.levels import TRAINING_THEMES, generate
from envs.doom.things import CLASSES
from envs.doom.world import DoomState, DoomWorld
from tasks.doom.build import in_house
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.doom.language import Meaning, read
from tasks.doom.planning import start_state
from tasks.doom.proposals import achievable, propose
from tasks.doom.scene import DOOR, FIXTURES, GATE, LOCKED, PANEL, PRESSED, Seen, scene_of
from tasks.task import VerifierSpec
from tests.support.thread_workers import THREADS
from training.evaluation import roles


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld(labels=True)
    yield made
    made.close()


def state_of(*things: tuple[str, str | None], **options: int) -> DoomState:
    return start_state(generate(5, things=things, n_things=(len(things), len(things)), **options))  # type: ignore[arg-type]


def vault(meaning: Meaning, seed: int) -> DoomState:
    made = in_house(np.random.default_rng(seed), meaning, seed, TRAINING_THEMES, TRAINING_LAYOUTS, vault=True)
    return start_state(made.level)


def test_every_proposal_is_read_and_fits_what_is_in_view() -> None:
    rng = np.random.default_rng(0)
    different = set()
    for number in [*CLASSES.values(), *FIXTURES]:
        one = Seen(number, 0.5, 0.6, 500, 300.0)
        for _ in range(12):
            text = propose(rng, (one,))
            meaning = read(text)
            assert meaning is not None, text
            different.add(text)
            if meaning.verb.startswith("look"):
                continue
            assert one.pair not in HELD_OUT_PAIRS
            assert number != PRESSED
            if not one.fixture:
                assert (meaning.kind, meaning.colour) == one.pair
    assert len(different) >= 100
    fixtures = {
        n: {propose(rng, (Seen(n, 0.5, 0.6, 500, 300.0),)) for _ in range(30)}
        for n in (DOOR, GATE, PANEL, *LOCKED.values())
    }
    assert "open the door" in fixtures[DOOR]
    assert "unlock the red door" in fixtures[LOCKED["red"]]
    assert "press the switch" in fixtures[PANEL]


def test_held_out_pairs_are_proposed_only_where_they_may() -> None:
    scene = (Seen(CLASSES["torch", "blue"], 0.5, 0.6, 500, 300.0),)
    rng = np.random.default_rng(1)
    assert {propose(rng, scene) for _ in range(30)} == {"look up", "look down"}
    assert any("blue torch" in propose(rng, scene, held_out_pairs=True) for _ in range(30))


def test_what_is_too_small_or_done_already_is_not_proposed() -> None:
    rng = np.random.default_rng(2)
    small = Seen(CLASSES["imp", None], 0.5, 0.6, 8, 300.0)
    near = Seen(CLASSES["torch", "red"], 0.5, 0.9, 5000, 40.0)
    assert all(propose(rng, (small,)).startswith("look") for _ in range(20))
    assert {t for t in (propose(rng, (near,)) for _ in range(60)) if not t.startswith("look")} == {"face the red torch"}


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("pick up the red key", VerifierSpec("pick_up", {"targets": [0]})),
        ("take the key", VerifierSpec("pick_up", {"targets": [0]})),
        ("shoot the imp", VerifierSpec("shoot", {"targets": [1]})),
        ("look up", VerifierSpec("look", {"direction": "up"})),
        ("press the switch", VerifierSpec("press", {"panel": 0})),
        ("pick up the blue key", None),  # not there
        ("pick up the imp", None),  # not to be taken
        ("shoot the red key", None),
        ("open the door", None),
        ("pick up the moon", None),  # not read
    ],
)
def test_only_what_can_be_done_in_the_level_has_a_verifier(text: str, spec: VerifierSpec | None) -> None:
    state = state_of(("key", "red"), ("imp", None), panels=1)
    assert achievable(text, state.level, state) == spec


def test_steps_must_be_possible_one_after_the_other() -> None:
    state = state_of(("key", "red"), ("imp", None))
    made = achievable("pick up the red key, then shoot the imp", state.level, state)
    assert made is not None
    assert [step["name"] for step in made.args["steps"]] == ["pick_up", "shoot"]
    assert achievable("pick up the red key, then go to the red key", state.level, state) is None


def test_locks_and_gates_are_opened_by_their_errands() -> None:
    state = vault(Meaning("unlock", "door", "red"), 3)
    red = next(i for i, d in enumerate(state.level.doors) if d.colour == "red")
    key = next(i for i, t in enumerate(state.level.things) if (t.kind, t.colour) == ("key", "red"))
    made = achievable("unlock the red door", state.level, state)
    assert made is not None
    assert made.name == "open"
    assert made.args["doors"] == [red]
    assert key in made.args["allowed"]
    # the key is gone and nobody has it: as if it had never been there
    no_key = type(state.level)(**{**state.level.__dict__, "things": ()})
    lost = type(state)(**{**state.__dict__, "level": no_key, "objects": ()})
    assert achievable("unlock the red door", no_key, lost) is None


def test_the_expert_does_what_is_achievable(world: DoomWorld) -> None:
    tried = []
    for index in range(15):
        view = roles.view_of(7, index)
        frame, state = roles.reach(world, view)
        again, _ = roles.reach(world, view)
        assert (frame == again).all()
        text = propose(np.random.default_rng(index), scene_of(state))
        if achievable(text, state.level, state) is not None:
            tried.append(roles.attempt(world, roles.Proposed(view, text)))
    assert len(tried) >= 10
    assert sum(t.done for t in tried) >= len(tried) - 1
    assert not roles.attempt(world, roles.Proposed(view, "pick up the moon")).read
    other = roles.attempt(world, roles.Proposed(roles.view_of(7, 0), "unlock the red door"))
    assert other.read
    assert not other.planned


@pytest.mark.slow
def test_answers_are_measured_against_the_truth() -> None:
    known = {}
    for frames, questions in roles._asked(12, 3, "training", False, THREADS):
        for frame, question in zip(frames, questions, strict=True):
            known[frame.tobytes(), question.text, question.memory] = question.answer

    def perfect(frames: roles.Frames, questions: list[str], memories: list[str]) -> list[str]:
        assert frames.shape[1:] == (120, 160, 3)
        return [known[f.tobytes(), q, m] for f, q, m in zip(frames, questions, memories, strict=True)]

    heard: list[int] = []
    best = roles.evaluate_answers(perfect, 12, 3, workers=THREADS, on_progress=lambda news: heard.append(news.done))
    assert best["exact"] == 1.0
    assert best["questions"] == 12 == heard[-1]
    assert best["ci"][0] < 1.0 == best["ci"][1]
    no = roles.evaluate_answers(lambda f, q, m: ["no"] * len(q), 12, 3, workers=THREADS)
    assert no["exact"] == sum(answer == "no" for answer in known.values()) / 12
    assert no["exact"] <= no["majority"] <= 1.0
    for kind, of_kind in no["by_kind"].items():
        assert of_kind["questions"] == best["by_kind"][kind]["questions"]


def test_proposals_are_measured_by_the_expert(world: DoomWorld) -> None:
    views = [roles.view_of(7, index) for index in range(6)]
    frames = [roles.reach(world, view)[0].tobytes() for view in views]

    def proposer(shown: roles.Frames, seed: int) -> list[str]:
        assert [f.tobytes() for f in shown] == frames
        return ["look up", "pick up the moon"] * 3

    measured = roles.evaluate_proposals(proposer, 6, 7, workers=THREADS)
    assert measured["proposals"] == 6
    assert measured["read"] == 0.5
    assert measured["achievable"] == measured["planned"] == 0.5
    assert measured["different"] == 2
    assert measured["by_verb"]["not read"]["achievable"] == 0.0


@pytest.mark.parametrize(
    ("suite", "role"),
    [
        ("doom-answers", "answer("),
        ("doom-proposals", "propose("),
        ("doom-plans", "plan("),
        ("doom-conversation", "answer("),
    ],
)
def test_a_policy_without_the_role_is_told(suite: str, role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--suite", suite, "--policy", "random", "--episodes", "5"]) == 2
    error = capsys.readouterr().err
    assert role in error
    assert "'random'" in error
