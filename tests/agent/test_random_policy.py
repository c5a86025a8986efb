"""The random policy plays what its world listens to."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from agent.capabilities import FitsWorld, fitted
from agent.cli.compose import load_policy
from agent.policy import Context
from agent.random_policy import RandomPolicy
from envs.action import Action, KeyboardMouse
from tasks.expert_policy import ExpertPolicy
from tests.support.action_spaces import Refusing
from tests.support.worlds import SquareWorld

ARROWS = """<!doctype html><canvas id="c" width="320" height="240"></canvas><script>
const held = new Set(), seen = new Set(), c = document.getElementById('c').getContext('2d'); let x = 160;
addEventListener('keydown', e => { held.add(e.code); seen.add(e.code); });
addEventListener('keyup', e => held.delete(e.code));
function frame() {
  x += held.has('ArrowRight') - held.has('ArrowLeft');
  c.fillStyle = '#236'; c.fillRect(0, 0, 320, 240); c.fillStyle = '#fc3'; c.fillRect(x - 8, 112, 16, 16);
  window.state = { x, seen: [...seen] }; requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
</script>"""


def contexts(number: int, seed: int = 0) -> list[Context]:
    frame = np.zeros((24, 32, 3), np.uint8)
    return [Context((frame,), "go", actions=((Action(),),) * n, seed=seed) for n in range(number)]


class Tetris(SquareWorld):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = KeyboardMouse(
            ("ArrowLeft", "ArrowUp", "Numpad5", "KeyW"), ("middle", "left"), max_look=3.0, pointer=True, wheel=True,
            ignored=("KeyW", "left"),
        )  # fmt: skip
        self.tick_hz = 10.0


def test_it_draws_from_the_action_space_of_the_world() -> None:
    policy = load_policy("random")
    assert isinstance(policy, FitsWorld)
    mine = fitted(policy, Tetris())
    assert mine.spec.tick_hz == 10.0
    decisions = mine.act(contexts(200))
    actions = [action for decision in decisions for action in decision.actions]
    assert all(Tetris().action_space.contains(action) for action in actions)
    assert {key for action in actions for key in action.keys} == {"ArrowLeft", "ArrowUp", "Numpad5"}
    assert {button for action in actions for button in action.buttons} == {"middle"}
    assert {action.wheel for action in actions} == {-1.0, 0.0, 1.0}
    assert len({action.pointer for action in actions}) > 50
    assert not any(decision.done for decision in decisions)


def played(space: KeyboardMouse, tick_hz: float, decisions: int) -> list[Action]:
    """What it does in a world, decision after decision, as the loop asks for them."""
    policy = RandomPolicy(space, tick_hz)
    frame, chunks = np.zeros((24, 32, 3), np.uint8), list[tuple[Action, ...]]()
    for seed in range(decisions):
        past = tuple(chunks[-policy.spec.history + 1 :])
        (decision,) = policy.act([Context((frame,), "go", past, seed=seed)])
        chunks.append(decision.actions)
    return [action for chunk in chunks for action in chunk]


def test_keys_are_held_for_natural_times() -> None:
    """Every press is of 80 to 600 ms, most of them are short, and some overlap."""
    actions = played(KeyboardMouse(pointer=True, wheel=True), 100.0, 1000)
    times = list[int]()
    for name in {name for action in actions for name in action.keys | action.buttons}:
        down = "".join("x" if name in action.keys | action.buttons else " " for action in actions)
        times += [10 * len(press) for press in down.split()]
    assert len(times) > 400
    assert 70 <= min(times) <= 100
    assert 500 <= np.sort(times)[-2] <= 610
    assert 170 <= np.median(times) <= 240
    assert any(len(action.keys) > 1 for action in actions)
    assert {action.wheel for action in actions} == {-1.0, 0.0, 1.0}


def test_what_may_not_be_held_together_never_is() -> None:
    space = Refusing(("ControlLeft", "KeyQ", "KeyW", "KeyE"))
    actions = played(space, 30.0, 300)
    assert all(space.contains(action) for action in actions)
    assert any("ControlLeft" in action.keys and len(action.keys) > 1 for action in actions)


def test_the_seed_decides() -> None:
    policy = fitted(RandomPolicy(), Tetris())
    assert policy.act(contexts(20)) == policy.act(contexts(20))
    assert policy.act(contexts(20)) != policy.act(contexts(20, seed=1))
    assert policy.act(contexts(20))[7] == policy.act(contexts(20)[7:8])[0]


def test_a_policy_that_plays_any_world_alike_stays_itself() -> None:
    expert = ExpertPolicy()
    assert fitted(expert, Tetris()) is expert


@pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium libatomic1")
def test_a_game_in_a_browser_gets_the_keys_that_it_knows(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    from agent.loop.players import InStep
    from agent.loop.runtime import play
    from envs.browser.world import BrowserWorld

    (tmp_path / "index.html").write_text(ARROWS)
    (tmp_path / "arrows.yaml").write_text(
        "page: .\npointer_lock: false\nkeys: [ArrowUp, ArrowDown, ArrowLeft, ArrowRight]\n"
        "ready: window.state !== undefined\nstate: state\n"
    )
    world = BrowserWorld(str(tmp_path / "arrows.yaml"))
    seen: list[dict[str, object]] = []

    def judge(state: dict[str, dict[str, object]]) -> None:
        seen.append(state["page"])

    try:
        play(world, InStep(fitted(RandomPolicy(), world)), "go", judge=judge, time_limit=240)
    finally:
        world.close()
    assert set(seen[-1]["seen"]) == {"ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"}  # type: ignore[call-overload]
