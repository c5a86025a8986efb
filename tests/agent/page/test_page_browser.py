"""The live page as a person uses it: a real Chromium, the shipped model, Doom."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from agent.cli.compose import double_of
from agent.episode import Outcome, Step, Subscriber
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.page import double
from agent.page.server import Page
from agent.small import load_small
from agent.talk.conversation import Conversation
from agent.talk.voice import PolicyVoice
from envs.browser.chromium import find_chromium
from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.placement import TRAINING_THEMES, themes_of
from envs.doom.world import DoomWorld
from tests.support.components import needs

pytestmark = needs("chromium")

LARGE = "document.getElementById('view').width === 640"  # what the player sees is 160 pixels wide
WATCH = """() => {
  window.seen = [];
  const at = (id) => document.getElementById(id);
  new MutationObserver(() => seen.push(`${at('mode').dataset.mode}: ${at('goals').textContent}`))
    .observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
SHOTS = os.environ.get("LUDENS_SHOTS")  # a folder in which to keep the pictures


class Playing(Subscriber):
    """`agent chat` without its terminal: a room with a red torch and a green one."""

    def __init__(self, folder: Path) -> None:
        small, self.world = load_small(), DoomWorld()
        room = Room(Rect(0, 0, 640, 640), themes_of(list(TRAINING_THEMES))[0], ceiling=128, light=230, name="room")
        things = (Thing("torch", "red", 420, 430), Thing("torch", "green", 420, 210))
        level = Level((room,), (120, 320, 0), things)
        self.talk = Conversation(PolicyVoice(small), keep=True)
        self.page = Page(self.talk, folder, double=double_of("doom", self.world))
        self.talk.attach(self.world)
        self.steps: list[Step] = []
        self.near: list[str] = []
        self.outcome: Outcome | None = None

        def annotate(state: Any) -> dict[str, Any]:
            for thing in state.objects:
                if np.hypot(thing.x - state.x, thing.y - state.y) < 84:
                    self.near.append(f"{thing.colour} {thing.kind}")
            return {}

        def run() -> None:
            self.outcome = play(
                self.world, InStep(small), self.talk.instruction, seed=3, options={"level": level.to_json()},
                control=self.talk, annotate=annotate, time_limit=10**9, end_on_done=True,
                subscribers=[self.talk, self.page.hub, self],
            )  # fmt: skip

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.talk.quit()
        self.thread.join(30)
        self.page.close()
        self.world.close()


@pytest.fixture
def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Playing]:
    monkeypatch.setattr(double, "DEAR", 60.0)  # also on a busy machine
    made = Playing(tmp_path)
    yield made
    made.close()


@pytest.fixture
def tab(playing: Playing) -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        tab.set_default_timeout(60_000)
        problems: list[str] = []
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.goto(playing.page.address)
        tab.wait_for_selector('#mode[data-mode="idle"]')
        yield tab
        assert not problems
        browser.close()


def shoot(tab: Any, name: str, **how: Any) -> None:
    if SHOTS:
        tab.screenshot(path=Path(SHOTS) / f"{name}.png", **how)


def type_in(tab: Any, text: str) -> None:
    """As a person with a keyboard alone: Enter leads to the field, Escape out of it."""
    tab.keyboard.press("Enter")
    tab.keyboard.type(text)
    tab.keyboard.press("Enter")
    tab.keyboard.press("Escape")


def until(tab: Any, script: str, seconds: float = 60.0) -> None:
    """Wait until a script gives true. Playwright's own waiting evaluates strings in the page, which its CSP forbids."""
    end = time.monotonic() + seconds
    while not tab.evaluate(script):
        assert time.monotonic() < end, script
        tab.wait_for_timeout(50)


def picture(tab: Any) -> list[int]:
    return tab.evaluate("[...document.getElementById('view').getContext('2d').getImageData(0, 0, 640, 480).data]")


