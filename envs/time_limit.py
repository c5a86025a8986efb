"""`within`: a call that has to come back in time; and where in foreign code something happened."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

_GRACE = 10.0  # seconds until a call that ignores the alarm ends the process
_OURS = Path(__file__).resolve().parent
_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


class HungError(BaseException):
    """A call did not come back in time. No `except Exception` in the code that hangs takes it."""


@contextlib.contextmanager
def within(seconds: float, call: str) -> Iterator[None]:
    """Around a `call`, such as "step()": raises HungError in it after so many seconds. A call that hangs in C code and
    gets no signal ends the process a little later, with a traceback that shows where. Only the main thread of a
    process has such an alarm; elsewhere nothing happens."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        place = _place(traceback.extract_stack(frame)) if frame else ""
        raise HungError(f"{call} did not come back within {seconds:g} s{place}")

    begun, before = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    with contextlib.suppress(ValueError, OSError):  # no real standard error
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(seconds + _GRACE, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if left:  # an earlier alarm goes on
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - begun)))


def limit_calls(world: Any, seconds: float) -> None:
    """From now on every call of this world has to come back within so many seconds, as `within` says."""
    for name in ("reset", "step", "step_chunk", "close"):
        setattr(world, name, _limited(getattr(world, name), seconds, f"{name}()"))


def _limited(function: Any, seconds: float, call: str) -> Any:
    inside = False  # step_chunk() calls step(), and has its own time

    @functools.wraps(function)  # keeps the signature for introspection
    def limited(*args: Any, **given: Any) -> Any:
        nonlocal inside
        if inside:
            return function(*args, **given)
        inside = True
        try:
            with within(seconds, call):
                return function(*args, **given)
        finally:
            inside = False

    return limited


def place_of(error: BaseException) -> str:
    """Where an error was raised, in the code that is closest to a person's own: " (game.py, line 12)"."""
    return _place(traceback.extract_tb(error.__traceback__))


def _place(frames: Sequence[traceback.FrameSummary]) -> str:
    own = [frame for frame in frames if not _is_library(Path(frame.filename))]
    frame = own[-1] if own else frames[-1] if frames else None
    return f" ({Path(frame.filename).name}, line {frame.lineno})" if frame else ""


def _is_library(path: Path) -> bool:
    path = path.resolve()
    return path.parent == _OURS or any(path.is_relative_to(folder) for folder in _LIBRARIES)
