"""OpenAI's chat completions for a policy: a chat with pictures in, the plain text of a decision out.

A conversation is an episode: a user's message shows what is seen, the assistant's is the decision. The text is what
agent.prompted.Setting reads and writes, in the language of agent/codec.py:

    think: red key left (12, 9)
    act: hold KeyW look -16 0 for 114ms
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.codec import ActionTextError
from agent.policy import Context, Decision, PolicySpec
from agent.prompted import Setting, Turn
from agent.view import Picture
from agent.web.pictures import read_picture
from envs.action import Action
from envs.text import encodable

_MARK = "Instruction:"  # of the line that our own prompts end with (agent.models.policy.ask)
_DATA = "data:"


class RequestError(ValueError):
    """A request that can't be met. `param`: the field; `code`: OpenAI's word for it; `status`: of HTTP."""

    def __init__(self, message: str, *, param: str = "messages", code: str = "invalid_value", status: int = 400):
        super().__init__(message)
        self.param, self.code, self.status = param, code, status

    def to_json(self) -> dict[str, Any]:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param or None, "code": self.code}}


class _Loose(BaseModel):
    """Clients send more fields than a policy has a use for."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _ImageUrl(_Loose):
    url: str


class _Part(_Loose):
    type: str
    text: str = ""
    image_url: _ImageUrl | str | None = None


class _Message(_Loose):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.type in ("text", "input_text"))

    @property
    def pictures(self) -> list[str]:
        """The addresses of its pictures."""
        parts = () if isinstance(self.content, str) else self.content or ()
        found = [part.image_url for part in parts if part.type == "image_url"]
        return [address.url if isinstance(address, _ImageUrl) else address or "" for address in found]


class _StreamOptions(_Loose):
    include_usage: bool = False


class ChatRequest(_Loose):
    """The fields of a request that count here."""

    model: str = ""
    messages: list[_Message] = Field(min_length=1, max_length=2048)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    n: int | None = 1
    seed: int | None = None
    reasoning_effort: str | None = None

    @classmethod
    def read(cls, body: bytes) -> ChatRequest:
        """Raises RequestError."""
        try:
            request = cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise RequestError(f"{place or 'body'}: {first['msg']}", param=place) from None
        if request.n not in (None, 1):
            raise RequestError("n: a policy has one answer; expected 1", param="n")
        return request


def context_of(request: ChatRequest, spec: PolicySpec, setting: Setting) -> Context:
    """The context of the decision that a chat asks for, as the control loop would have made it. Raises RequestError."""
    told, since = "", None
    chunks: list[tuple[Action, ...]] = []
    thoughts: list[str] = []
    addresses: list[str] = []
    for message in request.messages:
        if message.role == "user":
            said = _instruction(message.text)
            if said and told and said != told:  # thoughts about the old one would mislead
                thoughts, since = [""] * len(thoughts), 0
            told = said or told
            addresses += message.pictures
        elif message.role == "assistant":
            chunk, thought = _done(message.text, setting, chunks)
            chunks.append(chunk)
            thoughts.append(thought)
            since = None if since is None else since + 1
    last = request.messages[-1]
    if last.role != "user" or not last.pictures:
        raise RequestError("messages: expected the last one to be the user's, with a picture of what is seen now")
    if not told:
        raise RequestError("messages: no user says what to do; expected an instruction as text")
    pictures = [_picture(address) for address in addresses[-spec.view.frames :]]
    newest = pictures[-1]
    sizes = spec.view.sizes((newest.shape[0], newest.shape[1]))
    shown = pictures[-len(sizes) :]
    frames = tuple(spec.view.picture(p, s) for p, s in zip(shown, sizes[len(sizes) - len(shown) :], strict=True))
    count = max(spec.history, spec.view.frames) - 1
    past = slice(len(chunks) - min(count, len(chunks)), None)
    seed = (request.seed or 0) % (1 << 32)
    return Context(frames, encodable(told), tuple(chunks[past]), tuple(thoughts[past]), since=since, seed=seed)


def text_of(decision: Decision, setting: Setting) -> str:
    """A decision as text, which `Setting.read` reads."""
    plan = setting.plan_of(decision.actions, done=decision.done)
    return setting.write(Turn(plan, " ".join(decision.thought.split()), " ".join(decision.speech.split())))


def completion(text: str, model: str, request: ChatRequest) -> dict[str, Any]:
    """The answer as one object. Usage counts words, and no picture: a policy's own tokens are none of a chat's."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {**_head("chat.completion", model), "choices": [choice], "usage": _usage(text, request)}


def stream(text: str, model: str, request: ChatRequest) -> Iterator[str]:
    """The answer as server-sent events, a line of the text in each."""
    head = _head("chat.completion.chunk", model)

    def event(delta: dict[str, Any], finish: str | None = None) -> str:
        return _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield event({"role": "assistant", "content": ""})
    for line in text.splitlines(keepends=True):
        yield event({"content": line})
    yield event({}, "stop")
    if request.stream_options and request.stream_options.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(text, request)})
    yield "data: [DONE]\n\n"


def models(names: Sequence[str]) -> dict[str, Any]:
    """The answer to GET /v1/models."""
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "ludens"} for name in names]
    return {"object": "list", "data": listed}


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def _usage(text: str, request: ChatRequest) -> dict[str, int]:
    read, written = sum(len(message.text.split()) for message in request.messages), len(text.split())
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _instruction(text: str) -> str:
    """What a user's text asks for: what stands after the mark, where one of its lines begins with it, else all."""
    marked = [line for line in text.splitlines() if line.startswith(_MARK)]
    return (marked[-1][len(_MARK) :] if marked else text).strip()


def _done(text: str, setting: Setting, before: Sequence[tuple[Action, ...]]) -> tuple[tuple[Action, ...], str]:
    """The actions and the thought that the assistant is said to have written; none where no action can be read."""
    try:
        turn = setting.read(text)
        return setting.actions(turn, Context((), "", tuple(before[-1:]))), turn.thought
    except ActionTextError:
        return (), ""


def _picture(url: str) -> Picture:
    """The picture of a data: URL. Raises RequestError, also for any other address: this server fetches nothing."""
    head, _, data = url.partition(",")
    if not head.startswith(_DATA) or not head.endswith(";base64"):
        raise RequestError("image_url: expected data:image/png;base64,... (or jpeg, webp); addresses are not fetched")
    try:
        return read_picture(data)
    except ValueError as error:
        raise RequestError(f"image_url: {error}") from None
