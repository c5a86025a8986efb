"""`Chromium`: one headless browser with one page, driven by playwright in its own thread."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import re
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

from envs import environment
from envs.errors import UserError
from envs.reaper import guarded

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, ConsoleMessage, Dialog, Page

Frame = npt.NDArray[np.uint8]
Event = tuple[str, Mapping[str, Any]]  # a CDP method and its parameters

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_HOOKS = Path(__file__).with_name("hooks.js")
_FLAGS = (
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",  # WebGL without a GPU
    "--disable-quic", "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-smooth-scrolling",  # a page in lockstep scrolls by time of its own otherwise
    "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_NUDGE_SECONDS = 0.3
_LEFT = ("navigated", "context was destroyed", "Cannot find context")  # what CDP says where a page goes
_TAIL = 5  # lines of the page's console in an error
_KEPT = 500  # lines of it that are kept
_MOST_ERRORS = 100  # different ones
_LINE = 200  # characters of each

_environment = threading.Lock()
_T = TypeVar("_T")


class BrowserError(UserError, RuntimeError):
    """The browser or its page does not do what it should; the message ends with the page's last console lines."""


def find_chromium() -> str:
    """The path of the system's Chromium: `$CHROMIUM`, or the first known name on the path. Raises BrowserError."""
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else _NAMES:
        found = shutil.which(name)
        if found:
            return found
    if named:
        raise BrowserError(f"$CHROMIUM is {named!r}, which is no program; expected the path of Chromium")
    raise BrowserError("Chromium is not installed: apt-get install chromium libatomic1, or set CHROMIUM to its path")


