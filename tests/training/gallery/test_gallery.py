"""`agent view`: what the gallery finds in a folder, the file it writes, and the page in a real browser."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright
from torch.utils.tensorboard import SummaryWriter

from agent.cli import run
from agent.episode import Outcome, Start, Step
from agent.policy import Decision
from envs.action import Action
from envs.browser.chromium import find_chromium
from envs.errors import UserError
from rewards.score import Failure, Score
from rewards.score_file import save_scores
from tasks import json_lines
from tasks.task import Task
from tests.support.components import needs
from training.data.episodes import Recorder
from training.gallery.curves import thinned
from training.gallery.entries import failure_kind
from training.gallery.page import Gallery, look
from training.gallery.server import GalleryPage

SHOTS = os.environ.get("SHOTS")  # a folder for screenshots
HOSTILE = "</script><script>document.title = 'taken'</script>"


def record(path: Path, policy: str, text: str, success: bool | None, why: str = "", seed: int = 0) -> Path:
    """An episode of 12 ticks of 0.1 s with 4 frames and the last one, which gets brighter."""
    task = Task(f"lamp-{seed}", text, "lamp", seed=seed, time_limit=12, verb="light")
    recorder = Recorder(path, task=task, policy=policy, durable=False)
    recorder.on_start(Start(text, seed, {}, 10.0, (48, 64), policy))
    for tick in range(12):
        frame = np.full((48, 64, 3), 20 * tick, np.uint8) if tick % 3 == 0 else None
        decision = Decision((Action(),), thought=f"thought {tick // 6}", speech="I see it" if tick == 6 else "")
        recorder.on_step(Step(tick, frame, Action(), 0.0, text, policy, False, decision, tick, tick, {}))
    outcome = Outcome(success, why, 12, 1.0, "lockstep", 12, 1.0, 0, 0, 0, 0, 0, 0)
    recorder.on_end(outcome, np.full((48, 64, 3), 250, np.uint8))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies on three tasks with a judge's scores, a training log, and a run of one generation."""
    root = tmp_path_factory.mktemp("galleries") / "data"
    for seed, text in enumerate(("light the red lamp", "light the blue lamp", HOSTILE)):
        record(root / "able" / f"lamp-{seed}", "able", text, seed < 2, "lit it" if seed < 2 else "time is over", seed)
        why = "touched the green lamp" if seed == 0 else "touched the yellow lamp"
        record(root / "chance" / f"lamp-{seed}", "chance", text, seed == 1, "lit it" if seed == 1 else why, seed)
    record(root / "able" / "unjudged", "able", "look around", None)
    scores = {f"lamp-{seed}": Score(90.0 - seed, True, "bright", "judge") for seed in range(2)}
    save_scores(root / "able", "judge", {**scores, "lamp-2": Failure("the model did not answer")})
    save_scores(root, "judge", {"chance/lamp-0": Score(80.0, True, "bright", "judge")})
    with SummaryWriter(str(root / "training" / "tensorboard")) as log:
        for step in range(1000):
            log.add_scalar("loss", 1.0 / (1 + step), step)
        log.add_scalar("loss", float("nan"), 1000)
    generation(root / "improve")
    return root


def generation(run: Path) -> None:
    folder = run / "generation-001"
    record(folder / "episodes" / "try-0", "a/checkpoint", "light the lamp", None)
    one = {"id": "t0", "instruction": "light the lamp", "episode": "try-0", "ticks": 12, "said_done": True,
           "rehearsal": False, "rejected": 0}  # fmt: skip
    judged = {"success": True, "value": 77.0, "why": "bright", "verb": "light", "again": True}
    (folder / "collect.json").write_text(json.dumps({"tries": [one]}))
    (folder / "score.json").write_text(json.dumps({"scores": {"t0": judged}}))
    json_lines.write(folder / "audit.jsonl", [{"id": "t0", "success": False, "why": "another lamp", "others": {}}])
    rate = {"rate": 0.5, "ci": [0.3, 0.7], "n": 20}
    row = {side: {"success": 0.5 + 0.1 * at, "ci": [0.4, 0.8], "episodes": 20}
           for at, side in enumerate(("parent", "candidate"))}  # fmt: skip
    summary = {"generation": 1, "tried": 20, "judged": rate, "true": rate, "gap": 0.0, "learned_from": 9,
               "promoted": True, "why": "it gained", "minutes": 3.0, "held_out": {"lamps": row}, "old": {}}  # fmt: skip
    recipe = {"env": "lamp", "suite": "lamps", "reward": "judge"}
    (run / "report.json").write_text(json.dumps({"recipe": recipe, "generations": [summary]}))


