"""The server of a page's folder: its own browser gets the page's files, and nobody gets anything else."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.browser import server as module
from envs.browser.server import FolderServer, serve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "game"
    for name in ("index.html", "assets/a.js", ".env", ".git/config", "assets/.hidden"):
        file = made / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "secret.txt").write_text("secret")
    (made / "out.txt").symlink_to(tmp_path / "secret.txt")
    (made / "far").symlink_to("/etc")
    (made / "near.js").symlink_to("assets/a.js")
    (made / "shown.txt").symlink_to(".env")
    (made / "round").symlink_to("round")
    os.mkfifo(made / "pipe")
    (made / "zero").symlink_to("/dev/zero")
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[FolderServer]:
    made = serve(folder)
    yield made
    made.shutdown()
    made.server_close()


def get(server: FolderServer, path: str, cookie: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers={**({"Cookie": cookie} if cookie else {}), **headers})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def entered(server: FolderServer) -> str:
    status, _, headers = get(server, f"{server.entry}index.html?seed=0")
    assert (status, headers["location"]) == (302, "/index.html?seed=0")
    assert "HttpOnly" in headers["set-cookie"]
    assert server.entry.strip("/") not in headers["set-cookie"]
    return headers["set-cookie"].partition(";")[0]


def test_a_browser_that_came_in_by_the_secret_address_gets_the_page(server: FolderServer) -> None:
    cookie = entered(server)
    for path, content in {"/index.html": "index.html", "/": "index.html", "/assets/a.js": "assets/a.js"}.items():
        assert get(server, path, cookie)[:2] == (200, content)
    assert get(server, "/near.js", cookie)[1] == "assets/a.js"
    assert get(server, "/assets/a.js", cookie)[2]["content-type"] == "text/javascript"


@pytest.mark.parametrize("path", ["/", "/index.html", "/assets/a.js", "/favicon.ico", "/nothing", "/AAAA/index.html"])
@pytest.mark.parametrize(
    "cookie", ["", "{name}=x", "other={session}", "{name}={session}x", "\x7f;;=", "{name}={entry}"]
)
def test_nobody_else_gets_anything(server: FolderServer, path: str, cookie: str) -> None:
    made = cookie.format(name=f"ludens-files-{server.server_port}", session=server.session, entry=server.entry)
    assert get(server, path, made)[0] == 403


@pytest.mark.parametrize(
    "path",
    ["/.env", "/.git/config", "/assets/.hidden", "/%2eenv", "/assets/../.env", "/shown.txt", "/out.txt", "/far/passwd",
     "/far/", "/round", "/pipe", "/zero", "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets",
     "/assets/", "/%00", "/" + "a" * 5000],
)  # fmt: skip
def test_nothing_hidden_and_nothing_outside_of_the_folder_is_served(server: FolderServer, path: str) -> None:
    status, body, _ = get(server, path, entered(server))
    assert status in (404, 301)
    assert "root:" not in body
    assert "secret" not in body


def test_a_page_of_another_name_gets_nothing(server: FolderServer) -> None:
    assert get(server, "/index.html", entered(server), Host="example.com")[0] == 403


def test_connections_that_say_nothing_are_few_and_short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 1.0)
    server = serve(folder)
    before = len(os.listdir("/proc/self/fd"))
    sockets = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(120)]
    try:
        time.sleep(0.3)
        assert len(os.listdir("/proc/self/fd")) - before - len(sockets) <= 70
        time.sleep(1.5)
        assert get(server, "/index.html", entered(server))[0] == 200
    finally:
        for sock in sockets:
            sock.close()
        server.shutdown()
        server.server_close()


def test_another_user_is_hung_up_on(server: FolderServer) -> None:
    """With the secret address even. Only root can be another user, and only with a Python that everybody may run."""
    script = (
        "import http.client, sys\n"
        f"c = http.client.HTTPConnection('127.0.0.1', {server.server_port}, timeout=10)\n"
        f"c.request('GET', '{server.entry}index.html')\n"
        "try: print(c.getresponse().status)\n"
        "except (http.client.HTTPException, OSError) as error: print('hung up')\n"
    )

    def ask(python: str, user: int | None = None) -> str:
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, user=user, check=True, cwd="/")
        return done.stdout.strip()

    assert ask(sys.executable) == "302"
    for python in (sys.executable, "/usr/bin/python3") if os.geteuid() == 0 else ():
        try:
            answer = ask(python, user=65534)
        except (OSError, subprocess.CalledProcessError):
            continue  # nobody may not run it, or not all of its library
        assert answer == "hung up"
