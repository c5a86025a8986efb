"""The action language under hostile texts, its cost, and what recorded hands lose in it.

    python benchmarks/action_language.py [--texts 100000] [--ticks 20000] [--write]
    python benchmarks/action_language.py --worlds crispy-doom chocolate-doom Minetest 'a web page' 'a Gymnasium key map'

Hostile texts are parts of actions, names of keys, control characters and the like in random order. Each is read or
refused with an ActionTextError; what is read must come back from its own text, and stay within the action space and
off the forbidden combinations. Then the cost of a decision. Then random hands in the action spaces of four games, in
decisions of 115 ms, as text and as tokens. Last, with --worlds, recordings of a person by script
(tests/support/scripted_person.py) in real worlds. `--write` puts the tables into docs/actions.md.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from agent.action_tokens import decode, encode, fit
from agent.codec import ActionTextError, Codec
from agent.plan import STEP, THOUSANDTHS, ticks_of
from envs.action import KEYS, Action, KeyboardMouse
from envs.desktop.actions import DesktopActions
from envs.desktop.game import Game
from envs.world import World
from tests.support.scripted_person import record

PAGE = Path(__file__).parents[1] / "docs" / "actions.md"
PAGES = Path(__file__).parents[1] / "tests" / "support" / "pages"
_CAR = """env: MountainCar-v0
tick_hz: 10
keys:
  none: 1
  press:
  - {name: push left, hold: ArrowLeft, do: 0}
  - {name: push right, hold: ArrowRight, do: 2}
"""
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
        "crispy-doom": (Codec(DesktopActions(desktop, outside=False)), 30.0),
        "Minetest": (Codec(KeyboardMouse(walk, ("left", "right"), max_look=20.0)), 35.0),
        "a browser game": (Codec(KeyboardMouse(KEYS, ("left",), pointer=True, wheel=True)), 60.0),
        "a Gymnasium key map": (Codec(KeyboardMouse(arrows, (), max_look=0.0)), 10.0),
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


@dataclass
class Loss:
    """What a form loses of hands: ticks that are held otherwise; how far look, pointer and wheel are off at the end of
    each decision, in degrees, thousandths of the picture and notches; and how long a decision is."""

    wrong: int = 0
    yaw: list[float] = field(default_factory=list)
    pointer: list[float] = field(default_factory=list)
    wheel: list[float] = field(default_factory=list)
    length: list[int] = field(default_factory=list)

    def add(self, part: Sequence[Action], back: Sequence[Action]) -> None:
        self.wrong += sum(a.keys != b.keys or a.buttons != b.buttons for a, b in zip(part, back, strict=False))
        self.wrong += abs(len(back) - len(part))
        self.yaw.append(abs(math.fsum(a.look[0] for a in part) - math.fsum(a.look[0] for a in back)))
        self.wheel.append(abs(math.fsum(a.wheel for a in part) - math.fsum(a.wheel for a in back)))
        ends = [next((a.pointer for a in reversed(actions) if a.pointer), None) for actions in (part, back)]
        if ends[0] and ends[1]:
            self.pointer.append(THOUSANDTHS * max(abs(x - y) for x, y in zip(*ends, strict=True)))

    def cells(self, ticks: int) -> list[str]:
        pointer = f"{np.mean(self.pointer):.1f}" if self.pointer else "–"
        off = (f"{np.mean(self.yaw):.3f}°", pointer, f"{np.mean(self.wheel):.2f}")
        return [f"{100 * self.wrong / ticks:.1f} %", *off, f"{np.mean(self.length):.0f}"]


def losses(codec: Codec, tick_hz: float, actions: Sequence[Action]) -> tuple[Loss, Loss]:
    """What text and tokens lose of what hands did, in decisions of STEP."""
    text, tokens, chunk = Loss(), Loss(), max(1, ticks_of(STEP, tick_hz))
    for begin in range(0, len(actions) - chunk + 1, chunk):
        part = actions[begin : begin + chunk]
        plan = codec.plan_of(part, tick_hz)
        written, ids = codec.write(plan), encode(fit(plan))
        text.length.append(len(written))
        tokens.length.append(len(ids))
        text.add(part, codec.actions(codec.read(written), tick_hz))
        tokens.add(part, codec.actions(decode(ids), tick_hz))
    return text, tokens


def table(rows: Iterable[tuple[str, Codec, float, Sequence[Action]]]) -> str:
    heads = ("hands in", "form", "ticks held wrongly", "yaw off", "pointer off", "wheel off", "length")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, codec, hz, actions in rows:
        for form, loss in zip(("text", "tokens"), losses(codec, hz, actions), strict=True):
            lines.append(f"| {name}, {hz:g} Hz | {form} | " + " | ".join(loss.cells(len(actions))) + " |")
    return "\n".join(lines)


def worlds() -> dict[str, Callable[[Path], World]]:
    """Real worlds in which a person's hands are recorded, each made in a folder for its files."""

    def page(folder: Path) -> World:
        from envs.browser.world import BrowserWorld

        file = (PAGES / "form.yaml").read_text().replace("form.html", str(PAGES / "form.html"))
        (folder / "form.yaml").write_text(f"{file}wheel: true\n")
        return BrowserWorld(str(folder / "form.yaml"))

    def car(folder: Path) -> World:
        from envs.gymnasium.world import GymnasiumWorld

        (folder / "car.yaml").write_text(_CAR)
        return GymnasiumWorld(str(folder / "car.yaml"))

    def doom(program: str, ready: str, folder: Path) -> World:
        from envs.desktop.world import DesktopWorld

        keys = [key for key in (*KEYS[:60], "ShiftLeft") if key not in ("Escape", "F10")]
        return DesktopWorld(
            Game(
                command=(program, "-iwad", "/usr/share/games/doom/freedoom2.wad", "-warp", "1", "-skill", "1",
                         "-nomonsters", "-nosound", "-window", "-geometry", "320x240"),
                keys={key: key for key in keys if not key.startswith("F")}, wheel=True, ready=ready,
                start=(1.0,), degrees_per_count=(0.04395, 0.0),
            )
        )  # fmt: skip

    def minetest(folder: Path) -> World:
        from envs.minetest.world import Minetest

        return Minetest()

    return {
        "crispy-doom": partial(doom, "crispy-doom", "P_SetupLevel"),
        "chocolate-doom": partial(doom, "chocolate-doom", "ST_Init"),
        "Minetest": minetest,
        "a web page": page,
        "a Gymnasium key map": car,
    }


