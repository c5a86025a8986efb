"""`DesktopWorld`: any game's window on X11 as a world. Real key presses and mouse moves go in, the screen comes out."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from mss.exception import ScreenShotError
from Xlib.error import ConnectionClosedError, DisplayError
from Xlib.xobject.drawable import Window

from envs.action import BUTTONS, KEYS, NEUTRAL, Action
from envs.characters import Characters
from envs.desktop import calibration
from envs.desktop.actions import DesktopActions
from envs.desktop.game import Game, read_game
from envs.desktop.hands import Hands
from envs.desktop.hotkeys import PAUSE, STOP
from envs.desktop.layout import layout_of
from envs.desktop.screen import Frame, Rect, Screen
from envs.desktop.stage import GameError, Stage
from envs.errors import UserError
from envs.resolution import parse_size
from envs.world import Observation, World

_POLL = 0.02  # seconds between looks at a game that starts
_TAP = 0.15  # seconds that a key of `start` and `reset` is held, and the pause after it
_MOST_COUNTS = 0.4  # of the window's smaller side
_REST = 0.3  # seconds that a picture gets to change, or to come to rest; some never do


class DesktopWorld(World):
    """A desktop game in an X server of its own, or a window on a display that was allowed.

    `game`: a `Game`, the path of its YAML file, or a command. `resolution`: WIDTHxHEIGHT instead of the game's size.
    `display`: the X display to use, with `allow_real_desktop` alone, which without a `display` means that of DISPLAY;
    otherwise an Xvfb is started for this world.

    It moves on by itself: `step` holds the action, waits until the tick is over and looks. If the game's window
    does not have the focus or has moved, the world sends nothing and releases every key; `info["blocked"]` says
    why. Raises `GameError` if the game ends or does not come up; the next `reset` starts it anew.

    An adapter overrides what its game needs: `command`, `environment`, `ready`, `begin`, `state`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]
    realtime = True
    deterministic = False

    def __init__(
        self,
        game: Game | str,
        resolution: str | None = None,
        *,
        display: str | None = None,
        allow_real_desktop: bool = False,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self.game = read_game(game) if isinstance(game, str) else game
        if resolution is not None:
            self.game = self.game.model_copy(update={"size": parse_size(resolution)})
        self._display = _allowed(self.game, display, allow_real_desktop)
        width, height = self.game.size
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)}
        )
        self.action_space = DesktopActions(self.game, outside=self.outside)
        self.tick_hz = self.game.tick_hz
        self.controls = self.game.controls
        self.render_mode = render_mode
        self.degrees_per_count = self.game.degrees_per_count
        self._stage = Stage(self.game.size, self._display, _pressable(self.game), self.game.hold)
        self._window: Window | None = None
        self._place = Rect(0, 0, width, height)
        self._measured: calibration.Measurement | None = None
        self._seen = 0.0  # when the game had drawn something
        self._turn = (0.0, 0.0)  # counts of the mouse that are still owed
        self._ticks = Ticks(self.tick_hz)
        self._over = True
        self._pointing = False  # whether a game whose mouse changes shows a pointer now
        self._frame: Frame | None = None
        if self._display is not None:
            with contextlib.suppress(
                DisplayError, ConnectionClosedError, OSError
            ):  # the first reset says why it can't be used
                self.action_space.characters = self._typed(layout_of(self._display))

    # What an adapter may override.

    def command(self) -> Sequence[str]:
        """What starts the game. Called at every start; `folder` is there, and empty at the first."""
        return self.game.command

    def environment(self) -> dict[str, str]:
        """Environment variables of the game beside the usual ones."""
        return self.game.env

    def ready(self) -> bool:
        """Whether the game can be played; asked again and again while its window is there and not of one colour."""
        if isinstance(self.game.ready, str):
            return re.search(self.game.ready, self.output()) is not None
        return time.monotonic() - self._seen >= self.game.ready

    def begin(self, options: dict[str, Any]) -> None:
        """Prepare an episode before its first frame; the game runs. `np_random` is seeded."""
        if options:
            raise ValueError(f"{self.game.name}: unknown reset option {sorted(options)[0]!r}; expected none")

    def state(self) -> Any:
        """Ground truth for `info["state"]`, or None. Called at every tick."""
        return None

    # What it may use.

    @property
    def folder(self) -> Path:
        """A folder for this world's files, removed by `close`; its subfolder "home" is the game's HOME."""
        return self._stage.folder

    @property
    def outside(self) -> bool:
        """Whether the game is on a display that is not ours."""
        return self._display is not None

    @property
    def screen(self) -> Screen:
        """The display that the game is on. Raises ResetNeeded before the first reset."""
        if self._stage.screen is None:
            raise gymnasium.error.ResetNeeded(f"{self.game.name}: not started; call reset() first")
        return self._stage.screen

    def output(self) -> str:
        """What the game has written to its standard output and standard error since it started."""
        return self._stage.output()

    def pixels(self) -> Frame:
        """The frame of now, uint8 (H, W, 3)."""
        rect = Rect(0, 0, *self.screen.size) if not self.outside else self.screen.visible(self._place)
        if rect is None:
            raise GameError(f"{self.game.name}: its window is not on the display any more")
        return self.screen.pixels(rect, self.game.size)

    def hold(self, names: Iterable[str], seconds: float) -> None:
        """Hold keys of the game, or mouse buttons, for some time, then release them; for `begin`."""
        held = frozenset(names)
        self._send(Action(keys=held - set(BUTTONS), buttons=held & set(BUTTONS)), (0, 0))
        time.sleep(seconds)
        self._send(NEUTRAL, (0, 0))

    def press(self, presses: Sequence[str | float]) -> None:
        """Press keys or mouse buttons one after the other, and wait where there is a number; for `begin`."""
        for item in presses:
            if isinstance(item, str):
                self.hold((item,), max(_TAP, self.game.hold))
                time.sleep(_TAP)
            else:
                time.sleep(item)

    def calibrate(self) -> tuple[float, float]:
        """Measure the degrees per count of the mouse as (yaw, pitch), by turning around, and remember them, unless the
        game turns by another angle for one large move than for small ones.

        `reset` does so by itself if they are not known. Raises CalibrationError.
        """

        def turn(right: int, down: int) -> None:
            for x, y in zip_longest(self._pieces(right), self._pieces(down), fillvalue=0):
                before = self.pixels()
                self._send(NEUTRAL, (x, y))
                time.sleep(self.game.hold)
                deadline = time.monotonic() + _REST
                while time.monotonic() < deadline and np.array_equal(before, self.pixels()):
                    time.sleep(_POLL)
            self._rest()

        self._measured = calibration.measure(turn, self.pixels, fov=self.game.fov)
        self.degrees_per_count = self._measured.degrees_per_count
        if self._measured.steady:
            calibration.remember(self.game, self._adapter, self.degrees_per_count)
        return self.degrees_per_count

    @property
    def facts(self) -> dict[str, str]:
        if self._measured is not None:
            steady = "" if self._measured.steady else ", and not kept: the mouse is accelerated"
            return {"mouse": f"{self._measured}{steady}"}
        if not self.game.turns or self.degrees_per_count is None:
            return {}
        whence = "given by the world's file" if self.game.degrees_per_count else "as measured before"
        return {"mouse": f"{abs(self.degrees_per_count[0]):.5f} degrees a count, {whence}"}

    # The world.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self._over, self._turn = True, (0.0, 0.0)
        with self._served():
            self._stage.open()
            self._hands.release(self._window)
            if self._window is None or not self._stage.alive or self.game.reset == "restart":
                self._start()
                self.press(self.game.start)
            elif isinstance(self.game.reset, tuple):
                self.press(self.game.reset)
            self.begin(options or {})
            self._hands.release(self._window)
            if self.game.turns and self.degrees_per_count is None:
                self.degrees_per_count = calibration.recall(self.game, self._adapter)
                if self.degrees_per_count is None:
                    self.calibrate()
            self.action_space.characters = self._typed(self._hands.learn_layout())
            self._frame = self.pixels()
            self._look_at_pointer()
            self._ticks.start()
            self._over = False
            return self._observation(), self._info("")

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._over:
            raise gymnasium.error.ResetNeeded(f"{self.game.name}: step() before reset(); call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"{self.game.name}: {action!r} is not in {self.action_space!r}")
        self._ticks.wait()
        with self._served():
            blocked = self._paused()
            if not blocked:
                keys = frozenset(self.game.keys[key] for key in action.keys if key in self.game.keys)
                reaching = replace(action, keys=keys, buttons=action.buttons.intersection(self.game.buttons))
                if self.game.mouse == "changes" and not self._pointing:
                    reaching = replace(reaching, pointer=None)  # a captured mouse would turn the view by it
                blocked = self._send(reaching, self._counts(action.look))
            self._ticks.next()
            self._ticks.wait()
            self._frame = self.pixels()
            self._look_at_pointer()
            return self._observation(), 0.0, False, False, self._info(blocked)

    def pace(self) -> None:
        self._ticks.wait()

    def render(self) -> Frame | None:
        return None if self._frame is None else self._frame.copy()

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        down = self._stage.hands.down if self._stage.hands is not None else frozenset()
        keys = frozenset(key for key, pressed in self.game.keys.items() if pressed in down)
        return keys, frozenset(BUTTONS).intersection(down)

    def close(self) -> None:
        self._over = True
        with contextlib.suppress(UserError), self._served():
            if self._stage.hands is not None:
                self._stage.hands.release(self._window)
        self._shut()

    @property
    def _adapter(self) -> str:
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @property
    def _hands(self) -> Hands:
        assert self._stage.hands is not None
        return self._stage.hands

    def _shut(self) -> None:
        self._over, self._window = True, None
        self._stage.close()

    def _typed(self, layout: Characters) -> Characters:
        """What types each character of a layout, in the keys of an action."""
        of = {pressed: key for key, pressed in self.game.keys.items()}
        of |= {key: key for key in KEYS if key not in of and key not in self.game.keys}
        return {
            character: frozenset(of[key] for key in chord) for character, chord in layout.items() if chord <= of.keys()
        }

    def _observation(self) -> Observation:
        assert self._frame is not None
        return {"pixels": self._frame}  # fresh at every look

    def _info(self, blocked: str) -> dict[str, Any]:
        state = self.state()
        mouse = {"mouse": "pointer" if self._pointing else "look"} if self.game.mouse == "changes" else {}
        return {**({} if state is None else {"state": state}), **({"blocked": blocked} if blocked else {}), **mouse}

    def _look_at_pointer(self) -> None:
        """Note whether the game shows a pointer now."""
        if self.game.mouse == "changes" and self._window is not None:
            self._pointing = self.screen.shows_pointer()

    def _paused(self) -> str:
        """Why the person at the desktop lets nothing be sent, or empty. Raises KeyboardInterrupt where he stops it."""
        hotkeys = self._stage.hotkeys
        if hotkeys is None:
            return ""
        try:
            hotkeys.read()
        except KeyboardInterrupt:
            self._hands.release(self._window)
            raise
        if not hotkeys.paused:
            return ""
        if self._hands.down:
            self._hands.release(self._window)
        return f"paused; {PAUSE} goes on"

    def _counts(self, look: tuple[float, float]) -> tuple[int, int]:
        """The counts of the mouse (right, down) for a turn in degrees; what is left over goes to the next tick."""
        if self.degrees_per_count is None or not self.game.turns or self._pointing:
            return 0, 0
        most, counts, owed = self._most_counts(), [], []
        for degrees, scale, due in zip((look[0], -look[1]), self.degrees_per_count, self._turn, strict=True):
            due += degrees / scale if scale else 0.0
            counts.append(max(-most, min(most, round(due))))
            owed.append(due - counts[-1])
        self._turn = owed[0], owed[1]
        return counts[0], counts[1]

    def _pieces(self, counts: int) -> list[int]:
        """Counts of the mouse in pieces that the game follows."""
        most = self._most_counts()
        sign = 1 if counts >= 0 else -1
        return [sign * min(most, abs(counts) - start) for start in range(0, abs(counts), most)]

    def _most_counts(self) -> int:
        return self.game.max_counts or max(1, int(_MOST_COUNTS * min(self._place.width, self._place.height)))

    def _rest(self) -> None:
        """Wait until the picture rests, for some time, since there are animations. One that is the same for less than
        two frames of the game may be an old one: slow games, and those that draw between their ticks, move on."""
        same, since = self.pixels(), time.monotonic()
        deadline = since + _REST
        while time.monotonic() < min(deadline, since + self.game.hold):
            time.sleep(_POLL)
            now = self.pixels()
            if not np.array_equal(same, now):
                same, since = now, time.monotonic()

    def _send(self, action: Action, counts: tuple[int, int]) -> str:
        """Hold an action, in keys of the game; empty, or why nothing was sent."""
        self._check_alive()
        if self._window is None:
            self._look_again()
            return "the game has no window"
        self._stage.guard(self._window.id)
        blocked = self._hands.act(self._window, self._place, action, counts)
        if blocked:
            self._turn = 0.0, 0.0
            self._look_again()
        return blocked

    def _look_again(self) -> None:
        """After something was in the way: find the window anew; on our own display give it the keyboard again."""
        rect = None if self._window is None else self.screen.rect(self._window)
        if rect is None:
            self._window = self.screen.find(self.game.title, self.game.process)
            rect = None if self._window is None else self.screen.rect(self._window)
            if rect is None and not self.game.command:
                raise GameError(f"{self.game.name}: its window was closed")
        if self._window is None or rect is None:
            return
        self._place = rect
        if not self.outside:
            self.screen.focus(self._window)

    # The game's start.

    def _start(self) -> None:
        """Start the command, if there is one, and wait until the game can be played."""
        self._window = None
        if command := list(self.command()):
            self._stage.start(command, self.environment())
        self._wait()

    def _wait(self) -> None:
        deadline, seen, filled = time.monotonic() + self.game.timeout, None, None
        while True:
            self._check_alive()
            window = self.screen.find(self.game.title, self.game.process)
            if window is not None:
                if not self.outside and window != filled:
                    self.screen.fill(window)
                    self.screen.focus(window)
                    filled = window
                self._window, self._place = window, self.screen.rect(window) or self._place
                frame = self.pixels()
                if frame.min() != frame.max():
                    seen = seen or time.monotonic()
                    self._seen = seen
                    if self.ready():
                        self._look_again()
                        return
            if time.monotonic() > deadline:
                raise GameError(self._not_ready(seen is not None))
            time.sleep(_POLL)

    def _check_alive(self) -> None:
        if not self._stage.alive:
            status = self._stage.status
            raise GameError(f"{self.game.name} ended with status {status}{self._stage.tail()}")

    def _not_ready(self, drawn: bool) -> str:
        titles = [self.screen.title(window) or "a window without a title" for window in self.screen.windows()]
        wanted = " and ".join(
            f"{what} {value!r}" for what, value in (("title", self.game.title), ("process", self.game.process)) if value
        )
        if self._window is None:
            what = f"no window{f' with {wanted}' if wanted else ''}; there are: {', '.join(titles) or 'none'}"
        elif drawn:
            what = f"a window, and not what `ready` waits for ({self.game.ready!r})"
        else:
            what = "a window of a single colour"
        return f"{self.game.name} is not ready after {self.game.timeout:g} s: {what}{self._stage.tail()}"

    @contextlib.contextmanager
    def _served(self) -> Iterator[None]:
        """An X server that goes away is told as such, and started anew by the next reset."""
        try:
            yield
        except (ConnectionClosedError, ScreenShotError) as problem:
            self._shut()
            raise GameError(f"{self.game.name}: its X server ended") from problem
        except GameError:
            self._over = True
            raise


class Ticks:
    """The clock of a world that moves on by itself: tick k begins k / `tick_hz` seconds after `start`.

    Ticks that were missed whole are not made up for.
    """

    def __init__(self, tick_hz: float) -> None:
        self._period = 1.0 / tick_hz
        self._due = 0.0

    def start(self) -> None:
        """Tick 0 begins."""
        self._due = time.perf_counter()

    def next(self) -> None:
        """The tick that was due is played; the next one is a period later, or at the first moment that is left."""
        self._due += self._period
        late = time.perf_counter() - self._due
        if late > 0:
            self._due += int(late / self._period) * self._period

    def wait(self) -> None:
        """Block until the tick is due."""
        left = self._due - time.perf_counter()
        if left > 0:
            time.sleep(left)


def _pressable(game: Game) -> set[str]:
    """The keys that may ever be pressed in the game."""
    presses = [item for part in (game.start, game.reset) if not isinstance(part, str) for item in part]
    return {*game.keys.values(), *(item for item in presses if isinstance(item, str))} - set(BUTTONS)


def _allowed(game: Game, display: str | None, allow_real_desktop: bool) -> str | None:
    """The display to use; None is one of our own. Raises UserError for one that was not allowed."""
    if not allow_real_desktop:
        if display is not None or not game.command:
            wish = f"the display {display}" if display is not None else f"the window of {game.name}"
            raise UserError(
                f"{wish} is on a real desktop, where the agent may press keys only with --allow-real-desktop"
            )
        return None
    taken = {PAUSE, STOP} & _pressable(game)
    if taken:
        raise UserError(
            f"{game.name}: keys: {min(taken)} belongs to the person at the desktop ({PAUSE} pauses, {STOP} stops)"
        )
    display = display or os.environ.get("DISPLAY")
    if not display:
        raise UserError("--allow-real-desktop: there is no X display here (DISPLAY is not set)")
    return display
