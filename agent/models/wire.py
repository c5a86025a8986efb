"""`Wire`: JSON over HTTP to one service, within a deadline that holds whatever the service does.

The requests run on an event loop in a thread of their own. Only there can a call be cancelled at a certain moment while
a server sends slowly, hangs, or a host name is resolved.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import threading
import zlib
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
DONE = object()  # after the last event of a stream that says so
_SAID = 300  # characters of a service's own words in a message
_LISTENED = 65_536  # bytes of an error that are read for what it names
_CONNECT = 10.0  # seconds
_T = TypeVar("_T")
_LOOPS: dict[int, asyncio.AbstractEventLoop] = {}  # by process


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

        return self._told(run(self._bounded(ask(), seconds)))

    def events(self, path: str, body: Mapping[str, Any], seconds: float) -> Iterator[Any]:
        """The server-sent events that the service answers with, parsed, as they come, and DONE where it says that they
        are all. JSON in place of a stream is one event. Raises ModelError."""

        async def listen(put: Callable[[bytes], None]) -> None:
            rest = b""
            async for chunk in self._chunks(path, body):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    put(line)
            put(rest)
            put(b"")

        reader = EventReader()
        for line in relay(lambda put: self._bounded(listen(put), seconds)):
            for kind, data in reader.feed(line):
                if kind != "error" and data.strip() == b"[DONE]":
                    yield DONE
                    return
                yield self._told(data, broken=kind == "error")
        if reader.strays:
            yield self._told(b"\n".join(reader.strays))

    def _told(self, data: bytes, *, broken: bool = False) -> Any:
        """What the service says, parsed. Raises the error that it tells in place of an answer, whatever its status.
        `broken`: whether it is one for certain."""
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            what = "broke off" if broken else "answered what is no JSON"
            raise BadReplyError(f"{self.url} {what}: {self._words(data)}") from None
        if not broken and not (isinstance(answer, dict) and answer.get("error")):
            return answer
        message, code = _error_in(answer)
        said = f"{self.url} answered an error: {self.scrub(message)[:_SAID] or self._words(data)}"
        if code.isdecimal() and 400 <= int(code) < 600:
            raise status_error(int(code), said, None, answer=self._answer(data), billed=True)
        raise BadReplyError(said)

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
            self._client = http_client(httpx2.Timeout(None, connect=_CONNECT), proxies=not is_loopback(self.url))
        size, said = 0, bytearray()
        data = json.dumps(body, allow_nan=False).encode()
        headers["content-type"] = "application/json"
        async with self._client.stream("POST", self.url + path, content=data, headers=headers) as response:
            unpack = self._unpacker(response.headers.get("content-encoding", ""))
            async for packed in response.aiter_raw():
                chunk = unpack(packed)
                size += len(chunk)
                if size > LARGEST:
                    raise BadReplyError(f"{self.url} answered more than {LARGEST / 2**20:.0f} MiB", retryable=False)
                if response.is_success:
                    yield chunk
                else:
                    said += chunk
            if not response.is_success:
                raise self._error(response, bytes(said))

    def _unpacker(self, encoding: str) -> Callable[[bytes], bytes]:
        """Unpacks what a server packs though it was asked not to, at most a byte more than the largest answer."""
        kind = encoding.strip().lower()
        if kind in ("", "identity"):
            return lambda data: data
        if kind not in ("gzip", "x-gzip", "deflate"):
            what = self.scrub(kind)[:20]
            raise BadReplyError(f"{self.url} packs its answers as {what!r}; expected identity, gzip or deflate")
        packed = zlib.decompressobj(47 if "gzip" in kind else 15)

        def unpack(data: bytes) -> bytes:
            try:
                return packed.decompress(data, LARGEST + 1)
            except zlib.error:
                raise BadReplyError(f"{self.url} answered what is no {kind}") from None

        return unpack

    def _error(self, response: httpx2.Response, data: bytes) -> ModelError:
        status, message, code = response.status_code, "", ""
        with contextlib.suppress(ValueError, RecursionError):  # its own kind of words
            message, code = _error_in(json.loads(data))
        message = self.scrub(message)[:_SAID] or self._words(data)
        if response.is_redirect:
            message = f"{self._moved(response)} {message}".strip()
        text = f"{self.url} answered {status}: {message or 'nothing'}"
        wait = retry_after(response.headers.get("retry-after"))
        return status_error(status, text, wait, quota=code == "insufficient_quota", answer=self._answer(data))

    def _moved(self, response: httpx2.Response) -> str:
        """Where the service points to. Nobody goes there by himself: the key and the pictures are for this address."""
        try:
            to = str(response.url.join(response.headers.get("location", "")))
        except (httpx2.InvalidURL, ValueError):
            return "it has moved."
        return f"it has moved to {self.scrub(to)[:_SAID]}; if that is right, name that address, up to its /v1."

    def _words(self, data: bytes) -> str:
        return self.scrub(data[: 4 * _SAID].decode(errors="replace"))[:_SAID]

    def _answer(self, data: bytes) -> str:
        return self.scrub(data[:_LISTENED].decode(errors="replace"))


def _error_in(answer: Any) -> tuple[str, str]:
    """The words and the code of an error, as services of chat completions tell it; "" where they don't."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return (error, "") if isinstance(error, str) else ("", "")
    message = error.get("message")
    return message if isinstance(message, str) else "", str(error.get("code", ""))[:40]


