"""The live page's server: who may come in, what viewers get, and that no viewer slows the game."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.client import connect as connect_beside
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from agent import cli
from agent.episode import Look, Outcome, Start, Step, Subscriber
from agent.loop.control import Order
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.page.gate import CSRF_HEADER
from agent.page.hub import Hub
from agent.page.server import Page
from agent.policy import Context, Decision, PolicySpec
from agent.talk.conversation import Conversation
from agent.view import View
from envs.action import NEUTRAL, Action
from envs.errors import UserError
from envs.world import World
from tests.support.worlds import SquareWorld
from training.data.episodes import read_episode

FORWARD = Action(keys=frozenset({"KeyW"}))
EVIL = '<img src=x onerror="document.title=1">'


class Walk:
    """Walks on, and thinks and says what looks like markup."""

    spec = PolicySpec(View.stretched((24, 32)), chunk=4, tick_hz=50.0)

    def act(self, contexts: list[Context]) -> list[Decision]:
        return [Decision((FORWARD,) * 4, thought=EVIL, speech=EVIL) for _ in contexts]


class Ordered(Conversation):
    """A conversation that keeps its last order to the loop."""

    ordered: Order | None = None

    def order(self, tick: int) -> Order:
        self.ordered = super().order(tick)
        return self.ordered


class Run(Subscriber):
    """A run with a page: an endless episode in a thread."""

    def __init__(self, folder: Path) -> None:
        self.talk = Ordered(keep=True)
        self.page = Page(self.talk, folder)
        self.steps: list[Step] = []
        self.outcome: Outcome | None = None
        world = SquareWorld(length=10**9)
        self.talk.attach(world)
        self.talk.begin("go <b>on</b>")
        self.talk.attended += 1  # so that it keeps to the clock
        subscribers = [self.talk, self.page.hub, self]

        def run() -> None:
            self.outcome = play(
                world,
                InStep(Walk()),
                self.talk.instruction,
                control=self.talk,
                subscribers=subscribers,
                time_limit=10**9,
            )

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.talk.quit()
        self.thread.join(20)
        self.page.close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.page.port}"

    def browser(self) -> httpx.Client:
        """A client that has opened the address."""
        client = httpx.Client(base_url=self.page.home, timeout=20)
        assert client.get(self.page.address, follow_redirects=True).status_code == 200
        return client

    def headers(self, client: httpx.Client) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}

    def watch(self, client: httpx.Client) -> ClientConnection:
        return connect(
            f"{self.page.home}live".replace("http", "ws", 1), origin=self.origin,
            additional_headers=self.headers(client), compression=None, close_timeout=1,
        )  # fmt: skip


def test_the_page_shows_what_the_player_saw_where_that_is_another_picture() -> None:
    hub = Hub(Conversation(keep=True))
    hub.on_start(Start("go", 1, {}, 35.0, (50, 80), "agent"))
    frame, seen = np.zeros((50, 80, 3), np.uint8), np.full((24, 32, 3), 200, np.uint8)
    for index, picture in enumerate((seen, frame)):
        look = Look("player", index, (index,), ((picture.shape[0], picture.shape[1]),), None, picture)
        hub.on_step(
            Step(index, frame, FORWARD, 0.0, "go", "agent", False, Decision((FORWARD,)), index, index, {}, look=look)
        )
        shot = hub.shot
        assert shot is not None
        assert shot.frame is frame
        told = hub.eyes(shot)
        assert bool(told) == (picture is seen)
        if told:
            assert told["size"] == "32x24"
            assert np.asarray(Image.open(io.BytesIO(base64.b64decode(told["jpeg"])))).shape == seen.shape


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.close()


def states(
    viewer: ClientConnection, until: Callable[[dict[str, Any]], object], seconds: float = 20.0
) -> dict[str, Any]:
    """The first state for which `until` holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = viewer.recv(timeout=seconds)
        if isinstance(message, str) and until(state := json.loads(message)):
            return state
    raise AssertionError("that state did not come")


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_the_page_opens_with_its_token_alone(run: Run) -> None:
    assert run.page.address.startswith(f"http://127.0.0.1:{run.page.port}/?token=")
    token = run.page.address.partition("token=")[2]
    assert len(base64.urlsafe_b64decode(token + "==")) == 32
    with httpx.Client(base_url=run.origin) as stranger:
        wrong = ("/?token=", f"/?token={token[:-1]}", f"/page.js?token={token}", f"/?token=x&token={token}")
        home = run.page.home.removeprefix(run.origin)
        for path in ("/", "/page.js", "/page.css", "/live", "/docs", "/openapi.json", *wrong, home, f"{home}page.js"):
            assert stranger.get(path).status_code == 403, path
    with httpx.Client(base_url=run.origin) as client:
        answer = client.get(run.page.address)
        assert (answer.status_code, run.origin + answer.headers["location"]) == (303, run.page.home)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert f"path={home.lower()}" in cookie, "so that no service at another port of this host ever sees it"
        assert token.lower() not in cookie, "the cookie is not the token"
        assert client.get("/").status_code == 403
        assert client.get("/page.js").status_code == 403
        client.base_url = run.page.home
        page = client.get("/")
        assert page.status_code == 200
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "<script src=" in page.text
        assert token not in page.text
        assert client.get("/nothing").status_code == 404
        assert client.get("/../server.py").status_code == 403
        assert client.get("/%2e%2e/server.py").status_code in (403, 404)


