"""`Page`: the server of the live page, in a thread beside the game."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from agent.loop.human_hands import HumanHands
from agent.page.double import Double
from agent.page.gate import Gate
from agent.page.hub import RATE, Hub, Shot
from agent.talk.conversation import Conversation
from agent.web.background import Background, listen
from agent.web.doorkeeper import Doorkeeper, more_descriptors
from agent.web.files import app_of
from agent.web.pictures import read_picture

_STATIC = Path(__file__).parent / "static"
_FILES = {"/": "index.html", "/page.js": "page.js", "/page.css": "page.css"}
_MOST_BODY = 6 << 20  # bytes of a POST
_SOUNDS = 10  # pieces of sound, of a picture each, that wait for a slow viewer
_PICTURE = 640  # pixels of the longer side that are kept of one


class Say(BaseModel):
    """A message of the user. `image`: a PNG, JPEG or WebP in base64."""

    model_config = ConfigDict(extra="forbid")
    text: str = ""
    image: str | None = None


class Do(BaseModel):
    """A button that the user presses."""

    model_config = ConfigDict(extra="forbid")
    what: Literal["pause", "resume", "step", "stop", "clip", "quit"]


class Page:
    """Serves the live page of a run on 127.0.0.1. `hub` is a subscriber for the loop.

    `folder`: where clips go. `double`: draws the world larger for viewers. `port`: 0 takes a free one. `address`: what
    a person opens, with the token; it leads to `home`, where a browser has its cookie. Raises UserError if the port is
    taken.
    """

    def __init__(self, talk: Conversation, folder: Path, *, port: int = 0, double: Double | None = None) -> None:
        more_descriptors()
        self.hub = Hub(talk, double)
        self._talk = talk
        self._folder = folder
        self._clips = 0
        self._opened = threading.Event()
        sock = listen(port)
        self.port: int = sock.getsockname()[1]
        self._pulse = _Pulse(self.hub)
        doorkeeper = Doorkeeper()
        self._gate = Gate(self._app(), self.port, doorkeeper)
        self.address = f"http://127.0.0.1:{self.port}/?token={self._gate.token}"
        self.home = f"http://127.0.0.1:{self.port}{self._gate.home}"
        self._server = Background(
            self._gate, sock, doorkeeper, name="page", failed="the live page did not start; play with --no-page",
            ws_max_size=1 << 16, ws_ping_interval=20, ws_ping_timeout=20,
        )  # fmt: skip

    def wait_for_viewer(self, seconds: float | None = None) -> bool:
        """Block until a browser has opened the page; False if none did in time."""
        return self._opened.wait(seconds)

    def close(self) -> None:
        """Stop serving. Safe to call twice."""
        self._server.close()
        if self.hub.double is not None:
            self.hub.double.close()

    def _app(self) -> FastAPI:
        app = app_of(_STATIC, _FILES)
        app.add_api_route("/say", self._say, methods=["POST"], response_model=None)
        app.add_api_route("/do", self._do, methods=["POST"], response_model=None)
        app.add_api_websocket_route("/live", self._live)
        return app

    async def _say(self, request: Request) -> Response:
        try:
            said = Say.model_validate_json(await _body(request))
            picture = None if said.image is None else await asyncio.to_thread(read_picture, said.image, _PICTURE)
            self._talk.user(said.text, picture)
        except ValueError as error:
            return _refused(error)
        return JSONResponse({})

    async def _do(self, request: Request) -> Response:
        talk, path = self._talk, None
        try:
            what = Do.model_validate_json(await _body(request)).what
            if what == "clip":
                self._clips += 1
                path = self._folder / "clips" / f"clip-{self._clips}.mp4"
                await asyncio.to_thread(self.hub.clip, path)
            elif what in ("pause", "resume"):
                talk.pause(what == "pause")
            else:
                {"step": talk.step, "stop": talk.stop, "quit": talk.quit}[what]()
        except (ValueError, OSError) as error:
            return _refused(error)
        return JSONResponse({"path": str(path)} if path else {})

    async def _live(self, socket: WebSocket) -> None:
        await socket.accept()
        talk = self._talk
        viewer = _Viewer(socket, talk, self._pulse)
        talk.attended += 1
        self._opened.set()
        talk_task = asyncio.create_task(viewer.listen())
        show_task = asyncio.create_task(viewer.show({"csrf": self._gate.csrf}))
        try:
            await asyncio.wait({talk_task, show_task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (talk_task, show_task):
                task.cancel()
            await asyncio.gather(talk_task, show_task, return_exceptions=True)
            talk.attended -= 1
            viewer.leave()
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may be gone already
                await socket.close(1003)


class _Pulse:
    """While a viewer watches, takes a new shot RATE times a second, encodes it once, and wakes the viewers."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.shot: Shot | None = None
        self.jpeg = b""
        self.eyes: dict[str, Any] = {}
        self.sounds: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_SOUNDS)  # numbered
        self._beat: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._viewers = 0

    async def next(self) -> None:
        """Wait for the next shot. A viewer that is busy sending misses shots."""
        if self._task is None or self._task.done():
            self._beat = asyncio.Event()
            self._task = asyncio.create_task(self._run())
        assert self._beat is not None
        self._viewers += 1
        try:
            await self._beat.wait()
        finally:
            self._viewers -= 1

    async def _run(self) -> None:
        due, seen = time.monotonic(), self.shot
        while True:
            newest = self.hub.shot
            if newest is not None and newest is not seen:
                seen, shot = newest, await asyncio.to_thread(self.hub.newest)
                assert shot is not None
                if self.shot is None or shot.glance != self.shot.glance:
                    self.eyes = await asyncio.to_thread(self.hub.eyes, shot)
                if sound := self.hub.sound():
                    self.sounds.append((shot.number, sound))
                self.jpeg = await asyncio.to_thread(self.hub.picture, shot)
                self.shot = shot
            beat, self._beat = self._beat, asyncio.Event()
            if beat is not None:
                beat.set()
            due = max(due + 1.0 / RATE, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            if not self._viewers:
                return  # no viewer waits; the next one starts this task again


class _Viewer:
    """One open page. It gets the newest shot as fast as it can take it, and its person may take the controls."""

    def __init__(self, socket: WebSocket, talk: Conversation, pulse: _Pulse) -> None:
        self._socket = socket
        self._talk = talk
        self._pulse = pulse
        self._hands: HumanHands | None = None

    async def show(self, hello: dict[str, Any]) -> None:
        """Send state and frames until the page closes. There is no queue: a slow page gets fewer frames."""
        seen, number, spans, eyes, heard = 0, -1, None, None, -1
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await self._pulse.next()
                shot, jpeg = self._pulse.shot, self._pulse.jpeg
                state = self._pulse.hub.state(seen)
                seen = state["revision"]
                if state["spans"] is spans:
                    del state["spans"]
                else:
                    spans = state["spans"]
                if self._pulse.eyes is not eyes:
                    eyes = state["eyes"] = self._pulse.eyes
                sounds = [sound for at, sound in self._pulse.sounds if at > heard]
                if sounds:
                    heard, state["sounds"] = self._pulse.sounds[-1][0], sounds
                mine = self._hands is not None and self._hands is self._talk.human
                fresh = shot is not None and shot.number != number
                await self._socket.send_text(json.dumps({**hello, **state, "mine": mine, "fresh": fresh}))
                hello = {}
                if shot is not None and fresh:
                    number = shot.number
                    await self._socket.send_bytes(jpeg)

    async def listen(self) -> None:
        """Read messages: {"take": true}, {"give": true} or {"hands": ACTION}. Anything else ends the connection."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, ValueError, KeyError):
            while True:
                message = json.loads(await self._socket.receive_text())
                if not isinstance(message, dict):
                    return
                if message.get("take"):
                    with contextlib.suppress(ValueError):  # another viewer has the controls: the state says so
                        self._hands = self._talk.take_over()
                elif message.get("give"):
                    self.leave()
                elif self._hands is not None:
                    self._hands.press(message["hands"])

    def leave(self) -> None:
        """Give the controls back, if this page has them."""
        hands, self._hands = self._hands, None
        if hands is not None:
            self._talk.give_back(hands)


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BODY:
            raise ValueError(f"the message is too large: at most {_MOST_BODY >> 20} MiB")
    return body


def _refused(error: Exception) -> Response:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        text = f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg']}"
    else:
        text = str(error)
    return JSONResponse({"error": text}, 400)
