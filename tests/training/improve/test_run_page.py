"""The page of a run, which also asks a person whether a try succeeded, in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import sync_playwright

from envs.browser.chromium import find_chromium
from rewards.score import Failure, Score
from tasks.task import Task
from tests.support.components import needs
from tests.support.sources import ROOT
from tests.training.improve.test_doubt import record
from training.improve.ask import answers_in, ask_person
from training.improve.report import REPORT
from training.improve.run_page import RunPage
from training.recipe import Progress

SHOTS = os.environ.get("SHOTS")  # a folder for screenshots


class Yes:
    """Calls nearly everything a success."""

    name, sees_truth = "yes", False

    def score(self, task: Task, episodes: Any) -> list[Score | Failure]:
        won = [int(episode.decision_frames()[-1].sum()) % 6 > 0 for episode in episodes]
        return [Score(100.0 * win, win, "", self.name) for win in won]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[RunPage]:
    made = RunPage(tmp_path / "run", "doom-vault")
    yield made
    made.close()


def asking(page: RunPage, folder: Path, ids: list[str]) -> threading.Thread:
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
def test_a_person_answers_by_clicks_and_keys(page: RunPage, tmp_path: Path) -> None:
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
def test_strangers_and_late_answers_are_refused(page: RunPage, tmp_path: Path) -> None:
    thread = asking(page, tmp_path, ["a"])
    base = f"http://127.0.0.1:{page.port}"
    assert httpx.get(f"{base}/question").status_code == 403
    with httpx.Client(follow_redirects=True) as client:
        home = str(client.get(page.address).url)
        end = time.monotonic() + 30.0
        while not (told := client.get(f"{home}question").json())["id"]:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert client.get(f"{home}clip?id=x").status_code == 204
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


@pytest.mark.slow
@needs("chromium")
def test_a_run_is_watched_and_its_questions_are_answered(tmp_path: Path) -> None:
    """The command itself, small, with the setter and the player that ship, in the real game."""
    out = tmp_path / "run"
    (tmp_path / "recipe.yaml").write_text(
        "{generations: 1, levels: 3, tries: 2, proposals: 3, time_limit: 40, episodes: 1, doubt: false, hindsight: 0, "
        "least: 1, rehearsal_episodes: 0, rounds: 2, practised: 2, group: 2, held_out: [doom-basic], "
        "old: [doom-basic], ask_me: 2, "
        "reward: 'tests.training.improve.test_run_page:Yes'}"
    )
    command = [sys.executable, "-m", "agent", "self-improve", "--config", str(tmp_path / "recipe.yaml"), "--out",
               str(out), "--workers", "1", "--page"]  # fmt: skip
    told = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    with subprocess.Popen(command, cwd=ROOT, env=told, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = next(line.split()[1] for line in process.stdout if line.startswith("Live: "))
            _watch(address)
            rest = process.stdout.read()
        finally:
            process.terminate()
    assert "Report:" in rest
    assert set(answers_in(out / "generation-001").values()) == {True, False}


def _watch(address: str) -> None:
    """Answer yes and no; see the practice. The page ends with the run, so what follows may be missed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 900, "height": 1100})
        tab.goto(address)
        tab.wait_for_selector("#question", state="visible", timeout=120_000)
        assert tab.inner_text("#title") == "Self-improvement in doom-vault"
        assert "generation 1: score tries" in tab.inner_text("#stage")
        first = tab.inner_text("#instruction")
        tab.click("#yes")
        until(tab, "document.getElementById('count').textContent.startsWith('Question 2')")
        assert first
        tab.click("#no")
        tab.wait_for_selector("#practised", state="visible", timeout=120_000)
        until(tab, "document.getElementById('practice').naturalWidth > 100")
        if SHOTS:
            tab.screenshot(path=Path(SHOTS) / "run.png", full_page=True)
        browser.close()


@pytest.mark.slow
@needs("chromium")
def test_the_page_shows_generations_as_a_table_and_as_curves(page: RunPage) -> None:
    share = {"success": 0.6, "ci": [0.5, 0.7]}
    row = {"n": 50, "parent": share, "candidate": share, "points": 0.0, "low": -5.0, "high": 5.0, "won": 1, "lost": 1}
    rate = {"rate": 0.5, "ci": [0.4, 0.6], "n": 60}
    summary = {"generation": 1, "judged": rate, "true": rate, "promoted": True, "held_out": {"doom-vault-steps": row},
               "old": {"doom-basic": row}, "practice": [{"judged": 0.5, "true": 0.6, "episodes": 9}] * 3}  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 900, "height": 1100})
        tab.goto(page.address)
        assert tab.is_visible("#wait")
        for done in range(1, 4):
            page.progress(Progress("generation 1: practise", done, 9, {"success": 0.2 * done, "true success": 0.6}))
        page.generations([summary], [("generation", "promoted"), ("1", "<b>yes</b>")])
        until(tab, "document.getElementById('curves').naturalWidth > 100")
        assert tab.is_hidden("#wait")
        assert tab.inner_text("#table td:last-child") == "<b>yes</b>"
        assert tab.inner_text("#stage") == "generation 1: practise: 3 of 9"
        until(tab, "document.getElementById('practice').naturalWidth > 100")
        assert tab.is_hidden("#report")
        page._out.mkdir()
        (page._out / REPORT).write_text("<p>the report")
        tab.wait_for_selector("#report", state="visible")
        with tab.expect_popup() as opened:
            tab.click("#report")
        assert opened.value.inner_text("p") == "the report"
        if SHOTS:
            tab.screenshot(path=Path(SHOTS) / "generations.png", full_page=True)
        browser.close()
