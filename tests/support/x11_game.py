"""A tiny first-person game in a bare X11 window, for the tests of envs.desktop: a panorama and what is pressed.

    python tests/support/x11_game.py [--size 160x120] [--degrees-per-count 0.2] [--crash-on KEYSYM] [--events FILE]
        [--title T]

The mouse is captured as many games do it: the pointer is put back to the middle after every move. Squares at the top
show the keys that are down (left to right as pressed), at the bottom the buttons. The events that arrive go to a file.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
from Xlib import XK, X
from Xlib.display import Display

FOV = 80.0  # degrees
FRAME_SECONDS = 1 / 60
NAMES = {getattr(XK, name): name[3:] for name in dir(XK) if name.startswith("XK_")}


def panorama(columns: int = 1440, rows: int = 512) -> np.ndarray:
    """All that can be seen around, as (rows, columns, 3): blocks of random colours, the same in every run."""
    rng = np.random.default_rng(7)
    blocks = rng.integers(30, 226, (rows // 16, columns // 16, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((16, 16, 1), np.uint8))


class View:
    """The camera: a cylinder, seen from its axis."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = panorama()
        rows, columns, _ = self.picture.shape
        focal = width / 2 / math.tan(math.radians(FOV / 2))
        x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
        self.columns = np.degrees(np.arctan(x / focal)) / 360 * columns
        self.rows = y[:, None] / np.hypot(x, focal)[None, :] * rows / 2.5 + rows / 2
        self.per_degree = rows / 2.5 * math.radians(1.0)

    def draw(self, yaw: float, pitch: float) -> np.ndarray:
        rows, columns, _ = self.picture.shape
        row = np.clip(self.rows - pitch * self.per_degree, 0, rows - 1).astype(int)
        column = (self.columns + yaw / 360 * columns).astype(int) % columns
        return self.picture[row, np.broadcast_to(column, row.shape)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--degrees-per-count", type=float, default=0.2)
    parser.add_argument("--crash-on", default="")
    parser.add_argument("--events", type=Path)
    parser.add_argument("--title", default="tiny game")
    parser.add_argument("--free", action="store_true", help="leave the pointer where it is")
    parser.add_argument("--windowless", action="store_true")
    parser.add_argument("--buffered", action="store_true", help="say so as C programs do, when a buffer is full")
    options = parser.parse_args()
    width, height = (int(n) for n in options.size.split("x"))
    print("starting", flush=True)
    if options.windowless:
        time.sleep(60)
    display = Display()
    screen = display.screen()
    mask = X.KeyPressMask | X.KeyReleaseMask | X.ButtonPressMask | X.ButtonReleaseMask
    window = screen.root.create_window(
        0, 0, width, height, 0, screen.root_depth, X.InputOutput, X.CopyFromParent, event_mask=mask
    )
    window.set_wm_name(options.title)
    window.map()
    strip = 60_000 // width  # rows: a request has at most 256 KiB
    context = window.create_gc()
    view, yaw, pitch = View(width, height), 20.0, 0.0
    middle = (width // 2, height // 2)
    if not options.free:
        window.warp_pointer(*middle)
    keys: list[str] = []
    buttons: list[int] = []
    wheel = 0
    log = options.events.open("a", buffering=1) if options.events else None
    print("ready to play", flush=not options.buffered)
    while True:
        start = time.perf_counter()
        moved = (0, 0)
        while display.pending_events():
            event = display.next_event()
            if event.type in (X.KeyPress, X.KeyRelease):
                name = NAMES[display.keycode_to_keysym(event.detail, 0)]
                if event.type == X.KeyPress:
                    keys.append(name)
                    if name == options.crash_on:
                        sys.exit("the tiny game has had enough")
                elif name in keys:
                    keys.remove(name)
            elif event.type in (X.ButtonPress, X.ButtonRelease):
                name = f"button{event.detail}"
                wheel += (event.type == X.ButtonPress) * {4: 1, 5: -1}.get(event.detail, 0)
                if event.type == X.ButtonPress:
                    buttons.append(event.detail)
                elif event.detail in buttons:
                    buttons.remove(event.detail)
            else:
                continue
            if log:
                log.write(f"{'press' if event.type in (X.KeyPress, X.ButtonPress) else 'release'} {name}\n")
        if not options.free:
            display.grab_server()  # what the mouse does between the look and the move back would be lost
            pointer = window.query_pointer()
            moved = pointer.win_x - middle[0], pointer.win_y - middle[1]
            if moved != (0, 0):
                window.warp_pointer(*middle)
            display.ungrab_server()
            yaw += moved[0] * options.degrees_per_count
            pitch = float(np.clip(pitch - moved[1] * options.degrees_per_count, -60, 60))
        picture = np.zeros((height, width, 4), np.uint8)
        picture[..., :3] = view.draw(yaw, pitch)[..., ::-1]
        for index, key in enumerate(keys):
            picture[2:14, 4 + 16 * index : 16 + 16 * index, :3] = (0, 0, 255) if key == "w" else (255, 255, 255)
        for button in buttons:
            picture[-14:-2, 4 + 16 * button : 16 + 16 * button, :3] = (0, 255, 255)
        for top in range(0, height, strip):
            part = picture[top : top + strip]
            window.put_image(context, 0, top, width, len(part), X.ZPixmap, screen.root_depth, 0, part.tobytes())
        if log:
            log.write(f"view {yaw:.3f} {pitch:.3f} {wheel}\n") if moved != (0, 0) else None
        display.sync()
        time.sleep(max(0.0, FRAME_SECONDS - (time.perf_counter() - start)))


if __name__ == "__main__":
    main()