def test_a_person_watches_talks_takes_over_and_stops(playing: Playing, tab: Any) -> None:
    assert "token" not in tab.url
    before = picture(tab)
    assert len(set(before)) > 20
    until(tab, LARGE)
    assert tab.inner_text("#size") == "it sees 160x120"
    tab.wait_for_selector("#sound")
    tab.keyboard.press("m")
    until(tab, "document.getElementById('sound').getAttribute('aria-pressed') === 'true'")
    until(tab, "soundUntil > 0")
    tab.evaluate(WATCH)  # a busy machine may look again only when the goal is reached
    type_in(tab, "go to the green torch")
    until(tab, "seen.includes('acting: go to the green torch')")
    type_in(tab, "what do you see?")
    tab.wait_for_selector("#lines li.agent")
    until(tab, "[...document.querySelectorAll('#lines li.agent')].some((li) => li.textContent === 'done')")
    assert picture(tab) != before
    assert playing.near[-1] == "green torch"
    # how it understood, the answer, and "done"
    until(tab, "document.querySelectorAll('#lines li.agent').length === 3")
    shoot(tab, "light")

    tab.emulate_media(color_scheme="dark")
    tab.keyboard.press("Tab")
    tab.wait_for_selector(".stage.mine")
    steps = len(playing.steps)
    tab.keyboard.down("KeyS")
    until(tab, "[...document.querySelectorAll('#hands .on')].some((key) => key.textContent === 'S')")
    shoot(tab, "dark")
    tab.keyboard.up("KeyS")
    tab.keyboard.press("Tab")
    tab.wait_for_selector('#mode[data-mode="idle"]')
    mine = [step for step in playing.steps[steps:] if step.actor == "human"]
    assert any(step.action.keys == {"KeyS"} for step in mine)
    assert "the agent has the controls" in tab.inner_text("#lines")

    tab.keyboard.press("Space")
    tab.wait_for_selector('#mode[data-mode="paused"]')
    tick = playing.talk.tick
    tab.keyboard.press(".")
    until(tab, f"parseFloat(document.getElementById('clock').textContent) >= {(tick + 1) / 35:.1f} - 0.06")
    tab.keyboard.press("Space")
    tab.wait_for_selector('#mode[data-mode="idle"]')

    type_in(tab, "go to the red torch")
    tab.wait_for_selector('#mode[data-mode="acting"]')
    tab.keyboard.press("Escape")
    tab.wait_for_selector('#mode[data-mode="idle"]')
    assert "stopped" in tab.inner_text("#lines")
    tab.keyboard.press("s")
    until(tab, "document.getElementById('lines').textContent.includes('kept: ')")
    tab.set_viewport_size({"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(tab, "phone", full_page=True)


def test_a_mark_on_the_frame_is_a_picture_of_what_is_meant(playing: Playing, tab: Any) -> None:
    until(tab, LARGE)
    box = tab.locator("#view").bounding_box()
    across, down = box["width"] / 160, box["height"] / 120
    tab.mouse.move(box["x"] + 40 * across, box["y"] + 30 * down)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 70 * across, box["y"] + 90 * down, steps=4)
    shoot(tab, "mark")
    tab.mouse.up()
    tab.wait_for_selector("#attached:not([hidden])")
    assert tab.input_value("#text") == "go to this"
    tab.keyboard.press("Enter")
    until(tab, "document.getElementById('goals').textContent === 'go to this'")
    shown = playing.talk.instruction.now.picture
    assert shown is not None
    assert abs(shown.shape[1] - 4 * 30) <= 4
    assert abs(shown.shape[0] - 4 * 60) <= 4
    assert tab.locator("#attached").is_hidden()


TAGS = (
    "<script>{x}</script>", "<img src=x onerror={x}>", "<svg onload={x}>", "<body onload={x}>",
    "<b onmouseover={x}>b</b>",
    "<iframe src='javascript:{x}'></iframe>", "<a href='javascript:{x}'>a</a>", "<input autofocus onfocus={x}>",
    "<style>@import 'javascript:{x}'</style>", "<details open ontoggle={x}>", "<video><source onerror={x}>",
    "<math><mi xlink:href='javascript:{x}'>", "<object data='javascript:{x}'>",
)  # fmt: skip
WRAPS = ("{t}", "\"'>{t}", "</li>{t}", "</textarea>{t}", "]]>{t}", "{{{{{t}}}}}", "${{{t}}}", "--><!-- {t}")


def test_nothing_that_is_said_becomes_markup(playing: Playing, tab: Any) -> None:
    corpus = [wrap.format(t=tag.format(x="window.hacked=1")) for tag in TAGS for wrap in WRAPS]
    assert len(corpus) >= 100
    for i, text in enumerate(corpus):
        playing.talk.hear(f"eve<b>{i}</b>", text)
        playing.talk.user(f"what is {text}")
    until(tab, f"document.querySelectorAll('#lines li.player').length === {len(corpus)}")
    shown = tab.evaluate("[...document.querySelectorAll('#lines li.player')].map((li) => li.lastChild.textContent)")
    assert shown == [" ".join(text.split()) for text in corpus]
    assert tab.evaluate("document.querySelectorAll('#lines li *:not(b)').length") == 0
    assert tab.evaluate("window.hacked") is None
