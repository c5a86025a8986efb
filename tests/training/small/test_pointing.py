"""Doom's lessons on where the switch is: among doors and gates, and never what it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.sight import NOWHERE, ROWS
from tasks.doom.scene import DOORWAY, GATE, PANEL, PRESSED, UNCLEAR, Seen, pack
from training.small.doom_lessons import VERBS, DoomLessons
from training.small.lesson_world import Moment, of
from training.small.mix import Mix

SWITCH = Seen(PANEL, 0.25, 0.6, 90, 200.0)
BESIDE = Seen(GATE, 0.75, 0.6, 300, 200.0)
PAST = np.zeros((0, 6), np.int64)


def pointed(*scene: Seen, share: float = 1.0, draws: int = 200) -> list[list[int]]:
    """Where the switch is said to be, over many draws."""
    world = of("doom")
    assert isinstance(world, DoomLessons)
    rows = pack(scene)
    found = []
    for seed in range(draws):
        moment = Moment(rows, PAST, rows[None][:0])
        for (verb, _, _), where in world.pointed(np.random.default_rng(seed), Mix(switches=share), moment):
            assert VERBS[verb] == "press"
            found.append(where)
    return found


def test_a_switch_is_pointed_at() -> None:
    found = pointed(SWITCH, BESIDE)
    assert len(found) == 200
    assert {tuple(where) for where in found} == {(20, ROWS)}
    assert not pointed(SWITCH, BESIDE, share=0.0)


def test_a_gate_is_no_switch() -> None:
    found = pointed(BESIDE)
    assert 20 < len(found) < 90, "less often than where there is a switch"
    assert {tuple(where) for where in found} == {tuple(NOWHERE)}
    assert pointed(Seen(DOORWAY, 0.5, 0.6, 300, 200.0))
    assert not pointed(), "a wall alone teaches nothing"


@pytest.mark.parametrize("scene", [
    (SWITCH, replace(SWITCH, column=0.5)), (replace(SWITCH, pixels=UNCLEAR), BESIDE),
    (replace(SWITCH, name_class=PRESSED), BESIDE),
])  # fmt: skip
def test_where_it_can_not_be_told_nothing_is_said(scene: tuple[Seen, ...]) -> None:
    assert not pointed(*scene)
