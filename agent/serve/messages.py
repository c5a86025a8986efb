"""What a policy server and its clients say to each other: msgpack maps over a websocket, docs/serving.md has them all.

Plain values and bytes alone. What does not decode, or has a field too many, too few or of another kind, is a
MessageError; nothing of a message is ever imported, evaluated or unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import gymnasium
import msgpack
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent.policy import Context, Decision, PolicySpec, Sent
from agent.view import Picture
from envs.action import Action, KeyboardMouse
from envs.world import World

PROTOCOL = 1
PATH = "/v1/policy"
LIMIT = 64 << 20  # bytes of a message
_PIXELS = 16 << 20  # of the pictures of a context together
_FRAMES, _STRETCHES, _TICKS = 64, 1024, 10_000
_TEXT = 1 << 16  # characters

_Text = Annotated[str, Field(max_length=_TEXT)]
_Texts = Annotated[list[_Text], Field(max_length=_STRETCHES)]
_Side = Annotated[int, Field(ge=1, le=1 << 14)]
_Actions = Annotated[list[dict[str, Any]], Field(max_length=_TICKS)]


class MessageError(ValueError):
    """What came is no message of this protocol: one line that says what is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Frame(_Part):
    """A picture: rows from the top, three bytes a pixel."""

    height: _Side
    width: _Side
    rgb: bytes

    def picture(self) -> Picture:
        expected = self.height * self.width * 3
        if len(self.rgb) != expected:
            raise MessageError(
                f"a frame of {self.width}x{self.height} has {expected} bytes of rgb, this one {len(self.rgb)}"
            )
        return np.frombuffer(self.rgb, np.uint8).reshape(self.height, self.width, 3)


class _Context(_Part):
    """The fields of agent.policy.Context."""

    frames: list[_Frame] = Field(min_length=1, max_length=_FRAMES)
    instruction: _Text
    actions: list[_Actions] = Field(default=[], max_length=_STRETCHES)
    thoughts: _Texts = []
    picture: _Frame | None = None
    dialogue: list[Annotated[list[_Text], Field(min_length=2, max_length=2)]] = Field(default=[], max_length=1024)
    memory: _Text = ""
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] = 0
    since: Annotated[int, Field(ge=0)] | None = None
    ticks: list[int] = Field(default=[], max_length=_FRAMES)
    mouse: _Text = ""


class _Sent(_Part):
    sizes: list[Annotated[list[int], Field(min_length=2, max_length=2)]]
    bytes: int = 0
    tokens: int | None = None


class _Decision(_Part):
    """The fields of agent.policy.Decision."""

    actions: _Actions
    thought: _Text = ""
    speech: _Text = ""
    done: bool = False
    tokens: list[int] = []
    log_probabilities: list[float] = []
    sent: _Sent | None = None


class _Place(_Part):
    """What a policy has to know of the world that it plays in: `size` is (height, width) of its pictures."""

    name: _Text = ""
    space: dict[str, Any]
    controls: dict[_Text, _Text] = {}
    tick_hz: float = Field(gt=0.0, le=10_000.0)
    realtime: bool = False
    size: Annotated[list[_Side], Field(min_length=2, max_length=2)]


_SPEC = TypeAdapter(PolicySpec)
_MOST_SPEC = {"chunk": _TICKS, "history": _STRETCHES}