class EventReader:
    """Reads server-sent events line by line. `strays`: the lines that belong to none, as long as no event came."""

    def __init__(self) -> None:
        self.strays: list[bytes] = []
        self._kind = ""
        self._data: list[bytes] = []
        self._begun = False

    def feed(self, line: bytes) -> Iterator[tuple[str, bytes]]:
        """The events that are complete with this line: kind and data. An event whose first line is JSON is complete
        with it: some servers send no empty line after it."""
        bare = line.removeprefix(b"\xef\xbb\xbf").strip()
        field, _, value = bare.partition(b":")
        value = value.strip()
        if field == b"data" and value:
            self._begun, self.strays = True, []
            self._data.append(value)
            if len(self._data) == 1 and _is_json(value):
                yield self._end(self._kind)
        elif field == b"event":
            self._kind = value.decode(errors="replace").lower()
        elif bare and field not in (b"", b"data", b"id", b"retry") and not self._begun:
            self.strays.append(line)
        elif not bare:
            kind, self._kind = self._kind, ""
            if self._data:
                yield self._end(kind)

    def _end(self, kind: str) -> tuple[str, bytes]:
        data, self._data = b"\n".join(self._data), []
        return kind, data


def _is_json(data: bytes) -> bool:
    if data == b"[DONE]":
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def http_client(timeout: httpx2.Timeout | None, *, proxies: bool) -> httpx2.AsyncClient:
    """A client that follows nobody to another address. `proxies`: whether it goes through those that the environment
    names. Raises RefusedError where one of them can't be used; the message does not show it, it may hold a password."""
    try:
        return httpx2.AsyncClient(timeout=timeout, trust_env=proxies, follow_redirects=False)
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        if not proxies:
            raise
        names = [name for name in os.environ if name.lower() in ("all_proxy", "http_proxy", "https_proxy")]
        kinds = sorted({f"{name}={os.environ[name].partition('://')[0]}://..." for name in names})
        socks = "; for socks5:// install socksio" if isinstance(error, ImportError) else ""
        raise RefusedError(
            f"the proxy of the environment can't be used ({', '.join(kinds) or type(error).__name__}); expected "
            f"http:// or https://{socks}; unset it, or put the model's host into NO_PROXY"
        ) from None


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


def status_error(
    status: int, text: str, wait: float | None, *, quota: bool = False, answer: str = "", billed: bool = False
) -> ModelError:
    """The error that an HTTP status stands for. `quota`: what is used up does not come back by waiting. `answer`: all
    that the service said."""
    if status == 429 and not quota:
        return RateLimitedError(text, retry_after=wait, billed=billed)
    if status in (408, 425) or status >= 500:
        return UnavailableError(text, retry_after=wait, billed=billed, status=status)
    return RefusedError(text, status=status, answer=answer, billed=billed)


def _loop(pid: int) -> asyncio.AbstractEventLoop:
    """The event loop of the models, in a daemon thread. `pid`: a forked process needs one of its own."""
    if (found := _LOOPS.get(pid)) is not None:
        return found
    made = asyncio.new_event_loop()
    loop = _LOOPS.setdefault(pid, made)  # of threads that come first together, one wins; a lock could be forked locked
    if loop is made:
        threading.Thread(target=loop.run_forever, name="models", daemon=True).start()
    else:
        made.close()
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
