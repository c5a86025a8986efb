"""`Minetest`: the real game, server and client, in an X server of its own, with our mod for levels and ground truth."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

from envs.action import Action
from envs.angles import wrapped
from envs.desktop.game import Game
from envs.desktop.screen import Frame
from envs.desktop.stage import GameError
from envs.desktop.world import DesktopWorld
from envs.errors import UserError
from envs.minetest import game
from envs.minetest.level import Level, generate
from envs.minetest.state import MinetestState, Placed
from envs.resolution import parse_size
from envs.world import Observation

EXECUTABLE = "minetest"
TICK_HZ = 35.0
MAX_LOOK = 20.0  # degrees in one tick
MEND = "apt-get install minetest minetest-data xvfb libgl1-mesa-dri"
_DIGITS = tuple(f"Digit{n}" for n in range(1, 9))
_INVENTORY = "KeyI"
_KEYS = ("KeyW", "KeyA", "KeyS", "KeyD", "Space", "ShiftLeft", "KeyE", _INVENTORY, *_DIGITS)
CONTROLS = {
    "KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right", "Space": "jump", "ShiftLeft": "sneak",
    "left": "dig", "right": "place, or open what the crosshair is on", "KeyE": "place",
    _INVENTORY: "inventory",
    **{digit: f"take what is in slot {n} of the hotbar" for n, digit in enumerate(_DIGITS, 1)},
}  # fmt: skip
_FINE = 320  # pixels: what is narrower is drawn twice as wide and high, and shrunk
_ANSWER = 20.0  # seconds that a command may take
_REQUESTS = 3  # of a level, at most
_SILENCE = 5.0  # seconds without a word of the server after which it is taken for dead
_LANDING = 3.0  # seconds in which the player comes to stand at a level's start; then it is told anew
_TRIES = 4
_STILL = 0.12  # seconds without a change of the picture, at least, after which a level is taken as drawn
_SETTLE = 0.2  # seconds that a level is given to be drawn, at least
_SETTLE_FAR = 0.6  # where another place has to come from the server
_UNSEEN = 4.0  # seconds after which a level is taken as drawn though there is no ground in the picture
_LONGEST = 6.0  # further seconds after which it is, though the picture still changes


class MinetestChat:
    """The game's own chat. People who play along, as the world's `invitation` says, are heard and hear."""

    def __init__(self, world: Minetest) -> None:
        self._world = world
        self._read = 0

    def read(self) -> list[tuple[str, str]]:
        """What others have said since the last call, as (who, text)."""
        lines = self._world.truth().get("chat") or []
        new = [(who, text) for number, who, text in lines if number > self._read]
        self._read = max([self._read, *(int(number) for number, _, _ in lines)])
        return new

    def send(self, text: str) -> None:
        """Say `text` in the game."""
        self._world.tell("say", text=text)


class Minetest(DesktopWorld):
    """Minetest with generated levels: arenas, or places in natural terrain.

    `resolution`: WIDTHxHEIGHT of the frames, which are 90 degrees wide. `state`: give ground truth in `info["state"]`.

    `reset(options={"level": LEVEL_JSON})` plays that level; `options={"generator": {...}}` gives the arguments of
    `envs.minetest.level.generate`; without options the seed alone makes an arena.
    Keys: W A S D walk, Space jumps, the left Shift sneaks, digits choose what is in the hand, I opens the inventory and
    closes it; the mouse looks, and has a pointer while the inventory is open (`info["mouse"]`). The left
    button digs; the right button or E places, or opens what the crosshair is on. It moves on by itself.
    Raises UserError where Minetest is missing, and GameError, with what it said last, where it ends.
    """

    resolutions = ("160x120", "320x240", "640x480")

    def __init__(
        self, resolution: str = "160x120", *, state: bool = True, render_mode: str | None = "rgb_array"
    ) -> None:
        self._size = parse_size(resolution, 64, 2048)
        scale = 2 if self._size[0] < _FINE else 1
        window = self._size[0] * scale, self._size[1] * scale
        super().__init__(
            Game(
                command=(EXECUTABLE,), size=window, keys={key: key for key in _KEYS}, ready=0.0, timeout=90.0,
                controls=CONTROLS, mouse="changes", reset="keep", tick_hz=TICK_HZ, hold=2.5 / game.FRAMES,
                max_look=MAX_LOOK, degrees_per_count=(game.optics(*window)[1],) * 2,
            ),
            render_mode=render_mode,
        )  # fmt: skip
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (self._size[1], self._size[0], 3), np.uint8)}
        )
        self.chat = MinetestChat(self)
        self.port = 0  # of the server, on 127.0.0.1
        # Every user of the machine can reach the server under any name, so nobody joins without it.
        self.password = secrets.token_urlsafe(12)
        self._state = state
        self._level: Level | None = None
        self._base: tuple[int, ...] = ()
        self._ground = np.zeros((0, 0), np.int16)
        self._told = 0  # commands
        self._tick = 0
        self._choice = False  # whether another slot may be in the hand
        self._opened = False  # whether the inventory may be open
        self._site: int | None = -1  # where the last level was
        self._heard: tuple[float, float] = (-1.0, 0.0)  # the server's last step, and when we saw it

    # What DesktopWorld asks.

    def command(self) -> Sequence[str]:
        executable = find()
        if executable is None:
            raise UserError(f"Minetest is not installed: {MEND}")
        self._stage.end()  # what is left of the last one must not write into the new world
        game.prepare(self.folder, self.game.size, self.password)
        self._told, self._site, self._choice, self._opened = 0, -1, False, False
        self._heard = -1.0, time.monotonic()
        self.chat = MinetestChat(self)
        self.port = game.free_port()
        return game.command(executable, self.folder, self.port)

    def environment(self) -> dict[str, str]:
        return {"MINETEST_USER_PATH": str(self.folder / "user")}

    def ready(self) -> bool:
        return bool(self.truth())

    def begin(self, options: dict[str, Any]) -> None:
        unknown = set(options) - {"level", "generator"}
        if unknown:
            raise ValueError(f"minetest: unknown reset option {sorted(unknown)[0]!r}; known: generator, level")
        if "level" in options:
            level = Level.from_json(options["level"])
        else:
            try:
                level = generate(int(self.np_random.integers(2**31)), **options.get("generator", {}))
            except TypeError as error:
                raise ValueError(f"minetest: generator: {error}") from error
        if self._opened and self.screen.shows_pointer():  # the inventory was left open
            self.press((_INVENTORY,))
        self._opened = False
        if self._choice:
            self.press(("Digit1",))
            self._choice = False
        self._tick = 0
        began = time.monotonic()
        ground = self._arrive(level)
        took = time.monotonic() - began
        side = 2 * level.half + 3
        self._ground = np.array(ground["heights"], np.int16).reshape(side, side)
        self._ground.flags.writeable = False
        self._base = tuple(int(y) for y in ground["base"] or ())
        self._level = level
        # A client that was long in coming is long in drawing too: it may still show parts of the last level.
        self._settle(max(took, _SETTLE_FAR if level.site != self._site else _SETTLE), max(_STILL, took / 2))
        self._site = level.site

    def state(self) -> MinetestState | None:
        truth = self.truth()
        step, since = self._heard
        if truth["step"] != step:
            self._heard = truth["step"], time.monotonic()
        elif time.monotonic() - since > _SILENCE:
            raise GameError(f"minetest: the server has not answered for {_SILENCE:g} s{self._stage.tail()}")
        return self._read(truth) if self._state else None

    def pixels(self) -> Frame:
        frame = super().pixels()
        if frame.shape[1] == self._size[0]:
            return frame
        return np.array(Image.fromarray(frame).resize(self._size, Image.Resampling.BOX))

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self.action_space.contains(action):
            self._tick += 1
            self._choice = self._choice or not action.keys.isdisjoint(_DIGITS)
            self._opened = self._opened or _INVENTORY in action.keys
            if "KeyE" in action.keys:  # the game knows one button or key for it
                action = replace(action, keys=action.keys - {"KeyE"}, buttons=action.buttons | {"right"})
        return super().step(action)

    @property
    def invitation(self) -> str:
        """How a person on this machine plays along; empty before the first reset."""
        if not self.port:
            return ""
        return (
            f"minetest --go --address 127.0.0.1 --port {self.port} --name YOU "
            f"--password-file {self.folder / 'password'}"
        )

    # What the mod says, and what it is told.

    def truth(self) -> dict[str, Any]:
        """What the mod wrote last, as it wrote it; empty before the game runs."""
        try:
            written: dict[str, Any] = json.loads((self.folder / "world" / "truth.json").read_text())
        except FileNotFoundError:
            return {}
        return written

    def tell(self, kind: str, **arguments: Any) -> None:
        """Have the mod do something, and wait until it is done.

        "teleport" (x, y, z of the level and, where wanted, yaw and pitch in degrees), "give" (item, such as
        "ludens:block_red 3"), "time" (0 to 1, 0.5 is noon), "say" (text), "level" (what `Level.command` gives). Raises
        GameError where it is not done.
        """
        if kind not in ("teleport", "give", "time", "say", "level"):
            raise ValueError(f"minetest: unknown command {kind!r}; known: give, level, say, teleport, time")
        if self._window is None:
            raise gymnasium.error.ResetNeeded("minetest: not started; call reset() first")
        self._told += 1
        path = self.folder / "world" / "command.json"
        # the server may lose the request for the ground of a level; the mod does a command with the same number once
        for again in range(_REQUESTS):
            path.with_suffix(".new").write_text(
                json.dumps({"kind": kind, "seq": self._told, "again": again, **arguments})
            )
            os.replace(path.with_suffix(".new"), path)
            deadline = time.monotonic() + _ANSWER
            while time.monotonic() < deadline:
                if self.truth().get("seq", 0) >= self._told:
                    return
                self._check_alive()
                time.sleep(0.01)
            if kind != "level":
                break
        raise GameError(f"minetest: {kind!r} was not done in {_ANSWER * (again + 1):g} s{self._stage.tail()}")

    def _arrive(self, level: Level) -> dict[str, Any]:
        """Have a level built and the player put there, a little above the ground, until the client has made him fall.

        Returns what the mod says of the ground.
        """
        for _ in range(_TRIES):
            self.tell(**level.command())
            ground: dict[str, Any] = json.loads((self.folder / "world" / "ground.json").read_text())
            deadline = time.monotonic() + _LANDING
            while time.monotonic() < deadline:
                truth = self.truth()
                (x, y, z), (start_x, start_z, yaw) = truth["pos"], level.start
                turned = abs(wrapped(truth["yaw"] - yaw))
                if max(abs(x - start_x), abs(z - start_z), abs(y - ground["start"]), turned / 10.0) < 0.05:
                    return ground
                time.sleep(0.01)
        raise GameError(f"minetest: the client did not go where it was put{self._stage.tail()}")

    def _settle(self, least: float, still: float) -> None:
        """Wait until the level is drawn: until `least` seconds are over, there is ground to be seen, and the picture
        has stayed the same for `still` seconds."""
        began = changed = time.monotonic()
        before = self.pixels()
        while (now := time.monotonic()) - began < least + _LONGEST:
            time.sleep(0.02)
            frame = self.pixels()
            if not np.array_equal(frame, before):
                before, changed = frame, now
            elif now - began > least and now - changed > still and (_grounded(frame) or now - began > _UNSEEN):
                return

    def _read(self, truth: dict[str, Any]) -> MinetestState:
        assert self._level is not None
        (x, y, z), aimed, events = truth["pos"], truth.get("aimed") or {}, truth.get("events") or []
        thing = aimed.get("thing")
        return MinetestState(
            level=self._level,
            tick=self._tick,
            x=x,
            y=y,
            z=z,
            eye=truth["eyes"][1],
            yaw=truth["yaw"] % 360.0,
            pitch=truth["pitch"],
            aimed=None if thing is None else int(thing) - 1,  # Lua counts from 1
            aimed_distance=aimed.get("distance", math.inf),
            aimed_top=bool(aimed.get("top", False)),
            bag={name: int(count) for name, count in (truth.get("bag") or {}).items()},
            dug=tuple(int(event["thing"]) - 1 for event in events if event["kind"] == "dug"),
            placed=tuple(_placed(event) for event in events if event["kind"] == "placed"),
            opened=frozenset(int(number) - 1 for number in truth.get("opened") or ()),
            base=self._base,
            ground=self._ground,
            hp=int(truth["hp"]),
        )


def _grounded(frame: Frame) -> bool:
    """Whether the lower part of a frame, beside the hand, shows ground; in a sky each row is of one colour."""
    rows = frame[2 * frame.shape[0] // 3 :, : frame.shape[1] // 2]
    return bool((rows != rows[:, :1]).any(axis=(1, 2)).mean() > 0.8)


def _placed(event: dict[str, Any]) -> Placed:
    x, y, z = event["at"]
    return Placed(x, y, z, None if event.get("on") is None else int(event["on"]) - 1)


def find() -> str | None:
    """The path of Minetest; None where it is not installed. Debian keeps games where some have no PATH to."""
    return shutil.which(EXECUTABLE, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/games")))
