"""`openai:MODEL@URL`: any service that speaks OpenAI's chat completions: hosted ones, vLLM, Ollama, llama.cpp.

It speaks the protocol itself: a deadline and a bound on the size of an answer need more control than an SDK gives, and
servers differ in more ways than one SDK knows.
"""

from __future__ import annotations

import base64
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.models.base import (
    BadReplyError,
    Delta,
    Finish,
    Message,
    ModelError,
    Picture,
    RefusedError,
    Reply,
    Request,
    UnavailableError,
    Usage,
)
from agent.models.choice import NoChoiceError, likeliest, summed
from agent.models.config import Settings
from agent.models.dialect import HOSTED as HOSTED_DIALECT
from agent.models.dialect import PLAIN, Talks, negotiated
from agent.models.pictures import encode
from agent.models.thoughts import PieceJoiner, ThoughtFilter, split_thought
from agent.models.wire import DONE, Wire, checked_url, split_address
from envs.errors import UserError

HOSTED = "https://api.openai.com/v1"
_PATH = "/chat/completions"
_FAILS = (400, 422, 500, 501)  # statuses of services that can't enforce a form
_TOP = 20  # the most tokens of which services tell log-probabilities
_LOW, _MEDIUM = 1024, 8192  # tokens of thoughts, up to which an effort counts as low or medium


class OpenAiBackend:
    """A model behind chat completions. `free`: it costs nothing. `images`: whether it reads pictures.

    `omit`, `extra`: fields of a request that are never sent, and further ones that always are.
    """

    def __init__(
        self, model: str, wire: Wire, *, name: str, free: bool = False, images: bool = True,
        omit: tuple[str, ...] = (), extra: Mapping[str, Any] = PLAIN,
    ) -> None:  # fmt: skip
        self.model, self.name, self.free, self._wire, self._images = model, name, free, wire, images
        self._omit, self._extra = omit, extra
        self._formless = False  # the service fails where a form is asked for

    def complete(self, request: Request, seconds: float) -> Reply:
        answer, body = self._complete(request, seconds)
        try:
            choice = answer["choices"][0]
            message = choice["message"]
            text, thought = _text(message.get("content")), _thought(message)
            if request.schema is not None and not text and choice.get("finish_reason") != "length":
                text, thought = _call(message) or thought, ""
        except (KeyError, IndexError, TypeError, AttributeError):
            raise BadReplyError(f"{self.name} answered no chat completion: {self._words(answer)}") from None
        reply = self._reply(text, thought, choice.get("finish_reason"), answer.get("usage"), message.get("refusal"))
        return replace(reply, sent=_weight(body))

    def _complete(self, request: Request, seconds: float) -> tuple[Any, dict[str, Any]]:
        """The service's answer, and the request that it answers; a service that fails where a form is asked for is
        asked without, from then on."""
        end = time.monotonic() + seconds

        def ask() -> tuple[Any, dict[str, Any]]:
            body = self.body(request)
            (answer,) = self._answers(body, end - time.monotonic(), lambda *asked: iter((self._wire.post(*asked),)))
            return answer, body

        try:
            return ask()
        except (RefusedError, UnavailableError) as error:
            if request.form is None or self._formless or error.status not in _FAILS:
                raise
        self._formless = True
        try:
            return ask()
        except ModelError:
            self._formless = False  # that was not it
            raise

    def stream(self, request: Request, seconds: float) -> Iterator[Delta | Reply]:
        body = {**self.body(request), "stream": True, "stream_options": {"include_usage": True}}
        texts, thoughts = PieceJoiner(), PieceJoiner()
        marks, hiding, hiding_thought = ThoughtFilter(), self._wire.hiding(), self._wire.hiding()
        finish = usage = refusal = None
        for event in self._answers(body, seconds, self._wire.events):
            if event is DONE:
                finish = finish or "stop"  # some servers give no reason
                break
            text = thought = ""
            try:
                usage = event.get("usage") or usage
                for choice in event.get("choices") or ():
                    delta = choice.get("delta") or choice.get("message") or {}  # a message: no stream, all at once
                    finish = choice.get("finish_reason") or finish or ("stop" if "message" in choice else None)
                    refusal = delta.get("refusal") or refusal
                    text, thought = text + _text(delta.get("content")), thought + _thought(delta)
            except (KeyError, TypeError, AttributeError):
                raise BadReplyError(f"{self.name} streams no chat completion: {self._words(event)}") from None
            if (thought := thoughts.feed(thought)) and (told := hiding_thought.feed(thought)):
                yield Delta(told, thought=True)
            if text := texts.feed(text):
                yield from marks.feed(hiding.feed(text))
        if told := hiding_thought.feed(thoughts.end()) + hiding_thought.end():
            yield Delta(told, thought=True)
        yield from marks.feed(hiding.feed(texts.end()) + hiding.end())
        yield from marks.end()
        if finish is None:
            raise BadReplyError(f"{self.name} broke off in the middle of its answer")
        reply = self._reply(texts.whole, thoughts.whole, finish, usage, refusal)
        yield replace(reply, sent=_weight(body))

    def choose(self, request: Request, choices: Sequence[str], seconds: float) -> Reply:
        """See `agent.models.choice.Chooses`. Services tell log-probabilities of the 20 likeliest tokens."""
        body = {**self.body(request), "logprobs": True, "top_logprobs": _TOP}
        try:
            (answer,) = self._answers(body, seconds, lambda *asked: iter((self._wire.post(*asked),)))
        except RefusedError as error:
            if "logprob" not in error.answer.lower():
                raise
            raise NoChoiceError(
                f"{self.name} tells no log-probabilities: {error}", status=error.status, answer=error.answer
            ) from None
        try:
            told = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            tokens = [(str(item["token"]), float(item["logprob"])) for item in told]
            found = summed(tokens, choices)
            first = tokens[0][0]
        except (KeyError, IndexError, TypeError, ValueError):
            raise NoChoiceError(f"{self.name} tells no log-probabilities", billed=True) from None
        if all(log == -math.inf for log in found.values()):
            said = self._wire.scrub(first)[:40]
            raise BadReplyError(f"{self.name} answers {said!r}; expected one of {', '.join(choices)}", retryable=False)
        return Reply(likeliest(found), self.name, _usage(answer.get("usage")), data=found)

    def _answers(self, body: dict[str, Any], seconds: float, send: Callable[..., Iterator[Any]]) -> Iterator[Any]:
        """What the service answers, in one or more pieces, after the fields that it takes were found."""
        end = time.monotonic() + seconds
        start = HOSTED_DIALECT if self._wire.url == HOSTED else PLAIN
        talks = Talks(self._wire.url, self.model, body, start=start, omit=self._omit, extra=self._extra)
        return negotiated(talks, lambda spelled: send(_PATH, spelled, end - time.monotonic()))

    def _words(self, answer: Any) -> str:
        return self._wire.scrub(json.dumps(answer)[:1000])[:300]

    def close(self) -> None:
        self._wire.close()

    def body(self, request: Request) -> dict[str, Any]:
        """The request with all fields that it needs. Raises RefusedError for pictures where the model sees none."""
        if not self._images and any(message.images for message in request.messages):
            raise RefusedError(f"{self.name} sees no pictures; take a vision-language model")
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(message) for message in request.messages],
            "max_tokens": request.max_tokens + (request.think or 0),
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.temperature is not None:
            body["temperature"] = request.temperature
        schema = request.schema or (None if self._formless else request.form)
        if schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}
        if request.think is not None:
            body["reasoning_effort"] = _effort(request.think)
            # vLLM, llama.cpp and `transformers serve` hand it to the chat template
            body["chat_template_kwargs"] = {"enable_thinking": request.think > 0}
        return body

    def _reply(self, text: str, thought: str, finish: Any, usage: Any, refusal: Any) -> Reply:
        if refusal:
            raise RefusedError(f"{self.name} will not: {self._wire.scrub(str(refusal))[:300]}", billed=True)
        text, thought = self._wire.hide(text), self._wire.hide(thought)
        if not thought:
            thought, text = split_thought(text)
        ended: Finish = "length" if finish == "length" else "stop"
        return Reply(text.strip(), self.name, _usage(usage), thought.strip(), ended)