@pytest.fixture(scope="module")
def gallery(folder: Path) -> Gallery:
    return look(folder, 100)


def data_of(gallery: Gallery) -> dict[str, Any]:
    return gallery.data(lambda number: {"thumb": "", "video": ""})


def test_truth_judge_policy_and_kind_of_failure_of_every_episode(gallery: Gallery) -> None:
    found = {one["name"]: one for one in data_of(gallery)["episodes"]}
    assert len(found) == 8, gallery.found.damaged
    fooled = found["chance/lamp-0"]
    assert (fooled["outcome"], fooled["kind"], fooled["agreement"]) == ("failure", "touched the …", "fooled")
    assert found["chance/lamp-2"]["kind"] == fooled["kind"] != found["able/lamp-2"]["kind"]
    assert found["able/lamp-0"]["agreement"] == "agrees"
    assert found["able/lamp-0"]["same"] == fooled["same"] != found["able/lamp-1"]["same"]
    assert (found["able/lamp-2"]["judged"][0]["value"], found["able/lamp-2"]["agreement"]) == (None, "")
    assert found["able/unjudged"]["outcome"] == "open"
    assert found["able/lamp-0"]["words"] == ((0.0, "thinks", "thought 0"), (0.6, "thinks", "thought 1"),
                                             (0.6, "says", "I see it"))  # fmt: skip
    tried = found["improve/generation-001/episodes/try-0"]
    assert (tried["policy"], tried["outcome"], tried["why"]) == ("generation 1", "failure", "another lamp")
    assert (tried["judged"][0]["value"], tried["agreement"]) == (77.0, "fooled")


def test_policies_curves_and_generations(gallery: Gallery) -> None:
    data = data_of(gallery)
    able = next(one for one in data["policies"] if one["name"] == "able")
    assert (able["episodes"], able["truth"]["n"], able["truth"]["rate"]) == (4, 3, pytest.approx(2 / 3))
    assert able["truth"]["ci"][0] == pytest.approx(0.208, abs=0.001)
    (curve,) = data["curves"]
    assert (curve["run"], curve["tag"], len(curve["points"])) == ("training", "loss", 250)
    assert curve["points"][0] == pytest.approx((1.5, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4))
    (found,) = data["runs"]
    assert found["generations"][0]["suites"]["lamps"]["candidate"]["success"] == 0.6


def test_a_damaged_episode_is_named_and_too_many_are_thinned(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "able", tmp_path / "able")
    (tmp_path / "able" / "lamp-1" / "episode.json").write_text("{}")
    (tmp_path / "able" / "lamp-2" / "video.mp4").write_bytes(b"no video")
    out = tmp_path / "page.html"
    assert run(["view", str(tmp_path / "able"), "--out", str(out)]) == 0
    data = embedded(out)
    assert [name for name, _ in data["damaged"]] == ["lamp-1"]
    assert [one["video"] == "" for one in data["episodes"]] == [False, True, False]
    assert "lamp-2" in data["notes"][0]
    few = look(tmp_path / "able", 2).found
    assert ([one.name for one in few.entries], few.left_out) == (["lamp-0", "lamp-2"], 2)


