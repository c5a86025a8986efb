"""`Stage`: where a desktop game plays: its display, its processes, its files, and its watchdog."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from envs import environment, scratch
from envs.desktop import processes
from envs.desktop.hands import Hands
from envs.desktop.hotkeys import Hotkeys
from envs.desktop.screen import Screen
from envs.desktop.server import Xvfb
from envs.desktop.terminal import listening
from envs.desktop.watchdog import Charge, Watchdog
from envs.errors import UserError
from envs.reaper import guarded, spawn

_TAIL_LINES = 6
_LOG = "game.log"
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # and what else terminals are told
# A game must find our display and no user's session.
_LEFT_OUT = ("WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "SESSION_MANAGER")


class GameError(UserError):
    """The game ended, or never came up; the message has the end of what it said."""


class Stage:
    """An X server of our own with a screen of `size` (width, height), or a person's `display`, and a game on it.

    Nothing is opened before `open`. `keys`: all that may be pressed, in names of KeyboardEvent.code; `hold`: seconds
    that one stays down at least. Raises UserError if the display or the guards can't be had.
    """

    def __init__(self, size: tuple[int, int], display: str | None, keys: Iterable[str], hold: float) -> None:
        self.display = display
        self._size, self._keys, self._hold = size, frozenset(keys), hold
        self._folder: Path | None = None
        self._server: Xvfb | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._told = 0
        self._mark = ""
        self.screen: Screen | None = None
        self.hands: Hands | None = None
        self.hotkeys: Hotkeys | None = None

    @property
    def folder(self) -> Path:
        """A folder for the files of the game, until `close`."""
        if self._folder is None:
            self._folder = scratch.scratch_folder("desktop")
            (self._folder / "home").mkdir()
        return self._folder

    def open(self) -> None:
        """The display, the hands on it, and the watchdog behind them."""
        if self.screen is not None:
            return
        try:
            if self.display is None:
                self._server = Xvfb(self._size, self.folder)
            authority = self._server.authority if self._server else None
            self.screen = Screen(self._server.name if self._server else str(self.display), authority)
            self.hands = Hands(self.screen, self._keys, self._hold, outside=self.display is not None)
            if self.display is not None:
                self.hotkeys = Hotkeys(self.display)
            self._mark = secrets.token_hex(8)
            self.guard()
        except BaseException:
            self.close()
            raise

    def guard(self, window: int = 0) -> None:
        """See to it that a watchdog is on duty and knows the game's window: nothing may be pressed without one."""
        assert self.screen is not None
        assert self.hands is not None
        if self._watchdog is None or not self._watchdog.alive:
            self._told = 0
            self._watchdog = Watchdog(
                Charge(
                    agent=os.getpid(),
                    display=self.screen.name,
                    authority=str(self._server.authority) if self._server else "",
                    codes=tuple(sorted(self.hands.codes)),
                    buttons=tuple(sorted(self.hands.buttons)),
                    client=self.screen.client,
                    mark=self._mark,
                    server=self._server.process.pid if self._server else 0,
                    folder=str(self.folder),
                )
            )
        if window != self._told:
            self._watchdog.tell(window)
            self._told = window

    def start(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        """End the game that runs, and start `command`, with `variables` in its environment beside the usual ones.

        Raises GameError if there is no such program.
        """
        self.end()
        executable = shutil.which(command[0], path=_path())
        if executable is None:
            raise GameError(f"{command[0]} is not installed, or not on the PATH")
        with listening(self.folder / _LOG) as terminal:
            self._process = spawn(
                [guarded(executable), *command[1:]], env=self._environment() | dict(variables), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def end(self) -> None:
        """End the game and all that it started."""
        if self._process is not None:
            processes.end(self._mark)
            self._process.wait()
            self._process = None

    @property
    def alive(self) -> bool:
        """Whether the game runs; one that we did not start counts as running."""
        if self._process is None or self._process.poll() is None:
            return True
        return bool(processes.marked(self._mark))  # a launcher may end before its game

    @property
    def status(self) -> int | None:
        """The exit status of the command, or None."""
        return self._process.poll() if self._process else None

    def output(self) -> str:
        """What the game has written to its standard output and standard error since it started."""
        path = self.folder / _LOG
        return _COLOURS.sub("", path.read_text(errors="replace")) if path.exists() else ""

    def tail(self) -> str:
        """The end of what the game said, as the end of a message."""
        lines = [line.strip() for line in self.output().splitlines() if line.strip()][-_TAIL_LINES:]
        return f"; it said last: {' | '.join(lines)}" if lines else ""

    def close(self) -> None:
        """Leave the display and end what was started. Safe to call twice."""
        self.end()
        self.hands = None
        if self.hotkeys is not None:
            self.hotkeys.close()
            self.hotkeys = None
        if self.screen is not None:
            self.screen.close()
            self.screen = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._watchdog is not None:  # last: until here it would have cleaned up
            self._watchdog.close()
            self._watchdog = None
        if self._folder is not None:
            scratch.remove(self._folder)
            self._folder = None

    def _environment(self) -> dict[str, str]:
        assert self.screen is not None
        home = self.folder / "home"
        kept = {key: value for key, value in environment.for_games().items() if key not in _LEFT_OUT}
        own = {
            "DISPLAY": self.screen.name,
            "PATH": _path(),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_STATE_HOME": str(home / ".local" / "state"),
            "XDG_RUNTIME_DIR": str(home),  # nor does a Wayland display lie there, which games would prefer
            "TERM": "dumb",
            "SDL_VIDEODRIVER": "x11",
            "GDK_BACKEND": "x11",
            "QT_QPA_PLATFORM": "xcb",
            processes.MARK: self._mark,
        }
        theirs = Path.home() / ".Xauthority"  # where the game, with a HOME of its own, would not look
        if self._server is not None:
            own |= {"XAUTHORITY": str(self._server.authority), "LIBGL_ALWAYS_SOFTWARE": "1", "SDL_AUDIODRIVER": "dummy"}
        elif "XAUTHORITY" not in kept and theirs.exists():
            own["XAUTHORITY"] = str(theirs)
        return {**kept, **own}


def _path() -> str:
    """The PATH, and where Debian puts games, which is not on everybody's."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/games", "/usr/local/games"))
