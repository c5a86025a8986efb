"""The watchdog: a process that releases every key when the agent is gone, however it ended.

A key stays down when the client that pressed it is killed. So a separate process waits for the end of the agent. It
hears of it from the kernel (a pidfd, and a pipe that closes), releases the keys and buttons, and then ends the game
and its X server if they are ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from envs.errors import UserError

_START_SECONDS = 30.0


@dataclass(frozen=True)
class Charge:
    """What the watchdog watches over: the keycodes and buttons that may be down on a display, and what is to end.

    `client`: an X resource of the agent's connection. `mark`: of the game's processes, empty for a game that is not
    ours. `server`: process id of the own X server, or 0. `folder`: to remove in the end, or empty.
    """

    agent: int
    display: str
    authority: str
    codes: tuple[int, ...]
    buttons: tuple[int, ...]
    client: int
    mark: str = ""
    server: int = 0
    folder: str = ""


class Watchdog:
    """A watchdog that is on duty as soon as this returns. Raises UserError if it does not start."""

    def __init__(self, charge: Charge) -> None:
        # -S and -I would be faster and lose the virtual environment. A session of its own, so that neither Ctrl+C
        # nor a signal to the agent's process group ends the watchdog too.
        home = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "envs.desktop.watchdog", json.dumps(asdict(charge))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        if not ready or not self._process.stdout.readline():
            self._process.kill()
            self._process.wait()
            raise UserError("the watchdog that lets go of the keys when the agent dies does not start")

    @property
    def alive(self) -> bool:
        """Whether it is on duty."""
        return self._process.poll() is None

    def tell(self, window: int) -> None:
        """Tell which window is the game's. Only that window may get the key releases."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{window}\n".encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Dismiss it: it ends without doing anything. Safe to call twice."""
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate(b"bye\n", timeout=5.0)
        if self.alive:
            self._process.kill()
            self._process.wait()


def watch(charge: Charge) -> None:
    """Wait for the end of the agent and clean up behind it; return at once if it says goodbye."""
    from Xlib.ext import xtest

    from envs.desktop.hands import release
    from envs.desktop.processes import end
    from envs.desktop.server import connect

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    display = connect(charge.display, Path(charge.authority) if charge.authority else None)
    display.set_error_handler(lambda *_: None)
    xtest.grab_control(display, True)  # heard though the agent may have died with the server held
    display.sync()
    ends = [sys.stdin.fileno()]
    if hasattr(os, "pidfd_open"):
        # The pipe alone would not do: a process that the agent forked holds its other end open, too.
        with contextlib.suppress(ProcessLookupError):
            ends.append(os.pidfd_open(charge.agent))
    print("on duty", flush=True)
    window, told = 0, b""
    while select.select(ends, [], [])[0] == [sys.stdin.fileno()] and (news := os.read(sys.stdin.fileno(), 4096)):
        told += news
        if b"bye\n" in told:
            return
        *whole, told = told.split(b"\n")
        window = int(whole[-1]) if whole else window
    try:
        # The server ends the agent's connection and releases its keys only when no process has the socket open any
        # more: a process that the agent forked may keep it for long. If the connection is gone, this is an error reply.
        display.create_resource_object("resource", charge.client).kill_client()
        display.sync()
        release(display, frozenset(charge.codes), frozenset(charge.buttons), window)
    except Exception as error:  # the display may be gone before us; the rest has to be cleaned up all the same
        print(error, file=sys.stderr)
    if charge.mark:
        end(charge.mark)
    if charge.server:
        with contextlib.suppress(ProcessLookupError):
            os.kill(charge.server, signal.SIGTERM)
    if charge.folder:
        shutil.rmtree(charge.folder, ignore_errors=True)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    watch(Charge(**{**told, "codes": tuple(told["codes"]), "buttons": tuple(told["buttons"])}))
