"""What real key presses must never do: outlive the agent, reach another window, or close and switch windows.

    python benchmarks/input_safety.py [--kills 200] [--actions 10000] [--sequences 100000] [--json OUT]

kills      The agent plays the tiny game of tests/support/x11_game.py in an X server with a second window. It owns
           neither, as on a person's desktop. It ends at a random moment by SIGTERM, SIGINT, SIGKILL or an exception,
           --kills times each. In every second trial a process that it forked lives on with copies of all its
           descriptors. In every third trial the focus goes to the second window right before the end. Measured are the
           milliseconds from the signal, or from the raise, until the X server says that nothing is down, and what the
           second window heard.
actions    Random actions, half of them with a captured mouse and half with a pointer. Meanwhile another process gives
           the focus to a window above the game at random moments. Measured is what that window heard.
sequences  Key combinations that are refused: their keys are pressed in any order, split across steps, with other keys
           among them, on random key maps, and with keys that stay down for a while. Presses and releases are written
           down as they would be sent, without an X server. A failure is a combination that is down at any moment, or a
           step that is sent though it holds one.

Expected are 0 failures of each part, and at most 250 ms; 0 on the command line leaves a part out. The exit status is 1
where that fails. With --json a run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from scipy.stats import binomtest
from Xlib import X
from Xlib.xobject.drawable import Window

from envs.action import Action
from envs.desktop import hands
from envs.desktop.actions import DesktopActions
from envs.desktop.game import Game
from envs.desktop.screen import Rect, Screen
from envs.desktop.server import Xvfb, connect
from envs.desktop.world import DesktopWorld

TINY = (sys.executable, str(Path(__file__).parents[1] / "tests" / "support" / "x11_game.py"))
SIZE = (160, 120)
LIMIT = 250.0  # milliseconds
ENDS = ("SIGTERM", "SIGINT", "SIGKILL", "exception")
WALK = ("KeyW", "KeyA", "KeyS", "KeyD", "Space", "ShiftLeft")
ATTACHED = Game.model_validate(
    {"title": "tiny", "keys": WALK, "ready": 0.0, "reset": "keep", "size": SIZE, "degrees_per_count": 0.2}
)
EVENTS = X.KeyPressMask | X.KeyReleaseMask | X.ButtonPressMask | X.ButtonReleaseMask
HEARD = (X.KeyPress, X.KeyRelease, X.ButtonPress, X.ButtonRelease)
NOWHERE = cast(Window, None)
START = 180.0  # seconds that an agent may take to begin
WATCHED = 0.35  # seconds after the end in which nothing may go down again

# What is refused, said anew: any key of the one list with any of the other; the last two on a person's display alone.
ALT, CONTROL = ("AltLeft", "AltRight"), ("ControlLeft", "ControlRight")
FUNCTION = tuple(f"F{n}" for n in range(1, 13))
FORBIDDEN = (
    (ALT, (*FUNCTION, "Tab", "Escape", "Space", "Enter", "Backquote")),
    (CONTROL, (*FUNCTION, *ALT, "Escape", "KeyQ")),
)  # fmt: skip
FORBIDDEN_OUTSIDE = (*FORBIDDEN, (CONTROL, ("KeyW", "KeyT", "KeyN", "Tab", "PageUp", "PageDown")))
UNKNOWN = ("MetaLeft", "MetaRight", "PrintScreen", "ContextMenu")  # no key of ours: nothing can hold them


class Decoy:
    """A window beside or above the game's on a display, which takes the focus and hears what it should not."""

    def __init__(self, display: str, authority: Path, corner: tuple[int, int]) -> None:
        self.display = connect(display, authority)
        self.window = self.display.screen().root.create_window(
            *corner, 40, 40, 0, X.CopyFromParent, X.InputOnly, X.CopyFromParent, event_mask=EVENTS
        )
        self.window.set_wm_name("decoy")
        self.window.map()
        self.display.sync()

    def steal(self) -> None:
        self.window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self.display.sync()

    def heard(self) -> int:
        """Keys and buttons that arrived since the last call."""
        return sum(self.display.next_event().type in HEARD for _ in range(self.display.pending_events()))


