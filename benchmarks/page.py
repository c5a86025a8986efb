"""The live page: how soon does the agent follow and answer, and what do viewers cost the game?

    python benchmarks/page.py --instructions 40 --seconds 20

`small` plays Doom in a room with a red torch and a green one, at 35 ticks a second. Instructions and questions are
posted as the page posts them. Times run from sending to the first action that the loop plays, or to what a viewer
receives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import connect

from agent.episode import Step, Subscriber
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.page.gate import CSRF_HEADER
from agent.page.server import Page
from agent.small import load_small
from agent.talk.conversation import Conversation
from agent.talk.voice import PolicyVoice
from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.placement import TRAINING_THEMES, themes_of
from envs.doom.world import DoomWorld


class Run(Subscriber):
    """`agent chat` without its terminal, in threads."""

    def __init__(self, folder: Path) -> None:
        small, self._world = load_small(), DoomWorld()
        room = Room(Rect(0, 0, 640, 640), themes_of(list(TRAINING_THEMES))[0], ceiling=128, light=230, name="room")
        level = Level((room,), (120, 320, 0), (Thing("torch", "red", 420, 430), Thing("torch", "green", 420, 210)))
        self.talk = Conversation(PolicyVoice(small), keep=True)
        self.page = Page(self.talk, folder)
        self.ticks: list[float] = []
        self.acted: dict[int, float] = {}  # version of the goal -> when its first action was played
        self.talk.attach(self._world)

        def run() -> None:
            play(
                self._world, InStep(small), self.talk.instruction, seed=3, options={"level": level.to_json()},
                control=self.talk, time_limit=10**9, end_on_done=True, subscribers=[self.talk, self.page.hub, self],
            )  # fmt: skip

        self._thread = threading.Thread(target=run)
        self._thread.start()
        self.talk.started.wait()
        self.origin = f"http://127.0.0.1:{self.page.port}"
        self.client = httpx.Client(base_url=self.page.home, timeout=30)
        self.client.get(self.page.address, follow_redirects=True)
        self.headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())}
        self.csrf = asyncio.run(self._hello())

    async def _hello(self) -> str:
        async with self.connect() as viewer:
            return str(json.loads(await viewer.recv())["csrf"])

    def connect(self, **how: Any) -> Any:
        live = f"{self.page.home}live".replace("http", "ws", 1)
        return connect(live, origin=self.origin, additional_headers=self.headers, ping_interval=None, **how)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        headers = {"Origin": self.origin, CSRF_HEADER: self.csrf}
        self.client.post("/say", json={"text": text}, headers=headers).raise_for_status()

    def on_step(self, step: Step) -> None:
        now = time.perf_counter()
        self.ticks.append(now)
        if step.decision is not None and step.instruction:
            self.acted.setdefault(self.talk.instruction.now.version, now)

    def close(self) -> None:
        self.talk.quit()
        self._thread.join()
        self.page.close()
        self._world.close()


def waited(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value of `what`. Raises TimeoutError."""
    end = time.perf_counter() + seconds
    while not (value := what()):
        if time.perf_counter() > end:
            raise TimeoutError
        time.sleep(0.001)
    return value


def follow(run: Run, count: int) -> list[float]:
    """Seconds from an instruction to the first action under it."""
    found = []
    for i in range(count):
        before, start = run.talk.instruction.now.version, time.perf_counter()
        run.say(f"go to the {('red', 'green')[i % 2]} torch")
        found.append(waited(lambda: next((t for v, t in run.acted.items() if v > before), None)) - start)  # noqa: B023
        time.sleep(0.5)
    return found


def answer(run: Run, count: int) -> list[float]:
    """Seconds from a question to the first word of its answer."""
    found = []
    for _ in range(count):
        before, start = len([line for line in run.talk.lines if line.who == "agent"]), time.perf_counter()
        run.say("what is nearest?")
        waited(lambda: len([line for line in run.talk.lines if line.who == "agent"]) > before)  # noqa: B023
        found.append(time.perf_counter() - start)
    return found


async def viewed(run: Run, stalled: int, seconds: float) -> tuple[list[float], float]:
    """Milliseconds between ticks, and frames a second that one viewer gets, beside viewers who never read."""
    sleepers = [await run.connect(max_queue=1) for _ in range(stalled)]
    for sleeper in sleepers:
        sleeper.transport.pause_reading()
    frames = 0
    async with run.connect() as viewer:
        await asyncio.sleep(2.0)  # until the stalled ones' buffers are full
        begun, since = len(run.ticks), time.perf_counter()
        while time.perf_counter() < since + seconds:
            frames += isinstance(await viewer.recv(), bytes)
    for sleeper in sleepers:
        sleeper.transport.abort()
    return (1000.0 * np.diff(run.ticks[begun:])).tolist(), frames / seconds


def line(name: str, values: Sequence[float], unit: str) -> str:
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return f"{name:<42} p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} {unit}  (n = {len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of stalled viewers")
    parser.add_argument("--stalled", type=int, nargs="*", default=[0, 50])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        try:
            print(line("instruction to first action", [1000 * s for s in follow(run, args.instructions)], "ms"))
            print(line("question to first word", [1000 * s for s in answer(run, args.instructions)], "ms"))
            for stalled in args.stalled:
                ticks, rate = asyncio.run(viewed(run, stalled, args.seconds))
                print(line(f"tick, {stalled} stalled viewers, {rate:.1f} frames/s shown", ticks, "ms"))
        finally:
            run.close()


if __name__ == "__main__":
    main()
