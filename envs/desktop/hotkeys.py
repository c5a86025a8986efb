"""Pause and stop for a person at his own desktop: two keys that the agent can't press and the game does not get."""

from __future__ import annotations

import contextlib

from Xlib import X, error

from envs.desktop.interrupts import whole
from envs.desktop.layout import keycodes
from envs.desktop.server import connect
from envs.errors import UserError

PAUSE, STOP = "F9", "F10"
# CapsLock and NumLock are modifiers to X: the keys have to work with each of them.
_LOCKS = (0, X.LockMask, X.Mod2Mask, X.LockMask | X.Mod2Mask)


class Hotkeys:
    """Takes the two keys for itself on a display, until `close`. Raises UserError where another program has them."""

    @whole()
    def __init__(self, display: str) -> None:
        self._display = connect(display)  # its own connection: nothing else reads its key presses
        self._root = self._display.screen().root
        self._codes = keycodes(self._display, (PAUSE, STOP))
        self.paused = False
        refusals = error.CatchError(error.BadAccess)
        for code in self._codes.values():
            for locks in _LOCKS:
                self._root.grab_key(code, locks, False, X.GrabModeAsync, X.GrabModeAsync, onerror=refusals)
        self._display.sync()
        if refusals.get_error():
            self.close()
            raise UserError(f"{PAUSE} or {STOP}, which pause and stop the agent, belong to another program here")

    @whole()
    def read(self) -> None:
        """Take note of what was pressed since the last call. Raises KeyboardInterrupt for the stop key."""
        while self._display.pending_events():
            event = self._display.next_event()
            if event.type != X.KeyPress:
                continue
            if event.detail == self._codes[STOP]:
                raise KeyboardInterrupt(f"stopped with {STOP}")
            if event.detail == self._codes[PAUSE]:
                self.paused = not self.paused

    @whole()
    def close(self) -> None:
        """Give the keys back, as the server does when their connection ends."""
        with contextlib.suppress(error.ConnectionClosedError):
            self._display.close()