class Chromium:
    """A browser that shows the pages of one origin and reaches nothing else.

    `origin`: scheme, host and port. `size`: (width, height) of the view. `timeout`: seconds for a page to load and for
    any answer of it. A call on a browser that died or does not answer raises BrowserError, and from then on `dead`
    says why; close it and make another.
    """

    def __init__(self, origin: str, size: tuple[int, int], timeout: float) -> None:
        self._origin, self._size, self._timeout = origin, size, timeout
        self._console: deque[str] = deque(maxlen=_KEPT)
        self._errors: dict[str, int] = {}  # and how often
        self._encoded: str | None = None
        self._mark = 0
        self._acks: set[asyncio.Future[Any]] = set()
        self._pid: int | None = None
        self._driver: Any = None
        self._browser: Any = None
        self._page: Page
        self._cdp: CDPSession
        self._loop = asyncio.new_event_loop()
        self._gone: asyncio.Future[str] = self._loop.create_future()
        self._fresh = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="browser", daemon=True)
        self._thread.start()
        try:
            self._run(self._start(find_chromium()), _START_SECONDS, "Chromium does not start")
        except BaseException:
            self.close()
            raise

    @property
    def dead(self) -> str | None:
        """Why this browser is of no more use; None while it is well."""
        return self._gone.result() if self._gone.done() else None

    @property
    def console(self) -> tuple[str, ...]:
        """The console's lines since the page was loaded, the last ones if there were many."""
        return tuple(self._console)

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong in the page since it was loaded, and how often: uncaught errors, which begin with "uncaught",
        and errors that its console was told of, such as files that are missing."""
        return dict(self._errors)

    @property
    def version(self) -> str:
        """Such as "150.0.7871.100"."""
        return str(self._browser.version)

    def load(self, url: str, name: str | None = None) -> None:
        """Load `url` and wait until it has loaded. `name`: what errors call it, where the address is a secret. Raises
        BrowserError if it can't be had."""
        self._run(self._load(url, name or url), self._timeout + _CLOSE_SECONDS, f"{name or url} does not load")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, awaited where it is a promise, as JSON would carry it."""
        return self._run(self._evaluate(expression), self._timeout, "the page does not answer")

    def perform(self, events: Sequence[Event], call: str, *, draw: bool) -> tuple[Any, Frame | None]:
        """Send input events and call `call`, JavaScript in which COLOUR is put where the hooks want a frame's mark.

        Returns its value, and, with `draw`, the first frame that shows the page as that call left it. A page that loads
        another one, or itself, meanwhile gives {"lost": True, "events": 0} once that has loaded.
        """
        return self._run(self._perform(events, call, draw), self._timeout, "the page does not answer")

    def newest(self) -> Frame:
        """The newest frame that came, uint8 (H, W, 3), a fresh array."""
        if self._encoded is None:
            raise BrowserError(self._told("the page has shown nothing yet"))
        return self._decode(self._encoded)

    def kill(self) -> None:
        """End a browser that may not answer any more."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)  # the driver starts it as the leader of a group

    def close(self) -> None:
        """End the browser and its driver. Safe to call twice."""
        if self._loop.is_closed():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_CLOSE_SECONDS)
        except Exception:  # it hangs, or is half gone: what matters is that nothing is left
            self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)

    # In the caller's thread

    def _run(self, work: Coroutine[Any, Any, _T], seconds: float, what: str) -> _T:
        future = asyncio.run_coroutine_threadsafe(self._alive(work), self._loop)
        try:
            return future.result(seconds)
        except TimeoutError as error:
            future.cancel()
            reason = f"{what}: no answer in {seconds:g} s"
            self.kill()  # a page in an endless loop never answers again
            self._loop.call_soon_threadsafe(self._end, reason)
            raise BrowserError(self._told(reason)) from error

    def _told(self, reason: str) -> str:
        lines = "; the console's last lines: " + " | ".join([*self._console][-_TAIL:]) if self._console else ""
        return f"{reason}{lines}"

    # In the browser's thread

    def _live(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # Ctrl-C is for us: a driver that took it would end in the middle
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()

    async def _alive(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What `work` returns; an error as soon as the browser is gone."""
        from playwright.async_api import Error

        task = asyncio.ensure_future(work)
        either: set[asyncio.Future[Any]] = {task, self._gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._gone.done():
            try:
                return await task
            except Error as error:
                await asyncio.wait({self._gone}, timeout=0.5)  # the news of the end may come after the error
                if not self._gone.done():
                    said = error.message.split("\nCall log")[0].split("Browser logs:")[-1]
                    raise BrowserError(self._told(" ".join(said.split())[-600:])) from error
        task.cancel()
        raise BrowserError(self._told(self._gone.result()))

    def _end(self, reason: str) -> None:
        if not self._gone.done():
            self._gone.set_result(reason)

    def _note(self, line: str, *, error: bool = False) -> None:
        line = " ".join(line.split())[:_LINE]
        self._console.append(line)
        if error and (line in self._errors or len(self._errors) < _MOST_ERRORS):
            self._errors[line] = self._errors.get(line, 0) + 1

    async def _start(self, program: str) -> None:
        try:
            from playwright.async_api import async_playwright
        except ImportError as error:
            raise BrowserError("playwright is not installed: pip install 'ludens[browser]'") from error
        try:
            with _own_session():
                self._driver = await async_playwright().start()
        except Exception as error:  # its Node.js says what it lacks on standard error alone
            raise BrowserError("playwright does not start for want of a library: apt-get install libatomic1") from error
        width, height = self._size
        parts = urlsplit(self._origin)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        self._browser = await self._driver.chromium.launch(
            executable_path=guarded(program, by_child=True),
            env={**environment.for_games()},
            headless=True,
            chromium_sandbox=os.geteuid() != 0,  # Chromium refuses to sandbox what root starts
            # Whatever is not the page's own origin goes to a proxy that is not there, on every kind of connection.
            args=[
                *_FLAGS,
                "--proxy-server=http://blocked.invalid:9",
                f"--proxy-bypass-list=<-loopback>;{parts.hostname}:{port}",
                f"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE {parts.hostname}",
            ],
            timeout=_START_SECONDS * 1000,
        )
        self._browser.on("disconnected", lambda _: self._end("Chromium ended"))
        system = await self._browser.new_browser_cdp_session()
        processes = (await system.send("SystemInfo.getProcessInfo"))["processInfo"]
        self._pid = next(int(p["id"]) for p in processes if p["type"] == "browser")
        context = await self._browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=False, service_workers="block", locale="en-US"
        )
        await context.add_init_script(path=_HOOKS)
        self._page = await context.new_page()
        context.on("page", lambda page: self._soon(page.close()))  # one window: a second is refused
        self._page.on("crash", lambda _: self._end("the page crashed"))
        self._page.on("dialog", lambda dialog: self._soon(self._answer(dialog)))
        self._page.on("console", self._hear)
        self._page.on("pageerror", lambda error: self._threw(error.name or "Error", error.message, error.stack or ""))
        self._cdp = await context.new_cdp_session(self._page)
        self._cdp.on("Page.screencastFrame", self._came)

    async def _stop(self) -> None:
        if self._browser is not None:
            await self._browser.close()
        if self._driver is not None:
            await self._driver.stop()

    def _soon(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        self._acks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._acks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # the page may have gone meanwhile

    async def _answer(self, dialog: Dialog) -> None:
        self._note(f"{dialog.type}: {dialog.message}")
        await (dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss())

    def _hear(self, message: ConsoleMessage) -> None:
        failed = message.type == "error"
        place = _base(message.location["url"]) if failed and "load resource" in message.text else ""
        self._note(f"{message.type}: {message.text}{f' ({place})' if place else ''}", error=failed)

    def _threw(self, name: str, message: str, stack: str) -> None:
        place = re.search(r"([^/\s()]+:\d+:\d+)\)?\s*$", stack.split("\n    at ")[1] if "\n    at " in stack else "")
        self._note(f"uncaught {name}: {message}{f' ({place[1]})' if place else ''}", error=True)

    def _came(self, event: Any) -> None:
        self._soon(self._cdp.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]}))
        self._encoded = event["data"]
        self._fresh.set()

    def _decode(self, encoded: str) -> Frame:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            frame = np.array(image.convert("RGB"))
        frame[-1, 0] = frame[-1, 1]  # where the mark is
        return frame

    async def _load(self, url: str, name: str) -> None:
        from playwright.async_api import TimeoutError as LateError

        self._console.clear()
        self._errors.clear()
        try:
            response = await self._page.goto(url, wait_until="load", timeout=self._timeout * 1000)
        except LateError as error:
            raise BrowserError(self._told(f"{name} does not load: no end in {self._timeout:g} s")) from error
        if response is not None and not response.ok:
            raise BrowserError(f"{name} does not load: the server says {response.status} {response.status_text}")
        width, height = self._size
        with contextlib.suppress(Exception):
            await self._cdp.send("Page.stopScreencast")
        self._encoded = None
        await self._cdp.send("Page.startScreencast", {"format": "png", "maxWidth": width, "maxHeight": height})

    async def _evaluate(self, expression: str) -> Any:
        reply = await self._cdp.send(
            "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
        )
        details = reply.get("exceptionDetails")
        if details is None:
            return reply["result"].get("value")
        thrown = details.get("exception", {})
        said = str(thrown.get("description") or thrown.get("value") or details["text"]).splitlines()[0]
        if not self._page.url.startswith(f"{self._origin}/"):
            said = f"the page went to {self._page.url}, and only {self._origin} is allowed"
        raise BrowserError(self._told(said.removeprefix("Error: ")))

    async def _perform(self, events: Sequence[Event], call: str, draw: bool) -> tuple[Any, Frame | None]:
        from playwright.async_api import Error

        # The replies are not waited for in between: the hooks count in the page what has come.
        sent = [asyncio.ensure_future(self._cdp.send(method, dict(given))) for method, given in events]
        try:
            value = await self._evaluate(call.replace("COLOUR", self._next_mark() if draw else "null"))
            frame = await self._marked() if draw and "lost" not in value else None
        except Error as error:
            if not any(words in error.message for words in _LEFT):
                raise
            await self._page.wait_for_load_state()
            return {"lost": True, "events": 0}, None
        finally:
            await asyncio.gather(*sent, return_exceptions=True)
        return value, frame

    def _next_mark(self) -> str:
        self._mark = (self._mark + 0x9E3779) % 0x1000000  # an odd step: no colour comes twice in 16 million
        return f'"#{self._mark:06x}"'

    async def _marked(self) -> Frame:
        """The first frame with the mark."""
        seen: str | None = None
        nudge = time.monotonic() + _NUDGE_SECONDS
        while True:
            if self._encoded is not None and self._encoded is not seen:
                seen = self._encoded
                with Image.open(io.BytesIO(base64.b64decode(seen))) as image:
                    if image.size == self._size:
                        red, green, blue = image.convert("RGB").getpixel((0, image.height - 1))  # type: ignore[misc]
                        if red << 16 | green << 8 | blue == self._mark:
                            return self._decode(seen)
            self._fresh.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._fresh.wait(), _NUDGE_SECONDS)
            if time.monotonic() > nudge:  # the browser drops a frame now and then: paint another
                await self._evaluate(f"__ludens.mark({self._next_mark()})")
                nudge = time.monotonic() + _NUDGE_SECONDS


@contextlib.contextmanager
def _own_session() -> Iterator[None]:
    """While this lasts, playwright starts its driver in a separate session: a driver that gets the Ctrl+C of a terminal
    would end Chromium before we have closed it."""
    from playwright._impl._driver import compute_driver_executable

    name = "PLAYWRIGHT_NODEJS_PATH"  # the one way to say what is started
    with _environment:
        before = os.environ.get(name)
        os.environ[name] = guarded(compute_driver_executable()[0], session=True)
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def _base(url: str) -> str:
    """The file that a URL names; the folders before it may be a secret."""
    return urlsplit(url).path.rpartition("/")[2]


def try_out() -> str:
    """Start Chromium, draw with WebGL and end it; its version. Raises BrowserError that says what is missing."""
    chromium = Chromium("http://127.0.0.1:9", (64, 64), 30.0)
    try:
        version, webgl = chromium.version, "document.createElement('canvas').getContext('webgl2') !== null"
        if not chromium.evaluate(webgl):
            raise BrowserError(f"Chromium {version} has no WebGL 2")
        return version
    finally:
        chromium.close()
