"""`gemini:MODEL`: Google's models through google-genai (the extra `gemini`), with pictures, thoughts on a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx2
from pydantic import SecretStr

from agent.models.base import (
    BadReplyError,
    Delta,
    Finish,
    Message,
    RefusedError,
    Reply,
    Request,
    UnavailableError,
    Usage,
)
from agent.models.config import Settings
from agent.models.keys import HidingStream, hide_in_reply
from agent.models.pictures import encode
from agent.models.wire import checked_url, http_client, is_loopback, relay, retry_after, run, scrub, status_error
from envs.errors import UserError

_SAID = 300  # characters of the service's own words in a message


class GeminiBackend:
    """A Gemini model. `url`: another address of the service than Google's."""

    free = False

    def __init__(self, model: str, secret: SecretStr, url: str | None = None) -> None:
        from google import genai
        from google.genai import types

        self.model, self.name, self._secret = model, f"gemini:{model}", secret
        self._types: Any = types
        # One client of ours, so that it is known which errors it raises. A key is not for whom a service points to.
        self._http = http_client(None, proxies=url is None or not is_loopback(url))
        self._client = genai.Client(
            vertexai=False,
            api_key=secret.get_secret_value(),
            http_options=types.HttpOptions(
                base_url=url,
                retry_options=types.HttpRetryOptions(attempts=1),  # there is one owner of retries
                httpx_async_client=self._http,
            ),
        )

    def complete(self, request: Request, seconds: float) -> Reply:
        written = _Written(self.name, self._secret)

        async def ask() -> None:
            asked = self._asked(request)
            written.sent = _weight(asked["contents"])
            written.add(await self._client.aio.models.generate_content(**asked))

        run(self._bounded(ask, seconds))
        return written.reply()

    def stream(self, request: Request, seconds: float) -> Iterator[Delta | Reply]:
        written = _Written(self.name, self._secret)

        def listen(put: Callable[[Any], None]) -> Any:
            async def work() -> None:
                asked = self._asked(request)
                written.sent = _weight(asked["contents"])
                async for piece in await self._client.aio.models.generate_content_stream(**asked):
                    put(piece)

            return self._bounded(work, seconds)

        for piece in relay(listen):
            yield from written.add(piece)
        yield from written.end()
        yield written.reply()

    def close(self) -> None:
        run(self._http.aclose())

    def _asked(self, request: Request) -> dict[str, Any]:
        types = self._types
        system = "\n\n".join(m.text for m in request.messages if m.role == "system")
        config = types.GenerateContentConfig(
            system_instruction=system or None,
            max_output_tokens=request.max_tokens + (request.think or 0),
            seed=request.seed,
            temperature=request.temperature,
            response_mime_type="application/json" if request.schema is not None else None,
            response_json_schema=dict(request.schema) if request.schema is not None else None,
            thinking_config=None
            if request.think is None
            else types.ThinkingConfig(thinking_budget=request.think, include_thoughts=request.think > 0),
        )
        contents = [self._content(m) for m in request.messages if m.role != "system"]
        return {"model": self.model, "contents": contents, "config": config}

    def _content(self, message: Message) -> Any:
        part = self._types.Part
        files = [encode(image, message.encoding) for image in message.images]
        parts = [part.from_bytes(data=data, mime_type=kind) for data, kind in files]
        if message.text:
            parts.append(part.from_text(text=message.text))
        return self._types.Content(role="model" if message.role == "assistant" else "user", parts=parts)

    async def _bounded(self, work: Callable[[], Any], seconds: float) -> None:
        from google.genai import errors

        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await work()
        except TimeoutError:
            raise UnavailableError(f"{self.name} gave no whole answer in {seconds:.1f} s", billed=True) from None
        except errors.APIError as error:
            headers: Mapping[str, str] = getattr(error.response, "headers", None) or {}
            said = self._clean(f"{error.status}: {error.message}")
            text = f"{self.name} answered {error.code}: {said}"
            raise status_error(int(error.code or 0), text, retry_after(headers.get("retry-after"))) from None
        except (httpx2.LocalProtocolError, httpx2.InvalidURL, UnicodeError) as error:
            # The request itself is wrong, and the client quotes what is wrong in it, such as a header with the key.
            raise RefusedError(f"{self.name} can't be asked: the request is wrong ({type(error).__name__})") from None
        except httpx2.HTTPError as error:
            what = self._clean(f"{type(error).__name__}: {error}")
            billed = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise UnavailableError(f"{self.name} can't be reached: {what}", billed=billed) from None
        except ValueError as error:  # what is no JSON, or not of the form that the package knows
            raise BadReplyError(f"{self.name} answered what can't be read: {self._clean(str(error))}") from None

    def _clean(self, text: str) -> str:
        return scrub(text, self._secret)[:_SAID]


