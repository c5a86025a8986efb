"""A model that is only prompted plays games that nobody made it for: arrows, text, the pointer, any tick rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import doom_codec
from agent.capabilities import fitted
from agent.episode import Step, Subscriber
from agent.policy import PolicySpec
from envs.errors import UserError
from envs.gymnasium.world import GymnasiumWorld
from envs.world import World
from tests.support.components import needs
from tests.support.oracle import play_by_truth

PAGES = Path(__file__).parents[2] / "support" / "pages"
ARROWS = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    pytest.importorskip("playwright")
    from envs.browser.world import BrowserWorld

    made: list[World] = []

    def make(page: str, **fields: Any) -> World:
        file = {"page": str(PAGES / page), "pointer_lock": False, **fields}
        (tmp_path / "world.yaml").write_text(yaml.safe_dump(file))
        made.append(BrowserWorld(str(tmp_path / "world.yaml")))
        return made[-1]

    yield make
    for world in made:
        world.close()


class OldPolicy:
    """Speaks the language of `small`."""

    spec = PolicySpec(codec=doom_codec.VERSION)


@needs("chromium")
def test_a_page_that_knows_the_arrows_alone_in_real_time(browser: Any) -> None:
    """The page moves on by itself; the player steers into a corner."""
    world = browser(
        "arrows.html", keys=ARROWS, ready="window.state !== undefined", state="({x: state.x, y: state.y})",
        controls={key: f"go {key[5:].lower()}" for key in ARROWS},
    )  # fmt: skip

    def decide(state: Any) -> str:
        page = state["page"]
        keys = ["go right"] * (page["x"] < 220) + ["go up"] * (page["y"] > 80)
        return " ".join(keys) or "wait"

    outcome, server = play_by_truth(
        world, decide, lambda s: s["page"]["x"] >= 220 and s["page"]["y"] <= 80, clock="realtime"
    )
    assert outcome.success
    prompt = server.asked[-1]["messages"][0]["content"][-1]["text"]
    assert "ArrowUp: go up\n" in prompt
    assert "KeyW" not in prompt
    with pytest.raises(UserError, match=r"policy OldPolicy speaks .*world 'arrows' listens to ArrowUp, ArrowDown"):
        fitted(OldPolicy(), world, "arrows")


@needs("chromium")
def test_a_game_of_sliding_tiles_gets_one_move_for_each_tap(browser: Any) -> None:
    world = browser("tiles.html", keys=ARROWS, size="200x200", state="state")

    def decide(state: Any) -> str:
        legal = state["page"]["legal"]
        return "tap " + next(key for key in ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp") if key in legal)

    seen: list[Any] = []
    outcome, _ = play_by_truth(
        world, decide, lambda s: not seen.append(s["page"]) and s["page"]["best"] >= 16, time_limit=2000
    )
    assert outcome.success
    assert seen[-1]["moves"] == outcome.decisions > 10


@needs("chromium")
def test_a_form_is_filled_in_and_sent(browser: Any) -> None:
    """Ground truth has the places of the field and the button, in thousandths of the picture."""
    from envs.browser.world import BrowserWorld

    world = BrowserWorld(str(PAGES / "form.yaml"))
    name = "Ada Lovelace (1815)!"

    def decide(state: Any) -> str:
        page = state["page"]
        if page["text"] == name:
            return f"click left {page['send'][0]} {page['send'][1]}"
        x, y = page["field"]
        return f'click left point {x} {y} tap ctrl+a tap Backspace type "{name}"'

    outcome, server = play_by_truth(world, decide, lambda s: s["page"]["sent"] == name)
    assert outcome.success
    assert outcome.decisions == 2
    assert 'type "hello"' in server.asked[0]["messages"][0]["content"][-1]["text"]


class Held(Subscriber):
    def __init__(self) -> None:
        self.keys: list[frozenset[str]] = []

    def on_step(self, step: Step) -> None:
        self.keys.append(step.action.keys)


@pytest.mark.parametrize(("hertz", "ticks"), [(60, 7), (10, 1)])
def test_a_gymnasium_environment_at_any_tick_rate(tmp_path: Path, hertz: int, ticks: int) -> None:
    """The car gets up the mountain if it is pushed the way it rolls."""
    file = tmp_path / "car.yaml"
    file.write_text(
        f"env: MountainCar-v0\ntick_hz: {hertz}\nkeys:\n  none: 1\n  press:\n"
        "  - {name: PUSH_LEFT, hold: ArrowLeft, do: 0}\n  - {name: push right, hold: ArrowRight, do: 2}\n"
    )
    world = GymnasiumWorld(str(file))
    held = Held()
    try:
        outcome, server = play_by_truth(
            world,
            lambda s: "push left" if s["observation"][1] < 0 else "hold ArrowRight",
            lambda s: s["observation"][0] >= 0.5,
            subscribers=(held,),
        )
    finally:
        world.close()
    assert outcome.success
    assert outcome.starved == 0
    assert len({tuple(held.keys[i : i + ticks]) for i in range(0, len(held.keys) - ticks, ticks)}) == 2
    assert "ArrowLeft: push left\nArrowRight: push right" in server.asked[0]["messages"][0]["content"][-1]["text"]


class Mouse(Subscriber):
    def __init__(self) -> None:
        self.modes: list[str] = []

    def on_step(self, step: Step) -> None:
        self.modes.append(step.info["mouse"])


@needs("chromium")
def test_a_page_gives_the_mouse_back_for_its_menu_and_takes_it_again(browser: Any) -> None:
    """The view turns while the page has the mouse; in the menu a look turns nothing, and the pointer finds a button."""
    world = browser(
        "captured.html", keys=["KeyM", "left"], pointer_lock=True, pointer=True, ready="window.state !== undefined",
        state="window.state", controls={"KeyM": "menu"},
    )  # fmt: skip
    look = "look 40 0 for 200ms then wait 500ms"
    said = iter((look, "tap menu then wait 500ms", look, "click left point 750 208 then wait 700ms", look))
    mouse, states = Mouse(), list[dict[str, Any]]()

    def decide(state: Any) -> str:
        states.append(state["page"])
        return next(said, "wait")

    outcome, server = play_by_truth(
        world, decide, lambda s: len(states) > 5, clock="realtime", time_limit=600, subscribers=(mouse,)
    )
    assert outcome.success
    begun, turned, menu, still, resumed, again = (state["yaw"] for state in states[:6])
    assert begun == 0 < turned == menu == still == resumed < again
    assert [state["resumed"] for state in states[:6]] == [0, 0, 0, 0, 1, 1]
    assert [mode for mode, before in zip(mouse.modes, ["", *mouse.modes], strict=False) if mode != before] == [
        "look", "pointer", "look",
    ]  # fmt: skip
    prompts = [asked["messages"][0]["content"][-1]["text"] for asked in server.asked]
    for told in ("Now moving the mouse turns the view", "Now the mouse has a pointer"):
        assert any(told in prompt for prompt in prompts)
    assert "In menus it has a pointer on the picture instead" in prompts[0]
