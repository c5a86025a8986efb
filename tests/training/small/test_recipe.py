"""How `small` is made: demonstrations, corpus, stages, resuming; all of it for real, in small."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.sight import COLUMNS
from agent.small import load_small, token_ids
from agent.small.model import SmallConfig, SmallModel
from agent.small.output_grammar import CHOICES, MASK
from agent.small.token_ids import ACT, END, FIRST_WORD, GO, say
from envs.doom.things import CLASSES
from tasks.doom import suites
from tasks.doom.phrases import COLOUR_WORDS
from tasks.doom.scene import DOORWAY, PANEL, Seen
from tasks.doom.wide_phrases import WIDE_COLOURS
from tests.support.thread_workers import THREADS, no_processes
from training import loop
from training.recipe import OnProgress, Progress, ignore_progress
from training.small import lessons as lessons_module
from training.small import stage
from training.small.classes import COLOUR_NAMES, KIND_NAMES
from training.small.corpus import Corpus, build
from training.small.demonstrate import demonstrate
from training.small.doom_lessons import COLOURED, PAIR_OF, VERBS, _step, _two_goals, with_ways
from training.small.glances import Glances
from training.small.lesson_world import Moment, of
from training.small.lessons import Lessons
from training.small.mix import Mix
from training.small.phrase_bank import PhraseBank
from training.small.recipe import MODES, SmallRecipe, train_small

SUITES = {"doom-room": 8, "doom-compounds": 2, "doom-missing": 2}
SIZES = {"width": 32, "heads": 2, "layers": 1, "text_layers": 1}
TINY = {**SIZES, "channels": (16, 32), "blocks": 0}


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demonstrations")
    assert len(list(demonstrate(out / "episodes", SUITES, 3, workers=THREADS))) == sum(SUITES.values())
    return out


@pytest.fixture(scope="module")
def corpus(demonstrations: Path) -> Corpus:
    return build(demonstrations / "episodes", demonstrations / "corpus", workers=THREADS)


def test_held_out_suites_are_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="held out"):
        next(demonstrate(tmp_path, {"doom-pairs": 1}, 0))


def test_what_is_recorded_is_not_played_again(demonstrations: Path) -> None:
    assert list(demonstrate(demonstrations / "episodes", SUITES, 3)) == []


def test_annotations_fit_the_frames(corpus: Corpus) -> None:
    arrays = [value for value in vars(corpus).values() if isinstance(value, np.ndarray)]
    assert len(arrays) == 14
    assert len({len(array) for array in arrays}) == 1
    seen = 0
    for cells, queries, places in zip(corpus.cells, corpus.queries, corpus.places, strict=True):
        for query, place in zip(queries, places, strict=True):
            if place[0] < COLUMNS and int(query[1]) in PAIR_OF:
                columns = np.nonzero((cells == query[1]).any(0))[0]
                # small things may fall between the cells that are kept
                if len(columns):
                    seen += 1
                    assert columns.min() - 1 <= place[0] / 2 <= columns.max() + 2
    assert seen > 20


def test_no_query_names_a_held_out_pair(corpus: Corpus) -> None:
    held_out = [CLASSES[pair] for pair in suites.HELD_OUT_PAIRS]
    assert not np.isin(corpus.queries[..., 1], held_out).any()
    assert np.isin(corpus.cells, held_out).any()  # they stand there, nobody speaks of them


def test_one_frame_asks_for_different_things(corpus: Corpus) -> None:
    for queries in corpus.queries[:: max(1, len(corpus) // 20)]:
        assert len({tuple(q) for q in queries.tolist()}) >= 3
        assert queries[:, 0].max() < len(VERBS)


def test_a_decision_is_taught_with_what_was_before_it(corpus: Corpus) -> None:
    lessons = Lessons([corpus], [1], 0, 0, Mix(silent=0.0))
    later = np.flatnonzero(np.arange(len(corpus)) - corpus.start >= 3)
    for row in later[:: len(later) // 20]:
        acted = corpus.acted[max(corpus.start[row], row - 16) : row].astype(np.int64)
        source = lessons._sources[0]
        asked, text = lessons._own(np.random.default_rng(0), source, int(row), source.moment(int(row)))
        assert (asked.past == acted).all()
        assert " ".join(asked.thought) == say(corpus.acted_thought[row - 1].tolist())
        assert text.tokens[0] == ACT
        go = text.tokens.index(GO)
        assert len(text.tokens) - go == 5  # turn, look, move, hand follow
        assert len(text.choices) == len(text.weights) == len(text.tokens) - 1


def test_two_goals_make_one_instruction(corpus: Corpus) -> None:
    rng, seen = np.random.default_rng(1), set()
    for row in range(0, len(corpus), 5):
        both = _two_goals(lessons_module._goals(rng, corpus, row))
        if both is None:
            continue
        moment = Moment(corpus.scene[row], corpus.acted[:0].astype(np.int64), corpus.scene[:0])
        asked, text = _step(rng, both, moment)
        thought = say(text.tokens)
        number = int(thought.split()[1])
        assert thought.startswith(f"step {number} ")
        assert text.tokens[1] - token_ids.STARTS[0] == both[number - 1][1][0] < COLUMNS
        assert " ".join(asked.thought) in ("", thought)
        seen.add((number, bool(asked.thought)))
    assert seen == {(1, False), (1, True), (2, True)}


def test_what_tells_most_is_shown_most(corpus: Corpus) -> None:
    turns = lessons_module._turns(corpus)
    advice = [say(row.tolist()) for row in corpus.thought]
    kinds = [re.sub(r"(?<!step )\b\d+", "N", text) for text in advice]
    assert all(kinds[row] != kinds[row - 1] for row in turns)
    assert any(advice[row] == "done" for row in turns)
    assert any(advice[row].startswith("step 2") for row in turns)
    rows = np.concatenate(Lessons([corpus], [32], 0, 0, Mix(turns=1.0, starts=0.0))._rows(0))
    assert all(np.abs(turns - row).min() <= 4 for row in rows)
    rows = np.concatenate(Lessons([corpus], [32], 0, 0, Mix(turns=0.0, starts=1.0))._rows(0))
    assert set(rows.tolist()) <= set(corpus.start.tolist())


def test_small_shares_come_to_their_turn(corpus: Corpus) -> None:
    lessons = Lessons([corpus] * 3, [6.9, 0.3, 0.8], 0, 0)
    counts = np.array([[len(rows) for rows in lessons._rows(step)] for step in range(400)])
    assert (counts.sum(1) == 8).all()
    assert np.abs(counts.mean(0) - [6.9, 0.3, 0.8]).max() < 0.1


def test_glances_show_frames_with_what_is_in_them(corpus: Corpus) -> None:
    short = replace(corpus, frames=corpus.frames[:3], cells=corpus.cells[:3], scene=corpus.scene[:3])
    glances = Glances([([short, corpus], 64), ([short], 2)], 0, 0)
    chosen = glances._chosen(5)
    assert sum(one is short for one, _ in chosen[:64]) < 32  # as many of each as it has frames
    assert all(one is short and row < 3 for one, row in chosen[64:])
    frames, cells = glances.at(5)
    for frame, seen, (one, row) in zip(frames, cells, chosen, strict=True):
        assert (frame.permute(1, 2, 0).numpy() == one.frames[row]).all()
        things = one.cells[row] != 0
        assert (seen.numpy()[things] == one.cells[row][things]).all()


def test_ways_are_painted_where_they_are() -> None:
    cells = np.zeros((30, 40), np.uint8)
    cells[10:20, 18:20] = thing = CLASSES["barrel", None]
    near = Seen(DOORWAY, 0.5, 0.7, 1600, 200.0)  # its foot at row 21, 50 pixels tall and 32 wide
    painted = with_ways(cells, (near, Seen(PANEL, 0.1, 0.7, 800, 200.0)))
    rows, columns = np.nonzero(painted == DOORWAY)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 20, 16, 23)
    assert (painted == thing).sum() == (cells == thing).sum()  # it stands before it
    rows, columns = np.nonzero(painted[:, :16])  # the switch: its button, above the floor
    assert set(painted[rows, columns].tolist()) == {PANEL}
    assert (columns.min() + columns.max()) / 2 == pytest.approx(4, abs=1)
    assert 8 <= rows.min() <= rows.max() < 20
    assert not cells[:, 20:].any()
    assert with_ways(cells, ()) is cells


def test_what_was_only_walked_through_has_no_goal_of_its_own(corpus: Corpus) -> None:
    counts = []
    for advised in (True, False):
        lessons = Lessons([replace(corpus, advised=advised)], [1], 0, 0, Mix(forgotten=1.0, steps=0.0))
        frames = [lessons.page(np.random.default_rng(0), 0, row).texts for row in range(40)]
        counts.append(np.mean([sum(text.tokens[0] == ACT for text in texts) for texts in frames]))
    assert counts[0] > counts[1] + 1.5


def test_a_thing_may_be_told_by_its_colour_alone(corpus: Corpus) -> None:
    doom, query = of("doom"), (0, COLOURED + 2, 0)
    bank = PhraseBank(0, doom.phrase)
    texts = [bank.draw(np.random.default_rng(i), query) for i in range(20)]
    blue = {*COLOUR_WORDS["blue"], *WIDE_COLOURS["blue"]}
    assert all(blue & set(text.split()) for text in texts)
    assert texts == [PhraseBank(0, doom.phrase).draw(np.random.default_rng(i), query) for i in range(20)]
    assert {say(doom.confirmation(text, query)) for text in texts} == {"ok go to blue thing"}
    lessons = Lessons([corpus], [1], 0, 0, Mix(colours=1.0, steps=0.0))
    rng = np.random.default_rng(0)
    asked = [" ".join(a.request) for row in range(0, len(corpus), 3) for a in lessons.page(rng, 0, row).prompts]
    assert any({"thing", "object", "one"} & set(text.split()) for text in asked)


def test_who_succeeded_says_so_and_stops(corpus: Corpus) -> None:
    said = [say(row.tolist()) for row in corpus.speech if row.any()]
    assert "done" in said
    assert any(line.startswith("i see no") for line in said)


def test_a_batch_carries_every_role(corpus: Corpus) -> None:
    batch = Lessons([corpus], [16], 0, 0, Mix(pictures=1.0)).at(0)
    starts = set(batch.tokens[batch.order == 0].tolist())
    assert starts >= set(range(ACT, ACT + 4))  # act, answer, caption, propose
    assert batch.prompt.pictures is not None
    assert ((batch.targets >= FIRST_WORD) | (batch.targets == END)).any()
    allowed = MASK[batch.choices, batch.targets]
    assert (allowed == 0.0).all()  # nothing is taught that the grammar forbids


def test_the_same_step_is_the_same_batch(corpus: Corpus) -> None:
    first, second = (Lessons([corpus], [8], 4, 1).at(7) for _ in range(2))
    assert (first.tokens == second.tokens).all()
    assert (first.prompt.table[first.prompt.ids] == second.prompt.table[second.prompt.ids]).all()


def test_a_repeated_action_counts_less(corpus: Corpus) -> None:
    lessons = Lessons([corpus], [1], 0, 0, Mix(gamma=0.5))
    acted = np.repeat(corpus.advice[5:6].astype(np.int64), 3, 0)
    moment = Moment(corpus.scene[5], acted, corpus.scene[2:5])
    _, text = lessons._own(np.random.default_rng(0), lessons._sources[0], 5, moment)
    assert text.weights[-4:] == [0.125] * 4


def _run(
    corpus: Path,
    out: Path,
    frames: int,
    on_progress: OnProgress = ignore_progress,
    makers: int = 0,
    glances: int = 0,
    sizes: Mapping[str, Any] = TINY,
) -> None:
    made = stage.Stage(
        "talking", out / "talking", ((corpus, 1.0),), frames, 1e-3, glances=(((corpus,), glances),) if glances else (),
        batch=8, sizes=sizes, seed=5, log=out / "log",
    )  # fmt: skip
    stage.run(made, on_progress=on_progress, makers=makers)


def test_a_killed_stage_goes_on_as_if_nothing_happened(
    demonstrations: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)

    class KilledError(Exception):
        pass

    def kill(news: Progress) -> None:
        if news.done >= 80:
            raise KilledError

    _run(demonstrations / "corpus", tmp_path / "whole", 160)
    with pytest.raises(KilledError):
        _run(demonstrations / "corpus", tmp_path / "cut", 160, kill)
    assert not (tmp_path / "cut" / "talking").exists()
    assert (tmp_path / "cut" / "talking.state").exists()
    _run(demonstrations / "corpus", tmp_path / "cut", 160, makers=1)  # nor does it matter who makes the batches
    assert not (tmp_path / "cut" / "talking.state").exists()
    first = load_small(tmp_path / "whole" / "talking").model.state_dict()
    second = load_small(tmp_path / "cut" / "talking").model.state_dict()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-6, rtol=0, msg=name)


def test_operations_grow_with_the_model_and_the_batch(corpus: Corpus) -> None:
    some, twice = (Lessons([corpus], [frames], 0, 0).at(0) for frames in (8, 16))
    one, two = (SmallModel(SmallConfig(width=width, layers=1, text_layers=1)) for width in (32, 64))
    every = range(len(CHOICES))
    count = stage.operations(one, some, every)
    assert count < stage.operations(two, some, every)
    assert 1.7 * count < stage.operations(one, twice, every) < 2.6 * count
    assert next(one.parameters()).grad is None


@pytest.mark.slow
def test_glances_teach_to_see(
    demonstrations: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    right: list[float] = []

    def note(news: Progress) -> None:
        right.append(news.figures.get("glances right", np.nan))

    _run(demonstrations / "corpus", tmp_path, 640, note, glances=16, sizes=SIZES)
    assert np.nanmean(right[-10:]) > 2 * np.nanmean(right[:10])


@pytest.mark.slow
def test_learning_lowers_the_loss(
    demonstrations: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    losses: list[float] = []
    _run(demonstrations / "corpus", tmp_path, 560, lambda news: losses.append(news.figures["loss"]))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.slow
def test_the_whole_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_processes(monkeypatch, "training.small.stage")  # thirteen of them would import torch one after the other
    short = {"frames": 16, "rate": 1e-3}
    recipe = SmallRecipe.model_validate(
        {
            "model": SIZES,
            "workers": 1,
            "demonstrations": {"doom-room": 3, "doom-rooms": 1},
            "corrections": {"doom-room": 1},
            "views": {"judge-houses": 1},
            "judged": {"doom-room": 4},
            "batch": 8,
            **dict.fromkeys(MODES, short),
        }
    )
    stages: list[str] = []
    checkpoint = train_small(recipe, tmp_path / "run", lambda news: stages.append(news.stage))
    assert [s for s in dict.fromkeys(stages) if s in MODES] == list(MODES)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert manifest["trained"]["recipe"]["demonstrations"] == {"doom-room": 3, "doom-rooms": 1}
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))
    stages.clear()
    assert train_small(recipe, tmp_path / "run", lambda news: stages.append(news.stage)) == checkpoint
    assert stages == []  # nothing is done twice
    with pytest.raises(ValueError, match="another recipe"):
        train_small(recipe.model_copy(update={"seed": 2}), tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vision: {frames: 0, rate: 1}", r"vision\.frames"),
        ("colour: blue", "colour"),
        ("vision: [", "not YAML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_its_field(tmp_path: Path, text: str, said: str) -> None:
    whole = Path("training/small/recipes/small.yaml").read_text()
    kept = "".join(line for line in whole.splitlines(keepends=True) if line.split(":")[0] != text.split(":")[0])
    (tmp_path / "recipe.yaml").write_text(text if said == "not YAML" else kept + text)
    with pytest.raises(ValueError, match=said):
        SmallRecipe.load(tmp_path / "recipe.yaml")


def test_a_model_learns_to_name_more_and_keeps_what_it_knows() -> None:
    few = SmallModel(SmallConfig(width=32, heads=2, layers=1, text_layers=1, channels=(16, 32), kinds=26, colours=5))
    image = torch.randn(2, 80, 32)
    kinds, colours = few.segmentation(image)
    more = stage.widened(few)
    assert (more.config.kinds, more.config.colours) == (len(KIND_NAMES), len(COLOUR_NAMES))
    more_kinds, more_colours = more.segmentation(image)
    torch.testing.assert_close(more_kinds[:, :26], kinds)
    torch.testing.assert_close(more_colours[:, :5], colours)
    assert stage.widened(more) is more
