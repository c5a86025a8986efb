"""`Wire`: JSON over HTTP to one service, within a deadline that holds whatever the service does.

The requests run on an event loop in a thread of their own. Only there can a call be cancelled at a certain moment while
a server sends slowly, hangs, or a host name is resolved.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from agent.models.base import BadReplyError, ModelError, RateLimitedError, RefusedError, UnavailableError
from agent.models.keys import HidingStream, hide, hide_in_reply
from envs.errors import UserError

LARGEST = 4 * 2**20  # bytes of an answer
_SAID = 300  # characters of a service's own words in a message
_CONNECT = 10.0  # seconds
_T = TypeVar("_T")


class Wire:
    """One service at `url`. Raises UserError for an address that holds a key: addresses are printed and stored."""

    def __init__(self, url: str, secret: SecretStr | None = None) -> None:
        self.url, self._secret = checked_url(url), secret
        self._client: httpx2.AsyncClient | None = None

    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> Any:
        """What the service answers to `body`, parsed. Raises ModelError."""

        async def ask() -> bytes:
            data = bytearray()
            async for chunk in self._chunks(path, body):
                data += chunk
            return bytes(data)

        data = run(self._bounded(ask(), seconds))
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise BadReplyError(f"{self.url} answered what is no JSON: {self._words(data)}") from None

    def events(self, path: str, body: Mapping[str, Any], seconds: float) -> Iterator[Any]:
        """The server-sent events that the service answers with, parsed, as they come. Raises ModelError."""

        async def listen(put: Callable[[bytes], None]) -> None:
            rest = b""
            async for chunk in self._chunks(path, body):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    put(line)
            put(rest)

        for line in relay(lambda put: self._bounded(listen(put), seconds)):
            field, _, value = line.strip().partition(b":")
            if field != b"data" or not value.strip():
                continue
            if value.strip() == b"[DONE]":
                return
            try:
                yield json.loads(value)
            except (ValueError, RecursionError):
                raise BadReplyError(f"{self.url} sent what is no JSON: {self._words(value)}") from None

    def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            asyncio.run_coroutine_threadsafe(client.aclose(), _loop(os.getpid()))

    def scrub(self, text: str) -> str:
        return scrub(text, self._secret)

    def hide(self, text: str) -> str:
        """`text` of a reply without the key."""
        return hide_in_reply(text, self._secret)

    def hiding(self) -> HidingStream:
        """Hides the key in a reply that comes in pieces."""
        return HidingStream(self._secret)

    async def _bounded(self, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await work
        except TimeoutError:
            raise UnavailableError(f"{self.url} gave no whole answer in {seconds:.1f} s", billed=True) from None
        except httpx2.ConnectError as error:
            raise UnavailableError(f"{self.url} can't be reached: {self.scrub(str(error))}") from None
        except httpx2.TimeoutException:
            raise UnavailableError(f"{self.url} can't be reached in {_CONNECT:.0f} s") from None
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeError) as error:
            # The request itself is wrong, and the client quotes what is wrong in it, such as a header with the key.
            raise RefusedError(f"{self.url} can't be asked: the request is wrong ({type(error).__name__})") from None
        except httpx2.HTTPError as error:
            what = self.scrub(f"{type(error).__name__}: {error}")
            raise UnavailableError(f"{self.url} broke off: {what}", billed=True) from None

    async def _chunks(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """The bytes of a good answer; of any other, the error that it stands for."""
        headers = {"accept-encoding": "identity"}  # so that a small answer can't unpack to a large one
        if self._secret is not None:
            headers["authorization"] = f"Bearer {self._secret.get_secret_value()}"
        if self._client is None:
            # No proxy between this machine and itself.
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=_CONNECT), trust_env=not is_loopback(self.url)
            )
        size, said = 0, bytearray()
        async with self._client.stream("POST", self.url + path, json=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > LARGEST:
                    raise BadReplyError(f"{self.url} answered more than {LARGEST / 2**20:.0f} MiB", retryable=False)
                if response.is_success:
                    yield chunk
                else:
                    said += chunk
            if not response.is_success:
                raise self._error(response, bytes(said))

    def _error(self, response: httpx2.Response, data: bytes) -> ModelError:
        code, message = "", self._words(data)
        try:
            error = json.loads(data)["error"]
            if isinstance(error, str):
                message = self.scrub(error)[:_SAID]
            else:
                message, code = self.scrub(str(error["message"]))[:_SAID], str(error.get("code"))
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # its own kind of words
        status = response.status_code
        text = f"{self.url} answered {status}: {message or 'nothing'}"
        wait = retry_after(response.headers.get("retry-after"))
        return status_error(status, text, wait, quota=code == "insufficient_quota")

    def _words(self, data: bytes) -> str:
        return self.scrub(data[: 4 * _SAID].decode(errors="replace"))[:_SAID]


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on the models' event loop and return its result; an interrupt of the caller cancels it."""
    task = asyncio.run_coroutine_threadsafe(work, _loop(os.getpid()))
    try:
        return task.result()
    except CancelledError:
        raise UnavailableError("the call was cancelled", billed=True) from None
    finally:
        task.cancel()


def relay(work: Callable[[Callable[[Any], None]], Coroutine[Any, Any, None]]) -> Iterator[Any]:
    """Run a coroutine on the models' event loop and yield what it puts into its argument, as it comes. Raises what the
    coroutine raises; closing the generator cancels it."""
    inbox: SimpleQueue[Any] = SimpleQueue()
    task = asyncio.run_coroutine_threadsafe(work(inbox.put), _loop(os.getpid()))
    task.add_done_callback(inbox.put)
    try:
        while (item := inbox.get()) is not task:
            yield item
        task.result()
    finally:
        task.cancel()


def scrub(text: str, secret: SecretStr | None) -> str:
    """`text` in one line and without the key, which services like to repeat."""
    return " ".join(hide(text, secret).split())


def status_error(status: int, text: str, wait: float | None, *, quota: bool = False) -> ModelError:
    """The error that an HTTP status stands for. `quota`: what is used up does not come back by waiting."""
    if status == 429 and not quota:
        return RateLimitedError(text, retry_after=wait)
    if status in (408, 425) or status >= 500:
        return UnavailableError(text, retry_after=wait)
    return RefusedError(text)


@functools.cache
def _loop(pid: int) -> asyncio.AbstractEventLoop:
    """The event loop of the models, in a daemon thread. `pid`: a forked process needs one of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="models", daemon=True).start()
    return loop


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, which may be a number or a date."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None  # not NaN


def checked_url(url: str) -> str:
    """An address of a service, without a slash at the end. Raises UserError, which does not show the address."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise UserError("the model's address is none; expected http://HOST:PORT/v1 or https://HOST/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError("the model's address holds more than host and path; give keys by environment or file")
    return url.rstrip("/")


def split_address(name: str) -> tuple[str, str]:
    """A model's name and the address after it, which is checked: MODEL@http://HOST:PORT/v1; "" where there is none.

    Raises UserError, which does not show the address.
    """
    model, mark, rest = name.partition("@http")
    return (model, checked_url(f"http{rest}")) if mark else (name, "")


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
