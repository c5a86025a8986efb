"""YAML files that people write: read with limits, and with one error that names the line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from envs.errors import UserError

LARGEST = 4 * 2**20  # bytes of a file
MOST_NODES = 1_000_000  # values in it, counted as often as they are named: aliases multiply
DEEPEST = 100  # values within each other


_Model = TypeVar("_Model", bound=BaseModel)


class YamlFileError(ValueError):
    """What is wrong in a file, without its values. `line`: counted from 1, None if there is none."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(f"line {line}: not YAML: {problem}" if line else f"not YAML: {problem}")
        self.problem, self.line = problem, line


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys: YAML would take the last of them. A date is text: nothing here asks for one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, name) in seen:
                    raise YamlFileError("a key is there twice", key.start_mark.line + 1)
                seen.add((key.tag, name))
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises OSError, and YamlFileError, a ValueError, for what is wrong in it."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise YamlFileError(f"more than {LARGEST >> 20} MiB")
    try:
        value = yaml.load(data.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError:
        raise YamlFileError("no text in UTF-8") from None
    except RecursionError:
        raise YamlFileError(f"nested more than {DEEPEST} deep") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "characters that a text file does not hold"
        raise YamlFileError(problem, mark.line + 1 if mark else None) from None
    except YamlFileError:
        raise
    except (ValueError, OverflowError, TypeError, AttributeError):  # a number or a date that Python can't hold
        raise YamlFileError("a number or a date that is none, or too large") from None
    _check_size(value)
    return value


def _check_size(value: Any) -> None:
    """Count the values, those that several aliases name as often as they do."""
    todo, count = [(value, 0)], 0
    while todo:
        item, depth = todo.pop()
        count += 1
        if count > MOST_NODES:
            raise YamlFileError(f"more than {MOST_NODES} values")
        if depth > DEEPEST:
            raise YamlFileError(f"nested more than {DEEPEST} deep, or within itself")
        if isinstance(item, dict):
            todo += [(part, depth + 1) for part in item.values()]
        elif isinstance(item, list | set | tuple):
            todo += [(part, depth + 1) for part in item]


def read_settings(model: type[_Model], name: str | Path, where: str = "") -> _Model:
    """The file called `name` as a `model`. `where` begins every message; by default the name does. Raises UserError
    with the place of the first thing that is wrong."""
    where = where or str(name)
    try:
        data = load_yaml(Path(name).expanduser())
    except OSError as error:
        raise UserError(f"{where}: can't be read: {error.strerror}") from error
    except YamlFileError as error:
        raise UserError(f"{where}: {error}") from error
    return validated(model, data, f"{where}: ")


def validated(model: type[_Model], data: Any, where: str) -> _Model:
    """`data` as a `model`. Raises UserError with the place of the first thing that is wrong, `where` before it (a
    `where` that ends with a blank, such as "mine.yaml: ", is the whole file)."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        said = str(first["msg"]).removeprefix("Value error, ")
        said = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(
            first["type"], said[:1].lower() + said[1:]
        )
        begin = where + (place.lstrip(".") if where.endswith(" ") else place)
        raise UserError(f"{begin.rstrip(': ')}: {said}") from error
