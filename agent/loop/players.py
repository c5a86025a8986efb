"""Players: who decides, and when.

`InStep`: the world waits for the policy. `Beside`: the policy decides in a thread while the world goes on.
`ScriptedPlayer`: a function decides from ground truth.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

from agent.episode import Look
from agent.policy import Context, Decision, Policy, PolicySpec
from envs.action import Action


@dataclass(frozen=True)
class DecisionRequest:
    """The loop asks for a decision at `tick`. `epoch`: the queue's at that time. `state`: ground truth, for scripted
    players alone."""

    tick: int
    epoch: int
    context: Context
    state: Any = None


@dataclass(frozen=True)
class TimedDecision:
    """A decision, the tick and the epoch that it was asked for in, and how long it took, in seconds.

    `memory`: the memory that it was made with. `look`: what it was made from; None for scripts. `whole`: as the
    policy's spec says. The queue sets `index`, which counts the decisions of an episode that were merged, and `begin`,
    the tick of its first action.
    """

    tick: int
    epoch: int
    decision: Decision
    seconds: float
    memory: str = ""
    whole: bool = False
    index: int = -1
    begin: int = -1
    look: Look | None = None

    @property
    def end(self) -> int:
        return self.begin + len(self.decision.actions)


class ChunkQueue:
    """The actions to come. The loop takes from it; inference merges into it, from any thread.

    The queue holds one chunk: a newer decision replaces the whole plan of an older one. A decision that must be played
    whole begins when it arrives. If another such decision is still being played, it begins after that one. An epoch is
    a stretch of play with one instruction in one episode. `reset` starts the next epoch; chunks of earlier epochs are
    dropped whole.

    `stale`: chunks dropped because their epoch was over. `late`: ticks between request and arrival of the last chunks.
    `latencies`: seconds of every decision of the episode.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: TimedDecision | None = None
        self._following: TimedDecision | None = None  # begins where the current one ends
        self._now = 0
        self._merged = 0
        self.epoch = 0
        self.stale = 0
        self.late: deque[int] = deque(maxlen=8)
        self.latencies: list[float] = []

    def reset(self, *, tick: int = 0) -> None:
        """Start a new epoch at `tick`: drop the plan, and the decisions that are still being made.

        Tick 0 begins an episode: the counts start anew as well.
        """
        with self._lock:
            self.epoch += 1
            self._current = self._following = None
            self._now = tick
            if tick == 0:
                self._merged = self.stale = 0
                self.latencies = []

    def merge(self, timed: TimedDecision) -> bool:
        """Put a decision at the tick it was asked for. False if it came too late or from an earlier epoch."""
        with self._lock:
            # The race: between the policy's last line and this one the loop may have reset the world or changed the
            # instruction. Check and merge are one critical section, so that no reset lands between them and lets an
            # old chunk into the new epoch.
            if timed.epoch != self.epoch:
                self.stale += 1
                return False
            self.latencies.append(timed.seconds)
            lateness = self._now - timed.tick
            self.late.append(lateness)
            if timed.whole:
                last = self._current.end if self._current else 0
                timed = replace(timed, index=self._merged, begin=max(timed.tick, self._now, last))
            elif timed.decision.actions and lateness >= len(timed.decision.actions):
                return False
            else:
                # Drop the actions of past ticks by position: actions count from the tick of the request.
                timed = replace(timed, index=self._merged, begin=timed.tick)
            if timed.whole and timed.begin > self._now:
                self._following = timed
            else:
                self._current, self._following = timed, None
            self._merged += 1
            return True

    def take(self, tick: int, most: int = 1) -> tuple[Sequence[Action], TimedDecision | None]:
        """Up to `most` actions from `tick` on, and the decision that they belong to; none if nothing is planned.

        The decision comes without actions if its chunk is over, or if the player chose to do nothing.
        """
        with self._lock:
            self._now = tick + 1
            if self._following is not None and tick >= self._following.begin:
                self._current, self._following = self._following, None
            if self._current is None:
                return (), None
            first = tick - self._current.begin
            actions = self._current.decision.actions[first : first + most]
            self._now = tick + max(1, len(actions))
            return actions, self._current

    def remaining(self, tick: int) -> int:
        """How many actions are planned from `tick` on."""
        with self._lock:
            last = self._following or self._current
            return 0 if last is None else max(0, last.end - tick)


class Player(ABC):
    """A player: the loop asks it for decisions, and it puts them into `queue`.

    `spec`: the frames and the chunk it wants. `actor`: the actor that episodes name. `sees_state`: whether
    requests carry ground truth; only scripted players may have it.
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
        """Whether to ask for a decision at `tick`. Raises what the policy raised since the last call."""
        if self._asked is None or not self.queue.remaining(tick):
            return True
        return not self.spec.whole and tick - self._asked >= self.spec.chunk

    def ask(self, request: DecisionRequest) -> None:
        """Make a decision; it goes to the queue, now or later."""
        self._asked = request.tick
        self._ask(request)

    @abstractmethod
    def _ask(self, request: DecisionRequest) -> None: ...

    def close(self) -> None:  # noqa: B027 - most players have nothing to stop
        """Make no more decisions. Safe to call twice."""


class InStep(Player):
    """A policy that the world waits for: a decision every `spec.chunk` ticks, or where the last one is over if it is
    played whole; made before the tick is played."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.spec)
        self.policy = policy

    def _ask(self, request: DecisionRequest) -> None:
        self.queue.merge(_decision(self.policy, request))


class Beside(Player):
    """A policy in its own thread, for worlds that go on while it decides: asynchronous chunks.

    It is asked every `spec.chunk` ticks while it keeps up. If its decisions come late, it is asked earlier, by as many
    ticks as the last decisions were late, so that the next chunk is there when the current one ends. A policy
    whose decisions are played whole is asked when its last decision is about to end.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.spec)
        self.policy = policy
        self._requests: SimpleQueue[DecisionRequest | None] = SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._error: BaseException | None = None
        # A daemon: a policy that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
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
            self._error = None  # an earlier episode's

    def _ask(self, request: DecisionRequest) -> None:
        self._idle.clear()
        self._requests.put(request)

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                self.queue.merge(_decision(self.policy, request))
            except Exception as error:  # handed to the loop, which raises it
                self._error = error
            self._idle.set()

    def close(self) -> None:
        self._requests.put(None)


class ScriptedPlayer(Player):
    """A script that plays from ground truth, such as an expert. `decide` maps the world's state to a decision."""

    sees_state = True

    def __init__(
        self, decide: Callable[[Any], Decision], *, spec: PolicySpec | None = None, actor: str = "expert"
    ) -> None:
        super().__init__(spec or PolicySpec())
        self.decide = decide
        self.actor = actor

    def _ask(self, request: DecisionRequest) -> None:
        start = time.perf_counter()
        decision = self.decide(request.state)
        self.queue.merge(timed(request, decision, time.perf_counter() - start))


def timed(request: DecisionRequest, decision: Decision, seconds: float, whole: bool = False) -> TimedDecision:
    """The `decision` that was made for `request` in so many `seconds`."""
    return TimedDecision(request.tick, request.epoch, decision, seconds, request.context.memory, whole)


def _decision(policy: Policy, request: DecisionRequest) -> TimedDecision:
    start = time.perf_counter()
    (decision,) = policy.act([request.context])
    made = timed(request, decision, time.perf_counter() - start, policy.spec.whole)
    return replace(made, look=Look.of("player", request.context, decision.sent))
