"""Practice: the tasks that a player set itself, learned by reinforcement in the real game."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.small.checkpoint import read_manifest
from rewards.score import Failure, Score
from tasks.curriculum import Curriculum
from tasks.setter import Tried
from tasks.task import Task
from tests.support.thread_workers import THREADS
from training.improve import levels, practise
from training.improve.audit import gap_growth
from training.improve.collect import Try
from training.improve.generation import Generation
from training.improve.loop import SelfImprovement
from training.improve.recipe import ImproveRecipe

TINY = {
    "generations": 1, "levels": 3, "tries": 2, "proposals": 3, "time_limit": 40, "episodes": 2, "doubt": False,
    "hindsight": 0, "held_out": ["doom-vault-steps"], "old": ["doom-basic"], "least": 1, "rounds": 2, "practised": 2,
    "group": 3, "rehearsal_suites": ["doom-room"], "rehearsal_episodes": 2,
}  # fmt: skip


class Lottery:
    """A reward that depends on the pixels alone, in a way that nobody can foresee."""

    name = "lottery"
    sees_truth = False

    def score(self, task: Task, episodes: Any) -> list[Score | Failure]:
        assert task.verifier is None  # a reward gets no ground truth
        won = [int(episode.decision_frames()[-1].sum()) % 2 == 0 for episode in episodes]
        return [Score(100.0 * win, win, "", self.name) for win in won]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("practice") / "run"
    all_tasks = levels.evaluation_tasks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "evaluation_tasks", lambda *wanted: all_tasks(*wanted)[:1])
        (summary,) = SelfImprovement(_recipe(), out, workers=THREADS).run()
    return out, summary


def _recipe(**fields: Any) -> ImproveRecipe:
    return ImproveRecipe.model_validate({**TINY, "reward": f"{__name__}:Lottery", **fields})


@pytest.mark.slow
def test_a_generation_practises_what_it_proposed(finished: tuple[Path, dict[str, Any]]) -> None:
    out, summary = finished
    learned = Generation(out, 1).result("learn")
    assert learned["tasks"] >= 2
    assert len(learned["rounds"]) == 2
    assert all(one["episodes"] == 6 for one in learned["rounds"])
    manifest = read_manifest(out / learned["model"])
    assert manifest["trained"]["recipe"]["method"] == "ppo"
    assert not (out / "rehearsal").exists()
    assert summary["promoted"] in (True, False)


@pytest.mark.slow
def test_only_what_the_reward_tells_and_is_not_mastered_is_practised(finished: tuple[Path, dict[str, Any]]) -> None:
    out, _ = finished
    generation = Generation(out, 1)
    episodes = generation.file("episodes")
    tries = [Try.from_json(one) for one in generation.result("collect")["tries"]]
    archive = Curriculum("doom")

    def practised(untold: Sequence[str] = ()) -> Sequence[Task]:
        return practise.tasks_of(episodes, tries, archive, untold, 77)

    everything = practised()
    for level in {one.level for one in tries}:  # also what was seen later in the level
        proposed = {text for one in tries if one.level == level for text in (one.instruction, *one.others)}
        assert {task.instruction for task in everything if task.id.startswith(f"{level}-0/")} == proposed
    assert {task.time_limit for task in everything} == {77}
    assert all(task.verifier is None and task.options["level"] for task in everything)
    assert len({task.id for task in everything}) == len(everything)
    first = everything[0]
    assert first.verb not in {task.verb for task in practised([first.verb])}
    assert practised([task.verb for task in everything]) == []
    archive.add(Tried(f"{number}", first.instruction, True, 100.0) for number in range(30))
    assert first.instruction not in {task.instruction for task in practised()}


def test_a_gap_that_grows_in_practice_is_seen() -> None:
    honest = [{"judged": 0.5, "true": 0.6}] * 12
    flattered = [{"judged": 0.5 + 0.02 * number, "true": 0.6} for number in range(12)]
    assert gap_growth(honest) == pytest.approx(0.0)
    assert gap_growth(flattered) == pytest.approx(16.0)
    assert gap_growth(flattered[:11]) == 0.0, "too few rounds to tell"
    assert gap_growth([{"judged": 1.0}] * 30) == 0.0, "a world without verifiers"


def test_a_reward_that_is_doubted_has_to_say_so_twice() -> None:
    def reward(**fields: Any) -> str:
        return practise.recipe_of(ImproveRecipe(**fields), "small", 1, 1).reward

    assert reward() == "twice:judge"
    assert reward(second="clip") == "mixture:judge+clip"
    assert reward(doubt=False) == "judge"


def test_practice_needs_enough_tasks(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = finished
    run = SelfImprovement(_recipe(least=10_000), tmp_path / "run")
    run.out = out
    assert "fewer than 10000" in run._practise(Generation(out, 1))["why"]


def test_the_recipe_of_the_docs_is_one() -> None:
    recipe = ImproveRecipe.load(Path(practise.__file__).parent / "recipes" / "vault-steps.yaml")
    assert (recipe.suite, recipe.reward, recipe.held_out) == ("doom-vault", "judge", ("doom-vault-steps",))
    made = practise.recipe_of(recipe, "small", 2, 2)
    assert (made.seed, made.averaged, made.reward) == (2, 0.5, "twice:judge")


@pytest.mark.slow
def test_torchrun_practises_with_several_processes(tmp_path: Path) -> None:
    config = tmp_path / "recipe.yaml"
    few = {"levels": 2, "tries": 1, "rounds": 1, "episodes": 1, "rehearsal_episodes": 1}
    config.write_text(json.dumps({**TINY, **few, "reward": f"{__name__}:Lottery"}))  # JSON is YAML
    torchrun = "torch.distributed.run --standalone --nproc-per-node 2 -m agent self-improve --json --workers 1"
    command = [sys.executable, "-m", *torchrun.split(), "--config", str(config), "--out", str(tmp_path / "run")]
    # The reward is in this file.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[3])])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    (summary,) = json.loads(done.stdout)["generations"]
    assert summary["promoted"] in (True, False)
    (practised,) = Generation(tmp_path / "run", 1).result("learn")["rounds"]
    assert practised["episodes"] == 6.0, "of both processes"