def packed(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the wire. Raises MessageError for one that is over the LIMIT."""
    body: bytes = msgpack.packb(message, use_bin_type=True, unicode_errors="replace")
    if len(body) > LIMIT:
        raise MessageError(f"the message has {len(body):,} bytes; at most {LIMIT:,}")
    return body


def unpacked(body: bytes) -> dict[str, Any]:
    """The message that came, whose `type` is a text. Raises MessageError."""
    try:
        message = msgpack.unpackb(body, raw=False)
    except Exception as error:  # msgpack raises many kinds
        raise MessageError(f"not msgpack: {type(error).__name__}: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MessageError("expected a map with a type")
    return message


# Each pair into the wire's form and out of it stands together.


def of_frame(picture: Picture) -> dict[str, Any]:
    height, width = picture.shape[:2]
    return {"height": height, "width": width, "rgb": np.ascontiguousarray(picture).tobytes()}


def to_frame(data: Any) -> Picture:
    """A picture, uint8 (H, W, 3), that can't be written to. Raises MessageError."""
    frame: _Frame = _read(_Frame, data, "pixels")
    _within((frame,))
    return frame.picture()


def of_context(context: Context) -> dict[str, Any]:
    return {
        "frames": [of_frame(frame) for frame in context.frames],
        "instruction": context.instruction,
        "actions": [of_actions(chunk) for chunk in context.actions],
        "thoughts": list(context.thoughts),
        "picture": None if context.picture is None else of_frame(context.picture),
        "dialogue": [list(line) for line in context.dialogue],
        "memory": context.memory,
        "seed": int(context.seed),
        "since": context.since,
        "ticks": [int(tick) for tick in context.ticks],
        "mouse": context.mouse,
    }


def to_context(data: Any) -> Context:
    """Raises MessageError."""
    found = _read(_Context, data, "context")
    _within((*found.frames, *([found.picture] if found.picture else [])))
    if len(found.thoughts) not in (0, len(found.actions)):
        raise MessageError(f"context: {len(found.thoughts)} thoughts for {len(found.actions)} stretches of actions")
    return Context(
        frames=tuple(frame.picture() for frame in found.frames),
        instruction=found.instruction,
        actions=tuple(to_actions(chunk) for chunk in found.actions),
        thoughts=tuple(found.thoughts) or ("",) * len(found.actions),
        picture=None if found.picture is None else found.picture.picture(),
        dialogue=tuple((who, what) for who, what in found.dialogue),
        memory=found.memory,
        seed=found.seed,
        since=found.since,
        ticks=tuple(found.ticks),
        mouse=found.mouse,
    )


def of_actions(actions: Sequence[Action]) -> list[dict[str, Any]]:
    return [action.to_json() for action in actions]


def to_actions(data: Any) -> tuple[Action, ...]:
    """Raises MessageError."""
    if not isinstance(data, list) or len(data) > _TICKS:
        raise MessageError(f"actions: expected a list of at most {_TICKS}")
    try:
        return tuple(Action.from_json(action) for action in data)
    except ValueError as error:
        raise MessageError(str(error)) from None


def of_decision(decision: Decision) -> dict[str, Any]:
    sent = decision.sent
    return {
        "actions": of_actions(decision.actions),
        "thought": decision.thought,
        "speech": decision.speech,
        "done": bool(decision.done),
        "tokens": [int(token) for token in decision.tokens],
        "log_probabilities": [float(log) for log in decision.log_probabilities],
        "sent": None if sent is None else {**asdict(sent), "sizes": [list(size) for size in sent.sizes]},
    }


def to_decision(data: Any) -> Decision:
    """Raises MessageError."""
    found = _read(_Decision, data, "decision")
    sent = found.sent and Sent(tuple((h, w) for h, w in found.sent.sizes), found.sent.bytes, found.sent.tokens)
    return Decision(
        to_actions(found.actions), found.thought, found.speech, found.done,
        tuple(found.tokens), tuple(found.log_probabilities), sent,
    )  # fmt: skip


def of_spec(spec: PolicySpec) -> dict[str, Any]:
    return asdict(spec)


def to_spec(data: Any) -> PolicySpec:
    """What a server says that its policy wants. Raises MessageError, also for more than any policy would want."""
    try:
        spec = _SPEC.validate_python(data)
    except ValidationError as error:
        _complain(error, "spec")
    view, size = spec.view, spec.view.size or (1, 1)
    counts = {"chunk": spec.chunk, "history": spec.history}
    few = all(1 <= count <= _MOST_SPEC[name] for name, count in counts.items()) and 1 <= view.frames <= _FRAMES
    if not few or size[0] * size[1] > _PIXELS or not 0.0 < spec.tick_hz <= 10_000.0:
        raise MessageError("spec: numbers that no policy has")
    return spec


def of_world(world: World, name: str = "") -> dict[str, Any]:
    """What a policy has to know of `world`."""
    height, width, _ = world.observation_space["pixels"].shape or (120, 160, 3)
    return {
        "name": name,
        "space": world.action_space.to_json(),
        "controls": dict(world.controls),
        "tick_hz": float(world.tick_hz),
        "realtime": bool(world.realtime),
        "size": [int(height), int(width)],
    }


def to_world(data: Any) -> DescribedWorld:
    """Raises MessageError."""
    return DescribedWorld(_read(_Place, data, "world"))


class DescribedWorld(World):
    """A world that is somewhere else: what a policy is told of it, to be fitted to it. It can't be played here."""

    def __init__(self, place: _Place) -> None:
        height, width = place.size
        pixels = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict({"pixels": pixels})
        try:
            self.action_space = KeyboardMouse.from_json(place.space)
        except (ValueError, TypeError) as error:
            raise MessageError(f"world: {error}") from None
        self.name, self.controls = place.name, place.controls
        self.tick_hz, self.realtime = place.tick_hz, place.realtime

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> NoReturn:
        raise NotImplementedError("this world is on another machine")

    def step(self, action: Action) -> NoReturn:
        raise NotImplementedError("this world is on another machine")


def _within(frames: Sequence[_Frame]) -> None:
    pixels = sum(frame.height * frame.width for frame in frames)
    if pixels > _PIXELS:
        raise MessageError(f"the pictures have {pixels:,} pixels together; at most {_PIXELS:,}")


def _read(kind: type[Any], data: Any, what: str) -> Any:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        _complain(error, what)


def _complain(error: ValidationError, what: str) -> NoReturn:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, (what, *first["loc"])))
    raise MessageError(f"{place}: {first['msg']}") from None
