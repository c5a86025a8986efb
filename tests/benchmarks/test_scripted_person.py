"""The person by script: what is recorded of it is what a person at the page would have done."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.codec import Codec
from benchmarks.action_language import losses
from envs.action import KeyboardMouse
from tests.support.scripted_person import events, record
from tests.support.worlds import SquareWorld


class Everything(SquareWorld):
    """Listens to all keys, the buttons, the pointer and the wheel."""

    def __init__(self) -> None:
        super().__init__(length=10**6)
        self.action_space = KeyboardMouse(max_look=180.0, pointer=True, wheel=True)


def test_a_recording_has_all_that_hands_do_and_loses_little_in_words(tmp_path: Path) -> None:
    world = Everything()
    episode = record(world, 40.0, tmp_path / "episode")
    actions = episode.actions()
    assert len(actions) == 40 * world.tick_hz
    assert episode.space == world.action_space
    assert any(len(action.keys) > 1 for action in actions)  # chords
    assert any(action.buttons and action.pointer for action in actions)  # drags
    assert any(action.wheel for action in actions)
    assert any(action.look != (0.0, 0.0) for action in actions)
    codec = Codec(world.action_space)
    text, tokens = losses(codec, world.tick_hz, actions)
    assert text.wrong == 0
    assert max(text.wheel) == 0.0
    assert max(text.yaw) < 0.06
    assert max(text.pointer) <= 0.51
    assert tokens.wrong < 0.02 * len(actions)  # more than four keys at once
    assert max(tokens.pointer) <= 10.0  # half a bin, and half a bin more where strokes are joined
    assert np.mean(tokens.yaw) < 2.0


def test_the_seed_decides() -> None:
    codec = Codec(KeyboardMouse(pointer=True, wheel=True))
    assert events(codec, 5.0, 1) == events(codec, 5.0, 1) != events(codec, 5.0, 2)
