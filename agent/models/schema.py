"""Asks for JSON that fits a schema and checks the answer: some servers ignore a schema without an error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from agent.models.base import BadReplyError, Message
from envs.errors import UserError

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
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

        value = _json_in(text)
        try:
            wrong = best_match(self._validator.iter_errors(value))
        except (Unresolvable, RecursionError) as error:
            raise UserError(f"the schema can't be checked: {type(error).__name__}: {error}") from error
        if wrong is not None:
            raise BadReplyError(f"the reply does not fit the schema: {wrong.json_path}: {wrong.message[:300]}")
        return value

    def repair(self, text: str, error: BadReplyError) -> tuple[Message, Message]:
        """The messages that ask for the same again after a wrong answer."""
        return (
            Message("assistant", text[:_SHOWN] or "(nothing)"),
            Message("user", f"That can't be used: {error}. {self.ask()}"),
        )


def _json_in(text: str) -> Any:
    """The JSON value in a text: the whole text, a fenced part of it, or what follows the first bracket. Models often
    write a word before it."""
    candidates = [text, *_FENCE.findall(text)]
    begin = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=None)
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    try:
        for candidate in candidates:
            try:
                return decoder.decode(candidate.strip())
            except ValueError:
                continue
        if begin is not None:
            return decoder.raw_decode(text, begin)[0]
    except (ValueError, RecursionError) as error:
        raise BadReplyError(f"the reply is no JSON: {error}") from None
    raise BadReplyError("the reply is no JSON")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
