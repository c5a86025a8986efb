"""`KeyMap`: what keyboard and mouse mean to an environment whose actions are a Gymnasium space.

A map is plain data (docs/gymnasium.md): a `press` list for Discrete and MultiBinary, one such list for each part of a
MultiDiscrete, an axis for each number of a Box, and maps of these for Dict and Tuple.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
import yaml
from gymnasium import spaces
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from envs.action import BUTTONS, KEYS, Action
from envs.errors import UserError
from envs.yaml_files import validated

_HANDS = frozenset(KEYS) | frozenset(BUTTONS)
MOUSE = ("look", "pointer", "wheel")  # what the mouse may do beside its buttons
_MAX_CARRY = 180.0  # degrees of mouse movement that wait for their turn; what is beyond is lost


class Strict(BaseModel):
    """A part of a file that a person wrote: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def hands(value: Any) -> tuple[str, ...]:
    """One name, or a list of names, of keys and mouse buttons. Raises ValueError for an unknown one."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError(f"expected a name or a list of names, got {value!r}")
    for name in names:
        if not isinstance(name, str) or name not in _HANDS:
            raise ValueError(
                f"unknown key {name!r}; expected a KeyboardEvent.code name such as KeyW, ArrowUp or Space, or a "
                f"mouse button ({', '.join(BUTTONS)})"
            )
    return tuple(names)


def meanings(value: Any) -> dict[str, str]:
    """What keys and buttons do, and look, pointer and wheel, as a player is told. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected names of keys and what they do, got {value!r}")
    for name, said in value.items():
        if name not in MOUSE:
            hands([name])
        if not isinstance(said, str) or not said.strip():
            raise ValueError(f"{name}: expected a few words, got {said!r}")
    return dict(value)


class Press(Strict):
    """`do` is done while all of `hold` is held, or once for every `degrees` that the mouse turns towards `look`."""

    do: int
    name: str = ""
    hold: tuple[str, ...] = ()
    look: Literal["left", "right", "up", "down"] | None = None
    degrees: float = Field(default=15.0, gt=0.0)

    _names = field_validator("hold", mode="before")(hands)

    @model_validator(mode="after")
    def _one(self) -> Press:
        if bool(self.hold) == (self.look is not None):
            raise ValueError("expected hold or look, one of the two")
        return self


class Choice(Strict):
    """For a Discrete. `none`: the action while nothing is held, or "wait": the environment then stands still."""

    press: tuple[Press, ...]
    none: int | Literal["wait"] = "wait"


class Bits(Strict):
    """For a MultiBinary: `do` is the number of the bit, counted through the array."""

    press: tuple[Press, ...]


class Axis(Strict):
    """For one number of a Box: `high` while `more` is held, `low` while `less` is held, `none` while neither or both,
    and `per_degree` more for every degree that the mouse turns ("yaw": right positive, "pitch": up positive)."""

    name: str = ""
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    high: float | None = None
    low: float | None = None
    none: float | None = None
    look: Literal["yaw", "pitch"] | None = None
    per_degree: float = 1.0

    _names = field_validator("more", "less", mode="before")(hands)


class KeyMap:
    """Keyboard and mouse for the action space `space`, as `data` says; `where` begins the place in error messages.

    `keys`, `buttons`: the names that it listens to. `controls`: what they do, by their names, and "look" where turning
    does something. It keeps the part of a mouse movement that was no full step yet: `reset`
    it before every episode. Raises UserError.
    """

    def __init__(self, space: gymnasium.Space[Any], data: Any, where: str = "keys") -> None:
        self._root = _build(space, data, where)
        names = frozenset(self._root.names())
        self.keys, self.buttons = names & frozenset(KEYS), names & frozenset(BUTTONS)

        self.controls = dict(self._root.controls())

    def reset(self) -> None:
        """Forget what is left of the mouse's movement."""
        self._root.reset()

    def read(self, action: Action) -> Any:
        """The environment's action for one tick; None if the map says to wait."""
        return self._root.read(action.keys | action.buttons, action.look)


