"""`PolicyServer`: a policy behind HTTP and a websocket, for whoever has the token."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.capabilities import ThinksLess
from agent.policy import Policy
from agent.prompted import Setting
from agent.serve.chat_completions import ChatRequest, RequestError, completion, context_of, models, stream, text_of
from agent.serve.messages import LIMIT, PATH, MessageError, packed, unpacked
from agent.serve.session import Session
from agent.web.background import Background, listen
from agent.web.doorkeeper import Doorkeeper, more_descriptors
from envs.errors import UserError

logger = logging.getLogger(__name__)

_MOST_BODY = 32 << 20  # bytes of a chat
_PING = 20.0  # seconds


class PolicyServer:
    """Serves `policy`, called `name`, from now until `close`: chat completions under /v1, and the websocket PATH.

    One thread decides for all clients, one request after the other, so that every client gets what the policy decides
    in process. `token`: what a client has to show; a random one by default. `port`: 0 takes a free one. Raises
    UserError where the address can't be had.
    """

    def __init__(
        self, policy: Policy, name: str, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None
    ) -> None:
        more_descriptors()
        self.name, self.token = name, token or secrets.token_urlsafe(32)
        self.policy = policy
        spec = policy.spec
        self._setting = getattr(policy, "setting", None) or Setting(view=spec.view, tick_hz=spec.tick_hz)
        self._about = {"ludens": version("ludens"), "policy": name, "limit": LIMIT}
        self._thread = ThreadPoolExecutor(1, "policy")
        sock = listen(port, host)
        self.port: int = sock.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        doorkeeper = Doorkeeper()
        self._server = Background(
            _Locked(self._app(), self.token, doorkeeper), sock, doorkeeper, name="serve",
            failed="the server did not start; another --port may help", ws_max_size=LIMIT,
            ws_ping_interval=_PING, ws_ping_timeout=_PING, ws_per_message_deflate=False,
        )  # fmt: skip

    def wait(self) -> None:
        """Block until it serves no more."""
        self._server.wait()

    def close(self) -> None:
        """Stop serving. Safe to call twice."""
        self._server.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.add_api_route("/v1/models", lambda: models([self.name]), methods=["GET"])
        app.add_api_route("/v1/chat/completions", self._chat, methods=["POST"], response_model=None)
        app.add_api_websocket_route(PATH, self._play)
        return app

    async def _chat(self, request: Request) -> Response:
        try:
            asked = ChatRequest.read(await _body(request))
            if asked.model not in ("", self.name):
                raise RequestError(
                    f"model {asked.model[:80]!r} is not served here; expected {self.name!r}",
                    param="model", code="model_not_found", status=404,
                )  # fmt: skip
            text = await asyncio.get_running_loop().run_in_executor(self._thread, self._decide, asked)
        except RequestError as error:
            return JSONResponse(error.to_json(), error.status)
        if asked.stream:
            return StreamingResponse(stream(text, self.name, asked), media_type="text/event-stream")
        return JSONResponse(completion(text, self.name, asked))

    def _decide(self, asked: ChatRequest) -> str:
        """The text of the decision that a chat asks for. Raises RequestError."""
        context = context_of(asked, self.policy.spec, self._setting)
        policy = self.policy
        if asked.reasoning_effort == "none" and isinstance(policy, ThinksLess):
            policy = policy.thinking(0)
        try:
            (decision,) = policy.act([context])
            return text_of(decision, self._setting)
        except Exception as error:
            logger.exception("the policy failed")
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            raise RequestError(
                f"the policy failed: {said}"[:1000], param="", code="policy_failed", status=500
            ) from None

    async def _play(self, socket: WebSocket) -> None:
        await socket.accept()
        session, loop = Session(self.policy, self._about), asyncio.get_running_loop()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the client is gone
            try:
                while True:
                    body = await socket.receive_bytes()
                    await socket.send_bytes(await loop.run_in_executor(self._thread, _answer, session, body))
            except KeyError:
                await self._end(socket, "expected messages of bytes, got one of text")
            except MessageError as error:
                await self._end(socket, str(error))

    async def _end(self, socket: WebSocket, why: str) -> None:
        """Tell a client why its connection ends."""
        await socket.send_bytes(packed({"type": "error", "message": why}))
        await socket.close(1008)


def _answer(session: Session, body: bytes) -> bytes:
    return packed(session.answer(unpacked(body)))


class _Locked:
    """An ASGI application around another: whoever does not show the token as a bearer gets 401. Browsers can't be made
    to show it by a foreign page, so no other header has to be checked."""

    def __init__(self, app: ASGIApp, token: str, doorkeeper: Doorkeeper) -> None:
        self._app, self._right, self._doorkeeper = app, f"Bearer {token}".encode(), doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).getlist("authorization")
        if len(given) == 1 and secrets.compare_digest(given[0].encode("latin-1", "replace"), self._right):
            self._doorkeeper.admit(scope.get("client"))
            await self._app(scope, receive, send)
            return
        error = RequestError(
            "wrong or missing token; expected the header Authorization: Bearer TOKEN with the token that agent serve "
            "was given or has printed",
            param="", code="invalid_api_key", status=401,
        )  # fmt: skip
        refusal = JSONResponse(error.to_json(), 401, {"WWW-Authenticate": "Bearer"})
        if scope["type"] == "websocket":
            await receive()
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await refusal(scope, receive, send)


async def _body(request: Request) -> bytes:
    """Raises RequestError for a body that is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MOST_BODY:
            raise RequestError(
                f"the request is too large: at most {_MOST_BODY >> 20} MiB", param="", code="too_large", status=413
            )
        parts.append(part)
    return b"".join(parts)
