"""Asks for JSON that fits a schema and checks the answer: some servers ignore a schema without an error."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from agent.models.base import BadReplyError, Message
from envs.errors import UserError
from envs.text import encodable

_FENCE = re.compile(r"```[ \t]*(?:jsonc?|json5)?\s(.*?)```", re.DOTALL | re.IGNORECASE)
_BRACKET = re.compile(r"[{\[]")
_BRACKETS = 1000  # of an answer that are tried
_SHOWN = 2000  # characters of a wrong answer that are shown to the model again


class Shape:
    """A JSON schema: how to ask for it and how to check an answer. Its references can't lead outside of it.

    Raises UserError where it is no JSON schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema import exceptions, validators
        from referencing import Registry

        kind = validators.validator_for(schema, default=validators.validator_for({}))
        try:
            kind.check_schema(dict(schema))
        except exceptions.SchemaError as error:
            raise UserError(f"the schema is no JSON schema: {error.json_path}: {error.message}") from error
        self.schema = schema
        # An empty registry: the default one would fetch what a reference names.
        self._validator = kind(dict(schema), registry=Registry())

    def ask(self) -> str:
        """The request in words; the server may not show the schema to the model."""
        return f"Answer with JSON alone, which fits this JSON schema: {json.dumps(self.schema, ensure_ascii=False)}"

    def read(self, text: str) -> Any:
        """The value that `text` holds. Raises BadReplyError that says what is wrong with it."""
        from jsonschema.exceptions import best_match
        from referencing.exceptions import Unresolvable

        first: BadReplyError | None = None
        for value in _json_in(text):
            try:
                wrong = best_match(self._validator.iter_errors(value))
            except (Unresolvable, RecursionError) as error:
                raise UserError(f"the schema can't be checked: {type(error).__name__}: {error}") from error
            if wrong is None:
                return _encodable(value)
            first = first or BadReplyError(
                f"the reply does not fit the schema: {wrong.json_path}: {wrong.message[:300]}"
            )
        raise first or BadReplyError("the reply is no JSON")

    def repair(self, text: str, error: BadReplyError) -> tuple[Message, Message]:
        """The messages that ask for the same again after a wrong answer."""
        return (
            Message("assistant", text[:_SHOWN] or "(nothing)"),
            Message("user", f"That can't be used: {error}. {self.ask()}"),
        )


def _json_in(text: str) -> Iterator[Any]:
    """The JSON values in a text: the whole text, fenced parts of it, and what follows a bracket. Models often write
    words before it, in which there may be brackets too. What stands within another value is none of its own."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    for candidate in (text, *_FENCE.findall(text)):
        with contextlib.suppress(ValueError, RecursionError):
            yield decoder.decode(candidate.strip())
    end = 0
    for number, bracket in enumerate(_BRACKET.finditer(text)):
        if number >= _BRACKETS:
            return
        if bracket.start() >= end:
            with contextlib.suppress(ValueError, RecursionError):
                value, end = decoder.raw_decode(text, bracket.start())
                yield value


def _encodable(value: Any) -> Any:
    """A JSON value in which every text is encodable: JSON may escape what is none."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {encodable(key): _encodable(item) for key, item in value.items()}
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
