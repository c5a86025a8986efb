"""How models are configured: by flag, by environment, by file, in this order of precedence.

The file is YAML: `--config FILE`, or $LUDENS_MODELS, or models.yaml in the user's configuration folder:

    limits: {tokens: 2000000, dollars: 5}
    models:
      openai:big-model@https://llm.example.org/v1:   # a model's whole name, or of a backend's: openai, gemini
        key_env: EXAMPLE_KEY
        price: [0.25, 2.0]                           # dollars for a million tokens read, and written

Keys are never flags, which other users of a machine can read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from agent.models.dialect import OPTIONAL
from agent.models.keys import checked_key
from envs.errors import UserError
from envs.yaml_files import YamlFileError, load_yaml

FILE = "LUDENS_MODELS"
_PREFIX = "LUDENS_MODEL_"
_NOT_EXTRA = {"model", "messages", "stream"}


class _Strict(BaseModel):
    # What stands in a wrong field may be a key in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


_Kind = TypeVar("_Kind", bound=_Strict)


class Settings(_Strict):
    """Of one model. `key_env`: the name of the variable that holds the key. `price`: dollars for a million tokens read,
    and written. `deadline`: seconds of a call, retries and waits included. `attempts`: the most of a call. `omit`,
    `extra`: fields of chat completions that are never sent, and further ones that always are."""

    key: SecretStr | None = None
    key_env: str | None = None
    url: str | None = None
    price: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    deadline: float = Field(60.0, gt=0)
    attempts: int = Field(4, ge=1)
    omit: tuple[str, ...] = ()
    extra: dict[str, Any] = Field(default_factory=dict, repr=False)

    def secret(self, *variables: str) -> SecretStr | None:
        """The key: the one given, or that of the first of the `variables` that is set. Raises UserError where the
        variable that `key_env` names is not."""
        if self.key is not None:
            return self.key
        if self.key_env is not None:
            if not os.environ.get(self.key_env, "").strip():
                raise UserError(f"key_env: the environment has no variable {self.key_env}")
            variables = (self.key_env,)
        found = next((name for name in variables if os.environ.get(name, "").strip()), None)
        if found is None:
            return None
        try:
            return SecretStr(checked_key(os.environ[found], found))
        except ValueError as error:
            raise UserError(str(error)) from None

    @field_validator("key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(checked_key(value.get_secret_value(), "key"))

    @field_validator("omit", "extra", mode="before")
    @classmethod
    def _of_environment(cls, value: Any, info: ValidationInfo) -> Any:
        """A variable holds names with commas between them, or JSON."""
        if not isinstance(value, str):
            return value
        if info.field_name == "omit":
            return [name.strip() for name in value.split(",") if name.strip()]
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("expected a JSON object") from None

    @field_validator("omit")
    @classmethod
    def _omit(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in OPTIONAL:
                raise ValueError(f"expected some of {', '.join(OPTIONAL)}")
        return value

    @field_validator("extra")
    @classmethod
    def _extra(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := _NOT_EXTRA & value.keys():
            raise ValueError(f"{min(taken)} is what a request is made of; expected other fields")
        try:
            json.dumps(value, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            raise ValueError("expected what JSON can hold") from None
        return value


class Limits(_Strict):
    """Of a run: the most tokens and dollars of all its models together."""

    tokens: NonNegativeInt | None = None
    dollars: NonNegativeFloat | None = None


class Config(_Strict):
    """What a configuration file holds."""

    limits: Limits = Limits()
    models: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)

    def settings(self, name: str, **flags: Any) -> Settings:
        """For the model called `name`; flags that are None are not given. Raises UserError."""
        backend = name.partition(":")[0]
        environment: dict[str, Any] = _environment(_PREFIX, Settings)
        if "price" in environment:
            environment["price"] = environment["price"].split(",")
        given = {key: value for key, value in flags.items() if value is not None}
        general = self.models.get(backend, {})
        if "@" in name:  # a key for the one address is not for another
            general = {key: value for key, value in general.items() if key not in ("key", "key_env", "url")}
        of_file = {**general, **self.models.get(name, {})}
        return _checked(Settings, {**of_file, **environment, **given}, f"settings of model {name!r}")


def load_config(path: Path | None = None, **limits: Any) -> Config:
    """The configuration, with `limits` that go before those of the file; ones that are None are not given.

    Raises UserError where the file is missing though it was named, or is wrong; the message holds none of its values.
    """
    named = path or (Path(os.environ[FILE]) if os.environ.get(FILE) else None)
    file = named or platformdirs.user_config_path("ludens", appauthor=False) / "models.yaml"
    data: Any = {}
    if named is not None or file.is_file():
        try:
            data = load_yaml(file) or {}
        except OSError as error:
            raise UserError(f"{file}: can't be read: {error.strerror}") from None
        except YamlFileError as error:
            raise UserError(f"{file}: {error}") from None
    config = _checked(Config, data, str(file))
    for name, fields in config.models.items():
        _checked(Settings, fields, f"{file}: {name}")
    given = {key: value for key, value in limits.items() if value is not None}
    merged = {**config.limits.model_dump(), **_environment("LUDENS_MAX_", Limits), **given}
    return config.model_copy(update={"limits": _checked(Limits, merged, "limits")})


def _environment(prefix: str, kind: type[BaseModel]) -> dict[str, Any]:
    """The fields of `kind` that the environment sets."""
    return {name: value for name in kind.model_fields if (value := os.environ.get(prefix + name.upper(), "").strip())}


def _checked(kind: type[_Kind], data: Mapping[str, Any], where: str) -> _Kind:
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected names and values")
    try:
        return kind.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = str(first["msg"]).removeprefix("Value error, ").removeprefix(f"{place}: ")
        raise UserError(f"{where}: {place}: {said}") from None
