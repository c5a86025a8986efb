"""`RunPage`: a page in the browser that shows how a run goes, and asks a person of clips whether the task was done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from agent.page.gate import Gate
from agent.web.background import Background, listen
from agent.web.doorkeeper import Doorkeeper
from agent.web.files import app_of
from training.improve.ask import Question
from training.improve.clips import encode
from training.improve.report import REPORT, draw, draw_practice
from training.recipe import Progress

_STATIC = Path(__file__).parent / "static"
_FILES = {"/": "run.html", "/run.js": "run.js", "/run.css": "run.css"}
_MOST_BODY = 1000  # bytes of an answer


class Answer(BaseModel):
    """What a person says of the question `id`: `done`, None to leave it open; `stop`: to be asked no more."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: str
    done: bool | None = None
    stop: bool = False


class RunPage:
    """Shows the run in the folder `out` on a page that is served on 127.0.0.1: the stage at hand, the generations as a
    table and as curves, and how practice goes. As a `training.improve.ask.Ask` it asks there, and waits for the answer.

    `address`: what the person opens, with the token. `port`: 0 takes a free one. Raises UserError if it is taken.
    """

    def __init__(self, out: Path, title: str, port: int = 0) -> None:
        self._out, self._title = out, title
        self._progress: Progress | None = None
        self._practice: list[dict[str, float]] = []  # rounds of the generation at hand
        self._summaries: Sequence[Mapping[str, Any]] = ()
        self._table: Sequence[Sequence[str]] = ()
        sock = listen(port)
        self.port: int = sock.getsockname()[1]
        self._asked: tuple[Question, int, int] | None = None
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._lock = threading.Lock()
        doorkeeper = Doorkeeper()
        self._gate = Gate(self._app(), self.port, doorkeeper)
        self.address = f"http://127.0.0.1:{self.port}/?token={self._gate.token}"
        self._server = Background(
            self._gate, sock, doorkeeper, name="run", failed="the page of the run did not start; leave --page out",
        )  # fmt: skip

    def progress(self, news: Progress) -> None:
        """What the run does now."""
        if self._progress is not None and news.stage == self._progress.stage and news.done == self._progress.done:
            return
        if "success" in news.figures:  # a round of practice
            if self._progress is None or self._progress.stage != news.stage:
                self._practice = []
            true = {"true": news.figures["true success"]} if "true success" in news.figures else {}
            self._practice.append({"judged": news.figures["success"], **true})
        self._progress = news

    def generations(self, summaries: Sequence[Mapping[str, Any]], table: Sequence[Sequence[str]]) -> None:
        """The finished generations, and what the table has of them: its head, then a row for each."""
        self._summaries, self._table = list(summaries), list(table)

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
        app.add_api_route("/status", self._status, methods=["GET"], response_model=None)
        app.add_api_route("/curves", self._curves, methods=["GET"], response_model=None)
        app.add_api_route("/practice", self._practised, methods=["GET"], response_model=None)
        app.add_api_route("/report", self._report, methods=["GET"], response_model=None)
        app.add_api_route("/question", self._question, methods=["GET"], response_model=None)
        app.add_api_route("/clip", self._clip, methods=["GET"], response_model=None)
        app.add_api_route("/answer", self._answer, methods=["POST"], response_model=None)
        return app

    async def _status(self) -> Response:
        """All that the page shows but questions and pictures, of which it tells how many rounds and generations they
        hold."""
        news = self._progress
        return JSONResponse({
            "title": self._title,
            "stage": None if news is None else news.stage,
            "done": 0 if news is None else news.done,
            "total": 0 if news is None else news.total,
            "figures": {} if news is None else dict(list(news.figures.items())[:3]),
            "table": self._table,
            "rounds": len(self._practice),
            "generations": len(self._summaries),
            "report": (self._out / REPORT).is_file(),
        })  # fmt: skip

    async def _curves(self) -> Response:
        if not (summaries := self._summaries):
            return Response("no generation is finished yet\n", 404)
        return Response(await asyncio.to_thread(draw, summaries), media_type="image/png")

    async def _practised(self) -> Response:
        if not (rounds := list(self._practice)):
            return Response("nothing was practised yet\n", 404)
        return Response(await asyncio.to_thread(draw_practice, rounds), media_type="image/png")

    async def _report(self) -> Response:
        path = self._out / REPORT
        return FileResponse(path) if path.is_file() else Response("no generation is finished yet\n", 404)

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
            return Response(status_code=204)  # a browser that asked late: the question is over
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