class _Rows(yaml.SafeDumper):
    """Writes a map that holds nothing but names and numbers on one line."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style=False)
        values = [item for _, value in node.value for item in _inside(value)]
        node.flow_style = len(node.value) > 1 and all(isinstance(value, yaml.ScalarNode) for value in values)
        return node


def _inside(node: yaml.Node) -> list[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else [node]


def dump(data: Any) -> str:
    """`data` as YAML that is pleasant to edit: a row of a key map on a line."""
    return yaml.dump(data, Dumper=_Rows, sort_keys=False, default_flow_style=None, width=110)


class _Part(ABC):
    @abstractmethod
    def read(self, held: frozenset[str], look: tuple[float, float]) -> Any: ...

    @abstractmethod
    def names(self) -> Iterator[str]: ...

    @abstractmethod
    def reset(self) -> None: ...

    @abstractmethod
    def controls(self) -> Iterator[tuple[str, str]]:
        """Names of keys and buttons, or "look", and what they do; what comes later counts."""


class _Presses(_Part):
    """Rows that are held or looked at, with the mouse movement that no row has used up yet."""

    def __init__(self, rows: Sequence[Press]) -> None:
        self.rows = tuple(rows)
        self._look = any(row.look for row in self.rows)
        self._carry = [0.0, 0.0]

    def names(self) -> Iterator[str]:
        for row in self.rows:
            yield from row.hold

    def reset(self) -> None:
        self._carry = [0.0, 0.0]

    def controls(self) -> Iterator[tuple[str, str]]:
        if looks := [row for row in self.rows if row.look]:
            yield "look", ", ".join(f"{row.look}: {_plain(row.name) or f'action {row.do}'}" for row in looks)
        # a key that is used in several rows gets its name from the row that needs the fewest others
        for row in sorted(self.rows, key=lambda row: -len(row.hold)):
            for name in row.hold:
                along = " with ".join(other for other in row.hold if other != name)
                yield name, f"{_plain(row.name) or f'action {row.do}'}{along and f' (with {along})'}"

    def turn(self, look: tuple[float, float]) -> None:
        if self._look:
            self._carry = [max(-_MAX_CARRY, min(_MAX_CARRY, c + d)) for c, d in zip(self._carry, look, strict=True)]

    def active(self, held: frozenset[str]) -> Iterator[Press]:
        for row in self.rows:
            if row.look is None:
                if held.issuperset(row.hold):
                    yield row
            elif self._towards(row) >= row.degrees / 2:  # rounded, so that what remains is at most half a step
                yield row

    def use(self, row: Press) -> int:
        if row.look is not None:
            axis, sign = _DIRECTIONS[row.look]
            self._carry[axis] -= sign * row.degrees
        return row.do

    def _towards(self, row: Press) -> float:
        assert row.look is not None
        axis, sign = _DIRECTIONS[row.look]
        return sign * self._carry[axis]


def _plain(name: str) -> str:
    """An action's name as words: "TURN_LEFT" is "turn left"."""
    return " ".join(name.replace("_", " ").replace("+", " and ").split()).lower()


_DIRECTIONS = {"right": (0, 1.0), "left": (0, -1.0), "up": (1, 1.0), "down": (1, -1.0)}


class _Choice(_Presses):
    def __init__(self, choice: Choice) -> None:
        super().__init__(choice.press)
        self._none = None if choice.none == "wait" else np.int64(choice.none)

    def read(self, held: frozenset[str], look: tuple[float, float]) -> np.int64 | None:
        self.turn(look)
        # of several the one that holds most wins, then the first: "up and fire" before "up"
        row = max(self.active(held), key=lambda r: len(r.hold) or 1, default=None)
        return self._none if row is None else np.int64(self.use(row))


class _Bits(_Presses):
    def __init__(self, bits: Bits, shape: Sequence[int]) -> None:
        super().__init__(bits.press)
        self._shape = tuple(shape)

    def read(self, held: frozenset[str], look: tuple[float, float]) -> np.ndarray[Any, Any]:
        self.turn(look)
        out = np.zeros(self._shape, np.int8)
        for row in list(self.active(held)):
            out.flat[self.use(row)] = 1
        return out


class _Axes(_Part):
    def __init__(self, axes: Sequence[Axis], space: spaces.Box) -> None:
        self._axes, self._space = tuple(axes), space
        self._low, self._high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
        self._ends = [_ends(axis, *bounds) for axis, *bounds in zip(axes, self._low, self._high, strict=True)]

    def names(self) -> Iterator[str]:
        for axis in self._axes:
            yield from axis.more + axis.less

    def reset(self) -> None:
        """An axis keeps nothing from one tick to the next."""

    def controls(self) -> Iterator[tuple[str, str]]:
        for number, axis in enumerate(self._axes):
            called = _plain(axis.name) or (f"axis {number}" if len(self._axes) > 1 else "")
            if axis.look is not None:
                yield "look", called
            for names, way in ((axis.more, "more"), (axis.less, "less")):
                for name in names:
                    yield name, f"{called} {way}".strip()

    def read(self, held: frozenset[str], look: tuple[float, float]) -> np.ndarray[Any, Any]:
        values = []
        for axis, (low, none, high) in zip(self._axes, self._ends, strict=True):
            more = bool(axis.more) and held.issuperset(axis.more)
            less = bool(axis.less) and held.issuperset(axis.less)
            value = none if more == less else high if more else low
            if axis.look is not None:
                value += axis.per_degree * look[axis.look == "pitch"]
            values.append(value)
        array = np.clip(values, self._low, self._high)
        if np.issubdtype(self._space.dtype, np.integer):
            array = array.round()
        return array.astype(self._space.dtype).reshape(self._space.shape)


