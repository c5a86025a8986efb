"""Evaluation: intervals, controls, and that it measures what is played."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from agent.random_policy import RandomPolicy
from envs.action import Action
from envs.doom.level import Level
from envs.doom.world import DoomWorld
from envs.playroom.world import Playroom
from envs.world import Observation
from tasks import controls, world_tasks
from tasks.doom import suites
from tasks.doom.language import read
from tasks.expert_policy import ExpertPolicy
from tests.support.components import needs
from tests.support.thread_workers import THREADS
from training.evaluation.statistics import wilson
from training.evaluation.success import Evaluator, Job, evaluate


def test_wilson_interval_is_the_textbook_one() -> None:
    low, high = wilson(90, 100)
    assert low == pytest.approx(0.8256, abs=1e-4)
    assert high == pytest.approx(0.9448, abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_language_control_names_another_thing_of_the_level() -> None:
    checked = 0
    for task in suites.evaluation("doom-basic").tasks(1, 60):
        other = controls.other_name(task)
        assert controls.without_language(task).instruction == ""
        if other is None or task.verifier is None:
            continue
        checked += 1
        assert other.verifier == task.verifier
        meaning = read(other.instruction)
        assert meaning is not None
        if task.verb != "look":
            things = Level.from_json(task.options["level"]).things
            wanted = things[task.verifier.args["targets"][0]]
            assert (meaning.kind, meaning.colour) != (wanted.kind, wanted.colour)
            assert meaning.kind in {t.kind for t in things}
    assert checked > 45


@pytest.mark.slow
def test_the_expert_beats_chance_on_the_same_tasks() -> None:
    tasks = list(suites.evaluation("doom-basic").tasks(2, 20))
    heard: list[int] = []
    tallies = evaluate(
        tasks, ExpertPolicy, DoomWorld, rows=("policy", "random"), on_progress=lambda news: heard.append(news.done)
    )
    expert, chance = tallies["policy"].to_json(), tallies["random"].to_json()
    assert expert["success"] >= 0.9
    assert chance["success"] <= 0.5
    assert expert["episodes"] == 20
    assert set(expert["by_verb"]) == set(suites.BASIC)
    assert heard[-1] == 40
    assert expert["late"]["ticks"] > 100
    assert expert["late"]["share"] == 0.0  # Doom waits


class Hurried(DoomWorld):
    """Moves on by itself, and is slower than it says."""

    realtime = True

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        time.sleep(3.0 * len(actions) / self.tick_hz)
        return super().step_chunk(actions)


@pytest.mark.slow
def test_ticks_that_came_late_are_told() -> None:
    task = replace(suites.evaluation("doom-basic").task(3, 0), time_limit=16)
    late = evaluate([task], RandomPolicy, Hurried, workers=THREADS)["policy"].to_json()["late"]
    assert late["ticks"] == 16
    assert late["share"] > 0.0


def test_a_task_that_nobody_can_judge_is_refused() -> None:
    task = next(suites.evaluation("doom-basic").tasks(3, 1))
    unjudged = type(task)(**{**task.__dict__, "verifier": None})
    with pytest.raises(RuntimeError, match="no verifier"):
        evaluate([unjudged], RandomPolicy, partial(DoomWorld), workers=THREADS)


@needs("mujoco-drawing")
def test_a_world_that_draws_in_one_thread_alone_is_played_in_several_portions() -> None:
    evaluator = Evaluator(RandomPolicy, Playroom)
    tasks = [replace(task, time_limit=8) for task in world_tasks.suites()["playroom-basic"].tasks(3, 4)]
    for row in ("policy", "expert", "policy"):
        results = evaluator.work([Job(row, task) for task in tasks])
        # eight ticks: at 30 a second the random policy decides every third one, the expert every fourth
        assert [result.decisions for result in results] == [3 if row == "policy" else 2] * 4
    evaluator.close()
