"""`Screen`: an X display, the windows on it, and their pixels."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

import mss
import numpy as np
import numpy.typing as npt
from mss.exception import ScreenShotError
from PIL import Image
from Xlib import X, error
from Xlib.display import Display
from Xlib.xobject.drawable import Window

from envs.desktop.interrupts import whole
from envs.desktop.server import authorized, connect
from envs.errors import UserError

Frame = npt.NDArray[np.uint8]

_SMALLEST = 32  # pixels a side: less is no window of a game


class Rect(NamedTuple):
    """Where something is on the display, in pixels."""

    left: int
    top: int
    width: int
    height: int


def focused(display: Display, window: int) -> bool:
    """Whether the window of that id, or a part of it, has the keyboard."""
    holder = display.get_input_focus().focus
    try:
        while isinstance(holder, Window):
            if holder.id == window:
                return True
            holder = holder.query_tree().parent
    except error.XError:
        pass  # it is gone
    return False


class Screen:
    """Connections to the X display `name`: one to ask and send, one to look.

    `authority`: the file with its cookie, None for the person's own. Raises UserError if it can't be reached.
    """

    @whole()
    def __init__(self, name: str, authority: Path | None = None) -> None:
        self.name = name
        try:
            self.display = connect(name, authority)
            with authorized(authority):
                self._camera = mss.MSS(display=name)
        except (error.DisplayError, ScreenShotError, OSError) as problem:
            raise UserError(f"the display {name!r} can't be used: {' '.join(str(problem).split())}") from problem
        if not self.display.has_extension("XTEST"):
            raise UserError(f"the display {name!r} has no XTEST, through which keys are pressed")
        self.display.set_error_handler(lambda *_: None)  # a window may go at any time; what asks for a reply raises
        self.root: Window = self.display.screen().root
        # Never shown: by it others can name this connection to the server, to have it ended.
        self.client: int = self.root.create_window(-1, -1, 1, 1, 0, X.CopyFromParent, X.InputOnly).id
        self.display.sync()
        self._fixes = bool(self.display.has_extension("XFIXES"))
        if self._fixes:
            self.display.xfixes_query_version()  # before it the server answers nothing else of XFIXES
        self.size = (self.display.screen().width_in_pixels, self.display.screen().height_in_pixels)

    @whole()
    def close(self) -> None:
        """Leave the display. Safe to call twice."""
        self._camera.close()
        with contextlib.suppress(error.ConnectionClosedError):
            self.display.close()

    @whole()
    def windows(self) -> list[Window]:
        """The windows that a person would call windows: seen, of some size, the largest first."""
        managed = self.root.get_full_property(self.display.get_atom("_NET_CLIENT_LIST"), X.AnyPropertyType)
        if managed is not None:  # a window manager lists them
            candidates = [self.display.create_resource_object("window", item) for item in managed.value]
        else:
            candidates = self.root.query_tree().children
        areas: dict[Window, int] = {}
        for window in candidates:
            rect = self.rect(window)
            if rect is not None and min(rect.width, rect.height) >= _SMALLEST:
                areas[window] = rect.width * rect.height
        return sorted(areas, key=lambda window: -areas[window])

    @whole()
    def find(self, title: str | None, process: str | None) -> Window | None:
        """The largest window whose title matches and that belongs to a process of that name."""
        for window in self.windows():
            if title is not None and not re.search(title, self.title(window)):
                continue
            if process is not None and self.process(window) != process:
                continue
            return window
        return None

    @whole()
    def title(self, window: Window) -> str:
        """The window's title; empty if it has none."""
        try:
            for atom in ("_NET_WM_NAME", "WM_NAME"):
                found = window.get_full_property(self.display.get_atom(atom), X.AnyPropertyType)
                if found is not None:
                    return found.value.decode(errors="replace") if isinstance(found.value, bytes) else str(found.value)
        except error.XError:
            pass
        return ""

    @whole()
    def process(self, window: Window) -> str:
        """The name of the process that the window belongs to; empty if the window does not tell."""
        try:
            found = window.get_full_property(self.display.get_atom("_NET_WM_PID"), X.AnyPropertyType)
            return "" if found is None else Path(f"/proc/{found.value[0]}/comm").read_text().strip()
        except (error.XError, OSError):
            return ""

    @whole()
    def rect(self, window: Window) -> Rect | None:
        """Where the window is; None if it is not visible."""
        try:
            if window.get_attributes().map_state != X.IsViewable:
                return None
            return self.place(window)
        except error.XError:
            return None

    @whole()
    def place(self, window: Window) -> Rect:
        """Where the window is on the display. Raises Xlib.error.XError if it is gone."""
        geometry = window.get_geometry()
        corner = self.root.translate_coords(window, 0, 0)  # of the window in the root; the reply has it negated
        return Rect(corner.x, corner.y, geometry.width, geometry.height)

    @whole()
    def fill(self, window: Window) -> None:
        """Put the window at the top left and, if it allows that, make it as large as the display."""
        width, height = self.size
        if self.rect(window) != Rect(0, 0, width, height):
            window.configure(x=0, y=0, width=width, height=height, border_width=0, stack_mode=X.Above)
            self.display.sync()

    @whole()
    def focus(self, window: Window) -> None:
        """Give the keyboard to the window."""
        window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self.display.sync()

    @whole()
    def under_pointer(self, window: Window) -> bool:
        """Whether the pointer is on the window, with no other one above it there."""
        holder, target = self.root.query_pointer().child, window
        try:
            while True:  # the child of the root that holds the window: a window manager puts frames around windows
                parent = target.query_tree().parent
                if not isinstance(parent, Window) or parent == self.root:
                    return bool(holder == target)
                target = parent
        except error.XError:
            return False

    @whole()
    def shows_pointer(self) -> bool:
        """Whether the pointer has a picture now. Games that capture the mouse give it one that is empty."""
        if not self._fixes:
            return False
        image = self.display.xfixes_get_cursor_image(self.root)
        return any(pixel >> 24 for pixel in image.cursor_image)

    @whole()
    def pixels(self, rect: Rect, size: tuple[int, int]) -> Frame:
        """What is at `rect` now, uint8 (H, W, 3), a fresh array, scaled to `size` (width, height) if need be."""
        shot = self._camera.grab({"left": rect.left, "top": rect.top, "width": rect.width, "height": rect.height})
        image = Image.frombuffer("RGB", (rect.width, rect.height), shot.raw, "raw", "BGRX", 0, 1)
        if (rect.width, rect.height) != size:
            image = image.resize(size, Image.Resampling.BOX)
        return np.array(image)

    def visible(self, rect: Rect) -> Rect | None:
        """The part of `rect` that is on the display; None if there is none."""
        left, top = max(0, rect.left), max(0, rect.top)
        right = min(self.size[0], rect.left + rect.width)
        bottom = min(self.size[1], rect.top + rect.height)
        return Rect(left, top, right - left, bottom - top) if right > left and bottom > top else None
