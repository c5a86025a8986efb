"""Captions of outcomes: what they say holds by the verifiers' own rules, and held-out pairs are never named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from envs.doom.world import DoomWorld
from tasks import world_tasks
from tasks.doom import outcomes as doom
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.task import Task, thing_name


@pytest.mark.parametrize("world", ["doom", "playroom"])
def test_every_goal_is_asked_for_in_sentences_that_mean_it(world: str) -> None:
    outcomes = world_tasks.of(world).outcomes
    assert outcomes is not None
    rng = np.random.default_rng(0)
    for caption in outcomes.goals():
        said = outcomes.sentence(rng, caption)
        assert said is not None
        assert outcomes.caption(said) == caption
        assert caption not in (*outcomes.contrasts(said), *outcomes.others(said))


@pytest.mark.parametrize(
    ("text", "caption", "contrast"),
    [
        ("go to the red key", "standing right in front of the red key", "the red key is far away"),
        ("face the imp", "the imp is in the middle of the view", "the imp is on the left"),
        ("look up", "looking up", "looking down"),
        ("pick up the red key", None, None),  # it is gone then, and nothing shows who took it
        ("go to the red key then face the imp", None, None),
        ("please dance", None, None),
    ],
)
def test_doom_says_what_one_picture_can_show(text: str, caption: str | None, contrast: str | None) -> None:
    assert doom.caption(text) == caption
    assert (contrast in doom.contrasts(text)) if contrast else not doom.contrasts(text)


def test_a_goal_without_a_colour_has_no_negative_of_its_kind() -> None:
    assert not [said for said in doom.others("face the key") if "key" in said.split()]
    assert [said for said in doom.others("face the red key") if "blue key" in said]


def last_state(world: DoomWorld, task: Task) -> Any:
    """The state in which the expert has done a task."""
    verifier = world_tasks.verifier_of(task)
    assert verifier is not None
    assert task.verifier is not None
    decide = world_tasks.of(task.world).expert(task.verifier)
    _, info = world.reset(seed=task.seed, options=task.options)
    for _ in range(task.time_limit // 4):
        if verdict := verifier.update(info["state"]):
            assert verdict.success
            return info["state"]
        *_, info = world.step_chunk(decide(info["state"]).actions)
    raise AssertionError(f"{task.id}: the expert fails")


def test_at_the_end_of_a_success_its_caption_holds() -> None:
    world = DoomWorld(labels=True)
    try:
        seen = 0
        for index in range(40):
            task = world_tasks.suite("doom-room").task(5, index, evaluation=False)
            caption = doom.caption(task.instruction)
            if caption is None or seen == 6:
                continue
            state = last_state(world, task)
            shown = doom.shown(state)
            assert caption in shown.true, task.instruction
            assert caption not in shown.false
            assert not set(shown.true) & set(shown.false)
            names = [thing_name(*pair) for pair in HELD_OUT_PAIRS]
            assert not [said for said in (*shown.true, *shown.false) for name in names if name in said]
            seen += 1
        assert seen == 6
        with pytest.raises(ValueError, match="labels=True"):
            doom.shown(replace(state, labels=None))
    finally:
        world.close()
