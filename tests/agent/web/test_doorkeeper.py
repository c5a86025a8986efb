"""Anybody on the machine can connect to the page: nobody can stop the run by it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.page.server import Page
from agent.talk.conversation import Conversation
from agent.web import doorkeeper
from tests.agent.page.test_page import Run, states, wait_for


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(doorkeeper, "SECONDS", 1.0)
    made = Run(tmp_path)
    yield made
    made.close()


def strangers(port: int, number: int, *, says: bytes = b"") -> list[socket.socket]:
    made = []
    for _ in range(number):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        made.append(sock)
        if says:
            try:
                sock.sendall(says)
            except OSError:
                continue
    return made


def ended(sock: socket.socket, seconds: float) -> bool:
    sock.settimeout(seconds)
    try:
        while sock.recv(1000):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_strangers_cost_few_descriptors_and_not_for_long(run: Run) -> None:
    before = descriptors()
    begun = b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"POST /say HTTP/1.1\r\n"
    sockets = [sock for _ in range(50) for says in begun for sock in strangers(run.page.port, 1, says=says)]
    try:
        time.sleep(0.3)
        ours = descriptors() - before - len(sockets)
        assert ours <= doorkeeper.MOST + 2 * doorkeeper.BACKLOG
        client = run.browser()  # a person comes in all the same
        with run.watch(client) as viewer:
            first = states(viewer, lambda state: state["fresh"])["tick"]
            states(viewer, lambda state: state["tick"] > first + 10)
            time.sleep(1.5)
            states(viewer, lambda state: state["tick"] > first + 40)  # and stays, longer than a stranger may
        assert all(ended(sock, 3.0) for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


def test_a_stranger_who_drips_is_turned_out(run: Run) -> None:
    (sock,) = strangers(run.page.port, 1, says=b"GET / HTTP/1.1\r\n")
    end = time.monotonic() + 5
    alive = True
    while alive and time.monotonic() < end:
        try:
            sock.sendall(b"X")
            time.sleep(0.1)
        except OSError:
            alive = False
    assert not alive


def test_a_refused_request_is_not_a_way_to_stay(run: Run) -> None:
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{run.page.port}\r\n\r\n".encode()
    (sock,) = strangers(run.page.port, 1, says=request)
    assert sock.recv(4096).startswith(b"HTTP/1.1 403")
    assert ended(sock, 3.0)


SCRIPT = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from agent.page.server import Page
from agent.talk.conversation import Conversation
from pathlib import Path
page = Page(Conversation(), Path("."))
print(page.address, flush=True)
held, problems = [], 0
for line in sys.stdin:  # the run opens files all the time
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        try:
            files = [open("/dev/null") for _ in range(40)]
            for file in files: file.close()
        except OSError as error:
            problems += 1
    print("problems", problems, flush=True)
"""


@pytest.mark.slow
def test_the_run_keeps_descriptors_for_itself(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env={**os.environ, "PYTHONPATH": root},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    sockets: list[socket.socket] = []
    try:
        address = child.stdout.readline().strip()
        port = int(address.split(":")[2].split("/")[0])
        child.stdin.write("go\n")
        child.stdin.flush()
        attack = threading.Thread(target=lambda: sockets.extend(strangers(port, 250)))
        attack.start()
        assert child.stdout.readline() == "problems 0\n"
        attack.join()
        assert httpx.get(address, timeout=20).status_code == 303
    finally:
        for sock in sockets:
            sock.close()
        child.kill()
        child.wait()


def test_the_limit_is_raised_as_far_as_the_system_lets_us(tmp_path: Path) -> None:
    page = Page(Conversation(), tmp_path)
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft >= min(hard, 4096)
    finally:
        page.close()
    wait_for(lambda: not page._server.alive)
