"""Who decides, and when: in step with the world, beside it in a thread of its own, or a script that sees the truth."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from agent.policy import Context, Decision, Policy, PolicySpec
from envs.action import Action


@dataclass(frozen=True)
class Question:
    """What the loop asks at one tick. `epoch`: the queue's at that time. `state`: ground truth, for scripts alone."""

    tick: int
    epoch: int
    context: Context
    state: Any = None


@dataclass(frozen=True)
class Answer:
    """A decision, the tick and the epoch that it was asked for in, and how long it took, in seconds.

    `index` counts the decisions of an episode that were merged; the queue sets it.
    """

    tick: int
    epoch: int
    decision: Decision
    seconds: float
    index: int = -1


class ChunkQueue:
    """The actions to come. The loop takes from it; inference merges into it, from whatever thread.

    One chunk at a time: a newer decision replaces all that an older one had planned. An epoch is a stretch of play
    with one instruction in one episode: `reset` starts the next one, and chunks of earlier ones are dropped whole.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer: Answer | None = None
        self._now = 0
        self._merged = 0
        self.epoch = 0
        self.stale = 0
        self.late: deque[int] = deque(maxlen=8)
        self.latencies: list[float] = []

    def reset(self, *, tick: int = 0) -> None:
        """Start a new epoch at `tick`: what is planned and what is still being thought about no longer counts.

        Tick 0 begins an episode: the counts start anew as well.
        """
        with self._lock:
            self.epoch += 1
            self._answer = None
            self._now = tick
            if tick == 0:
                self._merged = self.stale = 0
                self.latencies = []

    def merge(self, answer: Answer) -> bool:
        """Put a decision at the tick it was asked for. False where it came too late or from an earlier epoch."""
        with self._lock:
            # The race: between the policy's last line and this one the loop may have reset the world or changed the
            # instruction. Check and merge are one critical section, so that no reset lands between them and lets an
            # old chunk into the new epoch.
            if answer.epoch != self.epoch:
                self.stale += 1
                return False
            self.latencies.append(answer.seconds)
            lateness = self._now - answer.tick
            self.late.append(lateness)
            if answer.decision.actions and lateness >= len(answer.decision.actions):
                return False
            # The actions whose ticks are past are dropped by position: `take` counts from the tick of the asking.
            self._answer = Answer(answer.tick, answer.epoch, answer.decision, answer.seconds, self._merged)
            self._merged += 1
            return True

    def take(self, tick: int, most: int = 1) -> tuple[Sequence[Action], Answer | None]:
        """Up to `most` actions from `tick` on, and the answer that they come from; none where nothing is planned.

        The answer comes without actions where the player chose to do nothing.
        """
        with self._lock:
            self._now = tick + 1
            if self._answer is None:
                return (), None
            first = tick - self._answer.tick
            actions = self._answer.decision.actions[first : first + most]
            self._now = tick + max(1, len(actions))
            return actions, self._answer

    def remaining(self, tick: int) -> int:
        """How many actions are planned from `tick` on."""
        with self._lock:
            if self._answer is None:
                return 0
            return max(0, self._answer.tick + len(self._answer.decision.actions) - tick)


class Player(ABC):
    """One who plays: told by the loop when to think, answers into `queue`.

    `spec`: the frames and the chunk it wants. `actor`: who episodes say has acted. `sees_state`: whether questions
    carry ground truth; only scripts may have it.
    """

    actor = "agent"
    sees_state = False

    def __init__(self, spec: PolicySpec) -> None:
        self.spec = spec
        self.queue = ChunkQueue()
        self._asked: int | None = None

    def begin(self, tick: int = 0) -> None:
        """A new episode (tick 0) or a new instruction begins: forget the plan."""
        self.queue.reset(tick=tick)
        self._asked = None

    def due(self, tick: int) -> bool:
        """Whether to ask at `tick`. Raises what the policy raised, where it failed."""
        return self._asked is None or tick - self._asked >= self.spec.chunk or not self.queue.remaining(tick)

    def ask(self, question: Question) -> None:
        """Think about `question`; the answer goes to the queue, now or later."""
        self._asked = question.tick
        self._ask(question)

    @abstractmethod
    def _ask(self, question: Question) -> None: ...

    def close(self) -> None:  # noqa: B027 - most players have nothing to stop
        """Stop thinking. Safe to call twice."""


class InStep(Player):
    """A policy that the world waits for: a decision every `spec.chunk` ticks, made before the tick is played."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.spec)
        self.policy = policy

    def _ask(self, question: Question) -> None:
        self.queue.merge(_answer(self.policy, question))


class Beside(Player):
    """A policy in a thread of its own, for worlds that move on meanwhile: asynchronous chunks.

    It is asked every `spec.chunk` ticks while it keeps up. Where its answers come late it is asked earlier, by as many
    ticks as the last answers were late, so that the next chunk is there when the last one ends.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.spec)
        self.policy = policy
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._error: BaseException | None = None
        # A daemon: a policy that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._think, name="inference", daemon=True)
        self._thread.start()

    def due(self, tick: int) -> bool:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self._idle.is_set():
            return False
        lead = min(max(self.queue.late, default=0), self.spec.chunk - 1)
        return super().due(tick + lead)

    def begin(self, tick: int = 0) -> None:
        super().begin(tick)
        if tick == 0:
            self._error = None  # of an earlier episode

    def _ask(self, question: Question) -> None:
        self._idle.clear()
        self._questions.put(question)

    def _think(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                self.queue.merge(_answer(self.policy, question))
            except Exception as error:  # handed to the loop, which raises it
                self._error = error
            self._idle.set()

    def close(self) -> None:
        self._questions.put(None)


class Scripted(Player):
    """A script that sees ground truth, such as an expert. `decide` maps the world's state to a decision."""

    sees_state = True

    def __init__(
        self, decide: Callable[[Any], Decision], *, spec: PolicySpec | None = None, actor: str = "expert"
    ) -> None:
        super().__init__(spec or PolicySpec())
        self.decide = decide
        self.actor = actor

    def _ask(self, question: Question) -> None:
        start = time.perf_counter()
        decision = self.decide(question.state)
        self.queue.merge(Answer(question.tick, question.epoch, decision, time.perf_counter() - start))


def _answer(policy: Policy, question: Question) -> Answer:
    start = time.perf_counter()
    (decision,) = policy.act([question.context])
    return Answer(question.tick, question.epoch, decision, time.perf_counter() - start)
