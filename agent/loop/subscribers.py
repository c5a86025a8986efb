"""`Segment`: what one pass of the control loop played. `Subscribers`: the listeners that are told of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.episode import Frame, Outcome, Start, Step, Subscriber
from agent.loop.players import TimedDecision
from envs.action import Action

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Segment:
    """What one pass of the control loop played: one tick, or the ticks of one decision.

    `frame`: what was seen before the first action. `decision`: what the actions belong to; None on starved ticks and
    where the player was not asked. `time`: when the first action was applied, in seconds since 1970.
    """

    tick: int
    frame: Frame
    notes: Mapping[str, Any] | None
    actions: Sequence[Action]
    reward: float
    instruction: str
    actor: str
    starved: bool
    decision: TimedDecision | None
    info: Mapping[str, Any]
    time: float

    def steps(self) -> Iterator[Step]:
        """A Step for each tick; the frame belongs to the first, the reward and the info to the last."""
        timed = self.decision
        public = {key: value for key, value in self.info.items() if key != "state"}
        final = len(self.actions) - 1
        for i, action in enumerate(self.actions):
            yield Step(
                tick=self.tick + i,
                frame=None if i else self.frame,
                action=action,
                reward=self.reward if i == final else 0.0,
                instruction=self.instruction,
                actor=self.actor,
                starved=self.starved,
                decision=timed.decision if timed else None,
                index=timed.index if timed else -1,
                asked=timed.tick if timed else -1,
                info=public if i == final else {},
                notes=None if i else self.notes,
                memory=timed.memory if timed else "",
                time=self.time,
                look=timed.look if timed else None,
            )


class Subscribers:
    """All subscribers of an episode. If one raises, the game goes on; the problem is kept and logged once."""

    def __init__(self, subscribers: Sequence[Subscriber]) -> None:
        self._subscribers = tuple(subscribers)
        self._problems: dict[str, None] = {}  # a set that keeps the order

    @property
    def problems(self) -> tuple[str, ...]:
        """What subscribers raised so far, each problem once."""
        return tuple(self._problems)

    def start(self, start: Start) -> None:
        """Tell all that the episode begins."""
        for subscriber in self._subscribers:
            self._tell(subscriber, subscriber.on_start, start)

    def steps(self, segment: Segment) -> None:
        """Tell all of every tick of a segment."""
        if self._subscribers:
            for step in segment.steps():
                for subscriber in self._subscribers:
                    self._tell(subscriber, subscriber.on_step, step)

    def end(self, outcome: Outcome, frame: Frame | None) -> None:
        """Tell all that the episode is over."""
        for subscriber in self._subscribers:
            self._tell(subscriber, subscriber.on_end, replace(outcome, problems=self.problems), frame)

    def _tell(self, subscriber: Subscriber, tell: Callable[..., None], *what: Any) -> None:
        try:
            tell(*what)
        except Exception as error:
            problem = f"{type(subscriber).__name__}: {type(error).__name__}: {error}"
            if problem not in self._problems:
                self._problems[problem] = None
                expected = isinstance(error, OSError)  # such as a full disk, which says all there is to say
                logger.warning("the game goes on; %s", problem, exc_info=None if expected else error)
