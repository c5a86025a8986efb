"""Demonstrations from worlds other than doom: what is noted of a frame is to be seen in it, and can be learned."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agent import doom_codec as codec
from agent.sight import COLUMNS, ROWS
from agent.small import load_small
from agent.small.checkpoint import SHIPPED, load_model, read_manifest, save_small
from agent.small.token_ids import say
from tasks import controls, world_tasks
from tasks.confirmation import confirmation
from tests.support.components import needs
from tests.support.thread_workers import THREADS, no_processes
from training.small.classes import KIND_NAMES, KIND_OF, PLAYROOM
from training.small.corpus import Corpus, build
from training.small.demonstrate import demonstrate
from training.small.lesson_world import NO_GOAL, Moment, of, queries
from training.small.lessons import Lessons
from training.small.mix import Mix
from training.small.stage import Stage, run
from training.small.worlds_recipe import JointRecipe, shares, train_worlds

pytestmark = needs("mujoco-drawing")
DONE = codec.HANDS.index("done")


def record(out: Path, suite: str, episodes: int) -> Corpus:
    successes = [success for success, _ in demonstrate(out / "episodes", {suite: episodes}, 5, workers=THREADS)]
    assert sum(map(bool, successes)) >= episodes - 1
    return build(out / "episodes", out / "corpus", workers=THREADS)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("playroom")
    record(out, "playroom-basic", 4)
    return out / "corpus"


@pytest.fixture(scope="module")
def playroom(recorded: Path) -> Corpus:
    return Corpus.open(recorded)


def test_a_corpus_knows_its_world(playroom: Corpus) -> None:
    assert playroom.world == "playroom"
    goals = world_tasks.of("playroom").goals
    assert np.isin(playroom.cells, [0, *goals.CLASSES.values()]).all()
    named = (playroom.cells[:, :, :, None] == playroom.scene[:, None, None, :, 0]) & (playroom.cells > 0)[..., None]
    assert named.any(-1).sum() > 0.9 * (playroom.cells > 0).sum()  # what is in the cells is in view


def test_only_suites_of_one_world_that_may_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one world"):
        list(demonstrate(tmp_path, {"playroom-basic": 1, "minetest-basic": 1}, 0))
    with pytest.raises(ValueError, match="held out"):
        list(demonstrate(tmp_path, {"playroom-pairs": 1}, 0))


def test_the_coach_says_when_it_is_done(playroom: Corpus) -> None:
    done = playroom.advice[:, -1] == DONE
    assert {say(row.tolist()) for row in playroom.speech[done]} == {"done"}
    first = playroom.start == np.arange(len(playroom))
    assert {say(row.tolist()) for row in playroom.speech[~done & ~first]} == {""}
    for row, text in zip(np.flatnonzero(first), playroom.instructions, strict=True):
        assert say(playroom.speech[row].tolist()) == confirmation(text, "playroom") != ""
    ends = np.append(playroom.start[1:] != playroom.start[:-1], True)
    assert done[ends].sum() >= 3
    assert not done[playroom.start].any()


def where_the_colour_is(corpus: Corpus, colours: tuple[str, ...]) -> tuple[int, int]:
    """How many places of things of some colours have that colour around them in the frame, and how many there are."""
    pairs = {number: pair for pair, number in world_tasks.of(corpus.world).goals.CLASSES.items()}
    checked = right = 0
    for row in range(len(corpus)):
        for query, (column, foot) in zip(corpus.queries[row].tolist(), corpus.places[row].tolist(), strict=True):
            if column >= COLUMNS or pairs.get(query[1], ("", ""))[1] not in colours:
                continue
            around = corpus.frames[row, max(0, foot * 5 - 12) : foot * 5 + 5, max(0, column * 2 - 3) : column * 2 + 5]
            channel = ("red", "green", "blue").index(pairs[query[1]][1])
            others = [i for i in range(3) if i != channel]
            excess = around[..., channel].astype(int) - around[..., others].max(-1).astype(int)
            checked += 1
            right += bool(excess.max() > 30)
    return right, checked


def test_places_are_where_the_colour_is(playroom: Corpus) -> None:
    right, checked = where_the_colour_is(playroom, ("red", "green", "blue"))
    assert checked > 20
    assert right > 0.9 * checked


def test_goals_are_different_and_never_held_out(playroom: Corpus) -> None:
    goals, suites = world_tasks.of("playroom").goals, importlib.import_module("tasks.playroom.suites")
    held_out = {goals.CLASSES[pair] for pair in suites.HELD_OUT_PAIRS}
    assert not np.isin(playroom.queries[..., 1], list(held_out)).any()
    for row in playroom.queries:
        assert len({tuple(query) for query in row.tolist()}) == len(row)
    rng = np.random.default_rng(0)
    meant = [world_tasks.of("playroom").language.read(goals.words(rng, tuple(q))) for q in playroom.queries[0].tolist()]
    assert all(meaning is not None for meaning in meant)


def test_most_goals_are_for_what_is_in_view() -> None:
    rng = np.random.default_rng(0)
    possible = [(verb, thing, 1) for verb in range(3) for thing in range(1, 9)]
    chosen = [queries(rng, possible, {2: (0.5, 0.5), 3: (0.2, 0.5)}, 4) for _ in range(50)]
    assert 0.5 < np.mean([query[1] in (2, 3) for found in chosen for query in found]) < 1.0
    assert all(len(set(found)) == 4 for found in chosen)
    assert queries(rng, [(0, 1, 1)], {}, 3) == [(0, 1, 1)]
    assert queries(rng, [], {}, 3) == []


def test_frames_in_which_nothing_else_can_be_asked_for(playroom: Corpus) -> None:
    bare = replace(playroom, queries=np.full_like(playroom.queries, NO_GOAL))
    page = Lessons([bare], [1], 0, 0, Mix(forgotten=0.0)).page(np.random.default_rng(0), 0, 3)
    assert (len(page.prompts), len(page.texts), page.wanted) == (1, 1, [])


def test_lessons_ask_in_the_words_of_the_world(playroom: Corpus) -> None:
    lessons = Lessons([playroom], [6], 0, 0, Mix())
    words, most = set(), 0
    for row in range(0, len(playroom), 3):
        page = lessons.page(np.random.default_rng(row), 0, row)
        prompts, texts = page.prompts, page.texts
        assert len(prompts) == len(texts) >= 1
        most = max(most, len(texts))
        words |= {word for prompt in prompts for word in prompt.request}
    assert most >= 4
    kinds = {word for text in playroom.instructions for word in text.lower().split()}
    assert words & kinds
    batch = lessons.at(0)
    assert batch.cells is not None
    assert (batch.cells >= PLAYROOM).all()  # told from doom's
    assert KIND_OF[batch.cells.numpy()].max() > KIND_NAMES.index("gate")


def test_what_is_pointed_at_is_where_it_is_seen(playroom: Corpus) -> None:
    goals, language = world_tasks.of("playroom").goals, world_tasks.of("playroom").language
    held_out = {goals.CLASSES[pair] for pair in importlib.import_module("tasks.playroom.suites").HELD_OUT_PAIRS}
    lessons, seen, asked = Lessons([playroom], [1], 0, 0, Mix(points=12)), 0, set()
    for row in range(len(playroom)):
        places = {number: (column, foot) for number, column, foot in playroom.scene[row, :, :3].tolist()}
        moment = Moment(playroom.scene[row], playroom.acted[:0].astype(np.int64), playroom.scene[:0])
        pointed = of("playroom").pointed(np.random.default_rng(row), lessons.mix, moment)
        assert len(pointed) == 12
        for (verb, number, _), place in pointed:
            column, foot = places.get(number, (COLUMNS, ROWS))
            assert tuple(place) == (column, min(foot, ROWS - 1) if number in places else ROWS)
            assert number not in held_out
            seen += number in places
            asked.add((verb, number))
    assert 0.3 < seen / (12 * len(playroom)) < 0.8
    assert len({number for _, number in asked}) > 50
    rng = np.random.default_rng(0)
    for verb, number in asked:
        meaning = language.read(goals.words(rng, (verb, number, 0)))
        assert goals.CLASSES[meaning.kind, meaning.colour] == number
    page = lessons.page(rng, 0, 3)
    short = [(prompt, text) for prompt, text in zip(page.prompts, page.texts, strict=True) if len(text.choices) == 2]
    assert len(short) == 12
    assert all(prompt.request and len(prompt.past) == 0 for prompt, _ in short)


def test_who_begins_says_how_he_understands_it(playroom: Corpus) -> None:
    lessons, spoken = Lessons([playroom], [6], 0, 0, Mix(fresh=1.0, silent=1.0, forgotten=0.0)), set()
    for row in range(0, len(playroom), 3):
        page = lessons.page(np.random.default_rng(row), 0, row)
        prompts, texts = page.prompts, page.texts
        for prompt, text in zip(prompts, texts, strict=True):
            assert len(prompt.past) == 0
            words = say(text.tokens)
            assert words.startswith(("ok ", "done"))
            spoken.add(words)
    assert len(spoken) > 10


@pytest.mark.slow
def test_one_model_learns_two_worlds(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_processes(monkeypatch, "training.small.stage")
    (tmp_path / "recipe.yaml").write_text(
        f"{{batch: 8, workers: 1, worlds: {{doom: {{demonstrations: {{doom-room: 2}}}}, "
        f"playroom: {{glances: 4, corpora: [{recorded}]}}}}, rounds: [{{frames: 32, rate: 1.0e-5}}, "
        "{frames: 16, rate: 1.0e-5, keep: 0.5, corrections: {playroom: {playroom-basic: 1}}}]}"
    )
    recipe, stages = JointRecipe.load(tmp_path / "recipe.yaml"), []
    model = train_worlds(recipe, SHIPPED, tmp_path / "run", lambda news: stages.append(news.stage))
    assert stages[0] == "doom"
    assert stages[-1] == "round-2"
    assert list(dict.fromkeys(stages)).index("round-1") < stages.index("corrections-2-playroom")
    shipped, first, last = (
        load_small(folder).model.state_dict() for folder in (SHIPPED, tmp_path / "run" / "round-1", model)
    )
    for before, after in ((shipped, first), (first, last)):
        # there may be more kinds of cells than the shipped model knows
        wider = {name for name in before if after[name].shape != before[name].shape}
        assert wider <= ({"segment.weight", "segment.bias"} if before is shipped else set())
        changes = [float((after[name] - value).abs().max()) for name, value in before.items() if name not in wider]
        assert 0.0 < max(changes) < 0.05
    nouns = read_manifest(model)["nouns"]
    assert {"torch", "snowman"} <= set(nouns)
    stages.clear()
    assert train_worlds(recipe, SHIPPED, tmp_path / "run", lambda news: stages.append(news.stage)) == model
    assert stages == []  # nothing is done twice


def test_a_round_may_end_with_the_mean_of_several(recorded: Path, tmp_path: Path) -> None:
    model = load_model(SHIPPED)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    save_small(model, tmp_path / "other")
    run(Stage("mean", tmp_path / "mean", ((recorded, 1.0),), frames=4, batch=4, rate=1e-12, parent=SHIPPED,
              mean_with=(tmp_path / "other",)))  # fmt: skip
    before, after = load_model(SHIPPED).state_dict(), load_model(tmp_path / "mean").state_dict()
    same = [name for name, value in before.items() if after[name].shape == value.shape and value.is_floating_point()]
    apart = torch.cat([(after[name] - before[name]).flatten() for name in same if "meanings" not in name])
    assert apart.median().item() == pytest.approx(0.005, abs=5e-4)


@pytest.mark.parametrize(
    ("worlds", "said"),
    [
        ("{doom: {demonstrations: {playroom-basic: 1}}}", "not played in 'doom'"),
        ("{playroom: {demonstrations: {playroom-pairs: 1}}}", "held out"),
        ("{playroom: {share: 1.0}}", "neither"),
        ("{playroom: {demonstrations: {playroom-nothing: 1}}}", "unknown suite"),
        ("{playroom: {demonstrations: {playroom-basic: 1}}}, views: {judge-houses: 1}", "views are of doom"),
    ],
)
def test_a_wrong_table_of_worlds_is_refused(tmp_path: Path, worlds: str, said: str) -> None:
    (tmp_path / "recipe.yaml").write_text(f"{{rounds: [{{frames: 32, rate: 1.0e-5}}], worlds: {worlds}}}")
    with pytest.raises(ValueError, match=said):
        JointRecipe.load(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ("[]", "at least 1 item"),
        ("[{frames: 1, rate: 1}, {frames: 1, rate: 1, corrections: {doom: {doom-room: 1}}}]", "not among the worlds"),
        ("[{frames: 1, rate: 1, keep: 1.0}]", "keep"),
        ("[{frames: 1, rate: 1, mean_of: 2}]", "can't be the mean of 2 rounds"),
    ],
)
def test_wrong_rounds_are_refused(tmp_path: Path, rounds: str, said: str) -> None:
    text = f"{{rounds: {rounds}, worlds: {{playroom: {{demonstrations: {{playroom-basic: 1}}}}}}}}"
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ValueError, match=said):
        JointRecipe.load(tmp_path / "recipe.yaml")


def test_newest_corrections_may_weigh_more() -> None:
    assert shares(0.8, 4, 0.0) == [0.2] * 4
    assert shares(0.8, 1, 0.5) == [0.8]
    assert shares(0.8, 3, 0.5) == pytest.approx([0.2, 0.2, 0.4])


def test_who_is_deaf_is_asked_for_nothing(playroom: Corpus) -> None:
    for deaf in (0.0, 1.0):
        prompts = Lessons([playroom], [1], 0, 0, Mix(deaf=deaf)).page(np.random.default_rng(0), 0, 3).prompts
        assert all(bool(prompt.request) == (deaf == 0.0) for prompt in prompts)


@pytest.mark.parametrize("world", ["playroom", "minetest"])
def test_the_control_names_another_thing(world: str) -> None:
    language = world_tasks.of(world).language
    named = 0
    for task in world_tasks.suite(f"{world}-basic").tasks(3, 9):
        other = controls.other_name(task)
        if other is None:
            continue
        first, second = language.read(task.instruction), language.read(other.instruction)
        assert first.verb == second.verb
        assert (first.kind, first.colour) != (second.kind, second.colour)
        assert other.verifier == task.verifier
        named += 1
    assert named >= 5


@needs("minetest")
def test_places_in_minetest_are_where_the_colour_is(tmp_path: Path) -> None:
    right, checked = where_the_colour_is(record(tmp_path, "minetest-basic", 3), ("red", "blue"))  # grass is green
    assert checked > 10
    assert right > 0.6 * checked  # what stands in between is not known
