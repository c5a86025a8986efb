"""`Model`: owns retries, deadlines, the budget and the check of a schema, for any backend."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

from agent.models.base import (
    Backend,
    BadReplyError,
    Delta,
    Message,
    ModelError,
    Options,
    OverBudgetError,
    Reply,
    Request,
    UnavailableError,
    Usage,
    make_request,
)
from agent.models.budget import Budget, Price, estimate
from agent.models.choice import Chooses, NoChoiceError, checked
from agent.models.schema import Shape
from envs.errors import UserError
from envs.text import encodable

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds between attempts
COOL = 1.0  # seconds without a request after a service was found to be out


class Circuit:
    """A circuit breaker: remembers that a service is out. For COOL seconds after the start of a call that found it out,
    and while a later call is trying it, all other calls fail at once. Then one call may make one attempt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = 0.0  # the last call
        self._out = self._trying = False

    def enter(self, name: str) -> bool:
        """Before a call: whether it may make only one attempt. Raises UnavailableError where the service is out."""
        with self._lock:
            if self._out and (self._trying or self._clock() < self._began + COOL):
                raise UnavailableError(f"{name} is out; it is tried again every {COOL:.0f} s")
            self._began = self._clock()
            self._trying = self._out
            return self._out

    def leave(self, out: bool | None) -> None:
        """After a call: whether the service was out; None where the call did not tell."""
        with self._lock:
            self._trying = False
            if out is not None:
                self._out = out


@dataclass
class _Call:
    """One call in progress: when it started on the monotonic clock, its seconds, and what it took so far."""

    name: str
    seconds: float
    start: float
    most: int
    attempts: int = 0
    usage: Usage | None = None

    @property
    def left(self) -> float:
        return self.start + self.seconds - time.monotonic()

    def done(self, reply: Reply) -> Reply:
        """`reply` with what the whole call took."""
        took = time.monotonic() - self.start
        return replace(reply, usage=self.usage, told=reply.usage, attempts=self.attempts, seconds=took)


