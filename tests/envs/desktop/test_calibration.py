"""Calibration on a camera that is known: what is measured is right, or nothing is kept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from envs.desktop import calibration
from envs.desktop.calibration import CalibrationError, Frame, measure
from envs.desktop.world import DesktopWorld
from tests.support.components import needs
from tests.support.desktop_game import tiny
from tests.support.x11_game import View

TRUE = 0.11  # degrees for a count


class Camera:
    """A game: it turns by TRUE degrees a count, and by `fast` times that where a move has more than 30 counts. While it
    turns through `hidden` degrees, counted from the first picture on, somebody stands in the way."""

    def __init__(self, *, fast: float = 1.0, hidden: tuple[float, float] | None = None) -> None:
        self._view, self._rng = View(160, 120), np.random.default_rng(0)
        self._fast, self._hidden = fast, hidden
        self.yaw = self.pitch = 0.0

    def turn(self, right: int, down: int) -> None:
        self.yaw += right * TRUE * (self._fast if abs(right) > 30 else 1.0)
        self.pitch -= down * TRUE

    def look(self) -> Frame:
        frame: Frame = self._view.draw(self.yaw, self.pitch)
        if self._hidden and self._hidden[0] < self.yaw < self._hidden[1]:
            frame = np.kron(self._rng.integers(0, 256, (15, 20, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
        return frame


@pytest.mark.parametrize("fov", [None, 80.0])
def test_what_is_measured_is_right_and_the_view_ends_where_it_began(fov: float | None) -> None:
    camera = Camera()
    found = measure(camera.turn, camera.look, fov=fov)
    assert found.degrees_per_count == pytest.approx((TRUE, TRUE), rel=0.01)
    assert found.counts == pytest.approx(360 / TRUE, rel=0.01)
    assert found.steady
    assert abs((camera.yaw + 180) % 360 - 180) < 1.0
    assert "measured twice, against 32" in str(found)


def test_two_turns_are_not_taken_for_one_where_somebody_hid_the_first_return() -> None:
    camera = Camera(hidden=(340.0, 375.0))  # always when the first turn ends, so that all measurements miss it
    crossed = []
    look = camera.look

    def fooled() -> Frame:
        """Once the turn has been missed, nobody is in the way any more."""
        if camera.yaw > 376.0:
            camera._hidden = None
            crossed.append(camera.yaw)
        return look()

    found = measure(camera.turn, fooled)
    assert crossed
    assert found.yaw == pytest.approx(TRUE, rel=0.02)


def test_measurements_that_do_not_agree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((0.1, 0.2, 0.4))
    once = calibration.Measurement(0.0, 0.0, None, True)
    monkeypatch.setattr(
        calibration, "_measure_once", lambda *_: calibration.replace(once, yaw=next(answers))
    )  # the parts are real above
    with pytest.raises(CalibrationError, match=r"0\.1000, 0\.2000, 0\.4000 came out, and no two agree"):
        measure(lambda *_: None, lambda: np.zeros((4, 4, 3), np.uint8))


def test_an_accelerated_mouse_is_told(caplog: pytest.LogCaptureFixture) -> None:
    camera = Camera(fast=1.8)
    with caplog.at_level(logging.WARNING):
        found = measure(camera.turn, camera.look)
    assert not found.steady
    assert "switch the acceleration of the mouse off" in caplog.text


@needs("xvfb")
def test_what_an_accelerated_mouse_gave_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration.platformdirs, "user_data_path", lambda *_, **__: tmp_path)
    for steady in (False, True):
        found = calibration.Measurement(0.2, 0.2, 1800.0, steady)
        monkeypatch.setattr(calibration, "measure", lambda *_, found=found, **__: found)
        world = DesktopWorld(tiny(degrees_per_count=None))
        try:
            assert world.facts == {}
            world.reset(seed=0)
            assert world.degrees_per_count == (0.2, 0.2)
            assert "measured twice, against 1800 counts for a whole turn" in world.facts["mouse"]
            assert ("not kept" in world.facts["mouse"]) == (not steady)
        finally:
            world.close()
        assert bool(list(tmp_path.rglob("*.json"))) == steady
    again = DesktopWorld(tiny(degrees_per_count=None))
    try:
        again.reset(seed=0)
        assert again.facts == {"mouse": "0.20000 degrees a count, as measured before"}
    finally:
        again.close()


@needs("xvfb")
def test_ready_is_heard_of_programs_that_buffer_what_they_say() -> None:
    world = DesktopWorld(tiny("--buffered", start=(0.05, "left", "KeyW", 0.05)))  # a mouse button, too
    try:
        world.reset(seed=0)
        assert world.output().splitlines() == ["starting", "ready to play"]  # no carriage returns
    finally:
        world.close()
