"""What a policy costs behind a server: the websocket and chat completions, beside the same policy in this process.

    python benchmarks/serving.py --decisions 200

`small` plays a level of Doom in this process; every context of it is also decided by `agent serve`, a process of its
own on the loopback interface: over the websocket, as `--policy remote:HOST:PORT` does, and over HTTP as a chat
completion with the picture as PNG. The three take turns, so that what else the machine does meets all of them. A
ratio is the median of the ratios of single decisions.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np

from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.models.pictures import encode
from agent.policy import Context, Decision
from agent.prompted import Setting, Turn
from agent.serve.chat_completions import text_of
from agent.serve.messages import of_context, packed
from agent.serve.remote import RemotePolicy
from agent.small import SmallPolicy, load_small
from envs.doom.world import DoomWorld

_INSTRUCTION = "look around"  # it goes on as long as it is let


class Noting:
    """A policy that keeps what it was asked."""

    def __init__(self, policy: SmallPolicy) -> None:
        self._policy, self.spec, self.asked = policy, policy.spec, list[Context]()

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.asked += contexts
        return self._policy.act(contexts)


@contextmanager
def serving() -> Iterator[tuple[str, str]]:
    """`agent serve` in a process of its own; its address and its token."""
    command = [sys.executable, "-m", "agent", "serve", "--policy", "small", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
            yield f"127.0.0.1:{told['port']}", told["token"]
        finally:
            process.terminate()


def contexts(policy: SmallPolicy, count: int) -> list[Context]:
    """What the policy is asked in a level of Doom."""
    noting, world = Noting(policy), DoomWorld()
    try:
        play(world, InStep(noting), _INSTRUCTION, seed=3, time_limit=policy.spec.chunk * count, observe="decision")
    finally:
        world.close()
    return noting.asked


def chat(context: Context, setting: Setting) -> dict[str, Any]:
    """A context as a chat: what was decided before as text, what is seen now as PNG."""
    told = {"type": "text", "text": context.instruction}
    turns: list[dict[str, Any]] = []
    for chunk, thought in zip(context.actions, context.thoughts, strict=True):
        turns.append({"role": "user", "content": [told]})
        turns.append({"role": "assistant", "content": setting.write(Turn(setting.plan_of(chunk), thought))})
    file, kind = encode(context.frames[-1])
    url = f"data:{kind};base64,{base64.b64encode(file).decode()}"
    seen = {"type": "image_url", "image_url": {"url": url}}
    last = {"role": "user", "content": [seen, told]}
    return {"model": "small", "messages": [*turns, last], "seed": context.seed}


def measure(ways: dict[str, Callable[[Context], Any]], asked: Sequence[Context]) -> dict[str, list[float]]:
    """Milliseconds of each decision, each way; the first way to take turns changes."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number, context in enumerate([asked[0], *asked]):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            ways[name](context)
            if number:  # the first time caches are empty
                took[name].append(1000.0 * (time.perf_counter() - start))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=200)
    args = parser.parse_args()
    small = load_small()
    asked = contexts(small, args.decisions)
    with serving() as (address, token), httpx.Client(headers={"Authorization": f"Bearer {token}"}) as http:
        remote = RemotePolicy(address, token)
        url = f"http://{address}/v1/chat/completions"
        setting = Setting(view=small.spec.view, tick_hz=small.spec.tick_hz)

        def talk(context: Context) -> str:
            answer = http.post(url, json=chat(context, setting)).raise_for_status().json()
            return str(answer["choices"][0]["message"]["content"])

        ways: dict[str, Callable[[Context], Any]] = {
            "in process": lambda context: small.act([context]),
            "over the websocket (`remote:`)": lambda context: remote.act([context]),
            "as a chat completion, its past as text and a PNG": talk,
        }
        took = measure(ways, asked)
        few = asked[-20:]
        decided = [small.act([context]) for context in few]
        alike = sum(remote.act([context]) == one for context, one in zip(few, decided, strict=True))
        told = sum(talk(context) == text_of(one[0], setting) for context, one in zip(few, decided, strict=True))
        remote.close()
    sizes = {
        "in process": 0,
        "over the websocket (`remote:`)": len(packed({"type": "act", "contexts": [of_context(asked[-1])]})),
        "as a chat completion, its past as text and a PNG": len(json.dumps(chat(asked[-1], setting))),
    }
    base = np.array(took["in process"])
    print("| a decision of `small` | of in process | p50 ms | p95 ms | more, p50 ms | request, KiB |")
    print("|---|---|---|---|---|---|")
    for name, times in took.items():
        ratio, more = np.median(np.array(times) / base), np.median(np.array(times) - base)
        p50, p95 = np.percentile(times, (50, 95))
        print(f"| {name} | {ratio:.2f} | {p50:.1f} | {p95:.1f} | {more:.1f} | {sizes[name] / 1024:.0f} |")
    print(
        f"\n{len(base)} decisions. Of the last {len(few)}, {alike} are the same over the websocket, {told} in a chat."
    )


if __name__ == "__main__":
    main()
