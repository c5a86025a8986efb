"""Self-improvement in worlds that bring no suites and no verifiers, and on tasks that a person wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.cli.self_improve import _recipe as cli_recipe
from envs.errors import UserError
from rewards.score import Failure, Score
from tasks.curriculum import Curriculum
from tasks.setter import SetterView, Tried, load_setter, propose
from tasks.suite import EVALUATION_SEEDS
from tasks.task import Task
from tests.support.thread_workers import THREADS
from training.improve.generation import Generation
from training.improve.levels import OWN, evaluation_tasks, own_tasks, practice_level
from training.improve.loop import SelfImprovement
from training.improve.recipe import ImproveRecipe, recipe_for
from training.improve.report import write_report

POLE = "gymnasium:CartPole-v1"
RECIPE = {
    "env": POLE, "suite": "", "setter": "told:hold the pole up; let it fall", "reward": f"{__name__}:Odd",
    "generations": 1, "levels": 3, "tries": 2, "time_limit": 24, "episodes": 3, "doubt": False, "hindsight": 0,
    "held_out": [], "old": [], "least": 1, "rehearsal_episodes": 0, "rounds": 1, "practised": 2, "group": 2,
}  # fmt: skip
WORLD = """\
env: CartPole-v1
tick_hz: 35
keys: {press: [{hold: KeyA, do: 0}, {hold: KeyD, do: 1}], none: 0}
"""
FILE = """\
tasks:
  - instruction: hold the pole up
    world: gymnasium
    verifier: {name: reward, args: {at_least: 5}}
    time_limit: 24
    count: 2
"""


class Odd:
    """A reward that depends on the pixels alone, in a way that nobody can foresee."""

    name = "odd"
    sees_truth = False

    def score(self, task: Task, episodes: Any) -> list[Score | Failure]:
        won = [int(episode.decision_frames()[-1].sum()) % 6 > 0 for episode in episodes]
        return [Score(100.0 * win, win, "", self.name) for win in won]


def test_levels_by_seed_are_of_two_halves() -> None:
    practised = [practice_level(POLE, "", 0, index) for index in range(20)]
    assert len({one.seed for one in practised}) == len({one.id for one in practised}) == 20
    assert all(one.seed < EVALUATION_SEEDS and one.world == POLE for one in practised)
    archive = Curriculum(POLE, [Tried("a", "hold the pole up", True), Tried("b", "let it fall", False)])
    own = own_tasks(POLE, "", archive, 4, 50)
    assert {one.instruction for one in own} == {"hold the pole up"}  # what never succeeded tells nobody anything
    assert all(one.seed >= EVALUATION_SEEDS and one.verifier is None for one in own)
    assert own_tasks(POLE, "", Curriculum(POLE), 4, 50) == []


def test_where_a_run_plays_follows_from_its_world() -> None:
    assert recipe_for(POLE) == {"env": POLE, "suite": "", "held_out": ()}
    assert recipe_for("playroom") == {
        "env": "playroom", "suite": "playroom-basic", "held_out": ("playroom-basic",),
        "setter": "suite:playroom-basic:240",
    }  # fmt: skip


def test_a_suite_says_where_a_run_plays() -> None:
    put = cli_recipe(None, False, {"suite": "playroom-put"})
    assert (put.env, put.suite, put.held_out) == ("playroom", "playroom-put", ("playroom-put",))
    assert put.setter == "suite:playroom-put:240"
    told = cli_recipe(None, True, {"env": "playroom", "setter": "template"})
    assert (told.suite, told.setter, told.rounds) == ("playroom-basic", "template", 12)
    assert cli_recipe(None, False, {"suite": "doom-vault"}) == cli_recipe(None, False, {})
    with pytest.raises(UserError, match="unknown suite"):
        cli_recipe(None, False, {"suite": "playroom-fly"})


def test_a_person_says_what_to_try() -> None:
    setter = load_setter("told:go to the red box; find the exit;")
    said = propose(setter, SetterView("my_game", tick_hz=20.0, seed=1), 5)
    assert {one.instruction for one in said.proposals} == {"go to the red box", "find the exit"}
    assert {one.time_limit for one in said.proposals} == {600}
    assert len(propose(setter, SetterView("my_game"), 1).proposals) == 1
    with pytest.raises(UserError, match="say what to try"):
        load_setter("told: ;")


@pytest.fixture
def pole(tmp_path: Path) -> str:
    """The environment, with keys that `small` has."""
    file = tmp_path / "world.yaml"
    file.write_text(WORLD)
    return f"gymnasium:{file}"


@pytest.mark.slow
def test_without_verifiers_the_reward_judges_the_candidate_and_the_run_says_so(tmp_path: Path, pole: str) -> None:
    recipe, out = ImproveRecipe.model_validate({**RECIPE, "env": pole}), tmp_path / "run"
    (summary,) = SelfImprovement(recipe, out, workers=THREADS).run()
    assert summary["true"]["rate"] is None
    assert summary["gap"] is None
    result = Generation(out, 1).result("evaluate")
    assert set(result["held_out"]) == {OWN}
    assert 0 < result["held_out"][OWN]["n"] <= 3
    assert "no verifier knows this world" in summary["why"]
    assert len(list((out / "generation-001" / "evaluated" / "candidate").iterdir())) == 3
    report = write_report(out, recipe.model_dump(mode="json"), [summary]).read_text()
    assert f"Self-improvement in {pole}" in report
    assert "judged by the reward" in report
    assert "judged by ground truth" not in report


@pytest.mark.slow
def test_a_file_of_tasks_measures_a_run_in_any_world(tmp_path: Path, pole: str) -> None:
    file = tmp_path / "pole.yaml"
    file.write_text(FILE)
    (first, second) = evaluation_tasks(pole, [str(file)], 5)
    assert first.id.startswith(f"{file}/")
    recipe = ImproveRecipe.model_validate({**RECIPE, "env": pole, "held_out": [str(file)]})
    (summary,) = SelfImprovement(recipe, tmp_path / "run", workers=THREADS).run()
    assert summary["held_out"][str(file)]["n"] == 2
    assert set(Generation(tmp_path / "run", 1).result("evaluate")["candidate"]) == {first.id, second.id}
    with pytest.raises(UserError, match="has tasks of the world gymnasium"):
        SelfImprovement(
            ImproveRecipe.model_validate({**RECIPE, "env": "doom", "held_out": [str(file)]}), tmp_path / "x"
        )
    with pytest.raises(UserError, match="is played in the world doom"):
        SelfImprovement(ImproveRecipe.model_validate({**RECIPE, "suite": "doom-room"}), tmp_path / "y")