class Model:
    """A chat model with retries: implements agent.models.base.ChatModel.

    `attempts`: the most attempts of a call; the one that repairs JSON does not count. `deadline`: seconds of a call
    that names none. `price`: needed where `budget` is capped in dollars and the backend is not free; raises UserError.
    Safe to share between threads where the backend is.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        budget: Budget | None = None,
        price: Price | None = None,
        attempts: int = 4,
        deadline: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        circuit: Circuit | None = None,
    ) -> None:
        self.backend, self.budget = backend, budget or Budget()
        self.name = backend.name
        self._price = Price(0.0, 0.0) if backend.free else price
        if self._price is None and self.budget.dollars is not None:
            raise UserError(f"{self.name}: a cap in dollars needs its price: dollars for a million tokens in and out")
        self.deadline = deadline
        self._attempts, self._sleep = attempts, sleep
        self._circuit = circuit or Circuit()
        self._chance = random.Random()

    def chat(self, messages: Sequence[Message] | str, **options: Unpack[Options]) -> Reply:
        """The reply; see Options.

        With a `schema`, `data` of the reply fits it: a wrong answer is shown to the model once and asked for again.
        Raises ModelError, and UserError for what no model could answer.
        """
        call = self._call(options.pop("deadline", None))
        request, shape = _request(messages, options)
        reply = self._whole(request, call)
        if shape is None:
            return call.done(reply)
        try:
            return call.done(replace(reply, data=shape.read(reply.text)))
        except BadReplyError as error:
            again = replace(request, messages=(*request.messages, *shape.repair(reply.text, error)))
        call.most = call.attempts + 1
        reply = self._whole(again, call)
        return call.done(replace(reply, data=shape.read(reply.text)))

    def stream(self, messages: Sequence[Message] | str, **options: Unpack[Options]) -> Iterator[Delta | Reply]:
        """The reply piece by piece, and last the whole `Reply`. To stop early, close the generator.

        A piece that was yielded can't be taken back: there are no more attempts after the first one, and an answer that
        does not fit the `schema` raises BadReplyError at the end. Otherwise like `chat`.
        """
        call = self._call(options.pop("deadline", None))
        request, shape = _request(messages, options)

        def ask() -> Iterator[Delta | Reply]:
            return self.backend.stream(request, call.left)

        for item in self._tried(call, lambda: self._paid(request, call, ask)):
            if isinstance(item, Reply):
                item = call.done(item if shape is None else replace(item, data=shape.read(item.text)))
            yield item

    def choose(
        self, messages: Sequence[Message] | str, choices: Sequence[str], *, deadline: float | None = None
    ) -> Mapping[str, float]:
        """How likely the model begins its answer with each of some words, without a thought before: log-probabilities
        among all tokens, in any spelling; -inf for a word that is not among the tokens that the service tells.

        `choices`: words in lower case that are one token each, such as digits. Raises ModelError: NoChoiceError where
        no log-probabilities can be had, BadReplyError where none of the words is among the likeliest tokens.
        """
        backend, words = self.backend, checked(choices)
        if not isinstance(backend, Chooses):
            raise NoChoiceError(f"{self.name} tells no log-probabilities")
        call = self._call(deadline)
        # At temperature 1 a service that scales log-probabilities by it tells the model's own.
        request = make_request(messages, max_tokens=1, think=0, temperature=1.0)

        def ask() -> Iterator[Reply]:
            yield backend.choose(request, words, call.left)

        reply: Reply
        (reply,) = self._tried(call, lambda: self._paid(request, call, ask))
        found: Mapping[str, float] = reply.data
        return found

    def close(self) -> None:
        """Give back what the backend holds. Safe to call twice."""
        self.backend.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _call(self, deadline: float | None) -> _Call:
        seconds = self.deadline if deadline is None else deadline
        if not seconds > 0:
            raise UserError(f"deadline: expected more than 0 seconds, got {seconds}")
        return _Call(self.name, seconds, time.monotonic(), self._attempts)

    def _whole(self, request: Request, call: _Call) -> Reply:
        def ask() -> Iterator[Reply]:
            yield self.backend.complete(request, call.left)

        reply: Reply
        (reply,) = self._tried(call, lambda: self._paid(request, call, ask))
        return reply

    def _paid(self, request: Request, call: _Call, ask: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """What one attempt yields, with the budget told of it."""
        most = self._reserve(request)
        used = most  # how much the model read before the stream was cut off or closed is not known
        reply: Reply | None = None
        try:
            for item in ask():
                if isinstance(item, Reply):
                    reply, used = _encodable(item), self._used(item, most)
                    _check(reply)
                else:
                    yield replace(item, text=encodable(item.text))
        except ModelError as error:
            if not error.billed:
                used = Usage(dollars=0.0)
            raise
        finally:
            self.budget.settle(most, used)
            call.usage = used if call.usage is None else call.usage + used
        yield reply

    def _tried(self, call: _Call, attempt: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """What `attempt` yields, tried again while that helps, nothing was yielded yet, and there is time."""
        only_once = self._circuit.enter(self.name)
        out: bool | None = None
        try:
            while True:
                call.attempts += 1
                begun = False
                try:
                    for item in attempt():
                        begun, out = True, False
                        yield item
                    return
                except ModelError as error:
                    # a service that answers is not out, whatever it answers
                    out = None if isinstance(error, OverBudgetError) else isinstance(error, UnavailableError)
                    if not error.retryable or begun or only_once or call.attempts >= call.most:
                        raise
                    wait = max(error.retry_after or 0.0, self._pause(call.attempts))
                    if wait >= call.left:
                        raise
                self._sleep(wait)
        finally:
            self._circuit.leave(out)

    def _pause(self, attempts: int) -> float:
        """Exponential backoff with full jitter, so that clients that failed together do not retry together."""
        return self._chance.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1)))

    def _reserve(self, request: Request) -> Usage:
        most = self._priced(estimate(request))
        self.budget.reserve(most)
        return most

    def _used(self, reply: Reply, most: Usage) -> Usage:
        return most if reply.usage is None else self._priced(reply.usage)

    def _priced(self, usage: Usage) -> Usage:
        return replace(usage, dollars=self._price.of(usage) if self._price else None)


def _request(messages: Sequence[Message] | str, options: Mapping[str, Any]) -> tuple[Request, Shape | None]:
    """The request for the backend, and the shape that its answer must have where there is a schema."""
    request = make_request(messages, **options)
    if request.schema is None:
        return request, None
    shape = Shape(request.schema)
    last = request.messages[-1]
    told = replace(last, text=f"{last.text}\n\n{shape.ask()}".strip())
    return replace(request, messages=(*request.messages[:-1], told)), shape


def _encodable(reply: Reply) -> Reply:
    return replace(reply, text=encodable(reply.text), thought=encodable(reply.thought))


def _check(reply: Reply) -> None:
    """Raises BadReplyError for an empty reply."""
    if not reply.text:
        spent = bool(reply.thought) and reply.finish == "length"
        what = "; it spent its tokens on thoughts" if spent else " but thoughts" if reply.thought else ""
        raise BadReplyError(f"{reply.model} answered nothing{what}", retryable=not spent)