def test_it_listens_on_this_machine_alone_and_says_where_a_port_is_taken(run: Run, tmp_path: Path) -> None:
    (sockets,) = [server.sockets for server in run.page._server._server.servers]
    assert [socket.getsockname()[0] for socket in sockets] == ["127.0.0.1"]
    with pytest.raises(UserError, match=f"--port {run.page.port}: Address already in use"):
        Page(Conversation(), tmp_path, port=run.page.port)


GOOD = "good"
HOSTS = (
    GOOD,
    "localhost",
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.0.0.1.evil.example:{port}",
)
ORIGINS = (
    GOOD,
    "",
    "null",
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1:1",
    "http://127.0.0.1",
)
COOKIES = (
    GOOD, "", "ludens-{port}=x", "ludens-{port}=", "other={session}", "ludens-{port}={session}x", '\x7f;;="',
    "ludens-{port}={token}",
)  # fmt: skip
HOMES = (GOOD, "/", "/AAAAAAAAAAAAAAAAAAAAAA/")


def test_websockets_are_refused_before_they_are_accepted(run: Run) -> None:
    """All combinations of Host, Origin, cookie and path; one alone is let in, and localhost with its own origin."""
    port, token = run.page.port, run.page.address.partition("token=")[2]
    own_home = run.page.home.removeprefix(run.origin)
    session = dict(run.browser().cookies)[f"ludens-{port}"]

    async def status(host: str, origin: str, cookie: str, home: str = own_home) -> int:
        headers = {"Host": host}
        headers |= {"Cookie": cookie} if cookie else {}
        headers |= {"Origin": origin} if origin else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = [f"GET {home}live HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *(f"{k}: {v}" for k, v in headers.items())]  # fmt: skip
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = await reader.readline()
        writer.close()
        return int(answer.split()[1])

    async def matrix() -> dict[tuple[str, str, str, str], int]:
        found = {}
        for host in HOSTS:
            for origin in ORIGINS:
                for cookie in COOKIES:
                    real = (
                        {GOOD: f"127.0.0.1:{port}", "localhost": f"localhost:{port}"}.get(host)
                        or host.format(port=port),
                        f"http://127.0.0.1:{port}" if origin == GOOD else origin.format(port=port),
                        f"ludens-{port}={session}" if cookie == GOOD
                        else cookie.format(port=port, token=token, session=session),
                    )  # fmt: skip
                    for home in HOMES:
                        found[host, origin, cookie, home] = await status(*real, own_home if home == GOOD else home)
        own = f"localhost:{port}", f"http://localhost:{port}", f"ludens-{port}={session}"
        assert await status(*own) == 101
        return found

    found = asyncio.run(matrix())
    assert len(found) == 1176
    assert found.pop((GOOD, GOOD, GOOD, GOOD)) == 101
    assert set(found.values()) <= {403, 400}
    assert run.talk.human is None


def test_posts_need_origin_cookie_and_the_header(run: Run) -> None:
    client = run.browser()
    with run.watch(client) as viewer:
        csrf = states(viewer, lambda state: "csrf" in state)["csrf"]
    good = {"Origin": run.origin, CSRF_HEADER: csrf}
    for headers in ({}, {"Origin": run.origin}, {CSRF_HEADER: csrf}, {**good, CSRF_HEADER: csrf[:-1]},
                    {**good, "Origin": "http://evil.example"}, {**good, "Origin": "null"}):  # fmt: skip
        assert client.post("/say", json={"text": "stop"}, headers=headers).status_code == 403
        assert client.post("/do", json={"what": "quit"}, headers=headers).status_code == 403
    stranger = httpx.Client(base_url=run.page.home)
    assert stranger.post("/say", json={"text": "stop"}, headers=good).status_code == 403
    assert not [line for line in run.talk.lines if line.who == "user"]
    assert client.post("/say", json={"text": "turn round"}, headers=good).status_code == 200
    assert [line.text for line in run.talk.lines if line.who == "user"] == ["turn round"]


def test_viewers_see_frames_what_is_done_and_what_is_said(run: Run) -> None:
    client = run.browser()
    with run.watch(client) as viewer:
        state = states(viewer, lambda state: state["fresh"])
        frame = viewer.recv(timeout=10)
        assert isinstance(frame, bytes)
        picture = np.asarray(Image.open(io.BytesIO(frame)))
        assert picture.shape == (24, 32, 3)
        wait_for(lambda: len(run.steps) > 100)
        state = states(viewer, lambda state: state["tick"] > 60 and state["decisions"] > 0)
        assert state["action"] == {"keys": ["KeyW"]}
        assert (state["mode"], state["goals"], state["thought"]) == ("acting", ["go <b>on</b>"], EVIL)
        assert (state["starved"], state["hz"]) == (0, 50.0)
    with run.watch(client) as late:  # who comes later gets the whole conversation
        assert EVIL in [line["text"] for line in states(late, lambda state: "csrf" in state)["lines"]]


def test_what_is_typed_shown_and_pressed_reaches_the_game(run: Run) -> None:
    client = run.browser()
    with run.watch(client) as viewer:
        csrf = states(viewer, lambda state: "csrf" in state)["csrf"]
        headers = {"Origin": run.origin, CSRF_HEADER: csrf}

        def post(path: str, **body: Any) -> httpx.Response:
            return client.post(path, json=body, headers=headers)

        sink = io.BytesIO()
        Image.new("RGBA", (900, 30), (255, 0, 0, 255)).save(sink, "PNG")
        assert post("/say", text="go to this", image=base64.b64encode(sink.getvalue()).decode()).status_code == 200
        picture = run.talk.instruction.now.picture
        assert picture is not None
        assert picture.shape == (21, 640, 3)
        assert picture[5, 5].tolist() == [255, 0, 0]
        states(viewer, lambda state: state["goals"] == ["go to this"])

        assert post("/do", what="pause").status_code == 200
        states(viewer, lambda state: state["mode"] == "paused")
        wait_for(lambda: run.talk.ordered == "wait")  # the tick that was being played has ended
        tick = run.talk.tick
        post("/do", what="step")
        wait_for(lambda: run.talk.tick == tick + 1)
        post("/do", what="resume")
        wait_for(lambda: run.talk.tick > tick + 3)

        viewer.send(json.dumps({"take": True}))
        states(viewer, lambda state: state["mine"])
        viewer.send(json.dumps({"hands": {"keys": ["KeyD", "Tab"], "buttons": ["left"], "look": [3, 0]}}))
        state = states(viewer, lambda state: state["action"].get("keys") == ["KeyD"])
        assert (state["mode"], state["actor"], state["action"]["buttons"]) == ("human", "human", ["left"])
        with run.watch(client) as other:  # one person at a time
            other.send(json.dumps({"take": True}))
            assert not states(other, lambda state: state["mode"] == "human")["mine"]
        viewer.send(json.dumps({"give": True}))
        states(viewer, lambda state: state["mode"] == "acting")
        assert {step.actor for step in run.steps} == {"agent", "human"}

        answer = post("/do", what="clip")
        assert answer.status_code == 200
        with av.open(answer.json()["path"]) as clip:
            assert sum(1 for _ in clip.decode(video=0)) > 5

        post("/do", what="stop")
        states(viewer, lambda state: state["mode"] == "idle")
        wait_for(lambda: run.steps[-1].action == NEUTRAL)
        post("/do", what="quit")
        wait_for(lambda: run.outcome is not None)
        assert run.outcome is not None
        assert run.outcome.why == "ended by the user"


def test_who_leaves_lets_go(run: Run) -> None:
    with run.watch(run.browser()) as viewer:
        viewer.send(json.dumps({"take": True}))
        states(viewer, lambda state: state["mine"])
        viewer.send(json.dumps({"hands": {"keys": ["KeyD"]}}))
        states(viewer, lambda state: state["action"].get("keys") == ["KeyD"])
    wait_for(lambda: run.talk.human is None)
    wait_for(lambda: run.steps[-1].actor == "agent")


def test_nonsense_is_refused_and_the_game_goes_on(run: Run) -> None:
    client = run.browser()
    for nonsense in ("{", "[]", '{"hands": {"keys": 7}}', "\x00", "1" * 70000, '{"hands": {"look": [1e999, 0]}}'):
        with run.watch(client) as viewer:
            viewer.send('{"take": true}')
            viewer.send(nonsense)
            wait_for(lambda viewer=viewer: viewer.close_code is not None or not _alive(viewer))
    with run.watch(client) as viewer:
        csrf = states(viewer, lambda state: "csrf" in state)["csrf"]
    headers = {"Origin": run.origin, CSRF_HEADER: csrf}
    bodies = [
        b"", b"{", b"[]", b'{"text": 1}', b'{"text": ""}', b'{"text": "x", "y": 1}', b'{"text": "%s"}' % (b"x" * 9999),
        b'{"text": "x", "image": "%%%"}', b'{"text": "x", "image": "aGVsbG8="}', b"\xff" * (7 << 20),
    ]  # fmt: skip
    for body in bodies:
        answer = client.post("/say", content=body, headers=headers)
        assert answer.status_code == 400, body[:40]
        assert answer.json()["error"]
    assert client.post("/do", json={"what": "explode"}, headers=headers).status_code == 400
    ticks = len(run.steps)
    wait_for(lambda: len(run.steps) > ticks + 5)
    assert run.talk.human is None


def _alive(viewer: ClientConnection) -> bool:
    try:
        viewer.recv(timeout=1)
    except Exception:
        return False
    return True


def test_viewers_that_stall_get_fewer_frames_and_nobody_waits_for_them(run: Run) -> None:
    """Twenty open the page and never read: the game keeps its pace, memory is bounded, and another viewer sees on."""

    async def stalled(cookie: dict[str, str]) -> None:
        url, sockets = f"{run.page.home}live".replace("http", "ws", 1), []
        for _ in range(20):
            sockets.append(
                await connect_beside(url, origin=run.origin, additional_headers=cookie, max_queue=1, ping_interval=None)  # type: ignore[arg-type]
            )
        for socket in sockets:
            socket.transport.pause_reading()
        await asyncio.to_thread(watch)
        for socket in sockets:
            socket.transport.abort()

    client = run.browser()

    def watch() -> None:
        with run.watch(client) as viewer:
            first = states(viewer, lambda state: state["fresh"])["tick"]
            states(viewer, lambda state: state["tick"] > first + 100)

    asyncio.run(stalled(run.headers(client)))
    wait_for(lambda: run.talk.attended == 1)


def test_refused_handshakes_say_403(run: Run) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"{run.page.home}live".replace("http", "ws", 1), origin="http://evil.example")  # type: ignore[arg-type]