class Desk:
    """An X server that is not the agent's, with the tiny game and a decoy on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.server = folder, Xvfb((320, 240), folder)
        environment = {**os.environ, "DISPLAY": self.server.name, "XAUTHORITY": str(self.server.authority)}
        self._game = subprocess.Popen(TINY, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._game.stdout is not None
        while "ready" not in self._game.stdout.readline():
            pass
        self.decoy = Decoy(self.server.name, self.server.authority, (200, 20))
        self._display, tree = self.decoy.display, self.decoy.display.screen().root.query_tree()
        self._window: Window = next(window for window in tree.children if window.get_wm_name() == "tiny game")

    def down(self) -> bool:
        """Whether any key or button is down, by the X server."""
        buttons = self._display.screen().root.query_pointer().mask & (X.Button1Mask | X.Button2Mask | X.Button3Mask)
        return any(self._display.query_keymap()) or bool(buttons)

    def focus(self) -> None:
        """Give the focus to the game."""
        self._window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self._display.sync()

    def close(self) -> None:
        self._display.close()
        self._game.kill()
        self._game.wait()
        self.server.close()


# Kills.


def agent(display: str, authority: Path, seed: int, forks: bool, ticks: int, told: Connection) -> None:
    """Plays until it is killed, or raises after `ticks` ticks; tells the process that it forked, and when it raised."""
    os.environ |= {"DISPLAY": display, "XAUTHORITY": str(authority)}
    sys.stderr = authority.with_name("agent.log").open("w")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored in the background
    faulthandler.dump_traceback_later(START - 10.0, file=sys.stderr)
    rng = np.random.default_rng(seed)
    with DesktopWorld(ATTACHED, allow_real_desktop=True) as world:
        world.reset(seed=seed)
        forked = os.fork() if forks else 0
        if forks and not forked:
            time.sleep(60.0)
            os._exit(0)
        world.step(Action(keys=frozenset({"KeyW"})))
        told.send(forked)
        faulthandler.cancel_dump_traceback_later()
        for tick in itertools.count():
            if tick == ticks:
                told.send((any(world.held), time.monotonic()))
                raise RuntimeError("as asked for")
            keys = {"KeyW", *rng.choice(WALK, 2)} if rng.random() < 0.8 else {str(rng.choice(WALK))}
            buttons = {name for name in ("left", "right") if rng.random() < 0.4}
            world.step(Action(keys=frozenset(keys), buttons=frozenset(buttons), look=(float(rng.normal(0, 3)), 0.0)))


@dataclass
class End:
    """How the agent ended once: milliseconds until all was up, whether anything was down before, what was heard."""

    milliseconds: float
    down: bool
    heard: int


def end(desk: Desk, how: str, number: int) -> End:
    """Let an agent play and end."""
    rng = np.random.default_rng([number, ENDS.index(how)])
    stolen = number % 3 == 0
    desk.focus()
    desk.decoy.heard()
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    ticks = int(rng.integers(1, 10)) if how == "exception" else -1
    given = (desk.server.name, desk.server.authority, number, number % 2 == 0, ticks, theirs)
    player = context.Process(target=agent, args=given)
    player.start()
    try:
        theirs.close()
        if not ours.poll(START):
            log = desk.folder / "agent.log"
            raise RuntimeError(f"the agent does not start: {log.read_text()[-2000:] if log.exists() else 'no word'}")
        forked = ours.recv()
        assert player.pid is not None
        if how == "exception":
            if stolen:
                desk.decoy.steal()
            down, start = ours.recv()
        else:
            time.sleep(rng.uniform(0.0, 0.2))
            if stolen:
                desk.decoy.steal()
            down, start = desk.down(), time.monotonic()
            os.kill(player.pid, getattr(signal, how))
        up, was = start, True
        while (now := time.monotonic()) - up < WATCHED and now - start < 10.0:
            still = desk.down()
            if still or was:
                up = time.monotonic()
            was = still
            time.sleep(0.001)
        if forked:
            os.kill(forked, signal.SIGKILL)
        player.join(10.0)
    finally:
        player.kill()
        player.join()
    return End(1000.0 * (up - start), down, desk.decoy.heard())


def kills(count: int, ends: dict[str, list[Any]]) -> Iterator[None]:
    """The agent ends in each of the ways in turn until `ends` has `count` of each; stops after each round of them."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", "envs.desktop.world"])
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        try:
            for number in range(count):
                for how in ENDS:
                    if len(ends.setdefault(how, [])) <= number:
                        ends[how].append(astuple(end(desk, how, number)))
                yield
        finally:
            desk.close()


