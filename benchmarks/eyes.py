"""What eyes cost: what a request of each kind weighs, how long its pictures take, and what `small` pays for a context.

    python benchmarks/eyes.py

A model on the loopback interface (tests/support/model_server.py) is asked for decisions in doom and in a Gymnasium
environment with several views, and as a planner. "pictures" are the sizes of a whole request; "bytes" is its length as
it came; "tokens" is the generous guess that the budget counts with (agent.view.picture_tokens), for a server on the
loopback interface does not count. "ms" is the median time from the world's picture to the encoded request. With
`--policy NAME` a real model is asked instead, and the tokens are those that it tells.

The last lines play `small` in doom: the part of a tick that goes into seeing, and whether the 160x120 that it gets of a
640x480 world make it decide the same as the world's own 160x120, in the same states.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np

from agent.cli.compose import load_policy, make_player, world_factory
from agent.episode import Frame
from agent.loop.context import ContextBuilder
from agent.loop.instruction import LiveInstruction
from agent.loop.runtime import play
from agent.models.load import load_model
from agent.models.openai import data_url
from agent.models.policy import ask
from agent.policy import Context, Decision
from agent.prompted import PROMPTED, Setting
from agent.small import load_small
from agent.talk.planner import SEEN, ChatPlanner, Situation
from agent.view import picture_tokens, read_view, written
from envs.action import NEUTRAL
from envs.doom.world import DoomWorld
from tasks.doom import suites
from tasks.task import Task
from tests.support.model_server import FakeServer, says, serving

VIEWS = {
    "the default": "",
    "the default, as PNG": "encoding=png",
    "one picture": "frames=1",
    "four whole ones": "earlier=any",
    "as small sees": "exactly=160x120,earlier=any,encoding=png,apart=decisions",
    "at most 60 kB": "bytes=60000",
    "at most 2,000 tokens": "tokens=2000",
}
WORLDS = {"doom": "look 15 0 hold KeyW", "gymnasium:MountainCar-v0": "tap Digit2"}


def request(world_name: str, say: str, view: str, policy: str, ticks: int) -> str:
    """A row of the table: what a decision's request weighs with a view."""
    with serving(says(f"act: {say}")) as server:
        model = load_policy(policy or f"openai:loopback@{server.url}", view=view or None)
        world = world_factory(world_name, view=model.spec.view)()
        player = make_player(model, Task("t", "go on", world_name), world, "lockstep")
        contexts = _Contexts(player)
        try:
            outcome = play(world, player, "go on", seed=1, time_limit=ticks, observe="decision")
        finally:
            player.close()
            world.close()
    setting = player.policy.setting  # type: ignore[attr-defined]
    return _row(world_name, view, contexts.last, setting, server, outcome.read_tokens if policy else 0.0)


class _Contexts:
    """Keeps the newest context that a player was asked with."""

    def __init__(self, player: Any) -> None:
        self.last: Context = Context((), "")
        given = player.ask

        def ask_and_keep(asked: Any) -> None:
            self.last = asked.context
            given(asked)

        player.ask = ask_and_keep


def _row(world: str, view: str, context: Context, setting: Setting, server: FakeServer, told: float) -> str:
    took = []
    for _ in range(5):
        start = time.perf_counter()
        message = ask(context, setting)
        for image in message.images:
            data_url(image, message.encoding)
        took.append(1000 * (time.perf_counter() - start))
    sizes = [(image.shape[0], image.shape[1]) for image in message.images]
    tokens = f"{told:,.0f}" if told else f"{sum(picture_tokens(*size) for size in sizes):,}"
    length = f"{int(server.headers[-1]['content-length']):,}" if server.headers else "-"
    name = next(name for name, text in VIEWS.items() if text == view)
    return f"| {world} | {name} | {', '.join(map(written, sizes))} | {length} | {tokens} | {median(took):.1f} |"


