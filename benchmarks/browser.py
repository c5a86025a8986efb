"""How fast a browser world is: a lockstep step with its frame, against bare loops of the same page.

    python benchmarks/browser.py [--blocks 10] [--size 320x240] [--json OUT]

Needs Chromium and `pip install 'ludens[browser]'`. The page is the arena of examples/browser, drawn by the CPU. All
contenders are measured in blocks that alternate (A B A B). The table has the median of a step and the quartiles in
brackets. The first bare loop calls the page's hook and takes a screenshot, as a script for playwright does. The second
counts the frames of a screencast while the page plays by its own clock: the most that the browser shows. The world
stands, walks and turns; it draws once for a chunk of 4 ticks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from envs.action import NEUTRAL, Action
from envs.browser.chromium import find_chromium
from envs.browser.server import serve
from envs.browser.world import BrowserWorld

GAME = Path(__file__).parents[1] / "examples" / "browser"
BLOCK = 30  # steps
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
TURN = Action(keys=frozenset({"KeyW"}), look=(3.0, 0.0))


def times(step: Callable[[], Any]) -> list[float]:
    """Seconds of each step of a block."""
    taken = []
    for _ in range(BLOCK):
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return taken


def screencast(page: Page) -> list[float]:
    """Seconds between the frames of a screencast of the page at play, for about a block's time."""
    session, came = page.context.new_cdp_session(page), []

    def receive(frame: dict[str, Any]) -> None:
        came.append(time.perf_counter())
        session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    session.on("Page.screencastFrame", receive)
    session.send("Page.startScreencast", {"format": "png"})
    page.wait_for_timeout(1000 * BLOCK / 60)
    session.send("Page.stopScreencast")
    session.detach()
    return [after - before for before, after in itertools.pairwise(came)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    server = serve(GAME)
    world = BrowserWorld(str(GAME / "game.yaml"), options.size)
    world.reset(seed=0)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=FLAGS)

        def opened() -> Page:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"http://127.0.0.1:{server.server_port}{server.entry}index.html?seed=0")
            return page

        stepped, playing = opened(), opened()
        stepped.evaluate("__reset(0)")

        def bare() -> None:
            stepped.evaluate("(__step(1 / 35), __state())")
            stepped.screenshot()

        def at_play() -> list[float]:
            playing.reload()
            gaps = screencast(playing)
            playing.evaluate("__step(0)")  # it stands still while others are timed
            return gaps

        contenders: dict[str, Callable[[], list[float]]] = {
            "bare: hook and page.screenshot": lambda: times(bare),
            "bare: screencast of the page at play": at_play,
            "BrowserWorld.step, standing": lambda: times(lambda: world.step(NEUTRAL)),
            "BrowserWorld.step, walking and turning": lambda: times(lambda: world.step(TURN)),
            "BrowserWorld.step_chunk of 4, walking": lambda: times(lambda: world.step_chunk([TURN] * 4)),
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.blocks):
            for name, block in contenders.items():
                taken[name] += block()
        browser.close()
    world.close()
    server.shutdown()
    medians = {name: statistics.median(values) for name, values in taken.items()}
    base = medians["bare: hook and page.screenshot"]
    print(f"{options.size}, {platform.platform()}")
    for name, values in taken.items():
        quarters = statistics.quantiles(values * 2 if len(values) == 1 else values, n=4)
        spread = f"({1 / quarters[2]:.0f} to {1 / quarters[0]:.0f})"
        print(f"{name:40} {1 / medians[name]:6.1f} /s   {base / medians[name]:5.2f} of the first   {spread}")
    if options.json:
        options.json.write_text(json.dumps({"machine": platform.platform(), "seconds": medians}, indent=1))


if __name__ == "__main__":
    main()
