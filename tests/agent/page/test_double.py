"""The double: viewers see the real game larger, and hear it, while the player's own frames stay as they are."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agent.cli.compose import double_of, world_factory
from agent.episode import Start, Step
from agent.page import double as module
from agent.page.double import Double
from agent.page.hub import Hub
from agent.talk.conversation import Conversation
from agent.view import same_view
from envs.action import Action
from envs.doom.world import DoomWorld
from tests.support.worlds import SquareWorld

SHOOT = Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"}), look=(2.0, 0.0))
TICKS = 40


def start(seed: int = 5) -> Start:
    world = DoomWorld()
    return Start("go", seed, {}, 35.0, (120, 160), "agent", world.controls, world.action_space)


def step(tick: int, frame: Any, action: Action = SHOOT) -> Step:
    return Step(tick, frame, action, 0.0, "go", "agent", False, None, -1, -1, {})


@pytest.fixture(scope="module")
def small() -> list[Any]:
    """What the player's world shows before each tick."""
    world = DoomWorld()
    frames = [world.reset(seed=5)[0]["pixels"]]
    frames += [world.step(SHOOT)[0]["pixels"] for _ in range(TICKS)]
    world.close()
    return frames


@pytest.fixture
def double() -> Iterator[Double]:
    world = DoomWorld()
    made = double_of("doom", world)
    assert made is not None
    yield made
    made.close()
    world.close()


def test_viewers_see_and_hear_what_the_player_does(double: Double, small: list[Any]) -> None:
    hub = Hub(Conversation(keep=True), double)
    assert hub.newest() is None
    hub.on_start(start())
    heard = b""
    for tick in range(TICKS):
        hub.on_step(step(tick, small[tick] if tick % 4 == 0 else None))  # as a player that looks when it decides
        shot = hub.newest()
        assert shot is not None
        assert shot.frame.shape == (480, 640, 3), double.why
        assert same_view(shot.frame, small[tick])
        assert shot.eyes is not None
        assert shot.eyes.shape == (120, 160, 3)
        sound = hub.sound()
        if tick:
            assert sound["hz"] == 22050
            heard += base64.b64decode(sound["pcm"])
    samples = np.frombuffer(heard, "<i2")
    assert len(samples) == (TICKS - 1) * 22050 // 35
    assert np.abs(samples).max() > 3000, "a shot is loud"
    assert hub.sound() == {}


def test_who_comes_late_sees_the_small_picture_until_the_large_one_is_there(
    double: Double, small: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 15)
    double.on_start(start())
    for tick in range(TICKS):
        double.on_step(step(tick, small[tick]))
    shown = [double.at(TICKS - 1) for _ in range(3)]
    assert [picture is None for picture in shown] == [True, True, False]
    assert same_view(shown[2], small[TICKS - 1])  # type: ignore[arg-type]
    double.on_start(start(6))
    double.on_step(step(0, small[0]))
    assert double.at(0) is None
    assert double.why == "the world does not do the same again"
    double.on_start(start())
    double.on_step(step(0, small[0]))
    assert double.at(0) is not None, "the next episode is shown again"


def test_a_world_that_draws_slowly_or_breaks_leaves_the_small_picture(
    double: Double, small: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEAR", 0.0)
    double.on_start(start())
    seen = []
    for tick in range(TICKS):
        double.on_step(step(tick, small[tick]))
        seen.append(double.at(tick) is not None)
    assert seen[:20] == [True] * 20
    assert not any(seen[21:])
    assert "a large picture takes" in double.why

    def broken() -> DoomWorld:
        raise OSError("no more memory")

    other = Double(broken)
    other.on_start(start())
    other.on_step(step(0, small[0]))
    assert other.at(0) is None
    assert other.why == "OSError: no more memory"
    other.close()
    assert other.at(0) is None


def test_a_world_that_is_large_or_has_one_size_has_no_double() -> None:
    assert double_of("doom", world_factory("doom", resolution="640x480")()) is None
    assert double_of("squares", SquareWorld()) is None
