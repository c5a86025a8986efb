"""A stranger's world is taught by the generic LessonWorld, from what its tasks bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent import doom_codec as codec
from agent.sight import COLUMNS
from agent.small.checkpoint import load_model, read_manifest, save_small
from agent.small.model import SmallConfig, SmallModel
from envs.errors import UserError
from tasks import world_tasks
from tests.support import lamp_world
from tests.support.thread_workers import THREADS
from training.small import lesson_world
from training.small.classes import UNKNOWN
from training.small.corpus import Corpus, build
from training.small.demonstrate import Demonstrator, demonstrate
from training.small.doom_lessons import DoomLessons
from training.small.lesson_world import LessonWorld
from training.small.lessons import Lessons
from training.small.mix import Mix
from training.small.playroom_lessons import PlayroomLessons
from training.small.stage import Stage, run
from training.small.worlds_recipe import JointRecipe, RoundSection, WorldSection


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    lamp_world.register(monkeypatch)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    results = list(demonstrate(tmp_path / "episodes", {"lamp-basic": 6}, 5, workers=THREADS, queries=2))
    assert sum(bool(success) for success, _ in results) >= 4  # the play is disturbed
    return build(tmp_path / "episodes", tmp_path / "corpus", workers=THREADS)


def test_what_a_process_recorded_before_it_died_is_recorded_again(tmp_path: Path) -> None:
    suite = world_tasks.training("lamp-basic")
    demonstrator = Demonstrator(tmp_path, None, 2, False, "lamp")
    jobs = [suite.task(5, number, evaluation=False) for number in range(2)]
    try:
        assert demonstrator.work(jobs) == demonstrator.work(jobs)
    finally:
        demonstrator.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_worlds_are_found_by_what_their_tasks_say() -> None:
    assert type(lesson_world.of("lamp")) is LessonWorld
    assert type(lesson_world.of("minetest")) is LessonWorld
    assert type(lesson_world.of("doom")) is DoomLessons
    assert type(lesson_world.of("playroom")) is PlayroomLessons
    with pytest.raises(UserError, match="'nowhere' can't be taught: its tasks bring no goals"):
        lesson_world.of("nowhere")


def test_a_strangers_world_is_played_annotated_and_taught(corpus: Corpus) -> None:
    assert corpus.world == "lamp"
    assert (corpus.cells == UNKNOWN).all()  # it has no labels
    assert (corpus.scene[:, 0, 0] == 1).all()
    assert (corpus.advice[:, 0] == corpus.scene[:, 0, 1]).all()  # the lamp is wanted, and in view
    done = corpus.advice[:, -1] == codec.HANDS.index("done")
    assert done.sum() >= 4
    assert not corpus.speech[corpus.start].any()  # its confirmation has a word that can't be written
    lessons = Lessons([corpus], [8], 0, 0, Mix(points=2))
    page = lessons.page(np.random.default_rng(0), 0, 1)
    asked = {" ".join(prompt.request) for prompt in page.prompts}
    assert any("lamp" in text for text in asked)
    assert page.texts[-1].tokens[1] - page.texts[-2].tokens[1] == 0  # both point at the one lamp
    batch = lessons.at(0)
    assert batch.cells is not None
    assert (batch.cells == UNKNOWN).all()
    assert batch.frames.shape == (8, 3, 120, 160)


def test_the_default_teacher_coaches_and_says_when_it_is_done() -> None:
    task = world_tasks.suite("lamp-basic").task(0, 0)
    world, teacher = lamp_world.LampWorld(), world_tasks.of("lamp").teacher(task)
    _, info = world.reset(seed=task.seed)
    for _ in range(40):
        advice = teacher.advise(info["state"])
        if advice.done:
            break
        for action in codec.decode(advice.tokens).actions:
            _, _, _, _, info = world.step(action)
    assert advice.done
    assert advice.place[0] < COLUMNS
    with pytest.raises(ValueError, match="neither a teacher nor goals"):
        world_tasks.of("nowhere").teacher(task)


def test_a_stage_learns_from_it(corpus: Corpus, tmp_path: Path) -> None:
    tiny = SmallConfig(width=32, heads=2, layers=1, text_layers=1, channels=(16, 32))
    save_small(SmallModel(tiny), tmp_path / "start", trained={})
    JointRecipe(  # the recipe of `agent train worlds` takes it, too
        worlds={"lamp": WorldSection(demonstrations={"lamp-basic": 2})}, rounds=(RoundSection(frames=8, rate=0.001),)
    )
    stage = Stage(
        "round-1", tmp_path / "out", ((tmp_path / "corpus", 1.0),), frames=8, rate=0.001, batch=4,
        parent=tmp_path / "start",
    )  # fmt: skip
    run(stage)
    assert load_model(tmp_path / "out").config == load_model(tmp_path / "start").config
    assert read_manifest(tmp_path / "out")["nouns"]["lamp"] == "lamp"
