"""The action language under hostile texts, its cost, and what recorded hands lose in it.

    python benchmarks/action_language.py [--texts 100000] [--ticks 20000] [--write]

Hostile texts are parts of actions, names of keys, control characters and the like in random order. Each is read or
refused with an ActionTextError; what is read must come back from its own text, and stay within the action space and
off the forbidden combinations. Then the cost of a decision. Last, random hands in the action spaces of four games, in
decisions of 115 ms, as text and as tokens; `--write` puts this table into docs/actions.md.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.action_tokens import decode, encode
from agent.codec import ActionTextError, Codec
from agent.plan import STEP, ticks_of
from envs.action import KEYS, Action, KeyboardMouse
from envs.desktop.actions import DesktopActions
from envs.desktop.game import Game

PAGE = Path(__file__).parents[1] / "docs" / "actions.md"
_WORDS = (
    "hold", "tap", "press", "click", "type", "look", "turn", "point", "drag", "wheel", "wait", "done", "for", "then",
    "ctrl", "alt+f4", "ControlLeft+KeyW", "q", "w", "left", "right", '"', "'", '"a\\"b"', "“x”", "5", "-3", "1e9",
    "nan", "999999999999", "٣", "ms", "200ms", "0.5s", "+", ";", "\n", "\x00", "é", "\u202e", "\\", "F4", "roll",
    "away", "{", "<|im_end|>", "🙂", "and", "the", "−7", *KEYS,
)  # fmt: skip


def hostile(rng: random.Random, codec: Codec) -> str:
    """A text that is nearly an action of `codec`, or nothing like one."""
    words = [*_WORDS, *[part for part, _ in codec.parts] * 8]
    text = rng.choice((" ", " ", "", ", ")).join(rng.choice(words) for _ in range(rng.randrange(9)))
    return text if rng.random() < 0.9 else "".join(rng.sample(text, len(text)))


def check(codec: Codec, texts: int, seed: int = 0) -> int:
    """Read hostile texts; how many were actions. Raises AssertionError where one gets through that must not."""
    rng, read = random.Random(seed), 0
    for _ in range(texts):
        try:
            plan = codec.read(hostile(rng, codec))
        except ActionTextError:
            continue
        read += 1
        assert codec.read(codec.write(plan)) == plan
        assert all(codec.space.contains(action) for action in codec.actions(plan, 30.0))
    return read


def games() -> dict[str, tuple[Codec, float]]:
    """The action spaces of four games, and their tick rates."""
    desktop = Game(command=("game",), keys={key: key for key in KEYS[:60]}, wheel=True)
    walk = ("KeyW", "KeyA", "KeyS", "KeyD", "Space", "ShiftLeft", "KeyE")
    arrows = ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight")
    return {
        "crispy-doom, 30 Hz": (Codec(DesktopActions(desktop, outside=False)), 30.0),
        "Minetest, 35 Hz": (Codec(KeyboardMouse(walk, ("left", "right"), max_look=20.0)), 35.0),
        "a browser game, 60 Hz": (Codec(KeyboardMouse(KEYS, ("left",), pointer=True, wheel=True)), 60.0),
        "a Gymnasium key map, 10 Hz": (Codec(KeyboardMouse(arrows, (), max_look=0.0)), 10.0),
    }


def hands(space: KeyboardMouse, ticks: int, tick_hz: float, seed: int = 0) -> list[Action]:
    """Random hands that hold what they hold for 50 to 600 ms and look a little differently in every tick."""
    rng, actions = np.random.default_rng(seed), list[Action]()
    space.seed(seed)
    while len(actions) < ticks:
        held = space.sample()
        for _ in range(max(1, ticks_of(float(rng.uniform(50, 600)), tick_hz))):
            shake = float(rng.uniform(0.5, 1.0))
            actions.append(Action(held.keys, held.buttons, (held.look[0] * shake, held.look[1] * shake), held.pointer))
    return actions[:ticks]


def losses(codec: Codec, tick_hz: float, ticks: int) -> list[str]:
    """What the two forms lose of random hands, as cells of a table."""
    actions, chunk = hands(codec.space, ticks, tick_hz), max(1, ticks_of(STEP, tick_hz))
    cells, characters, tokens = [], list[int](), list[int]()
    for as_tokens in (False, True):
        wrong, turned = 0, list[float]()
        for begin in range(0, len(actions) - chunk, chunk):
            part = actions[begin : begin + chunk]
            plan = codec.plan_of(part, tick_hz)
            if as_tokens:
                written = encode(plan)
                tokens.append(len(written))
                plan = decode(written)
            else:
                characters.append(len(codec.write(plan)))
                plan = codec.read(codec.write(plan))
            back = codec.actions(plan, tick_hz)
            wrong += sum(a.keys != b.keys or a.buttons != b.buttons for a, b in zip(part, back, strict=False))
            wrong += abs(len(back) - len(part))
            turned.append(abs(math.fsum(a.look[0] for a in part) - math.fsum(a.look[0] for a in back)))
        cells += [f"{100 * wrong / len(actions):.1f} %", f"{np.mean(turned):.3f}°"]
    return [*cells, f"{np.mean(characters):.0f}", f"{np.mean(tokens):.1f}"]


def table(ticks: int) -> str:
    heads = ("hands in", "ticks held wrongly, text", "yaw off", "as tokens", "yaw off", "characters", "tokens")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += [f"| {name} | " + " | ".join(losses(codec, hz, ticks)) + " |" for name, (codec, hz) in games().items()]
    return "\n".join(lines)


def cost(codec: Codec, tick_hz: float) -> tuple[float, float]:
    """Milliseconds of reading and playing a decision, and of writing down what was done, medians."""
    text, taken = "hold KeyW look 16 -4 for 200ms then tap KeyE", []
    for _ in range(500):
        begin = time.perf_counter()
        actions = codec.actions(codec.read(text), tick_hz)
        middle = time.perf_counter()
        codec.write(codec.plan_of(actions, tick_hz, taps=True))
        taken.append((middle - begin, time.perf_counter() - middle))
    reading, writing = np.median(1000 * np.array(taken), axis=0)
    return float(reading), float(writing)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--ticks", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="write the table into docs/actions.md")
    args = parser.parse_args(argv)
    spaces = games()
    for name, (codec, _) in spaces.items():
        count = args.texts // len(spaces)
        print(f"{name}: {count} hostile texts, {check(codec, count)} were actions, the others were refused")
    reading, writing = cost(*spaces["a browser game, 60 Hz"])
    print(f"a decision is read and played in {reading:.2f} ms, and written down in {writing:.2f} ms")
    lines = table(args.ticks)
    print(f"\n{lines}")
    if args.write:
        page = PAGE.read_text()
        mark = re.compile(r"(<!-- loss -->\n).*?(<!-- /loss -->)", re.DOTALL)
        PAGE.write_text(mark.sub(lambda found: f"{found[1]}{lines}\n{found[2]}", page))


if __name__ == "__main__":
    main()