def planner() -> str:
    """The same for a planner, at the size at which doom is drawn for it where no player needs another one."""
    world = world_factory("doom", view=SEEN)()
    try:
        frame = world.reset(seed=1)[0]["pixels"]
    finally:
        world.close()
    sizes = SEEN.sizes((480, 640))
    frames = tuple(SEEN.picture(frame, size) for size in sizes)
    with serving(says('{"steps": ["go on"], "done": false, "say": "", "memory": ""}')) as server:
        model = ChatPlanner(load_model(f"openai:loopback@{server.url}"))
        start = time.perf_counter()
        model.plan(Situation("go to the torch", frames=frames))
        took = 1000 * (time.perf_counter() - start)
    tokens = sum(picture_tokens(*size) for size in sizes)
    return (
        f"| doom | a planner | {', '.join(map(written, sizes))} | {int(server.headers[-1]['content-length']):,} | "
        f"{tokens:,} | {took:.1f} with the answer |"
    )


def seeing(ticks: int = 3000) -> dict[str, float]:
    """Microseconds of a tick that go into seeing and remembering, for `small` and for a prompted model."""
    frames = list(np.random.default_rng(0).integers(0, 256, (8, 480, 640, 3), np.uint8))
    small, found = load_small().spec, {}
    views = {"small, 160x120": (small, [np.ascontiguousarray(f[:120, :160]) for f in frames])}
    views["a prompted model, 640x480"] = (Setting(view=PROMPTED).spec, frames)
    for name, (spec, pictures) in views.items():
        builder, now = ContextBuilder(spec, 1, 35.0), LiveInstruction("go").now
        start = time.perf_counter()
        for tick in range(ticks):
            frame: Frame = pictures[tick % 8]
            builder.saw(frame, tick)
            if tick % spec.chunk == 0:
                builder.context(frame, now, (), "", tick)
            builder.acted(tick, (NEUTRAL,), "")
        found[name] = 1e6 * (time.perf_counter() - start) / ticks
    return found


def drawn_apart(episodes: int, seed: int) -> tuple[int, int]:
    """Decisions of `small` that are the same where its 160x120 are shrunk from a world of 640x480, and all of them.
    Both worlds play the actions of the first one, so that their states are equal."""
    policy, same, count = load_small(), 0, 0
    worlds = [DoomWorld("160x120"), DoomWorld("640x480")]
    try:
        for task in suites.evaluation("doom-basic").tasks(seed, episodes):
            frames = [w.reset(seed=task.seed, options=dict(task.options))[0]["pixels"] for w in worlds]
            builders = [ContextBuilder(policy.spec, task.seed, 35.0) for _ in worlds]
            now = LiveInstruction(task.instruction).now
            for tick in range(0, 120, policy.spec.chunk):
                decided: list[Decision] = [
                    policy.act([builder.context(frame, now, (), "", tick)])[0]
                    for builder, frame in zip(builders, frames, strict=True)
                ]
                same, count = same + (decided[0].actions == decided[1].actions), count + 1
                steps = [world.step_chunk(decided[0].actions) for world in worlds]
                for builder in builders:
                    builder.acted(tick, decided[0].actions, decided[0].thought)
                frames = [step[0]["pixels"] for step in steps]
                if any(step[2] or step[3] for step in steps):
                    break
    finally:
        for world in worlds:
            world.close()
    return same, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=90, help="of play before the last request")
    parser.add_argument("--policy", default="", help="a prompted model to ask instead, such as openai:MODEL@URL")
    parser.add_argument("--episodes", type=int, default=20, help="in which small sees both sizes")
    parser.add_argument("--seed", type=int, default=12)
    args = parser.parse_args()
    for text in VIEWS.values():
        read_view(text, PROMPTED)
    print("| world | view | pictures | bytes | tokens | ms |\n|---|---|---|---|---|---|")
    for world, say in WORLDS.items():
        for view in VIEWS.values():
            print(request(world, say, view, args.policy, args.ticks))
    print(planner())
    for name, cost in seeing().items():
        print(f"{name}: {cost:.0f} microseconds of a tick for seeing and remembering")
    same, count = drawn_apart(args.episodes, args.seed)
    print(f"small at 160x120 shrunk from 640x480 does the same as at 160x120: {same} of {count} decisions")


if __name__ == "__main__":
    main()