def test_a_person_plays_the_tasks_of_a_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages: list[Page] = []

    def serve(talk: Conversation, folder: Path, port: int, env: str, world: World) -> Page:
        pages.append(Page(talk, folder, port=port))
        return pages[0]

    monkeypatch.setattr("agent.cli.human.serve", serve)

    def person() -> None:
        wait_for(lambda: pages, 60)
        (page,) = pages
        origin = f"http://127.0.0.1:{page.port}"
        client = httpx.Client(timeout=20)
        client.get(page.address, follow_redirects=True)
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
        live = f"{page.home}live".replace("http", "ws", 1)
        with connect(live, origin=origin, additional_headers=cookie) as viewer:  # type: ignore[arg-type]
            for episode in (1, 2):
                csrf = states(viewer, lambda state: state["episode"] == episode and state["mode"] != "human", 60)  # noqa: B023
                viewer.send(json.dumps({"take": True}))
                states(viewer, lambda state: state["mine"])
                viewer.send(json.dumps({"hands": {"keys": ["KeyW"], "look": [5, 0]}}))
                states(viewer, lambda state: state["action"].get("keys") == ["KeyW"])
                headers = {"Origin": origin, CSRF_HEADER: page._gate.csrf}
                client.post(f"{page.home}do", json={"what": "stop"}, headers=headers)
                assert csrf["goals"]

    thread = threading.Thread(target=person)
    thread.start()
    args = ["record", "--human", "--suite", "doom-basic", "--episodes", "2", "--out", str(tmp_path / "mine"), "--json"]
    assert cli.run(args) == 0
    thread.join(20)
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
    for path in sorted((tmp_path / "mine").glob("doom-*")):
        episode = read_episode(path)
        assert set(episode.steps["actor"].to_pylist()) == {"human"}
        assert {"KeyW"} in map(set, episode.steps["keys"].to_pylist())
        assert episode.outcome["why"] == "stopped by the user"
        assert episode.meta["policy"] == "human"
