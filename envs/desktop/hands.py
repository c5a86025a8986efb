"""`Hands`: presses and releases through XTEST, and never into a window that is not the game's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Set

from Xlib import X, error
from Xlib.display import Display
from Xlib.ext import xtest
from Xlib.xobject.drawable import Window

from envs.action import Action
from envs.characters import Characters
from envs.desktop import keysyms
from envs.desktop.interrupts import whole
from envs.desktop.layout import characters, keycodes, meanings
from envs.desktop.screen import Rect, Screen, focused


def release(display: Display, codes: Set[int], buttons: Set[int], window: int) -> None:
    """Release the keys and buttons that are down, so that only the game's `window` gets the events.

    A key release goes to the window that has the focus, and the focus may have changed since the press. If another
    window has it, the keyboard is grabbed meanwhile. A button release goes to the window that got the press anyway.
    """
    with locked(display):
        root = display.screen().root
        down = [code for code, bit in enumerate(_bits(display.query_keymap())) if bit and code in codes]
        mask = root.query_pointer().mask
        aside = bool(down) and not focused(display, window)
        if aside:
            root.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime)
        for code in down:
            xtest.fake_input(display, X.KeyRelease, code)
        for button in buttons:
            if mask & (X.Button1Mask << (button - 1)):
                xtest.fake_input(display, X.ButtonRelease, button)
        display.sync()
        if aside:
            display.ungrab_keyboard(X.CurrentTime)
    while display.pending_events():  # what the grab brought us
        display.next_event()


def _bits(keymap: list[int]) -> Iterator[bool]:
    return (bool(byte >> bit & 1) for byte in keymap for bit in range(8))


@contextlib.contextmanager
def locked(display: Display) -> Iterator[None]:
    """No other client acts on the display meanwhile: what was checked stays true until the events are sent."""
    display.grab_server()
    try:
        yield
    finally:
        display.ungrab_server()
        display.sync()


class Hands:
    """What the agent's hands hold on a screen.

    `keys`: all that may be pressed. `hold`: seconds that a key stays down at least. `outside`: whether it is a
    person's own display.
    """

    @whole()
    def __init__(self, screen: Screen, keys: Iterable[str], hold: float, *, outside: bool) -> None:
        self._screen, self._hold, self._outside = screen, hold, outside
        self._codes = keycodes(screen.display, keys)
        self._meanings = meanings(screen.display, self._codes)
        self._down: dict[str, float] = {}  # keys and buttons, and since when
        self.codes = frozenset(self._codes.values())
        self.buttons = frozenset(keysyms.BUTTONS.values())

    @whole()
    def learn_layout(self) -> Characters:
        """Take note of the layout that the display has now; what its keys type. A game, and a person, may change it."""
        self._meanings = meanings(self._screen.display, self._codes)
        return characters(self._screen.display)

    @property
    def down(self) -> Set[str]:
        """The keys and buttons that are down."""
        return self._down.keys()

    @whole()
    def act(self, window: Window, place: Rect, action: Action, counts: tuple[int, int]) -> str:
        """Hold what `action` holds, move the mouse by `counts` (right, down); empty, or why nothing was sent.

        Unless `window` has the focus and is at `place`, nothing is sent and everything is released. A button is pressed
        only while the pointer is on the window. Raises ValueError for keys that are refused.
        """
        wanted = action.keys | action.buttons
        if said := keysyms.refused(action.keys, outside=self._outside):
            raise ValueError(f"{said} closes or switches windows; expected keys that do not")
        if said := keysyms.refused(action.keys, outside=self._outside, meanings=self._meanings):
            self.release(window)
            return f"{said} closes or switches windows in this keyboard's layout"
        now = time.monotonic()
        lifted = [name for name, since in self._down.items() if name not in wanted and now - since >= self._hold]
        held = (self._down.keys() - set(lifted)) | action.keys
        if keysyms.refused(held, outside=self._outside, meanings=self._meanings):
            lifted = [name for name in self._down if name not in wanted]  # what lingers would make it one
        pressed = sorted(wanted - self._down.keys())
        moves = counts != (0, 0) or action.pointer is not None
        if not (self._down or pressed or moves or action.wheel):
            return ""
        with locked(self._screen.display):
            blocked, on_it = self._blocked(window, place), True
            if not blocked:
                self._lift(lifted)
                self._move(place, action.pointer, counts)
                if action.buttons or action.wheel:
                    on_it = self._screen.under_pointer(window)
                self._press(pressed, now, on_it)
                self._wheel(action.wheel if on_it else 0.0)
        if blocked and self._down:
            self.release(window)
        return blocked if on_it else "the pointer is not on the game's window"

    @whole()
    def release(self, window: Window | None) -> None:
        """Release everything; only the game's `window` may get the events."""
        self._down.clear()
        release(self._screen.display, self.codes, self.buttons, window.id if window is not None else 0)

    def _blocked(self, window: Window, place: Rect) -> str:
        try:
            if not focused(self._screen.display, window.id):
                return "another window has the focus"
            found = self._screen.place(window)
        except error.XError:
            return "the game's window is gone"
        return "" if found == place else f"the game's window is at {tuple(found)}; expected {tuple(place)}"

    def _lift(self, names: list[str]) -> None:
        for name in names:
            del self._down[name]
            self._event(name, X.KeyRelease, X.ButtonRelease)

    def _press(self, names: list[str], now: float, on_it: bool) -> None:
        for name in names:
            if on_it or name not in keysyms.BUTTONS:
                self._down[name] = now
                self._event(name, X.KeyPress, X.ButtonPress)

    def _event(self, name: str, key: int, button: int) -> None:
        if name in keysyms.BUTTONS:
            xtest.fake_input(self._screen.display, button, keysyms.BUTTONS[name])
        else:
            xtest.fake_input(self._screen.display, key, self._codes[name])

    def _move(self, place: Rect, pointer: tuple[float, float] | None, counts: tuple[int, int]) -> None:
        if pointer is not None:
            x = place.left + round(pointer[0] * (place.width - 1))
            y = place.top + round(pointer[1] * (place.height - 1))
            xtest.fake_input(self._screen.display, X.MotionNotify, 0, x=x, y=y)
        if counts != (0, 0):
            xtest.fake_input(self._screen.display, X.MotionNotify, 1, x=counts[0], y=counts[1])

    def _wheel(self, notches: float) -> None:
        button = keysyms.WHEEL_UP if notches > 0 else keysyms.WHEEL_DOWN
        for _ in range(abs(round(notches))):
            xtest.fake_input(self._screen.display, X.ButtonPress, button)
            xtest.fake_input(self._screen.display, X.ButtonRelease, button)
