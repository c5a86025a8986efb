"""`Xvfb`: an X server of our own, without a screen, that no other user and no other machine can reach."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from Xlib import error
from Xlib.display import Display

from envs.errors import UserError
from envs.reaper import guarded, spawn

_START_SECONDS = 20.0
_FAMILY_LOCAL = 256
_COOKIE = b"MIT-MAGIC-COOKIE-1"
_environment = threading.Lock()


class Xvfb:
    """A running Xvfb with one screen of `size` (width, height); it dies with this process.

    `name`: its display, such as ":7". `authority`: the file with the cookie that every client has to show.
    Raises UserError if Xvfb is missing or does not start.
    """

    def __init__(self, size: tuple[int, int], folder: Path) -> None:
        executable = shutil.which("Xvfb")
        if executable is None:
            raise UserError("Xvfb is not installed, which a game is started in: apt-get install xvfb")
        self.authority = folder / "Xauthority"
        cookie = secrets.token_bytes(16)
        _write_authority(self.authority, "", cookie)
        log = folder / "xvfb.log"
        read, write = os.pipe()
        width, height = size
        command = [
            guarded(executable, "TERM"), "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24",
            "-nolisten", "tcp", "-auth", str(self.authority), "-noreset", "-s", "0", "-r",
        ]  # fmt: skip
        try:
            with log.open("wb") as file:
                self.process = spawn(
                    command, pass_fds=(write,), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                    start_new_session=True,
                )  # fmt: skip
        finally:
            os.close(write)
        try:
            number = _read_line(read, _START_SECONDS)
        finally:
            os.close(read)
        if not number.isdigit():
            self.close()
            said = log.read_text(errors="replace").strip().splitlines()
            raise UserError(f"Xvfb does not start: {said[-1] if said else f'nothing heard in {_START_SECONDS:g} s'}")
        self.name = f":{number}"
        _write_authority(self.authority, number, cookie)

    def close(self) -> None:
        """End it. Safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()  # it takes its lock file and its socket along
            try:
                self.process.wait(3.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def authorized(authority: Path | None) -> Iterator[None]:
    """While this lasts, connections to X servers present the cookies of `authority`; None leaves the person's own.

    X libraries take the file from the environment and from nowhere else.
    """
    if authority is None:
        yield
        return
    with _environment:
        before = os.environ.get("XAUTHORITY")
        os.environ["XAUTHORITY"] = str(authority)
        try:
            yield
        finally:
            if before is None:
                del os.environ["XAUTHORITY"]
            else:
                os.environ["XAUTHORITY"] = before


def connect(name: str, authority: Path | None = None) -> Display:
    """A connection to the X display `name`, with the cookies of `authority`. Raises what Xlib raises."""
    with authorized(authority):
        display = Display(name)
    # Xlib's RandR takes the numbers of two core errors for its own, and then can't read a BadValue.
    display.display.error_classes.update(error.xerror_class)
    return display


def _write_authority(path: Path, number: str, cookie: bytes) -> None:
    """A file of the format of Xau(3) with one entry; the file that the server reads needs no display number."""
    fields = (socket.gethostname().encode(), number.encode(), _COOKIE, cookie)
    entry = struct.pack(">H", _FAMILY_LOCAL) + b"".join(struct.pack(">H", len(field)) + field for field in fields)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(entry)


def _read_line(descriptor: int, timeout: float) -> str:
    """What stands before the first newline, or what came until the end or the time-out."""
    line, deadline = b"", time.monotonic() + timeout
    while b"\n" not in line:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(descriptor, 64) if ready else b""
        if not data:
            break
        line += data
    return line.partition(b"\n")[0].decode()
