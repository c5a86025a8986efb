"""No process is left behind: whatever we start dies with us, also when we are killed with SIGKILL.

The kernel does the work (Linux: PR_SET_PDEATHSIG), so that nothing has to be alive to clean up. A process has to ask
for it itself: our own ask with `die_with_parent`, and a game that we can't change is started through the little
script of `guarded`. Elsewhere than on Linux both do nothing, and only a clean `close` ends the game.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

_PR_SET_PDEATHSIG = 1
_SHM = Path("/dev/shm")


def die_with_parent(parent: int) -> None:
    """Ask the kernel to SIGKILL this process when the thread that started it ends; see `spawn`.

    `parent`: the process id of the parent as the parent knows it. Exits at once where it is gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the request was in force
        os._exit(1)


def guarded(
    executable: str | os.PathLike[str],
    ending: Literal["KILL", "TERM"] = "KILL",
    *,
    by_child: bool = False,
    without: tuple[str, ...] = (),
    session: bool = False,
    folder: str = "",
) -> str:
    """A path that runs `executable` (any program, same arguments) so that it is SIGKILLed when this process ends.

    `ending`: TERM for a program that ends at that signal and has something to clean up.

    Give it to what starts the program (`DoomGame.set_vizdoom_path`, `subprocess`). The kernel watches the thread
    that starts it, so that thread has to stay alive as long as the program. `by_child`: a child of this process starts
    the program (playwright's driver does); it is then killed when that child ends. `without`: environment variables
    that the program does not get. `session`: it gets its own session, so that Ctrl+C in a terminal, which goes to
    all of a process group, does not end it before we have closed it. `folder`: where it starts, if not where we are.
    Returns `executable` unchanged where the system has no `setpriv` (util-linux).
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or not hasattr(os, "memfd_create"):
        return os.fspath(executable)
    return _guard_script(os.getpid(), setpriv, os.fspath(executable), ending, by_child, without, session, folder)


@functools.cache
def _guard_script(
    pid: int,
    setpriv: str,
    executable: str,
    ending: str,
    by_child: bool,
    without: tuple[str, ...],
    session: bool,
    folder: str,
) -> str:
    # The inner shell looks at its parent after the death signal is set: a parent that dies earlier is seen there,
    # one that dies later brings the signal. The script lives in memory, so that it leaves no file either.
    setsid = shutil.which("setsid") if session else None
    start = f"exec {shlex.quote(setsid)}" if setsid else "exec"  # it does not fork: a shell's child leads no group
    inner = f'[ "$PPID" = {pid} ] && {start} "$0" "$@"'
    if by_child:  # field 4 of stat is the parent of the parent: it has to be us
        inner = f'read -r _ _ _ above _ < "/proc/$PPID/stat" && [ "$above" = {pid} ] && {start} "$0" "$@"'
    script = (
        "#!/bin/sh\n"
        + "".join(f"unset {name} 2>/dev/null\n" for name in without if name.isidentifier())
        + (f"cd {shlex.quote(folder)} || exit 1\n" if folder else "")
        + f"exec {shlex.quote(setpriv)} --pdeathsig {ending} -- "
        f'/bin/sh -c {shlex.quote(inner)} {shlex.quote(executable)} "$@"\n'
    )
    writer = os.memfd_create("guard", os.MFD_CLOEXEC)
    os.write(writer, script.encode())
    os.fchmod(writer, 0o700)
    # A file that is open for writing can't be executed: keep a descriptor that only reads.
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(writer)
    return f"/proc/{pid}/fd/{reader}"


_spawn_lock = threading.Lock()
_spawn_queues: dict[int, queue.SimpleQueue[tuple[Future[Any], Any, dict[str, Any]]]] = {}


def spawn(command: list[str], **popen: Any) -> subprocess.Popen[bytes]:
    """`subprocess.Popen` from a thread that lives as long as this process.

    The death signal follows the thread that forked: a child that was started from a short-lived thread would be
    killed when that thread ends, though the process lives on.
    """
    with _spawn_lock:
        requests = _spawn_queues.get(os.getpid())  # by process: a fork has the dictionary but not the thread
        if requests is None:
            requests = _spawn_queues[os.getpid()] = queue.SimpleQueue()
            threading.Thread(target=_spawner, args=(requests,), name="spawner", daemon=True).start()
    future: Future[subprocess.Popen[bytes]] = Future()
    requests.put((future, command, popen))
    return future.result()


def _spawner(requests: queue.SimpleQueue[tuple[Future[Any], Any, dict[str, Any]]]) -> None:
    while True:
        future, command, popen = requests.get()
        try:
            future.set_result(subprocess.Popen(command, **popen))
        except Exception as error:
            future.set_exception(error)


def sweep_shared_memory(prefix: str, older_than: float = 60.0) -> list[str]:
    """Remove our files in /dev/shm whose name starts with `prefix` and that no process has mapped.

    A game that was killed leaves its shared memory behind: call this before the next one starts. Files younger than
    `older_than` seconds stay, since their game may be about to map them. Returns the names that were removed.
    """
    horizon = time.time() - older_than
    stale = set()
    for path in _SHM.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if status.st_uid == os.getuid() and status.st_mtime < horizon:
                stale.add(path.name)
    if not stale:
        return []
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it ended meanwhile, or belongs to another user
            maps = Path("/proc", process, "maps").read_text()
            stale -= {line.rsplit("/", 1)[-1] for line in maps.splitlines() if f"{_SHM}/" in line}
    for name in stale:
        (_SHM / name).unlink(missing_ok=True)
    return sorted(stale)
