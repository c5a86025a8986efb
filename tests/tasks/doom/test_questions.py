"""Questions and answers: only what is clear is asked, and what is answered is what is there."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from agent.small.vocabulary import VOCABULARY
from envs.doom.layouts import TRAINING_LAYOUTS
from envs.doom.levels import TRAINING_THEMES
from envs.doom.things import ACTORS, CLASSES, KINDS
from envs.doom.world import DoomWorld
from tasks.doom import question_phrases
from tasks.doom.build import in_house
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.doom.language import Meaning
from tasks.doom.questions import (
    KINDS_OF_MEMORIES,
    KINDS_OF_QUESTIONS,
    ask,
    ask_memory,
    caption,
    memory_question,
    names_held_out,
)
from tasks.doom.scene import (
    DOOR,
    DOORWAY,
    FIXTURES,
    GATE,
    LOCKED,
    PANEL,
    PRESSED,
    SCENE_ROWS,
    Scene,
    Seen,
    pack,
    scene_of,
    unpack,
)
from tasks.expert_policy import ExpertPolicy
from tasks.task import Task

WORDS = set(VOCABULARY)


def seen(name: str, column: float = 0.5, *, pixels: int = 400, distance: float = 200.0) -> Seen:
    colour, _, kind = name.rpartition(" ")
    number = CLASSES.get((kind, colour or None))
    if number is None:
        number = next(n for n, pair in FIXTURES.items() if pair == (kind, colour or None) and n != PRESSED)
    return Seen(number, column, 0.7, pixels, distance)


def asked(scene: Scene, kind: str, **how: bool) -> set[tuple[str, str]]:
    found = (ask(np.random.default_rng(i), scene, kind=kind, **how) for i in range(150))  # type: ignore[arg-type]
    return {(q.text.lower(), q.answer) for q in found if q is not None}


def answers(scene: Scene, kind: str, *words: str, **how: bool) -> set[str]:
    return {answer for text, answer in asked(scene, kind, **how) if all(word in text for word in words)}


def random_scene(rng: np.random.Generator, n: int) -> Scene:
    numbers = [*CLASSES.values(), *FIXTURES]
    rows = [
        Seen(
            int(rng.choice(numbers)), float(rng.random()), float(rng.random()),
            int(2 ** rng.uniform(2, 13)), float(rng.uniform(20, 1200)),
        )
        for _ in range(n)
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda s: s.column))


def test_a_packed_scene_is_kept_as_well_as_questions_need_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = random_scene(rng, int(rng.integers(0, SCENE_ROWS + 1)))
        rows = pack(scene)
        assert rows.shape == (SCENE_ROWS, 5)
        assert rows.dtype == np.uint8
        again = unpack(rows)
        assert sorted(s.name_class for s in again) == sorted(s.name_class for s in scene)
        for a, b in zip(scene, again, strict=True):
            assert b.column == pytest.approx(a.column, abs=1 / 80)
            assert b.row == pytest.approx(a.row, abs=1 / 24)
            assert b.pixels == pytest.approx(a.pixels, rel=0.12)
            assert b.distance == pytest.approx(a.distance, abs=4.1)


def test_the_largest_are_kept_where_too_much_is_in_view() -> None:
    scene = random_scene(np.random.default_rng(1), SCENE_ROWS + 4)
    small = sorted(s.pixels for s in scene)[:4]
    assert len(unpack(pack(scene))) == SCENE_ROWS
    assert min(s.pixels for s in unpack(pack(scene))) > 0.9 * small[-1]


def test_fixtures_are_where_they_are_and_open_when_they_are_open() -> None:
    world = DoomWorld(labels=True)
    met: set[int] = set()
    for seed, verb in ((2, "unlock"), (3, "switch"), (4, "open")):
        rng = np.random.default_rng(seed)
        meaning = Meaning(verb, "gate" if verb == "switch" else "door", "red" if verb == "unlock" else None)
        made = in_house(rng, meaning, seed, TRAINING_THEMES, TRAINING_LAYOUTS, vault=verb != "open")
        _, info = world.reset(seed=seed, options={"level": made.level.to_json()})
        decide = ExpertPolicy().start(Task("", "", "doom", verifier=made.verifier))
        for _ in range(100):
            state = info["state"]
            for one in scene_of(state):
                met.add(one.name_class)
                assert 0.0 <= one.column <= 1.0
                assert 0.0 <= one.row <= 1.0
                if one.name_class in (DOOR, GATE, *LOCKED.values()) and one.pixels >= 64:
                    kinds = {DOOR: "door", GATE: "remote"}
                    kind = kinds.get(one.name_class, "locked")
                    assert any(
                        (d.kind, d.colour) == (kind, one.colour) and height == 0.0
                        for d, height in zip(state.level.doors, state.doors, strict=True)
                    )
            _, _, _, _, info = world.step_chunk(decide(state).actions)
    world.close()
    assert {DOOR, DOORWAY, GATE, PANEL, LOCKED["red"]} <= met


def test_things_are_seen_where_their_pixels_are() -> None:
    world = DoomWorld(labels=True)
    _, info = world.reset(seed=6)
    state = info["state"]
    scene = scene_of(state)
    assert [s.column for s in scene] == sorted(s.column for s in scene)
    assert {s.name_class for s in scene if not s.fixture} == set(np.unique(state.labels).tolist()) - {0}
    for one in scene:
        assert abs((state.labels == one.name_class).sum() - one.pixels) <= 1
    world.close()


def test_a_state_without_labels_is_refused() -> None:
    world = DoomWorld()
    _, info = world.reset(seed=6)
    with pytest.raises(ValueError, match="labels=True"):
        scene_of(info["state"])
    world.close()


ROOM = (
    seen("red key", 0.1, distance=300), seen("green torch", 0.3, distance=400),
    seen("imp", 0.52, distance=150), seen("red torch", 0.9, distance=700),
)  # fmt: skip


def test_answers_are_right() -> None:
    assert answers(ROOM, "colour") == {"red"}  # the key; of the torches there are two
    assert answers(ROOM, "nearest") == {"imp"}
    assert answers(ROOM, "count_all") == {"4"}
    assert answers(ROOM, "count", "torches") == {"2"}
    assert answers(ROOM, "count", "imps") == {"1"}
    assert "0" in answers(ROOM, "count")
    assert answers(ROOM, "where", "key") == {"left"}
    assert answers(ROOM, "where", "imp") == {"ahead"}
    assert answers(ROOM, "where", "red", "torch") == {"right"}
    assert answers(ROOM, "left_of", "imp") == {"green torch"}
    assert answers(ROOM, "right_of", "imp") == {"red torch"}
    assert answers(ROOM, "left_of", "key") == {"nothing"}
    assert answers(ROOM, "is_there", "green torch") == {"yes"}
    assert answers(ROOM, "is_there", "red torch") == {"yes"}
    assert answers(ROOM, "is_there", "yellow torch") == {"no"}
    assert answers(ROOM, "is_there", "blue key") == {"no"}


def test_fixtures_are_answered_right() -> None:
    scene = (seen("red door", 0.2), seen("switch", 0.5), seen("doorway", 0.8))
    assert answers(scene, "lock") == {"red"}
    assert answers(scene, "fixture", "red door") == {"yes"}
    assert answers(scene, "fixture", "blue door") == {"no"}
    assert answers(scene, "fixture", "locked door") == {"yes"}
    assert answers(scene, "fixture", "lever") == {"yes"}
    assert answers(scene, "fixture", "gate") == {"no"}
    assert answers(scene, "count_fixtures", "switches") == {"1"}
    assert answers(scene, "where", "red door") == {"left"}
    two = (seen("red door", 0.2), seen("blue door", 0.7))
    assert answers(two, "lock") == set()
    assert answers(two, "count_fixtures", "doors") == {"2"}


def test_what_is_not_clear_is_not_asked() -> None:
    tiny = seen("blue key", 0.7, pixels=10)
    assert answers((*ROOM, tiny), "colour") == set()
    assert answers((*ROOM, tiny), "count_all") == set()
    assert answers((*ROOM, tiny), "where", "key") == set()
    assert answers((*ROOM, tiny), "is_there", "blue key") == set()
    assert answers((seen("imp", distance=200), seen("suit", 0.7, distance=210)), "nearest") == set()
    assert answers((seen("imp", 0.5), seen("suit", 0.52)), "left_of") == set()
    assert answers((seen("imp", 0.61),), "where") == set()
    assert answers((seen("red door", 0.5), seen("gate", 0.7)), "count_fixtures", "doors") == set()
    assert answers((seen("imp"), seen("red door", pixels=30)), "fixture", "door") == set()


def test_held_out_pairs_are_named_only_where_they_may() -> None:
    scene = (seen("blue torch", 0.3), seen("red demon", 0.7, distance=500))
    assert names_held_out(scene)
    assert answers(scene, "colour") == set()
    assert answers(scene, "nearest") == set()
    assert answers(scene, "colour", "torch", held_out_pairs=True) == {"blue"}
    assert answers(scene, "nearest", held_out_pairs=True) == {"blue torch"}
    assert caption(scene) == ""
    assert caption(scene, held_out_pairs=True) == "blue torch left and red demon right"
    names = [(f"{c} {k}", c, k) for k, c in HELD_OUT_PAIRS]
    rng = np.random.default_rng(2)
    for _ in range(1500):
        shown = random_scene(rng, 5)
        question = ask(rng, shown, memory=0.3)
        if question is None:
            continue
        text = f"{question.memory} {question.text} {question.answer}".lower().replace("golden", "yellow")
        for name, colour, kind in names:
            assert name not in text
            assert not (question.kind == "colour" and question.answer == colour and f"{kind}" in text.split()), text


def test_captions_go_from_left_to_right_and_leave_out_what_is_not_clear() -> None:
    assert caption(()) == "nothing"
    assert caption((*ROOM[:3], seen("suit", 0.8, pixels=5))) == "red key left and green torch left and imp ahead"
    many = tuple(seen("imp", i / 10, pixels=100 + i) for i in range(9))
    assert caption(many).count("imp") == 5


def test_all_that_is_said_is_in_the_vocabulary_and_balanced() -> None:
    rng = np.random.default_rng(3)
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for _ in range(4000):
        scene = random_scene(rng, int(rng.integers(1, 6)))
        assert set(caption(scene, held_out_pairs=True).split()) <= WORDS
        question = ask(rng, scene, memory=0.3, held_out_pairs=True)
        if question is None:
            continue
        by_kind[question.kind][question.answer] += 1
        assert set(question.answer.split()) | set(question.memory.split()) <= WORDS
        assert 1 <= len(question.answer.split()) <= 4
    assert set(by_kind) == {*KINDS_OF_QUESTIONS, *KINDS_OF_MEMORIES}
    for kind in ("is_there", "fixture", "memory_did"):
        assert by_kind[kind].keys() == {"yes", "no"}
        assert 0.35 <= by_kind[kind]["yes"] / sum(by_kind[kind].values()) <= 0.65


def test_every_topic_has_enough_phrasings_and_none_in_both_splits() -> None:
    assert question_phrases.TRAINING.keys() == question_phrases.HELD_OUT.keys()
    for topic, templates in question_phrases.TRAINING.items():
        held_out = question_phrases.HELD_OUT[topic]
        assert len(set(templates)) == len(templates) >= 6
        assert len(set(held_out)) == len(held_out) >= 2
        assert not set(templates) & set(held_out)


def test_memories_are_answered_from_what_they_say() -> None:
    rng = np.random.default_rng(4)
    for _ in range(400):
        question = ask_memory(rng)
        lines = question.memory.split(" . ")
        deeds = [line for line in lines if not line.startswith("i was in")]
        picked = [line for line in deeds if "picked up" in line]
        if question.kind == "memory_picked_count":
            assert question.answer == str(len(picked))
        if question.kind == "memory_picked":
            assert question.answer == (picked[0].removeprefix("i picked up the ") if picked else "nothing")
        if question.kind == "memory_rooms":
            assert f"i was in {question.answer} room" in lines[-1]
        if question.kind in ("memory_first", "memory_last"):
            line = deeds[0 if question.kind == "memory_first" else -1]
            assert question.answer == line.removeprefix("i ").replace(" the ", " ")
    memory, text, answer = memory_question(np.random.default_rng(5))
    assert memory
    assert text
    assert answer


def test_a_question_is_the_same_every_time() -> None:
    first, second = (ask(np.random.default_rng(7), ROOM) for _ in range(2))
    assert first == second
    assert first is not None


def test_all_kinds_of_things_can_be_named() -> None:
    assert all(seen(f"{colour or ''} {kind}".strip()).pair == (kind, colour) for kind, colour in ACTORS)
    assert len(KINDS) == 22
