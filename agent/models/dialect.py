"""The optional fields of chat completions, and which of them a server takes.

Servers that speak chat completions refuse different fields: `max_tokens`, `seed`, `response_format` and others. The
first request to an address has all of them. Where the server answers 400 or 422 and names one, that field takes its
next form, or is left out, and the request is sent again. What was agreed on is remembered for the process.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from agent.models.base import RefusedError

logger = logging.getLogger(__name__)

_REJECTED = (400, 422)  # statuses that are about what was sent
_PLACES = ("param", "loc")  # keys of an error under which servers name the field
_ECHO = ("input", "body", "request", "ctx")  # keys under which they repeat what was sent
_EFFORTS = ("none", "low", "medium", "high")
_Body = dict[str, Any]


@dataclass(frozen=True)
class _Field:
    """An optional field. `forms`: change a body; the first leaves it as it is. `named`: how an error names it."""

    forms: tuple[Callable[[_Body, str], None], ...]
    named: str


def _keep(body: _Body, name: str) -> None:
    """As it is."""


def _leave_out(body: _Body, name: str) -> None:
    body.pop(name, None)


def _new_limit(body: _Body, name: str) -> None:
    if name in body:
        body["max_completion_tokens"] = body.pop(name)


def _json_object(body: _Body, name: str) -> None:
    if name in body:
        body[name] = {"type": "json_object"}  # the prompt has the schema, and the answer is checked


def _some_effort(body: _Body, name: str) -> None:
    if body.get(name) == _EFFORTS[0]:
        body[name] = _EFFORTS[1]


# By name. The limit is never left out: a budget relies on it.
_FIELDS: Mapping[str, _Field] = {
    "max_tokens": _Field((_keep, _new_limit), r"max[ _-]?tokens"),
    "response_format": _Field(
        (_keep, _json_object, _leave_out), r"response[ _-]?format|json[ _-]?schema|json[ _-]?object"
    ),
    "reasoning_effort": _Field((_keep, _some_effort, _leave_out), r"reasoning[ _.-]?effort"),
    "chat_template_kwargs": _Field((_keep, _leave_out), r"chat[ _-]?template[ _-]?kwargs|enable[ _-]?thinking"),
    "stream_options": _Field((_keep, _leave_out), r"stream[ _-]?options|include[ _-]?usage"),
    "temperature": _Field((_keep, _leave_out), r"temperature"),
    "seed": _Field((_keep, _leave_out), r"seed"),
}
_NEW_LIMIT = r"max[ _-]?completion[ _-]?tokens"
OPTIONAL = (*_FIELDS, "max_completion_tokens")

Dialect = Mapping[str, int]  # the form of each field, where it is not the first
PLAIN: Dialect = MappingProxyType({})
HOSTED: Dialect = MappingProxyType({"max_tokens": 1, "chat_template_kwargs": 1})  # of OpenAI's own service
_known: dict[tuple[str, str], Dialect] = {}
_lock = threading.Lock()


def forget() -> None:
    """Forget what was agreed on with all servers."""
    with _lock:
        _known.clear()


class Talks:
    """One request to the model `model` at `url`, and what became of its fields.

    `body`: the request with all its fields, in their first form. `omit`: fields that are never sent. `extra`: fields
    that always are, whatever the server says of them.
    """

    def __init__(
        self, url: str, model: str, body: Mapping[str, Any], *,
        start: Dialect = PLAIN, omit: tuple[str, ...] = (), extra: Mapping[str, Any] = PLAIN,
    ) -> None:  # fmt: skip
        self._key, self._body, self._omit, self._extra = (url, model), dict(body), omit, extra
        with _lock:
            self._first = {**start, **_known.get(self._key, PLAIN)}
        self._forms = dict(self._first)
        # The forms before the last change, and the complaint that led to it.
        self._last: tuple[dict[str, int], RefusedError] | None = None
        self._changed: dict[str, None] = {}  # a set that keeps the order
        self._settled: set[str] = set()  # fields that are as they were: no other form helped

    def body(self) -> _Body:
        """The request in the dialect of the server, as far as it is known."""
        body = dict(self._body)
        for name, form in self._forms.items():
            _FIELDS[name].forms[form](body, name)
        return {**{key: value for key, value in body.items() if key not in self._omit}, **self._extra}

    def agreed(self) -> None:
        """The server took the request."""
        if self._changed:
            with _lock:
                _known[self._key] = {**_known.get(self._key, PLAIN), **self._forms}
            told = ", ".join(self._changed)
            logger.warning("%s refuses %s: sent in another form, or left out, from now on", self._key[0], told)

    def give_way(self, error: RefusedError) -> None:
        """Change what the server complains of. Raises the error where there is nothing to change; where the last change
        did not help, the error before it."""
        if error.status not in _REJECTED:
            raise error
        places, words = _complaint(error.answer)
        if self._last is not None and self._in_vain(error, self._last[1], places or words):
            error = self._take_back()
            places, words = _complaint(error.answer)
        before = dict(self._forms)
        changed = [name for name in self._named(places) if self._advance(name)]
        if not changed and not any(self._advance(name) for name in self._named(words)):
            raise error
        self._last = before, error

    def _in_vain(self, error: RefusedError, before: RefusedError, words: str) -> bool:
        """Whether the last change did not help and there is no further form of what was changed: a server may list what
        it takes beside what it does not, and names a field for other reasons too."""
        changed = self._changed_last()
        if changed == {"max_tokens"} and re.search(_NEW_LIMIT, words, re.IGNORECASE):
            return True
        return error.answer == before.answer and all(
            self._forms[name] + 1 >= len(_FIELDS[name].forms) for name in changed
        )

    def _changed_last(self) -> set[str]:
        assert self._last is not None
        return {name for name, form in self._forms.items() if form != self._last[0].get(name, 0)}

    def _take_back(self) -> RefusedError:
        """Undo what was changed of the fields that were changed last, for good; the complaint that led to it."""
        assert self._last is not None
        for name in self._changed_last():
            self._forms[name] = self._first.get(name, 0)
            self._changed.pop(name)
            self._settled.add(name)
        error, self._last = self._last[1], None
        return error

    def _named(self, words: str) -> list[str]:
        """The fields of the request that `words` name, the first one first."""
        sent = self.body()
        found = {}
        for name, field in _FIELDS.items():
            there = name in sent or (name == "max_tokens" and "max_completion_tokens" in sent)
            match = re.search(rf"(?<![a-z])(?:{field.named})(?![a-z])", words, re.IGNORECASE) if there else None
            if match and name not in self._settled and name not in self._extra:
                found[name] = match.start()
        return sorted(found, key=lambda name: found[name])

    def _advance(self, name: str) -> bool:
        """Give a field its next form that differs; whether there is one."""
        was, now = self._forms.get(name, 0), self.body()
        for form in range(was + 1, len(_FIELDS[name].forms)):
            self._forms[name] = form
            if self.body() != now:
                self._changed[name] = None
                return True
        self._forms[name] = was
        return False


def _complaint(answer: str) -> tuple[str, str]:
    """What an error says: the places that it names apart from its words, and its words, without what it repeats of the
    request."""
    try:
        todo: list[tuple[str, Any]] = [("", json.loads(answer))]
    except (ValueError, RecursionError):
        return "", answer
    texts: dict[bool, list[str]] = {True: [], False: []}
    while todo:
        key, value = todo.pop()
        if isinstance(value, str):
            texts[key in _PLACES].append(value)
        elif isinstance(value, Mapping):
            todo += reversed([(k, v) for k, v in value.items() if k not in _ECHO])
        elif isinstance(value, list):
            todo += reversed([(key, item) for item in value])
    return "\n".join(texts[True]), "\n".join(texts[False])


def negotiated(talks: Talks, send: Callable[[_Body], Iterator[Any]]) -> Iterator[Any]:
    """What a server answers to a request, in its dialect. `send`: sends a body and yields what comes back."""
    while True:
        begun = False
        try:
            for item in send(talks.body()):
                if not begun:
                    talks.agreed()
                begun = True
                yield item
            return
        except RefusedError as error:
            if begun:
                raise
            talks.give_way(error)