def _ends(axis: Axis, low: float, high: float) -> tuple[float, float, float]:
    """The values while `less`, nothing and `more` is held; a bound that is no practical number counts as one."""
    least, most = (bound if abs(bound) < 1e6 else float(np.sign(bound)) for bound in (low, high))
    none = min(max(0.0, least), most) if axis.none is None else axis.none
    return least if axis.low is None else axis.low, none, most if axis.high is None else axis.high


class _Many(_Part):
    """Parts side by side; `join` makes the environment's action of what they read."""

    def __init__(self, parts: Mapping[Any, _Part], join: Callable[[dict[Any, Any]], Any]) -> None:
        self._parts, self._join = dict(parts), join

    def names(self) -> Iterator[str]:
        for part in self._parts.values():
            yield from part.names()

    def reset(self) -> None:
        for part in self._parts.values():
            part.reset()

    def controls(self) -> Iterator[tuple[str, str]]:
        for key, part in self._parts.items():
            for name, said in part.controls():
                yield name, f"{key}: {said}" if isinstance(key, str) else said

    def read(self, held: frozenset[str], look: tuple[float, float]) -> Any:
        return self._join({key: part.read(held, look) for key, part in self._parts.items()})


def _build(space: gymnasium.Space[Any], data: Any, where: str, *, alone: bool = True) -> _Part:
    """The part for `space`. `alone`: whether it is the whole action, so that it may wait."""
    if isinstance(space, spaces.Discrete):
        return _choice(data, where, int(space.start), int(space.n), alone)
    if isinstance(space, spaces.MultiBinary):
        bits = validated(Bits, data, where)
        _check_do(bits.press, where, 0, int(np.prod(space.shape)))
        return _Bits(bits, space.shape)
    if isinstance(space, spaces.MultiDiscrete):
        starts, sizes = space.start.ravel(), space.nvec.ravel()
        rows = _listed(data, where, len(sizes), "parts")
        parts = {i: _choice(row, f"{where}[{i}]", int(starts[i]), int(sizes[i]), False) for i, row in enumerate(rows)}
        shape, dtype = space.shape, space.dtype
        return _Many(parts, lambda read: np.array(list(read.values()), dtype).reshape(shape))
    if isinstance(space, spaces.Box):
        rows = _listed(data, where, int(np.prod(space.shape)), "axes")
        return _Axes([validated(Axis, row, f"{where}[{i}]") for i, row in enumerate(rows)], space)
    if isinstance(space, spaces.Dict):
        if not isinstance(data, Mapping) or set(data) != set(space.spaces):
            raise UserError(f"{where}: expected a map with {', '.join(map(repr, space.spaces))}")
        return _Many({k: _build(s, data[k], f"{where}.{k}", alone=False) for k, s in space.spaces.items()}, dict)
    if isinstance(space, spaces.Tuple):
        rows = _listed(data, where, len(space.spaces), "parts")
        within = {i: _build(s, rows[i], f"{where}[{i}]", alone=False) for i, s in enumerate(space.spaces)}
        return _Many(within, lambda read: tuple(read.values()))
    raise UserError(f"{where}: an action space {space} can't be played with keyboard and mouse")


def _choice(data: Any, where: str, start: int, n: int, alone: bool) -> _Choice:
    choice = validated(Choice, data, where)
    if choice.none == "wait" and not alone:
        raise UserError(f"{where}.none: expected a number, since the other parts of the action do not wait")
    if choice.none != "wait" and not start <= choice.none < start + n:
        raise UserError(f"{where}.none: {choice.none} is no action; expected {start} to {start + n - 1}, or wait")
    _check_do(choice.press, where, start, n)
    return _Choice(choice)


def _check_do(rows: Sequence[Press], where: str, start: int, n: int) -> None:
    for i, row in enumerate(rows):
        if not start <= row.do < start + n:
            raise UserError(f"{where}.press[{i}].do: {row.do} is no action; expected {start} to {start + n - 1}")


def _listed(data: Any, where: str, n: int, what: str) -> list[Any]:
    if not isinstance(data, list) or len(data) != n:
        got = f"a list of {len(data)}" if isinstance(data, list) else type(data).__name__
        raise UserError(f"{where}: expected a list of {n} {what}, got {got}")
    return data