def data_url(image: Picture, encoding: str = "png") -> str:
    """A picture as a data URL."""
    data, kind = encode(image, encoding)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _weight(body: Mapping[str, Any]) -> int:
    """Bytes of the pictures and words of a request."""
    contents = [message["content"] for message in body["messages"]]
    parts = [part for content in contents if not isinstance(content, str) for part in content]
    texts = [content for content in contents if isinstance(content, str)]
    texts += [part["text"] if part["type"] == "text" else part["image_url"]["url"] for part in parts]
    return sum(len(text.encode()) for text in texts)


def _message(message: Message) -> dict[str, Any]:
    if not message.images:  # some servers do not accept a list of parts
        return {"role": message.role, "content": message.text}
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(image, message.encoding)}} for image in message.images
    ]
    if message.text:
        parts.append({"type": "text", "text": message.text})
    return {"role": message.role, "content": parts}


def _effort(think: int) -> str:
    if think == 0:
        return "none"
    return "low" if think <= _LOW else "medium" if think <= _MEDIUM else "high"


def _text(content: Any) -> str:
    """The text of a message, which some servers send in parts."""
    if not content or isinstance(content, str):
        return content or ""
    return "".join(str(part["text"]) for part in content if part.get("type") == "text")


def _thought(message: dict[str, Any]) -> str:
    """The thought of a message, from servers that send it apart; they differ in the name of the field."""
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def _call(message: dict[str, Any]) -> str:
    """The arguments of the one call of a tool: some servers make a schema into a tool."""
    calls = message.get("tool_calls") or []
    return str(calls[0]["function"]["arguments"]) if len(calls) == 1 else ""


def _usage(data: Any) -> Usage | None:
    """The tokens that the service counted; None where it sends no counts or unusable ones."""
    try:
        details = data.get("completion_tokens_details") or {}
        counts = [int(data["prompt_tokens"]), int(data["completion_tokens"]), int(details.get("reasoning_tokens") or 0)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return Usage(*counts) if min(counts) >= 0 else None


def load_openai(argument: str = "", *, settings: Settings) -> OpenAiBackend:
    """The backend `openai:MODEL@URL`, or `openai:MODEL` for the hosted service or where $OPENAI_BASE_URL points.

    $OPENAI_API_KEY goes to these two alone. Raises UserError.
    """
    model, url = split_address(argument)
    url = url or settings.url or ""
    if not model:
        raise UserError("say which model: openai:MODEL, or openai:MODEL@http://HOST:PORT/v1")
    home = checked_url(os.environ.get("OPENAI_BASE_URL") or HOSTED)
    at = checked_url(url or home)
    secret = settings.secret(*(("OPENAI_API_KEY",) if at == home else ()))
    if at == HOSTED and secret is None:
        raise UserError(f"openai:{model} needs a key: set OPENAI_API_KEY, or name a server: openai:{model}@URL")
    name = f"openai:{model}@{at}" if url else f"openai:{model}"
    return OpenAiBackend(model, Wire(at, secret), name=name, omit=settings.omit, extra=settings.extra)
