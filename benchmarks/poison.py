"""Poison: false beliefs are put on the desk of a long errand, and how long they stand and steer the player.

    python benchmarks/poison.py --episodes 12 --out poison.jsonl

`small` plays the houses of the suite doom-errands with itself as planner, and the world waits for the planner. After
six seconds one false belief is put in:

  door  the map and the summary tell of a white door, which no house has, in a direction drawn at random
  key   a key that lies in the house counts as taken: the player is said to have said so
  part  the first thing that the user asks for counts as done, likewise

A belief stands as long as the desk holds it: the landmark, the summary's line, or the part as done. It steers while the
player's instruction follows from it: to look for the white key, or to open the door of a key that it does not have. If
the player takes the key after all, the belief has come true, and the run tells no more of it.

  none          goals don't expire, nobody judges, nothing is looked at again
  expiry        a step that takes eight turns, of three seconds, is given up
  critic        fresh eyes look at the frames of every eight turns
  verification  the judge looks at what counts as done, and what is not seen where it was is given up
  all           all three, as `agent play --long` has them

`--out` keeps every episode: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from errands import EVERY, interval

from agent.episode import Step
from agent.long.critic import SmallEyes
from agent.long.goals import LIVES, Pursuit
from agent.long.harness import LongPlanner
from agent.long.places import Landmark
from agent.long.small import SmallThinker
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.models import load_model
from agent.small import SmallPolicy, load_small
from agent.talk.planned_conversation import PlannedConversation
from agent.talk.planner import DONE
from agent.talk.voice import PolicyVoice
from envs.doom.world import DoomState, DoomWorld
from tasks.doom.suites import SUITES
from tasks.json_lines import resume
from tasks.task import Task
from training.evaluation.statistics import percent, wilson

KINDS = ("door", "key", "part")
ARMS = ("none", "expiry", "critic", "verification", "all")
TURN = 3  # at which the belief is put in
_FALSE = "white door"
_FAR = 1.2  # seconds of walking to the false door
_NEVER = dict.fromkeys(LIVES, 10**9)


@dataclass
class Truth:
    """The newest ground truth, which the player does not see."""

    state: DoomState | None = None

    def look(self, state: DoomState) -> None:
        self.state = state

    def lying(self) -> dict[str, int]:
        """The keys that lie in the house: their colours and numbers."""
        assert self.state is not None
        things, there = self.state.level.things, {thing.id for thing in self.state.objects}
        return {str(things[i].colour): i for i in sorted(there) if 0 <= i < len(things) and things[i].kind == "key"}


class Poisoned(LongPlanner):
    """A planner of long errands into which a false belief of a kind is put at turn TURN."""

    def __init__(self, thinker: SmallThinker, kind: str, truth: Truth, rng: np.random.Generator, **how: Any) -> None:
        super().__init__(thinker, **how)
        self._kind, self._truth, self._rng = kind, truth, rng
        self._believed = self._key = ""
        self.put: int | None = None  # the tick at which it was put in
        self.ended: int | None = None  # the tick at which it stands no more
        self.true = False  # it ended by coming true
        self.steered = 0  # ticks

    def _hear(self, history: tuple[tuple[str, str], ...]) -> None:
        super()._hear(history)
        if self.put is None and self.desk.turn >= TURN:
            self._put()

    def _put(self) -> None:
        desk = self.desk
        if self._kind == "door":
            here = desk.places.here
            place = here.towards(float(self._rng.uniform(-180.0, 180.0)), _FAR)
            desk.places.landmarks = [*desk.places.landmarks, Landmark(_FALSE, place, here, desk.tick)]
            desk.summary.note(f"there is a {_FALSE}")
        elif self._kind == "key":
            if not (keys := self._truth.lying()):
                return
            self._key = str(self._rng.choice(sorted(keys)))
            self._claim(f"pick up the {self._key} key")
        elif desk.goals.secondary:
            self._claim(desk.goals.secondary[0].text)
        self.put = desk.tick

    def _claim(self, text: str) -> None:
        """The player is said to have done what the planner told it three seconds ago."""
        desk, self._believed = self.desk, text
        if all(goal.text != text for goal in desk.goals.tertiary):
            desk.goals.tertiary.append(Pursuit(text, "tertiary", desk.turn, desk.turn + 1))
        self._set_at.setdefault(text, desk.tick - round(EVERY * desk.tick_hz))
        self._came(text, DONE)

    def on_step(self, step: Step) -> None:
        super().on_step(step)
        if self.put is None or self.ended is not None:
            return
        self.true = self._kind == "key" and self._key not in self._truth.lying()
        if self.true or not self._stands():
            self.ended = step.tick
        elif any(name in step.instruction for name in (_FALSE, "white key", f"open the {self._key} door")):
            self.steered += 1

    def _stands(self) -> bool:
        if self._kind == "door":
            return any(mark.name == _FALSE for mark in self.desk.places.landmarks)
        if self._kind == "key":
            return f"{self._believed}: done" in self.desk.summary.text
        return self._believed not in {goal.text for goal in self.desk.goals.secondary}


def episode(world: DoomWorld, task: Task, small: SmallPolicy, kind: str, arm: str, ticks: int) -> dict[str, Any]:
    """One house under one arm with one false belief, and what became of it."""
    voice, model, truth = PolicyVoice(small), load_model("small"), Truth()
    eyes = SmallEyes(model)
    checks = arm in ("verification", "all")
    long = Poisoned(
        SmallThinker(model), kind, truth, np.random.default_rng([task.seed, zlib.crc32(kind.encode())]),
        describe=voice.describe, judge=eyes if checks else None, critic=eyes if arm in ("critic", "all") else None,
        lives=LIVES if arm in ("expiry", "all") else _NEVER, looks_again=checks,
    )  # fmt: skip
    talk = PlannedConversation(long, voice, every=EVERY, waits=True)
    talk.attach(world)
    talk.begin(task.instruction)
    outcome = play(
        world, InStep(small), talk.instruction, control=talk, subscribers=[long, talk], observe="decision",
        seed=task.seed, options=task.options, time_limit=ticks, judge=partial(_until, truth, long, talk),
    )  # fmt: skip
    talk.close()
    assert not outcome.problems, outcome.problems
    end = outcome.ticks if long.ended is None else long.ended
    return {
        "kind": kind, "arm": arm, "task": task.id, "put": long.put is not None, "true": long.true,
        "corrected": long.ended is not None and not long.true,
        "stood": (end - (long.put or 0)) / world.tick_hz, "steered": long.steered / world.tick_hz,
    }  # fmt: skip


def _until(truth: Truth, long: Poisoned, talk: PlannedConversation, state: DoomState) -> None:
    """Show the state to the audit, and end the episode where the belief stands no more."""
    truth.look(state)
    if long.ended is not None:
        talk.quit()


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The arms beside each other for each kind of belief, as Markdown. Beliefs that came true are left out."""
    lines = [
        "| belief | mechanisms | n | corrected, % | after, s, median | stood, s, mean | steered, s, mean | came true |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        for arm in ARMS:
            every = [row for row in rows if (row["kind"], row["arm"]) == (kind, arm) and row["put"]]
            mine = [row for row in every if not row["true"]]
            if not mine:
                continue
            fixed = [row["stood"] for row in mine if row["corrected"]]
            cells = [
                kind, arm, str(len(mine)), percent(len(fixed) / len(mine), wilson(len(fixed), len(mine))),
                f"{np.median(fixed):.1f}" if fixed else "-", _mean([row["stood"] for row in mine]),
                "-" if kind == "part" else _mean([row["steered"] for row in mine]), str(len(every) - len(mine)),
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    low, high = interval(values, np.random.default_rng(0))
    return f"{np.mean(values):.1f} ({low:.1f}–{high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of game time, for a house")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--out", type=Path, default=Path("poison.jsonl"), help="every episode, a line each")
    args = parser.parse_args()
    small, world = load_small(), DoomWorld()
    ticks = round(args.seconds * world.tick_hz)
    jobs = [
        ({"kind": kind, "arm": arm, "task": task.id}, partial(episode, world, task, small, kind, arm, ticks))
        for task in SUITES["doom-errands"].tasks(args.seed, args.episodes)
        for kind in args.kinds
        for arm in args.arms
    ]

    def tell(row: dict[str, Any]) -> None:
        print(f"{row['task']} {row['kind']} {row['arm']}: stood {row['stood']:.1f} s", flush=True)

    try:
        rows = resume(args.out, jobs, tell)
    finally:
        world.close()
    print(table(rows))


if __name__ == "__main__":
    main()
