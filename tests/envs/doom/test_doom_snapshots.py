"""Doom goes back to a moment of the episode, and what follows is the same again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from envs.action import Action
from envs.doom.world import DoomWorld
from envs.snapshots import Rewindable, Snapshots
from tasks.doom import suites


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld()
    yield made
    made.close()


def drawn(count: int) -> list[Action]:
    """A wild player, who opens doors and shoots."""
    rng = np.random.default_rng(5)
    return [
        Action(
            keys=frozenset(rng.choice(["KeyW", "KeyA", "KeyE", "KeyD", "ShiftLeft"], 2).tolist()),
            buttons=frozenset({"left"} if rng.random() < 0.2 else ()),
            look=(float(rng.normal() * 5), float(rng.normal())),
        )
        for _ in range(count)
    ]


def played(world: DoomWorld, actions: Sequence[Action]) -> list[tuple[bytes, Any]]:
    steps = [world.step(action) for action in actions]
    return [(observation["pixels"].tobytes(), info["state"]) for observation, _, _, _, info in steps]


@pytest.mark.parametrize("suite", ["doom-vault", "doom-room-looks"])
def test_what_follows_is_the_same_again(world: DoomWorld, suite: str) -> None:
    task = suites.evaluation(suite).task(4, 0)
    world.reset(seed=task.seed, options=task.options)
    actions = drawn(180)
    world.step_chunk([*actions[:40], *[actions[40]] * 20])
    assert isinstance(world, Snapshots)
    early = world.save()
    first = played(world, actions[60:120])
    late = world.save()
    assert first[0] != first[-1]
    for _ in range(2):
        world.restore(early)
        assert played(world, actions[60:120]) == first
    after = played(world, actions[120:150])
    world.restore(late)
    assert played(world, actions[120:150]) == after, "a moment that was saved before going back further"


def test_a_state_of_another_episode_is_refused(world: DoomWorld) -> None:
    world.reset(seed=1)
    saved = world.save()
    world.reset(seed=1)
    with pytest.raises(ValueError, match="another episode"):
        world.restore(saved)
    with pytest.raises(ValueError, match="another episode"):
        world.restore("a place")
    fresh = DoomWorld()
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"save\(\)"):
        fresh.save()


def test_it_is_rewound_by_name(world: DoomWorld) -> None:
    rewound = Rewindable(world)
    rewound.reset(seed=2)
    rewound.keep("start")
    walk = Action(keys=frozenset({"KeyW"}), look=(5.0, 0.0))
    *_, info = rewound.step(walk)
    there = info["state"]
    rewound.step_chunk([walk] * 30)
    assert rewound.go_back("start")
    *_, info = rewound.step(walk)
    assert info["restored"] == "start"
    assert info["state"] == there
