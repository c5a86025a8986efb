"""`AskPage`: a page in the browser on which a person says of clips whether the task was done."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from agent.page.gate import Gate
from agent.web.background import Background, listen
from agent.web.doorkeeper import Doorkeeper
from agent.web.files import app_of
from training.improve.ask import Question
from training.improve.clips import encode

_STATIC = Path(__file__).parent / "static"
_FILES = {"/": "ask.html", "/ask.js": "ask.js", "/ask.css": "ask.css"}
_MOST_BODY = 1000  # bytes of an answer


class Answer(BaseModel):
    """What a person says of the question `id`: `done`, None to leave it open; `stop`: to be asked no more."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: str
    done: bool | None = None
    stop: bool = False


class AskPage:
    """Asks on a page that is served on 127.0.0.1, as a `training.improve.ask.Ask`. It waits for the answer.

    `address`: what the person opens, with the token. `port`: 0 takes a free one. Raises UserError if it is taken.
    """

    def __init__(self, port: int = 0) -> None:
        sock = listen(port)
        self.port: int = sock.getsockname()[1]
        self._asked: tuple[Question, int, int] | None = None
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._lock = threading.Lock()
        doorkeeper = Doorkeeper()
        self._gate = Gate(self._app(), self.port, doorkeeper)
        self.address = f"http://127.0.0.1:{self.port}/?token={self._gate.token}"
        self._server = Background(
            self._gate, sock, doorkeeper, name="questions",
            failed="the page with the questions did not start; leave --ask-on-page out",
        )  # fmt: skip

    def __call__(self, question: Question, number: int, of: int) -> bool | None:
        """Ask, and wait for the answer. Raises EOFError if the person wants no more questions."""
        with self._lock:
            self._asked = question, number, of
        while True:
            try:
                answer = self._answers.get(timeout=0.5)  # so that Ctrl+C is heard
            except Empty:
                continue
            if answer.stop:
                raise EOFError
            return answer.done

    def close(self) -> None:
        """Stop serving. Safe to call twice."""
        self._server.close()

    def _app(self) -> FastAPI:
        app = app_of(_STATIC, _FILES)
        app.add_api_route("/question", self._question, methods=["GET"], response_model=None)
        app.add_api_route("/clip", self._clip, methods=["GET"], response_model=None)
        app.add_api_route("/answer", self._answer, methods=["POST"], response_model=None)
        return app

    async def _question(self) -> Response:
        """The question at hand. It tells the value of the header that answers need; no other origin can read it."""
        told: dict[str, str | int] = {"csrf": self._gate.csrf, "id": ""}
        if (asked := self._asked) is not None:
            question, number, of = asked
            told |= {"id": question.id, "instruction": question.instruction, "number": number, "of": of}
        return JSONResponse(told)

    async def _clip(self, id: str = "") -> Response:
        asked = self._asked
        if asked is None or id != asked[0].id:
            return Response("this question is over\n", 404)
        return Response(await asyncio.to_thread(encode, asked[0].episode), media_type="video/mp4")

    async def _answer(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BODY:
                return Response("too long\n", 413)
        try:
            answer = Answer.model_validate_json(body)
        except ValidationError:
            return Response("this is no answer\n", 400)
        with self._lock:
            if self._asked is None or answer.id != self._asked[0].id:
                return Response("this question is over\n", 409)
            self._asked = None
        self._answers.put(answer)
        return JSONResponse({})