def embedded(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.mark.parametrize(
    ("args", "said"),
    [(["nowhere"], "there is no such folder"), ([".", "--out", "page.pdf"], "ends in .html"),
     (["."], "agent play makes a run"), ([".", "--port", "1"], "agent play makes a run")],
)  # fmt: skip
def test_mistakes_are_told_in_a_line(
    args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["view", *args]) == 2
    assert said in capsys.readouterr().err


def test_a_score_file_of_strangers_is_told(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "chance", tmp_path / "chance")
    (tmp_path / "scores.jsonl").write_text('{"episode": 3}\n')
    with pytest.raises(UserError, match="line 1: a score names an episode"):
        look(tmp_path, 9)


def test_what_is_equal_in_kind() -> None:
    assert failure_kind("touched the red lamp") == failure_kind("touched the blue one") == "touched the …"
    assert failure_kind("time is over") == "time is over"
    assert failure_kind("") == "no reason given"
    assert thinned([(0, 1.0), (1, float("inf"))]) == ((0.0, 1.0),)


# In the browser


@pytest.fixture(scope="module")
def page(gallery: Gallery) -> Iterator[GalleryPage]:
    made = GalleryPage(gallery)
    yield made
    made.close()


def test_strangers_see_nothing_and_a_video_seeks(page: GalleryPage) -> None:
    base = f"http://127.0.0.1:{page.port}"
    assert httpx.get(f"{base}/gallery.json").status_code == 403
    with httpx.Client(follow_redirects=True) as client:
        home = str(client.get(page.address).url)
        assert client.get(f"{home}thumb/99").status_code == client.get(f"{home}video/-1").status_code == 404
        assert client.get(f"{home}thumb/0").content.startswith(b"\xff\xd8")
        part = client.get(f"{home}video/0", headers={"range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
        video = client.get(f"{home}video/0").content
    with av.open(io.BytesIO(video)) as container:
        times = [float(frame.time or 0.0) for frame in container.decode(video=0)]
    assert times == pytest.approx([0.0, 0.3, 0.6, 0.9, 1.2])  # seconds of play


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1360, "height": 900})
        browser.close()


def until(tab: Page, script: str) -> None:
    """The page evaluates no text, so it is asked from outside."""
    end = time.monotonic() + 60.0
    while not tab.evaluate(script):
        assert time.monotonic() < end, script
        tab.wait_for_timeout(50)


def cards(tab: Page) -> list[str]:
    return [str(card.get_attribute("data-name")) for card in tab.query_selector_all(".card")]


def shot(tab: Page, name: str) -> None:
    if SHOTS:
        tab.screenshot(path=Path(SHOTS) / f"gallery-{name}.png")


@pytest.mark.slow
@needs("chromium")
def test_a_person_filters_compares_and_looks_closer(page: GalleryPage, tab: Page) -> None:
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    tab.goto(page.address)
    tab.wait_for_selector(".card")
    assert "token" not in tab.url
    assert len(cards(tab)) == 8
    shot(tab, "episodes")
    tab.click("[data-outcome=failure]")
    tab.select_option("[data-filter=kind]", "touched the …")
    assert cards(tab) == ["chance/lamp-0", "chance/lamp-2"]
    tab.select_option("[data-filter=agreement]", "fooled")
    assert cards(tab) == ["chance/lamp-0"]
    tab.click(".card")
    until(tab, "document.querySelector('dialog video').readyState >= 2")
    assert "judge fooled" in tab.inner_text("dialog")
    tab.click("dialog .words button >> nth=2")
    until(tab, "document.querySelector('dialog video').currentTime >= 0.6")
    shot(tab, "detail")
    tab.keyboard.press("Escape")
    tab.click("[data-tab=sides]")
    assert len(tab.query_selector_all(".pair")) == 3
    tab.click("[data-won=left]")
    (pair,) = tab.query_selector_all(".pair")
    assert "light the red lamp" in pair.inner_text()
    pair.hover()
    until(tab, "[...document.querySelectorAll('.pair video')].filter(one => one.readyState >= 2).length == 2")
    shot(tab, "sides")
    tab.click("[data-tab=training]")
    tab.hover(".chart")
    assert "training:" in tab.inner_text(".readout")
    shot(tab, "training")
    tab.click("[data-tab=generations]")
    assert len(tab.query_selector_all(".chart")) == 2
    assert "50 % (30–70)" in tab.inner_text("table")
    shot(tab, "generations")
    assert not problems
    assert tab.title() != "taken"


@pytest.mark.slow
@needs("chromium")
def test_the_file_needs_nothing_else_and_one_episode_opens(folder: Path, tab: Page, tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    assert run(["view", str(folder / "able" / "lamp-2"), "--out", str(out)]) == 0
    assert embedded(out)["episodes"][0]["judged"][0]["why"] == "the model did not answer"
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(out.as_uri())
    until(tab, "document.querySelector('dialog[open] video').readyState >= 2")
    assert tab.inner_text("#detail-title") == HOSTILE
    assert tab.title() != "taken"
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