def row_of(ends: list[Any]) -> dict[str, Any]:
    """The figures of the ends of one kind."""
    those = [End(*one) for one in ends]
    taken = [one.milliseconds for one in those]
    return {
        "ends": len(those), "something was down": sum(one.down for one in those), "median ms": statistics.median(taken),
        "largest ms": max(taken), "late": sum(ms > LIMIT for ms in taken), "heard": sum(one.heard for one in those),
    }  # fmt: skip


# Actions.


def thief(display: str, authority: Path, seed: int, told: Connection) -> None:
    """Takes the focus at random moments until it is told to stop; answers how often, and what it heard."""
    rng = np.random.default_rng(seed)
    decoy, thefts = Decoy(display, authority, (20, 20)), 0
    told.send("there")
    while not told.poll(float(rng.exponential(0.02))):
        decoy.steal()
        thefts += 1
    told.send((thefts, decoy.heard()))


def actions(count: int) -> dict[str, Any]:
    """`count` random actions with a thief at the display."""
    context = multiprocessing.get_context("spawn")
    thefts, blocked, heard = 0, 0, 0
    for mouse in ("captured", "free"):
        game = Game.model_validate(
            {
                "command": (*TINY, *(["--free"] if mouse == "free" else [])), "mouse": mouse, "wheel": True,
                "keys": (*WALK, "AltLeft", "ControlLeft", "Tab", "Enter"), "size": SIZE, "ready": "ready to play",
                "reset": "keep", "degrees_per_count": 0.2, "tick_hz": 10_000.0,
            }
        )  # fmt: skip
        with DesktopWorld(game) as world:
            world.reset(seed=0)
            world.action_space.seed(0)
            ours, theirs = context.Pipe()
            given = (world.screen.name, world.folder / "Xauthority", 0, theirs)
            process = context.Process(target=thief, args=given)
            process.start()
            ours.recv()
            for _ in range(count // 2):
                blocked += "blocked" in world.step(world.action_space.sample())[-1]
            ours.send("stop")
            taken, got = ours.recv()
            process.join()
            thefts, heard = thefts + taken, heard + got
    return {"actions": 2 * (count // 2), "thefts": thefts, "blocked": blocked, "heard": heard}


# Sequences.


class NoDisplay:
    """Stands for a display: it has every key, and nobody else uses it."""

    def keysym_to_keycode(self, keysym: int) -> int:
        return 8

    def nothing(self) -> None:
        pass

    grab_server = ungrab_server = sync = nothing


class Written(hands.Hands):
    """Hands on no display at all: what they would press and release is written down."""

    def __init__(self, keys: Collection[str], hold: float, *, outside: bool) -> None:
        super().__init__(cast(Screen, SimpleNamespace(display=NoDisplay())), keys, hold, outside=outside)
        self.pressed: set[str] = set()
        self.events = 0
        self.worst = False  # whether a forbidden combination was ever down
        self._forbidden = FORBIDDEN_OUTSIDE if outside else FORBIDDEN

    def _blocked(self, window: Window, place: Rect) -> str:
        return ""

    def _event(self, name: str, key: int, button: int) -> None:
        self.events += 1
        (self.pressed.add if key == X.KeyPress else self.pressed.discard)(name)
        self.worst |= forbidden(self.pressed, self._forbidden)


def forbidden(keys: Collection[str], combinations: Any) -> bool:
    """Whether a combination that closes or switches windows is among the keys."""
    return any(any(k in keys for k in some) and any(k in keys for k in others) for some, others in combinations)


def steps(rng: np.random.Generator, combination: Collection[str], others: list[str]) -> Iterator[frozenset[str]]:
    """Keys of a combination, one or more at a step in any order, held on or let go of, with other keys among them."""
    held: set[str] = set()
    left = list(rng.permutation(list(combination)))
    while left:
        for _ in range(int(rng.integers(1, len(left) + 1))):
            held.add(str(left.pop()))
        if rng.random() < 0.4:
            held |= {str(key) for key in rng.choice(others, int(rng.integers(1, 3)))}
        yield frozenset(held)
        held = {key for key in held if rng.random() < 0.6}


def sequences(count: int) -> dict[str, Any]:
    """`count` random sequences of steps around what is refused."""
    rng = np.random.default_rng(0)
    tally = {"sequences": 0, "steps": 0, "refused": 0, "sent though refused": 0, "down": 0}
    while tally["sequences"] < count:
        outside = bool(rng.integers(2))
        combinations = FORBIDDEN_OUTSIDE if outside else FORBIDDEN
        known = sorted({key for some, others in combinations for key in (*some, *others)} | set(WALK) | {"Delete"})
        game = rng.permutation(known)  # what the keys of an action press in the game: themselves, or any other ones
        keymap = dict(zip(known, known if rng.random() < 0.5 else map(str, game), strict=True))
        action_of = {pressed: key for key, pressed in keymap.items()}
        space = DesktopActions(Game(title="game", keys=keymap, reset="keep"), outside=outside)
        for _ in range(min(1000, count - tally["sequences"])):
            tally["sequences"] += 1
            some, others = combinations[rng.integers(len(combinations))]
            wanted = {str(rng.choice(some)), str(rng.choice(others))} | ({"Delete"} if rng.random() < 0.2 else set())
            if rng.random() < 0.05:
                wanted |= {str(rng.choice(UNKNOWN))}
            written = Written(known, float(rng.choice([0.0, 1e-4, 10.0])), outside=outside)
            for pressed in steps(rng, wanted, known):
                tally["steps"] += 1
                bad = forbidden(pressed, combinations) or not pressed.isdisjoint(UNKNOWN)
                before = written.events
                action = Action(keys=frozenset(action_of.get(key, key) for key in pressed))
                if not space.contains(action):
                    tally["refused"] += 1
                    if pressed.isdisjoint(UNKNOWN):  # the hands refuse by themselves, too
                        with contextlib.suppress(ValueError):
                            written.act(NOWHERE, Rect(0, 0, *SIZE), Action(keys=pressed), (0, 0))
                    tally["sent though refused"] += written.events > before
                else:
                    tally["sent though refused"] += bad
                    written.act(NOWHERE, Rect(0, 0, *SIZE), Action(keys=pressed), (0, 0))
            tally["down"] += written.worst
    return tally


def bound(failures: int, n: int) -> str:
    """Failures of n, and the exact 95 % bound of their share."""
    return f"{failures} of {n} (at most {100 * binomtest(failures, n).proportion_ci(0.95, 'exact').high:.4f} %)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--sequences", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        report = json.loads(options.json.read_text())

    def keep() -> None:
        if options.json is not None:
            options.json.write_text(json.dumps(report, indent=1) + "\n")

    failures = 0
    if options.sequences:
        row = report["sequences"] = report.get("sequences") or sequences(options.sequences)
        failures += row["sent though refused"] + row["down"]
        print(f"sequences: {row}; failed: {bound(failures, row['sequences'])}", flush=True)
        keep()
    if options.actions:
        row = report["actions"] = report.get("actions") or actions(options.actions)
        failures += row["heard"]
        print(f"actions: {row}; heard by the decoy: {bound(row['heard'], row['actions'])}", flush=True)
        keep()
    if options.kills:
        for _ in kills(options.kills, report.setdefault("ends", {})):
            keep()
        for how, ends in report["ends"].items():
            row = row_of(ends)
            failures += row["late"] + row["heard"]
            print(f"{how}: {row}; late: {bound(row['late'], row['ends'])}", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