def recordings(names: Sequence[str], seconds: float) -> Iterator[tuple[str, Codec, float, Sequence[Action]]]:
    """What a scripted person did in real worlds, as it was recorded."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            world = worlds()[name](Path(folder))
            try:
                episode = record(world, seconds, Path(folder) / "episode")
                codec = Codec(world.action_space, world.controls)
            finally:
                world.close()
            yield name, codec, episode.tick_hz, episode.actions()


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
    parser.add_argument("--worlds", nargs="*", choices=list(worlds()), default=[], metavar="WORLD")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each recording")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/actions.md")
    args = parser.parse_args(argv)
    spaces = games()
    for name, (codec, _) in spaces.items():
        count = args.texts // len(spaces)
        print(f"{name}: {count} hostile texts, {check(codec, count)} were actions, the others were refused")
    reading, writing = cost(*spaces["a browser game"])
    print(f"a decision is read and played in {reading:.2f} ms, and written down in {writing:.2f} ms")
    random_hands = ((name, codec, hz, hands(codec.space, args.ticks, hz)) for name, (codec, hz) in spaces.items())
    tables = {"loss": table(random_hands)}
    print(f"\n{tables['loss']}")
    if args.worlds:
        tables["recorded"] = table(recordings(args.worlds, args.seconds))
        print(f"\n{tables['recorded']}")
    for name, lines in tables.items() if args.write else ():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        PAGE.write_text(mark.sub(partial(_between, lines), PAGE.read_text()))


def _between(lines: str, marks: re.Match[str]) -> str:
    return f"{marks[1]}{lines}\n{marks[2]}"


if __name__ == "__main__":
    main()
