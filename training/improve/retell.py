"""Retelling: recorded episodes told anew under another instruction, as new episodes.

What was done and seen stays. What was thought and said for the old instruction is replaced: a decision whose thought or
speech changes loses its tokens too, so that a learner encodes what it is to learn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.capabilities import spec_of
from agent.episode import Step
from agent.policy import Context, Decision, Policy
from tasks.task import Task
from training.data.dataset import load_decisions
from training.data.episodes import Episode, EpisodeWriter

_BATCH = 16  # episodes that are thought over together


@dataclass(frozen=True)
class Part:
    """An episode as a part of a retold one.

    `thoughts`: of its decisions, in order. `speech`: what is said at its first decision. `whole`: whether the decision
    by which the player said that it is done is told too.
    """

    episode: Episode
    thoughts: Sequence[str]
    speech: str = ""
    whole: bool = True


def retell(parts: Sequence[Part], out: Path, task: Task) -> Path:
    """Write the episode that the parts are one after the other, under the task's instruction; its folder. An episode
    that is there is told anew. Raises DamagedEpisodeError for a damaged part, and ValueError where nothing is left."""
    last = parts[-1].episode
    meta = {name: last.meta.get(name) for name in ("policy", "actor", "space", "controls", "seed")}
    height, width = last.meta["frame_size"]
    steps = [_Told(part, task.instruction) for part in parts]
    if not any(told.ticks for told in steps):
        raise ValueError(f"{last.path}: nothing is left to tell")
    writer = EpisodeWriter(
        out, frame_size=(height, width), tick_hz=last.tick_hz, durable=False,
        meta={**meta, "task": {**vars(task), "verifier": None}, "instruction": task.instruction, "options": None,
              "told_from": [part.episode.path.name for part in parts]},
    )  # fmt: skip
    try:
        tick = number = 0
        for told in steps:
            for step in told.steps(tick, number):
                writer.add(step)
            tick, number = tick + told.ticks, number + told.decisions
    except BaseException:
        writer.abort()
        raise
    outcome = {**last.outcome, "success": None, "decided": None, "ticks": tick, "decisions": number}
    return writer.finish(outcome, steps[-1].final)


class _Told:
    """The steps of a part. `ticks` and `decisions`: how many are told. `final`: what is seen after them."""

    def __init__(self, part: Part, instruction: str) -> None:
        episode = part.episode
        self._part, self._instruction = part, instruction
        self._rows: list[dict[str, Any]] = episode.steps.to_pylist()
        self._actions, self._frames = episode.actions(), episode.frames()
        self._first = _firsts(self._rows)
        asked = sorted(self._first)
        self._numbers = {tick: i for i, tick in enumerate(asked)}
        if len(part.thoughts) != len(asked):
            raise ValueError(f"{episode.path}: {len(part.thoughts)} thoughts for {len(asked)} decisions")
        ends = bool(episode.outcome.get("done")) and bool(asked)
        self._last = asked[-1] if ends else -1  # the decision by which the player said that it is done
        self.ticks = self._first[asked[-1]] if ends and not part.whole else len(self._rows)
        self.decisions = len(asked) - int(ends and not part.whole)
        self.final = self._frames[-1]

    def steps(self, tick: int, number: int) -> Iterator[Step]:
        """The steps, where `tick` ticks and `number` decisions were told before."""
        for row in self._rows[: self.ticks]:
            asked, at = row["asked"], row["tick"]
            decision = None if asked < 0 else self._decision(row, first=at == self._first[asked])
            yield Step(
                tick=tick + at,
                frame=None if row["frame"] < 0 else self._frames[row["frame"]],
                action=self._actions[at],
                reward=row["reward"],
                instruction=self._instruction,
                actor=row["actor"],
                starved=row["starved"],
                decision=decision,
                index=-1 if decision is None else number + self._numbers[asked],
                asked=-1 if decision is None else tick + asked,
                info={},
                time=row["time"],
            )

    def _decision(self, row: Mapping[str, Any], first: bool) -> Decision | None:
        """The decision of a tick. What it thought and said counts at the first of its ticks."""
        asked = row["asked"]
        if not first:
            return Decision(())
        if asked == self._last:  # it says what it said: the new instruction is done as well
            return Decision((), row["thought"], row["speech"], done=True, tokens=tuple(row["tokens"] or ()))
        thought = self._part.thoughts[self._numbers[asked]]
        speech = self._part.speech if self._numbers[asked] == 0 else ""
        kept = (thought, speech) == (row["thought"], row["speech"])
        return Decision((), thought, speech, tokens=tuple(row["tokens"] or ()) if kept else ())


def thoughts_of(episode: Episode) -> list[str]:
    """What was thought at each decision of an episode."""
    rows = episode.steps.select(["asked", "thought"]).to_pylist()
    return [rows[tick]["thought"] for _, tick in sorted(_firsts(rows).items())]


def _firsts(rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The first tick of each decision that was carried out, by the tick at which it was asked for."""
    found: dict[int, int] = {}
    for tick, row in enumerate(rows):
        if row["asked"] >= 0:
            found.setdefault(row["asked"], tick)
    return found


def rethink(policy: Policy, episodes: Sequence[tuple[Episode, str]]) -> list[list[str]]:
    """What a policy thinks at each decision of recorded episodes, under another instruction for each of them: it sees
    what was seen, and remembers that it did what was done."""
    thoughts: list[list[str]] = []
    for start in range(0, len(episodes), _BATCH):
        thoughts += _rethink(policy, episodes[start : start + _BATCH])
    return thoughts


def _rethink(policy: Policy, episodes: Sequence[tuple[Episode, str]]) -> list[list[str]]:
    spec = spec_of(policy)
    seen = [load_decisions(Episode(episode.path, episode.meta)) for episode, _ in episodes]
    shown = [[spec.view.newest(frame) for frame in one.frames] for one in seen]
    thoughts: list[list[str]] = [[] for _ in seen]
    for at in range(max((len(one) for one in seen), default=0)):
        rows = [i for i, one in enumerate(seen) if at < len(one)]
        first = max(0, at - spec.history + 1)
        contexts = [
            Context(
                frames=tuple(np.asarray(frame) for frame in shown[i][first : at + 1]),
                instruction=episodes[i][1],
                actions=seen[i].actions[first:at],
                thoughts=tuple(thoughts[i][first:at]),
            )
            for i in rows
        ]
        for i, decision in zip(rows, policy.act(contexts), strict=True):
            thoughts[i].append(decision.thought)
    return thoughts
