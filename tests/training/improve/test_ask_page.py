"""The page that asks a person whether a try succeeded, in a real browser."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import sync_playwright

from agent.cli import run
from envs.browser.chromium import find_chromium
from tests.support.components import needs
from tests.training.improve.test_doubt import record
from training.improve.ask import answers_in, ask_person
from training.improve.ask_page import AskPage

SHOTS = os.environ.get("SHOTS")  # a folder for screenshots


@pytest.fixture
def page() -> Iterator[AskPage]:
    made = AskPage()
    yield made
    made.close()


def asking(page: AskPage, folder: Path, ids: list[str]) -> threading.Thread:
    """A run that asks about some tries."""
    episodes = {one: record(folder / "episodes" / one, [0, 80, 160, 240], size=64) for one in ids}
    instructions = {one: f"light up lamp {one}" for one in ids}
    thread = threading.Thread(target=ask_person, args=(folder, ids, instructions, episodes, page), daemon=True)
    thread.start()
    return thread


def until(tab: Any, script: str) -> None:
    end = time.monotonic() + 60.0
    while not tab.evaluate(script):
        assert time.monotonic() < end, script
        tab.wait_for_timeout(50)


@pytest.mark.slow
@needs("chromium")
def test_a_person_answers_by_clicks_and_keys(page: AskPage, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 900, "height": 900})
        problems: list[str] = []
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.goto(page.address)
        assert "token" not in tab.url
        assert tab.is_hidden("#question")
        thread = asking(page, tmp_path, ["a", "b", "c", "d"])
        tab.wait_for_selector("#question", state="visible")
        until(tab, "document.getElementById('clip').readyState >= 2")
        assert tab.inner_text("#instruction") == "light up lamp a"
        assert tab.inner_text("#count") == "Question 1 of 4 of this generation"
        if SHOTS:
            tab.screenshot(path=Path(SHOTS) / "ask.png")
        tab.click("#yes")
        until(tab, "document.getElementById('instruction').textContent.endsWith('b')")
        tab.keyboard.press("n")
        until(tab, "document.getElementById('instruction').textContent.endsWith('c')")
        tab.keyboard.press("s")
        until(tab, "document.getElementById('instruction').textContent.endsWith('d')")
        tab.click("#stop")
        thread.join(10)
        assert not thread.is_alive()
        tab.wait_for_selector("#question", state="hidden")
        assert not problems
        browser.close()
    assert answers_in(tmp_path) == {"a": True, "b": False}


@pytest.mark.slow
def test_strangers_and_late_answers_are_refused(page: AskPage, tmp_path: Path) -> None:
    thread = asking(page, tmp_path, ["a"])
    base = f"http://127.0.0.1:{page.port}"
    assert httpx.get(f"{base}/question").status_code == 403
    with httpx.Client(follow_redirects=True) as client:
        home = str(client.get(page.address).url)
        end = time.monotonic() + 30.0
        while not (told := client.get(f"{home}question").json())["id"]:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert client.get(f"{home}clip?id=x").status_code == 404
        assert b"ftyp" in client.get(f"{home}clip?id=a").content[:64]
        right = {"origin": base, "x-ludens-csrf": told["csrf"]}

        def post(said: Any, headers: dict[str, str] = right) -> int:
            return client.post(f"{home}answer", json=said, headers=headers).status_code

        said = {"id": "a", "done": True}
        assert post(said, {"origin": base}) == 403
        assert post(said, {**right, "origin": "http://evil.example"}) == 403
        assert post({"id": "b", "done": True}) == 409
        assert post({"id": "a", "done": "yes"}) == 400
        assert post({"id": "a" * 2000, "done": True}) == 413
        assert thread.is_alive()
        assert post(said) == 200
        thread.join(10)
        assert post(said) == 409
    assert answers_in(tmp_path) == {"a": True}


def test_a_page_without_questions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["self-improve", "--ask-on-page", "--out", str(tmp_path / "run")]) == 2
    assert "--ask-me 20" in capsys.readouterr().err
