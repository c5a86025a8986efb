"""The live page: how soon does the agent follow and answer, and what do viewers cost the game?

    python benchmarks/page.py --instructions 40 --seconds 20
    python benchmarks/page.py --episodes 10          # only what a viewer costs a player in real time

`small` plays Doom in a room with a red torch and a green one, at 35 ticks a second. Instructions and questions are
posted as the page posts them. Times run from sending to the first action that the loop plays, or to what a viewer
receives.

With `--episodes`, `small` plays tasks of doom-basic in a world that does not wait. It plays each of them three times,
in an order that rotates: nobody watches, one viewer sees the player's 160x120, one viewer sees the double's 640x480 and
gets its sound. The viewer is a process of its own, as a browser is.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from websockets.asyncio.client import connect

from agent.cli.compose import double_of
from agent.episode import Step, Subscriber
from agent.loop.players import Beside, InStep
from agent.loop.runtime import play
from agent.page.gate import CSRF_HEADER
from agent.page.server import Page
from agent.policy import Policy
from agent.small import load_small
from agent.talk.conversation import Conversation
from agent.talk.voice import PolicyVoice
from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.placement import TRAINING_THEMES, themes_of
from envs.doom.world import DoomWorld
from envs.wrappers import RealTime
from tasks import world_tasks
from tasks.doom import suites
from tasks.task import Task


def cookies_of(page: Page) -> dict[str, str]:
    """What a browser that has opened the page shows of itself."""
    with httpx.Client(base_url=page.home, timeout=30) as client:
        client.get(page.address, follow_redirects=True)
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}


def live(page_home: str, cookies: dict[str, str], **how: Any) -> Any:
    """The websocket of the page, for `async with`."""
    origin = page_home[: page_home.index("/", len("http://"))]
    address = f"{page_home}live".replace("http", "ws", 1)
    return connect(address, origin=origin, additional_headers=cookies, ping_interval=None, **how)  # type: ignore[arg-type]


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
        self.cookies = cookies_of(self.page)
        origin = f"http://127.0.0.1:{self.page.port}"
        headers = {**self.cookies, "Origin": origin, CSRF_HEADER: asyncio.run(self._hello())}
        self.client = httpx.Client(base_url=self.page.home, timeout=30, headers=headers)

    async def _hello(self) -> str:
        async with self.connect() as viewer:
            return str(json.loads(await viewer.recv())["csrf"])

    def connect(self, **how: Any) -> Any:
        return live(self.page.home, self.cookies, **how)

    def say(self, text: str) -> None:
        self.client.post("/say", json={"text": text}).raise_for_status()

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


@dataclass
class Watched:
    """What an arm of `watched` measured: milliseconds of the decisions, and ticks."""

    decisions: list[float] = field(default_factory=list)
    ticks: int = 0
    starved: int = 0
    late: int = 0
    seconds: float = 0.0
    pictures: list[int] = field(default_factory=list)  # their widths, as the viewer got them


ARMS = ("nobody watches", "a viewer, 160x120", "a viewer, 640x480 and sound")


def watched(episodes: int, seed: int) -> dict[str, Watched]:
    """What a viewer costs a player in real time."""
    context = multiprocessing.get_context("fork")  # before there are threads
    ours, theirs = context.Pipe()
    viewer = context.Process(target=view, args=(theirs,), daemon=True)
    viewer.start()
    policy, found = load_small(), {arm: Watched() for arm in ARMS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = stack.enter_context(closing(RealTime(DoomWorld())))
        pages = {
            arm: stack.enter_context(
                closing(Page(Conversation(), folder, double=double_of("doom", world) if "640" in arm else None))
            )
            for arm in ARMS
        }
        for number, task in enumerate(suites.evaluation("doom-basic").tasks(seed, episodes)):
            for turn in range(len(ARMS)):
                arm = ARMS[(number + turn) % len(ARMS)]
                if arm != ARMS[0]:
                    ours.send((pages[arm].home, cookies_of(pages[arm])))
                    ours.recv()  # it has the page
                _play(task, policy, world, pages[arm], found[arm])
                if arm != ARMS[0]:
                    ours.send(None)
                    found[arm].pictures += ours.recv()
    viewer.terminate()
    return found


def _play(task: Task, policy: Policy, world: RealTime, page: Page, measured: Watched) -> None:
    player, verifier = Beside(policy), world_tasks.verifier_of(task)
    assert verifier is not None
    outcome = play(
        world, player, task.instruction, seed=task.seed, options=task.options, time_limit=task.time_limit,
        judge=verifier.update, subscribers=[page.hub],
    )  # fmt: skip
    player.close()
    measured.decisions += [1000.0 * seconds for seconds in player.queue.latencies]
    measured.ticks, measured.starved = measured.ticks + outcome.ticks, measured.starved + outcome.starved
    measured.late, measured.seconds = measured.late + outcome.late, measured.seconds + outcome.seconds


def view(orders: Connection) -> None:
    """A viewer: told of a page, it reads what it is sent until the next order, and tells the widths of the pictures."""

    async def read(home: str, cookies: dict[str, str]) -> list[int]:
        pictures: list[int] = []
        async with live(home, cookies) as socket:
            await socket.recv()
            orders.send("there")
            while not orders.poll():
                with suppress(TimeoutError):
                    message = await asyncio.wait_for(socket.recv(), 0.2)
                    if isinstance(message, bytes):
                        pictures.append(Image.open(io.BytesIO(message)).width)
        orders.recv()
        return pictures

    while True:
        orders.send(asyncio.run(read(*orders.recv())))


def table(found: dict[str, Watched]) -> str:
    """`watched` as Markdown."""
    lines = [
        "| | decision p50, ms | p99, ms | starved, % | late ticks, % | pictures/s | of them large, % |",
        "|---" * 7 + "|",
    ]
    for arm, one in found.items():
        p50, p99 = np.percentile(one.decisions, (50, 99))
        large = 100.0 * np.mean([width == 640 for width in one.pictures]) if one.pictures else 0.0
        lines.append(
            f"| {arm} | {p50:.1f} | {p99:.1f} | {100 * one.starved / one.ticks:.2f} | "
            f"{100 * one.late / one.ticks:.2f} | {len(one.pictures) / one.seconds:.1f} | {large:.0f} |"
        )
    return "\n".join([*lines, f"n = {', '.join(f'{one.ticks}' for one in found.values())} ticks"])


def line(name: str, values: Sequence[float], unit: str) -> str:
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return f"{name:<42} p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} {unit}  (n = {len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instructions", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of stalled viewers")
    parser.add_argument("--stalled", type=int, nargs="*", default=[0, 50])
    parser.add_argument("--episodes", type=int, default=0, help="tasks that are played in real time, for each arm")
    parser.add_argument("--seed", type=int, default=12)
    args = parser.parse_args()
    if args.episodes:
        print(table(watched(args.episodes, args.seed)))
        return
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
