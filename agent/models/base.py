"""What models that chat have in common: messages in, a reply out; one protocol, a handful of errors.

A backend (`Backend`) makes one attempt at a request and nothing more. `agent.models.model.Model` owns retries, the
deadline of a call, the budget and the check of a schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from envs.errors import UserError
from envs.text import encodable

Picture = npt.NDArray[np.uint8]
Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length"]


class ModelError(Exception):
    """A model gave no answer that can be used. The message is one sentence and holds no key.

    `retry_after`: seconds that the service asks to wait. `billed`: whether the attempt may have cost money.
    """

    retryable = False

    def __init__(self, message: str, *, retry_after: float | None = None, billed: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.billed = billed


class RateLimitedError(ModelError):
    """The service asks for fewer requests."""

    retryable = True


class UnavailableError(ModelError):
    """The service does not answer, answers too late, or answers with an error of its own.

    `status`: of HTTP, 0 where there was none.
    """

    retryable = True

    def __init__(
        self, message: str, *, retry_after: float | None = None, billed: bool = False, status: int = 0
    ) -> None:
        super().__init__(message, retry_after=retry_after, billed=billed)
        self.status = status


class RefusedError(ModelError):
    """The service or the model refuses: a wrong key, an unknown model, too long a prompt, no such role.

    `status`: of HTTP, 0 where there was none. `answer`: all that the service said, without the key.
    """

    def __init__(self, message: str, *, billed: bool = False, status: int = 0, answer: str = "") -> None:
        super().__init__(message, billed=billed)
        self.status, self.answer = status, answer


class BadReplyError(ModelError):
    """The answer is not what was asked for: broken, empty, too large, or against the schema."""

    def __init__(self, message: str, *, billed: bool = True, retryable: bool = True) -> None:
        super().__init__(message, billed=billed)
        self.retryable = retryable


class OverBudgetError(ModelError):
    """The request could exceed the run's cap, so it was not sent."""


@dataclass(frozen=True)
class Message:
    """What one side of a chat said. `images`: uint8 RGB arrays (H, W, 3) of any size, shown before the text.
    `encoding`: how a service gets them, png or jpeg:QUALITY.

    What no service can be sent, such as half a surrogate pair, is replaced in the text. Raises ValueError for other
    images.
    """

    role: Role
    text: str
    images: tuple[Picture, ...] = ()
    encoding: str = "png"

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", encodable(self.text))
        for image in self.images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise ValueError(f"image: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")


@dataclass(frozen=True)
class Usage:
    """Tokens read and written, how many of the written ones were thoughts (`thinking`), and their price in dollars,
    None where it is not known."""

    prompt: int = 0
    completion: int = 0
    thinking: int = 0
    dollars: float | None = None

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        known = [u.dollars for u in (self, other) if u.tokens]
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.thinking + other.thinking,
            None if None in known else math.fsum(d for d in known if d is not None),
        )


@dataclass(frozen=True)
class Request:
    """One thing asked of a model.

    `schema`: a JSON schema that the reply must fit. `form`: one that a service may enforce, where there is no schema;
    the model is not told of it, and the reply is not checked. `think`: the most tokens of thoughts before the reply, 0
    for none, None to leave it to the model. `max_tokens`: of the reply. `seed`: of the sampling; None leaves it to the
    model. `temperature`: None leaves it to the model.
    """

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    think: int | None = None
    max_tokens: int = 512
    seed: int | None = None
    temperature: float | None = None
    form: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Delta:
    """A piece of a reply as it is written; `thought`: it belongs to what the model thinks."""

    text: str
    thought: bool = False


@dataclass(frozen=True)
class Reply:
    """What a model said. `data`: the parsed JSON where there was a schema. `usage`: of all attempts together; None from
    a backend that was not told. `told`: what the service itself counted in the last attempt, None where it does not
    count. `sent`: bytes of the pictures and words as they went over the wire. `seconds`: of the whole call."""

    text: str
    model: str
    usage: Usage | None = None
    thought: str = ""
    finish: Finish = "stop"
    data: Any = None
    attempts: int = 1
    seconds: float = 0.0
    told: Usage | None = None
    sent: int = 0


class Backend(Protocol):
    """Makes one attempt at a request, within some seconds. `free`: it costs nothing.

    Both methods raise ModelError. `stream` yields the pieces and, last, the whole reply.
    """

    name: str
    free: bool

    def complete(self, request: Request, seconds: float) -> Reply: ...

    def stream(self, request: Request, seconds: float) -> Iterator[Delta | Reply]: ...

    def close(self) -> None: ...


class Options(TypedDict, total=False):
    """How a model is asked: the fields of a Request, and `deadline`: seconds, retries and waits included, None for the
    model's own."""

    schema: Mapping[str, Any] | None
    think: int | None
    max_tokens: int
    seed: int | None
    temperature: float | None
    form: Mapping[str, Any] | None
    deadline: float | None


class ChatModel(Protocol):
    """A chat model as its users see it; `load_model` returns one."""

    name: str

    def chat(self, messages: Sequence[Message] | str, **options: Unpack[Options]) -> Reply: ...

    def stream(self, messages: Sequence[Message] | str, **options: Unpack[Options]) -> Iterator[Delta | Reply]: ...

    def choose(
        self, messages: Sequence[Message] | str, choices: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, float]: ...

    def close(self) -> None: ...


def make_request(messages: Sequence[Message] | str, **options: Any) -> Request:
    """A request with messages, or with one line of the user. Raises UserError for what no model could answer."""
    asked = (Message("user", messages),) if isinstance(messages, str) else tuple(messages)
    request = Request(asked, **options)
    if not asked or asked[-1].role != "user":
        raise UserError("messages: expected at least one, the last of them the user's")
    if not (asked[-1].text.strip() or asked[-1].images):
        raise UserError("messages: the last one is empty; say or show something")
    if request.max_tokens < 1:
        raise UserError(f"max_tokens: expected at least 1, got {request.max_tokens}")
    if request.think is not None and request.think < 0:
        raise UserError(f"think: expected 0 or more tokens, got {request.think}")
    return request
