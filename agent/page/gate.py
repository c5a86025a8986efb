"""`Gate`: checks Host, Origin, token and CSRF header of a request before anything else sees it."""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.web.doorkeeper import Doorkeeper

CSRF_HEADER = "x-ludens-csrf"


def _same(given: str, right: str) -> bool:
    return secrets.compare_digest(given.encode(), right.encode())


class Gate:
    """An ASGI application around another. `port`: where it is served, on 127.0.0.1. `doorkeeper` hears which
    clients have shown the cookie or the token.

    `token` opens the page: as `?token=...` once, which is answered with a cookie (HttpOnly, SameSite=Strict), and from
    then on by that cookie. A browser sends a cookie to every port of a host, so this one belongs to `home`, a path that
    nobody can guess: a service at another port never sees it. WebSockets, which no CORS rule protects, need an Origin
    that is this page's; so do POSTs, with the header CSRF_HEADER on top. The value of that header is told over the
    WebSocket alone.
    """

    def __init__(self, app: ASGIApp, port: int, doorkeeper: Doorkeeper | None = None) -> None:
        self._app = app
        self._doorkeeper = doorkeeper or Doorkeeper()
        self.token = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)
        self.home = f"/{secrets.token_urlsafe(16)}/"
        self._cookie = f"ludens-{port}"  # two runs on a machine must not share one
        self._session = secrets.token_urlsafe(32)
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self._headers = {
            "content-security-policy": (
                "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
                + "connect-src 'self' "
                + " ".join(f"ws://{host}" for host in self._hosts)
            ),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if refusal:  # closed before it is accepted: the answer is 403
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": refusal})
            else:
                self._doorkeeper.admit(scope.get("client"))
                await self._app(self._inside(scope), receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in self._headers.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        answer: Any
        if self._right_token(scope) and not self._wrong_host(headers):
            self._doorkeeper.admit(scope.get("client"))
            answer = RedirectResponse(self.home, 303)
            answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path=self.home)
        elif refusal:
            answer = PlainTextResponse(refusal + "\n", 403)
        else:
            self._doorkeeper.admit(scope.get("client"))
            scope, answer = self._inside(scope), self._app
        await answer(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> str:
        """Why a request is refused; "" if it is not."""
        if self._wrong_host(headers):
            return "wrong host"
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except Exception:  # a stranger may send anything as a cookie
            cookies = SimpleCookie()
        morsel = cookies.get(self._cookie)
        if morsel is None or not _same(morsel.value, self._session) or not self._at_home(scope):
            return "open the address that agent has printed: it holds the token of this run"
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes and headers.getlist("origin") != [f"http://{headers['host']}"]:
            return "wrong origin"
        if changes and scope["type"] == "http" and not _same(headers.get(CSRF_HEADER, ""), self.csrf):
            return f"the header {CSRF_HEADER} is missing or wrong"
        return ""

    def _at_home(self, scope: Scope) -> bool:
        return _same(scope["path"][: len(self.home)], self.home)

    def _inside(self, scope: Scope) -> Scope:
        """The scope as the application knows its paths."""
        path = scope["path"][len(self.home) - 1 :]
        return {**scope, "path": path, "raw_path": path.encode()}

    def _wrong_host(self, headers: Headers) -> bool:
        hosts = headers.getlist("host")
        return len(hosts) != 1 or hosts[0] not in self._hosts

    def _right_token(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return len(given) == 1 and _same(given[0], self.token)
