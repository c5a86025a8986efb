"""`EpisodeStatistics`: the numbers of an episode."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from agent.episode import Outcome
from agent.loop.players import Player
from agent.loop.subscribers import Segment
from agent.policy import Sent

LATE = 1.5  # a tick is late if it comes so many tick lengths or more after the one before it


class EpisodeStatistics:
    """Counts what was played. `tick_hz`: ticks in a second. `realtime`: only in real time can a tick be late."""

    def __init__(self, tick_hz: float, realtime: bool) -> None:
        self._period = 1.0 / tick_hz  # seconds
        self._realtime = realtime
        self._began = time.perf_counter()
        self._last: float | None = None  # when the last segment began
        self._length = 1  # of the last segment, in ticks
        self._ages: list[int] = []
        self._ticks = self._starved = self._late = 0
        self._reward = 0.0
        self._index = -1  # of the decision that was counted last
        self._sent: list[Sent] = []

    def start(self) -> None:
        """The world is up: play begins."""
        self._began = time.perf_counter()

    def stepping(self) -> None:
        """The next action is about to be applied."""
        now = time.perf_counter()
        if self._last is not None and now - self._last >= (self._length - 1 + LATE) * self._period:
            self._late += self._realtime
        self._last = now

    def paused(self) -> None:
        """The episode was paused: the next tick is not late."""
        self._last = None

    def add(self, segment: Segment) -> None:
        """A segment was played."""
        self._length = len(segment.actions)
        self._ticks += self._length
        self._reward += segment.reward
        if segment.starved:
            self._starved += len(segment.actions)
        elif segment.decision:
            if segment.decision.index != self._index:
                self._index, sent = segment.decision.index, segment.decision.decision.sent
                self._sent += [sent] if sent else []
            first = segment.tick - segment.decision.tick
            self._ages.extend(range(first, first + len(segment.actions)))

    def outcome(self, success: bool | None, why: str, player: Player) -> Outcome:
        """The numbers, with the result that the caller gives."""
        seconds = time.perf_counter() - self._began
        ages, latencies = self._ages or [0], [1000.0 * s for s in player.queue.latencies] or [0.0]
        decisions = len(player.queue.latencies)
        p50, p99 = np.percentile(latencies, (50, 99))
        return Outcome(
            success=success,
            why=why,
            ticks=self._ticks,
            seconds=seconds,
            clock="realtime" if self._realtime else "lockstep",
            decisions=decisions,
            decisions_per_second=decisions / seconds if seconds > 0 else 0.0,
            starved=self._starved,
            stale=player.queue.stale,
            chunk_age_mean=float(np.mean(ages)),
            chunk_age_p99=float(np.percentile(ages, 99)),
            latency_p50_ms=float(p50),
            latency_p99_ms=float(p99),
            reward=self._reward,
            late=self._late,
            pictures=_mean([len(sent.sizes) for sent in self._sent]),
            sent_bytes=_mean([sent.bytes for sent in self._sent]),
            read_tokens=_mean([sent.tokens for sent in self._sent if sent.tokens is not None]),
        )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0