class _Written:
    """A reply as it comes, whole or in pieces."""

    def __init__(self, name: str, secret: SecretStr | None = None) -> None:
        self._name, self._secret = name, secret
        self._hiding = {thought: HidingStream(secret) for thought in (False, True)}
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._finish, self._usage, self._blocked = "", None, ""
        self.sent = 0

    def add(self, response: Any) -> list[Delta]:
        self._usage = response.usage_metadata or self._usage
        if response.prompt_feedback is not None and response.prompt_feedback.block_reason:
            self._blocked = str(response.prompt_feedback.block_reason.value)
        deltas = []
        for candidate in (response.candidates or ())[:1]:
            if candidate.finish_reason is not None:
                self._finish = str(candidate.finish_reason.value)
            for part in (candidate.content.parts or ()) if candidate.content else ():
                if part.text:
                    (self._thoughts if part.thought else self._texts).append(part.text)
                    if told := self._hiding[bool(part.thought)].feed(part.text):
                        deltas.append(Delta(told, bool(part.thought)))
        return deltas

    def end(self) -> list[Delta]:
        """What is left to tell when no more comes."""
        return [Delta(told, thought) for thought, hiding in self._hiding.items() if (told := hiding.end())]

    def reply(self) -> Reply:
        """Raises RefusedError where the service blocked it, BadReplyError where it broke off."""
        text = hide_in_reply("".join(self._texts), self._secret).strip()
        if self._blocked or (not text and self._finish not in ("", "STOP", "MAX_TOKENS")):
            raise RefusedError(f"{self._name} will not: {self._blocked or self._finish}", billed=True)
        if not self._finish:
            raise BadReplyError(f"{self._name} broke off in the middle of its answer")
        finish: Finish = "length" if self._finish == "MAX_TOKENS" else "stop"
        usage = None
        if self._usage is not None:
            thinking = self._usage.thoughts_token_count or 0
            written = (self._usage.candidates_token_count or 0) + thinking
            usage = Usage(self._usage.prompt_token_count or 0, written, thinking)
        thought = hide_in_reply("".join(self._thoughts), self._secret).strip()
        return Reply(text, self._name, usage, thought, finish, sent=self.sent)


def _weight(contents: Iterable[Any]) -> int:
    """Bytes of the pictures, which go over the wire as base64, and words of a request."""
    parts = [part for content in contents for part in content.parts or ()]
    pictures = [part.inline_data.data or b"" for part in parts if part.inline_data is not None]
    return sum(-(-len(data) // 3) * 4 for data in pictures) + sum(len((part.text or "").encode()) for part in parts)


def load_gemini(argument: str = "", *, settings: Settings) -> GeminiBackend:
    """The backend `gemini:MODEL`; its key is $GEMINI_API_KEY or $GOOGLE_API_KEY. Raises UserError."""
    if not argument:
        raise UserError("say which model: gemini:MODEL")
    secret = settings.secret("GEMINI_API_KEY", "GOOGLE_API_KEY")
    if secret is None:
        raise UserError(f"gemini:{argument} needs a key: set GEMINI_API_KEY")
    url = checked_url(settings.url) if settings.url else None
    try:
        return GeminiBackend(argument, secret, url)
    except RefusedError as error:
        raise UserError(str(error)) from None
    except ModuleNotFoundError as error:
        raise UserError(f"gemini: needs google-genai ({error}): pip install 'ludens[gemini]'") from None
