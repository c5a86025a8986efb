"""What the loop tells its subscribers: `Start`, `Step`, `Outcome`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agent.policy import Context, Decision, Sent
from agent.view import Size
from envs.action import Action, KeyboardMouse

Frame = npt.NDArray[np.uint8]


class Verdict(Protocol):
    """How the judge of an episode ruled: `success`, and `why` in one short sentence."""

    @property
    def success(self) -> bool: ...
    @property
    def why(self) -> str: ...


Judge = Callable[[Any], Verdict | None]


@dataclass(frozen=True)
class Start:
    """An episode begins. `tick_hz`: ticks in a second. `frame_size`: (height, width) in pixels. `controls`: what the
    world says that its keys do. `space`: the world's actions."""

    instruction: str
    seed: int | None
    options: Mapping[str, Any]
    tick_hz: float
    frame_size: tuple[int, int]
    actor: str
    controls: Mapping[str, str] = field(default_factory=dict)
    space: KeyboardMouse | None = None


@dataclass(frozen=True)
class Look:
    """What a model was shown of an episode.

    `who`: player, planner, voice or captions. `tick`: when it was asked. `frames`: the tick of each picture, oldest
    first, and `sizes`, (height, width) in pixels, of what it was shown of them. `sent`: what the request weighed; None
    where that is not known. `picture`: the newest one, as it was shown. `decision`: the number of the player's decision
    that came of it; -1 for others.
    """

    who: str
    tick: int
    frames: tuple[int, ...]
    sizes: tuple[Size, ...]
    sent: Sent | None = None
    picture: Frame | None = field(default=None, compare=False, repr=False)
    decision: int = -1

    @classmethod
    def of(cls, who: str, context: Context, sent: Sent | None = None) -> Look | None:
        """What a context shows, or what was sent of it; None for a context that does not say when its frames were
        seen."""
        if not context.ticks:
            return None
        sizes = sent.sizes if sent else tuple((frame.shape[0], frame.shape[1]) for frame in context.frames)
        shown = context.ticks[len(context.ticks) - len(sizes) :]
        return cls(who, context.ticks[-1], shown, sizes, sent, context.frames[-1])


@dataclass(frozen=True, slots=True)
class Step:
    """One tick that was played.

    `frame`: what was seen before the action, uint8 (H, W, 3), or None if the tick was not drawn. `decision`: the
    decision that the action belongs to, None on a starved tick and where the player was not asked. `index` counts
    decisions, `asked` is the tick at which the decision was asked for (both -1 without one), and `memory` is the memory
    that it was made with, and `look` what it was made from. `info`: the world's, without ground truth. `notes`: what
    `annotate` made of the frame, at the ticks where a decision was asked for. `time`: when the action was applied, in
    seconds since 1970; in lockstep the ticks of one decision may share it.
    """

    tick: int
    frame: Frame | None
    action: Action
    reward: float
    instruction: str
    actor: str
    starved: bool
    decision: Decision | None
    index: int
    asked: int
    info: Mapping[str, Any]
    notes: Mapping[str, Any] | None = None
    memory: str = ""
    time: float | None = None
    look: Look | None = None


@dataclass(frozen=True)
class Outcome:
    """How an episode went.

    `success` is None if nobody judged or the player was interrupted. `seconds`: wall time. `starved`: ticks without a
    decided action. `stale`: chunks dropped because the instruction changed meanwhile. `chunk_age_*`: ticks between the
    frame that an action was chosen from and the tick at which it was played. `latency_*_ms`: from the request for a
    decision to the decision. `decided`: tick of the verdict. `said`: (tick, what the player said). `done`: whether it
    said, by its decision, that it is done. `problems`: what subscribers raised. `warnings`: what a person should know
    of the world, which played on. `late`: ticks of a real-time episode that came at least one and a half tick lengths
    after the tick before. `pictures`, `sent_bytes`, `read_tokens`: what the model was sent for a decision, on average;
    0 where nothing was sent or counted.
    """

    success: bool | None
    why: str
    ticks: int
    seconds: float
    clock: str
    decisions: int
    decisions_per_second: float
    starved: int
    stale: int
    chunk_age_mean: float
    chunk_age_p99: float
    latency_p50_ms: float
    latency_p99_ms: float
    reward: float = 0.0
    interrupted: bool = False
    decided: int | None = None
    said: tuple[tuple[int, str], ...] = ()
    done: bool = False
    problems: tuple[str, ...] = ()
    late: int = 0
    warnings: tuple[str, ...] = ()
    pictures: float = 0.0
    sent_bytes: float = 0.0
    read_tokens: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the same names."""
        lists = {"problems": list(self.problems), "warnings": list(self.warnings)}
        return {**asdict(self), "said": [list(line) for line in self.said], **lists}


class Subscriber:
    """The loop tells it what happens; recorders and pages are subscribers. What it raises never stops the game."""

    def on_start(self, start: Start) -> None:
        """An episode begins."""

    def on_step(self, step: Step) -> None:
        """A tick was played."""

    def on_look(self, look: Look) -> None:
        """A model beside the player was shown something. Any thread may call this."""

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        """The episode is over; `frame` is the last one seen."""
