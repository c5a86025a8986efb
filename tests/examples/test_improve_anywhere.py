"""The example of self-improvement in a foreign environment: its recipe, its tasks and its rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples.gymnasium.red_box import RedBox
from rewards.score import Score
from tasks.task import Task
from tasks.task_file import load_tasks
from tests.support.sources import ROOT
from training.improve.recipe import ImproveRecipe

FOLDER = ROOT / "examples" / "gymnasium"
TASK = Task("t", "go to the red box", "gymnasium")


class Seen:
    success, why = None, ""

    def __init__(self, top: int, bottom: int) -> None:
        self._frame = np.full((120, 160, 3), 90, np.uint8)
        self._frame[top:bottom, 60:90] = (200, 10, 20)

    def decision_frames(self) -> np.ndarray:
        return self._frame[None]


def test_the_rule_tells_near_from_far() -> None:
    said = RedBox().score(TASK, [Seen(0, 0), Seen(66, 74), Seen(90, 115), Seen(104, 120)])
    values = [one.value for one in said if isinstance(one, Score)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, 100.0)
    assert [one.success for one in said if isinstance(one, Score)] == [False, False, False, True]


def test_the_recipe_is_measured_by_tasks_of_its_world() -> None:
    recipe = ImproveRecipe.load(FOLDER / "improve.yaml")
    (file,) = recipe.held_out
    tasks = load_tasks(Path(ROOT, file))
    assert len(tasks) == recipe.episodes == 100
    assert {task.world for task in tasks} == {recipe.env}
