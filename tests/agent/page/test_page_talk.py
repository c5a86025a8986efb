"""A person talks with a chat model that plays, on the live page: a real Chromium."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from agent.page.server import Page
from envs.browser.chromium import find_chromium
from tests.support.chat_player import Model, Playing, heard
from tests.support.components import needs
from tests.support.talk_server import serving

pytestmark = needs("chromium")

# All that the page ever showed as the agent's words.
_WATCH = """window.shown = [];
new MutationObserver(() => {
  for (const li of document.querySelectorAll('#lines li.agent')) window.shown.push(li.lastChild.textContent);
}).observe(document.getElementById('lines'), {childList: true, subtree: true, characterData: true})"""


def until(tab: Any, script: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not tab.evaluate(script):
        assert time.monotonic() < end, script
        tab.wait_for_timeout(50)


def say(tab: Any, text: str) -> None:
    tab.keyboard.press("Enter")
    tab.keyboard.type(text)
    tab.keyboard.press("Enter")
    tab.keyboard.press("Escape")


@pytest.mark.slow
def test_a_person_talks_in_his_own_language_with_a_chat_model(tmp_path: Path) -> None:
    model = Model("ich sehe ein weißes Quadrat, und sonst gar nichts weiter", **{
        "geh zur Fackel": heard("instruct", "geh zur Fackel"), "Was siehst du?": heard("ask", "Was siehst du?"),
        "nimm den Schlüssel": heard("instruct", "nimm den Schlüssel"),
    })  # fmt: skip
    with serving(model, per_word=0.15) as server:
        run = Playing(server)
        page = Page(run.talk, tmp_path)
        run.watchers.append(page.hub)
        try:
            with run, sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
                tab = browser.new_page()
                tab.set_default_timeout(60_000)
                tab.goto(page.address)
                tab.wait_for_selector('#mode[data-mode="idle"]')
                tab.evaluate(_WATCH)
                say(tab, "geh zur Fackel")
                until(tab, "document.getElementById('goals').textContent === 'geh zur Fackel'")
                say(tab, "Was siehst du?")
                until(tab, f"window.shown.includes({model.answer!r})")
                shown = [text for text in dict.fromkeys(tab.evaluate("window.shown")) if text.startswith("ich")]
                assert len(shown) >= 3  # word by word
                assert all(model.answer.startswith(text) for text in shown)
                model.go.clear()  # the model hangs
                say(tab, "nimm den Schlüssel")
                tab.keyboard.press("Escape")  # stop
                tab.wait_for_selector('#mode[data-mode="idle"]')
                assert tab.inner_text("#goals") == ""
                model.go.set()
                tab.wait_for_timeout(300)
                until(tab, "!document.getElementById('goals').textContent")
                assert run.goals == []
                browser.close()
        finally:
            model.go.set()
            page.close()
