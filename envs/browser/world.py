"""`BrowserWorld`: any game in a web page, seen as pixels and played with keyboard and mouse."""

from __future__ import annotations

import itertools
import json
import math
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

import gymnasium
import numpy as np

from envs.action import BUTTONS, KEYS, NEUTRAL, Action
from envs.browser import begin
from envs.browser.chromium import BrowserError, Chromium, Event, Frame
from envs.browser.files import read
from envs.browser.kept import keep
from envs.browser.keys import key_event, modifiers
from envs.browser.server import serve
from envs.resolution import parse_size
from envs.world import Observation, World

_BUTTON_BITS = {"left": 1, "right": 2, "middle": 4}  # as in MouseEvent.buttons
_NOTCH = 100.0  # CSS pixels that a notch of the wheel scrolls
_POLL_SECONDS = 0.05
_LOCK_SECONDS = 10.0
_RELOADS = 3
_BLANK_SECONDS = 3.0  # until a page that threw an error has to show something
_MOST_TOLD = 5  # errors of a page in the warnings of an episode

_tokens = itertools.count(1)


class BrowserWorld(World):
    """A page in a headless Chromium.

    `page`: a world file (.yaml), an HTML file, a folder with an index.html, or an http(s) URL. `resolution`:
    WIDTHxHEIGHT of the view, else the world file's.

    A page with `window.__step(seconds, draw)` is played in lockstep: each step advances it by one tick, and the frame
    is the one after it. With `window.__reset(seed, options)` the episode is that of the seed, and the world is
    `deterministic`. Any other page moves on by itself (`realtime`), and is loaded anew at every reset.

    A page with `pointer_lock: true` and `pointer: true` in its file takes the pointer and gives it back, as for a menu:
    `info["mouse"]` says which it is.

    `info["state"]` is a dict: `page`, the value of the world file's `state` expression; `tick`; `javascript`, the
    values of the expressions that `reset(options={"javascript": {NAME: EXPRESSION}})` names. The other options go to
    `__reset`. Raises UserError if the file is wrong, and BrowserError (a UserError too) if the page is wrong or
    the browser died; the next `reset` then starts another.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # type: ignore[misc]

    def __init__(
        self, page: str, resolution: str | None = None, *, render_mode: Literal["rgb_array"] | None = "rgb_array"
    ) -> None:
        self._file = file = read(page)
        self._name = f"browser:{page}"
        self.render_mode = render_mode
        self._size = parse_size(resolution or file.size)
        self._frame: Frame | None = None
        self._held = NEUTRAL
        self._position = (self._size[0] // 2, self._size[1] // 2)
        self._carry = (0.0, 0.0)
        self._since: dict[str, float] = {}  # when each key and button that is held was pressed, in real time
        self._locked = self._begun = False
        self._over = True
        self._tick = 0
        self._due = 0.0
        self._events = 0
        self._expressions: dict[str, str] = {}
        self._token = 0
        self._chromium: Chromium | None = None
        self._server: ThreadingHTTPServer | None = None
        self._origin, self._url = self._address(file.page)
        self._closer = weakref.finalize(self, _let_go, None, self._server)
        try:
            self._start()
            steps, resets = self._browser.evaluate("[typeof __step, typeof __reset].map((it) => it === 'function')")
        except BaseException:
            self.close()
            raise
        if file.lockstep and not steps:
            self.close()
            raise BrowserError(f"{self._name}: lockstep: true, and the page has no function window.__step")
        self.realtime = not (steps if file.lockstep is None else file.lockstep)
        self._resets = resets
        self.deterministic = not self.realtime and resets
        self.tick_hz = file.tick_hz
        width, height = self._size
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)}
        )
        self.action_space = file.action_space
        self.controls = file.controls

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        given = {**self._file.options, **(options or {})}
        expressions = _named(given.pop("javascript", {}))
        self._expressions = {"state": self._file.state, "over": self._file.over, **expressions}
        self._over = True
        try:
            call = f"__ludens.reset({chosen}, {json.dumps(given)})"
        except (TypeError, ValueError) as error:
            raise ValueError(f"browser: options: expected what JSON can say: {error}") from error
        try:
            reply = self._begin(call)
        except BrowserError:
            if self._chromium is not None and not self._chromium.dead:
                raise
            self._start()
            reply = self._begin(call)
        self._over, self._due = False, time.perf_counter() + 1.0 / self.tick_hz
        return self._observation(), self._info(reply)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.pace()
        info, over = self._play(action, draw=True)
        return self._observation(), 0.0, over, False, info

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self.realtime or not actions:
            return super().step_chunk(actions)
        for ticks, action in enumerate(actions, 1):
            info, over = self._play(action, draw=ticks == len(actions))
            if over:
                break
        return self._observation(), 0.0, over, False, {**info, "ticks": ticks}

    def pace(self) -> None:
        """In real time: until the next tick is due. Ticks that were missed are dropped, not made up for."""
        if self.realtime and not self._over:
            time.sleep(max(0.0, self._due - time.perf_counter()))

    def render(self) -> Frame | None:
        return None if self._frame is None else self._frame.copy()

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        return self._held.keys, self._held.buttons

    def close(self) -> None:
        self._over, self._held = True, NEUTRAL  # what was down goes with the browser
        self._chromium = None
        self._closer()

    # The browser

    @property
    def _browser(self) -> Chromium:
        if self._chromium is None:
            raise BrowserError(f"{self._name}: there is no browser")
        return self._chromium

    def _address(self, page: str) -> tuple[str, str]:
        """The origin and the URL of a page; a file is served from its folder."""
        if page.startswith(("http://", "https://")):
            parts = urlsplit(page)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", page
        path = Path(page)
        self._server = serve(path.parent)
        origin = f"http://127.0.0.1:{self._server.server_port}"
        return origin, f"{origin}{self._server.entry}{quote(path.name)}"

    def _start(self) -> None:
        """Begin with a new browser; the one before, if any, is ended."""
        if not self._closer.alive:
            raise gymnasium.error.ClosedEnvironmentError(f"{self._name} is closed")
        if self._chromium is not None:
            self._chromium.close()
            self._chromium = None
        self._chromium = Chromium(self._origin, self._size, self._file.timeout)
        self._closer.detach()
        self._closer = weakref.finalize(self, _let_go, self._chromium, self._server)
        self._load()

    def _begin(self, call: str) -> dict[str, Any]:
        """Begin an episode in the page that is there, or in a fresh one where it can't begin one itself."""
        if self._resets and self._browser.evaluate("typeof __reset === 'function'"):
            self._send(self._hands(NEUTRAL))
        else:
            self._load()
        if not self._begun:
            begin.play(_Menu(self), self._file.begin, self._file.timeout, self._file.hold)
            self._begun = True
        if self._file.pointer_lock:
            self._lock()
        if self._resets:
            self._browser.evaluate(call)
        self._define()
        self._tick, self._carry = 0, (0.0, 0.0)
        reply, self._frame = self._ask([], "look", draw=True)
        self._refuse_broken()
        return reply

    def _refuse_broken(self) -> None:
        """Raises BrowserError where scripts of the page threw and it shows nothing."""
        thrown = [error for error in self._browser.errors if error.startswith("uncaught")]
        deadline = time.monotonic() + (_BLANK_SECONDS if self.realtime else 0.0)
        while thrown and self._frame is not None and (self._frame == self._frame[0, 0]).all():
            if time.monotonic() > deadline:
                raise self._kept("the page threw an error and shows nothing but a single colour", thrown[0])
            time.sleep(_POLL_SECONDS)
            self._frame = self._browser.newest()

    def _kept(self, what: str, *more: str) -> BrowserError:
        """An error about the page; its picture and its console are kept, and named in the message."""
        kept = keep(self._name, self._browser)
        return BrowserError("; ".join([f"{self._name}: {what}", *more, *kept]))

    @property
    def warnings(self) -> tuple[str, ...]:
        errors = self._chromium.errors if self._chromium is not None else {}
        told = [f"the page: {error}{f' ({count} times)' if count > 1 else ''}" for error, count in errors.items()]
        more = len(told) - _MOST_TOLD
        return (*told[:_MOST_TOLD], *([f"the page: {more} other errors"] if more > 0 else []))

    def _load(self) -> None:
        self._browser.load(self._url, self._file.page)
        deadline = time.monotonic() + self._file.timeout
        while not self._browser.evaluate(f"Boolean({self._file.ready}\n)"):
            if time.monotonic() > deadline:
                raise self._kept(f"not ready after {self._file.timeout:g} s: {self._file.ready} is still false")
            time.sleep(_POLL_SECONDS)
        self._held, self._locked, self._events, self._begun = NEUTRAL, False, 0, False

    def _lock(self) -> None:
        """Click in the middle of the page, where it does not hold the pointer already; games take it then."""
        if self._browser.evaluate("document.pointerLockElement !== null"):
            return
        self._position = (self._size[0] // 2, self._size[1] // 2)
        self._send([self._mouse("mouseMoved", 0)])
        for kind, bits in (("mousePressed", 1), ("mouseReleased", 0)):
            self._send([self._mouse(kind, bits, "left", clickCount=1)])
        deadline = time.monotonic() + _LOCK_SECONDS
        while not self._browser.evaluate("document.pointerLockElement !== null"):
            if time.monotonic() > deadline:
                raise self._kept(
                    "the page does not take the pointer when it is clicked in the middle; say pointer_lock: false in "
                    "the world file if it never does, or begin: with what leads to the game"
                )
            time.sleep(_POLL_SECONDS)

    def _define(self) -> None:
        """Put the expressions into the page, each on its own, so that an error names the one that is wrong."""
        self._token = next(_tokens)
        for name, expression in self._expressions.items():
            try:
                self._browser.evaluate(f"__ludens.define({self._token}, {json.dumps(name)}, () => ({expression}\n))")
            except BrowserError as error:
                if self._browser.dead:
                    raise
                raise BrowserError(f"{self._name}: {name}: {error}, in {expression!r}") from error

    def _ask(self, events: Sequence[Event], call: str, *more: Any, draw: bool) -> tuple[dict[str, Any], Frame | None]:
        """Call a hook of the page once it was given `events`; its reply, and the frame after it with `draw`."""
        for _ in range(_RELOADS):
            expected = 0 if self.realtime else self._events + len(events)  # in real time, don't wait for the events
            args = ", ".join([str(self._token), str(expected), "COLOUR", *map(json.dumps, more)])
            reply, frame = self._browser.perform(events, f"__ludens.{call}({args})", draw=draw)
            self._events = reply["events"]
            if "lost" not in reply:
                self._locked = reply["locked"]
                return reply, frame
            self._define()  # the page has loaded another one, or itself, within its origin
            events = []
        raise BrowserError(f"{self._name}: the page loads itself again and again")

    def _send(self, events: Sequence[Event]) -> None:
        if events:
            reply, _ = self._browser.perform(events, f"__ludens.sent({self._events + len(events)})", draw=False)
            self._events = reply["events"]

    # Playing

    def _play(self, action: Action, draw: bool) -> tuple[dict[str, Any], bool]:
        """One tick; its info, and whether it ended the episode."""
        if self._over:
            raise gymnasium.error.ResetNeeded(f"{self._name}: step() before reset() or after the end; call reset()")
        if not self.action_space.contains(action):
            raise ValueError(f"{self._name}: {action!r} is not in {self.action_space!r}")
        try:
            events = self._hands(self._with_short_presses(action) if self.realtime else action)
            if self.realtime:
                reply, _ = self._ask(events, "look", draw=False)
                self._frame = self._browser.newest()
                self._due = max(self._due, time.perf_counter() - 1.0 / self.tick_hz) + 1.0 / self.tick_hz
            else:
                reply, frame = self._ask(events, "step", 1.0 / self.tick_hz, draw, draw=draw)
                if frame is None and reply["over"]:  # the last frame is always seen
                    _, frame = self._ask([], "look", draw=True)
                self._frame = frame if frame is not None else self._frame
        except BrowserError:
            self._over, self._held = True, NEUTRAL
            raise
        self._tick += 1
        self._over = bool(reply["over"])
        if self._over:
            self._send(self._hands(NEUTRAL))
        return self._info(reply), self._over

    def _observation(self) -> Observation:
        assert self._frame is not None
        return {"pixels": self._frame}  # decoded anew for every look

    def _info(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        state = {"page": reply["state"], "tick": self._tick, "javascript": reply["checks"]}
        changes = self._file.pointer_lock and self._file.pointer
        return {"state": state, **({"mouse": "look" if self._locked else "pointer"} if changes else {})}

    # The hands

    def _with_short_presses(self, action: Action) -> Action:
        """`action`, and what was pressed less than `hold` seconds ago: a page that looks at its keys once a frame does
        not see a shorter press."""
        now = time.monotonic()
        short = {name for name, since in self._since.items() if now - since < self._file.hold}
        kept = replace(
            action, keys=action.keys | (self._held.keys & short), buttons=action.buttons | (self._held.buttons & short)
        )
        held = self._held.keys | self._held.buttons
        self._since = {name: self._since.get(name, now) if name in held else now for name in kept.keys | kept.buttons}
        return kept

    def _hands(self, action: Action) -> list[Event]:
        """The events that lead from what is held to `action`, in what the page listens to."""
        used = frozenset(self._file.keys)
        return self._all_hands(replace(action, keys=action.keys & used, buttons=action.buttons & used))

    def _all_hands(self, action: Action) -> list[Event]:
        """The events that lead from what is held to `action`: releases first, then the mouse, then presses."""
        before, self._held = self._held, action
        events: list[Event] = []
        keys, buttons = set(before.keys), set(before.buttons)
        for key in sorted(before.keys - action.keys):
            keys.discard(key)
            events.append(("Input.dispatchKeyEvent", key_event(key, False, keys)))
        bits = sum(_BUTTON_BITS[button] for button in buttons)
        for button in sorted(before.buttons - action.buttons):
            bits -= _BUTTON_BITS[button]
            events.append(self._mouse("mouseReleased", bits, button, clickCount=1, modifiers=modifiers(keys)))
        if self._move(action):
            events.append(self._mouse("mouseMoved", bits, modifiers=modifiers(keys)))
        for key in sorted(action.keys - before.keys):
            keys.add(key)
            events.append(("Input.dispatchKeyEvent", key_event(key, True, keys)))
        for button in sorted(action.buttons - before.buttons):
            bits += _BUTTON_BITS[button]
            events.append(self._mouse("mousePressed", bits, button, clickCount=1, modifiers=modifiers(keys)))
        if action.wheel:
            turn = -_NOTCH * action.wheel
            events.append(self._mouse("mouseWheel", bits, deltaX=0, deltaY=turn, modifiers=modifiers(keys)))
        return events

    def _move(self, action: Action) -> bool:
        """Where the mouse goes; whether that is a movement."""
        width, height = self._size
        (x, y), (yaw, pitch) = self._position, action.look
        if self._file.pointer_lock and self._file.pointer and not self._locked:
            yaw = pitch = 0.0  # the page has given the pointer back: a look turns nothing now
        scale = self._file.degrees_per_count
        right, down = self._carry[0] + yaw / scale, self._carry[1] - pitch / scale
        step = (round(right), round(down))
        self._carry = (right - step[0], down - step[1])  # a count is the least that a mouse moves
        x, y = x + step[0], y + step[1]
        if not self._locked:  # beyond the edge no page gets the event; under the lock every count matters
            if action.pointer is not None:
                x, y = math.floor(action.pointer[0] * width), math.floor(action.pointer[1] * height)
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        moved = (x, y) != self._position
        self._position = (x, y)
        return moved

    def _mouse(self, kind: str, bits: int, button: str = "none", **more: Any) -> Event:
        x, y = self._position
        return "Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": button, "buttons": bits, **more}


class _Menu:
    """The page of a world before the game begins: all keys reach it."""

    def __init__(self, world: BrowserWorld) -> None:
        self._world = world

    def evaluate(self, expression: str) -> Any:
        return self._world._browser.evaluate(expression)

    def hold_down(self, name: str, seconds: float) -> None:
        names = frozenset({name})
        held = Action(keys=names & frozenset(KEYS), buttons=names & frozenset(BUTTONS))
        self._world._send(self._world._all_hands(held))
        time.sleep(seconds)
        self._world._send(self._world._all_hands(NEUTRAL))

    def point(self, x: float, y: float) -> None:
        self._world._send(self._world._all_hands(Action(pointer=(x, y))))


def _named(given: Any) -> dict[str, str]:
    """The expressions of the reset option `javascript`, by the names that the page's hooks know them by."""
    if not isinstance(given, Mapping) or not all(isinstance(v, str) and v.strip() for v in given.values()):
        raise ValueError(f"browser: options.javascript: expected names and JavaScript expressions, got {given!r}")
    return {f"javascript.{name}": expression for name, expression in given.items()}


def _let_go(chromium: Chromium | None, server: ThreadingHTTPServer | None) -> None:
    if chromium is not None:
        chromium.close()
    if server is not None:
        server.shutdown()
        server.server_close()
