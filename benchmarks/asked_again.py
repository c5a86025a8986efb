"""It pays to remember: in a house of several rooms the player is asked twice to go back to the torch that it saw first.

    python benchmarks/asked_again.py --episodes 24 --out asked_again.jsonl

A guide walks the player from room to room, past two torches of different colours, and leaves it with the second one.
Then a person says: "go back to the torch that you saw first". The guide leads on to another room, and the person says
it again. Which torch was seen first, ground truth tells: the labels of every frame. An answer is right if the first
torch that the player reaches is that one, in time; the other one ends it.

  alone    `small`, which is told the person's words
  planner  `small` as planner, which has no memory
  memory   `small` as planner with the desk of long errands
  way      the same, and the player is told the ways that the map knows, as in `agent play --planner small --long`

`--out` keeps every house: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from errands import EVERY

from agent.episode import Subscriber
from agent.long.critic import SmallEyes
from agent.long.harness import LongPlanner
from agent.long.small import SmallThinker
from agent.loop.control import Hands
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.models import load_model
from agent.small import SmallPolicy, load_small
from agent.small.checkpoint import SHIPPED
from agent.talk.conversation import Conversation
from agent.talk.planned_conversation import PlannedConversation
from agent.talk.planner import SmallPlanner
from agent.talk.voice import PolicyVoice
from envs.action import Action
from envs.doom.layouts import floor_plan, furnish
from envs.doom.level import Level
from envs.doom.levels import TRAINING_THEMES
from envs.doom.world import DoomState, DoomWorld
from tasks.doom import expert
from tasks.doom.geometry import REACH, REACH_ANGLE, bearing, distance
from tasks.doom.questions import clear
from tasks.doom.scene import scene_of
from tasks.json_lines import resume
from tasks.task import VerifierSpec
from training.evaluation.statistics import percent, wilson

ARMS = ("alone", "planner", "memory", "way")
SENTENCE = "go back to the torch that you saw first"
LAYOUTS = ("row", "square", "corridor", "hall")  # of three and four rooms
LEGS = ((0, 1, 2), (3,))  # the things that the guide leads to before the sentence is said
_COMPANY = (("barrel", None), ("candelabra", None), ("pylon", None), ("stump", None), ("lamp", None))
_LEG_TICKS = 900  # that the guide has for one leg
_SURE = 3  # looks at which a torch is clear before it counts as seen


def house(seed: int) -> Level:
    """A house with two torches in different rooms, and two other things in yet others where there are."""
    for attempt in range(40):
        rng = np.random.default_rng([seed, attempt, 0xA5])
        plan = floor_plan(rng, LAYOUTS, TRAINING_THEMES)
        rooms = [int(room) for room in rng.permutation(plan.furnished())]
        colours = rng.permutation(["red", "green", "blue", "yellow"])
        company = [_COMPANY[int(i)] for i in rng.permutation(len(_COMPANY))]
        things = [
            ("torch", str(colours[0]), rooms[0]), ("torch", str(colours[1]), rooms[1]),
            (*company[0], rooms[1]), (*company[1], rooms[-1]),
        ]  # fmt: skip
        try:
            return furnish(plan, rng, start=rooms[0], things=things, seed=seed)
        except ValueError:
            continue
    raise ValueError(f"no house of seed {seed} holds the things")


class Watched(DoomWorld):
    """Doom with a referee, who sees ground truth after every step; a judge of `play` rules on one instruction alone."""

    referee: Callable[[DoomState], None]

    def step(self, action: Action) -> Any:
        return self._shown(super().step(action))

    def step_chunk(self, actions: Sequence[Action]) -> Any:
        return self._shown(super().step_chunk(actions))

    def _shown(self, result: Any) -> Any:
        self.referee(result[-1]["state"])
        return result


class Tour:
    """The guide, the person and the referee of a house. `referee` sees ground truth after every step; `action` is the
    guide's, None where the player plays."""

    def __init__(self, talk: Conversation, ticks: int) -> None:
        self._talk, self._ticks = talk, ticks
        self._legs = [list(leg) for leg in LEGS]
        self._decide: Any = None
        self._actions: list[Action] = []
        self._state: DoomState | None = None
        self._clear: Counter[int] = Counter()
        self.first: int | None = None  # the torch that was seen first
        self._since = 0  # the tick at which the leg began, or at which the person asked
        self._asking = False
        self.reached: list[int | None] = []  # the torch that was reached after each question
        self.lost = False  # the guide did not arrive in time

    def referee(self, state: DoomState) -> None:
        self._state = state
        self._look(state)
        if self._asking:
            here = next((torch for torch in (0, 1) if _at(state, torch)), None)
            if here is not None or state.tick - self._since >= self._ticks:
                self.reached.append(here)
                self._asking, self._since = False, state.tick
                self._legs.pop(0)
                self._talk.stop()
                if not self._legs:
                    self._talk.quit()
        elif self._legs and not self._legs[0]:
            self._asking, self._since = True, state.tick
            self._talk.user(SENTENCE)
        elif _at(state, self._legs[0][0]):
            self._legs[0].pop(0)
            self._since, self._decide, self._actions = state.tick, None, []
        elif state.tick - self._since >= _LEG_TICKS:
            self.lost = True
            self._talk.quit()

    def action(self) -> Action | None:
        if self._asking or not self._legs or not self._legs[0] or self._state is None:
            return None
        if self._decide is None:
            self._decide = expert.start(VerifierSpec("go_to", {"targets": [self._legs[0][0]]}))
        if not self._actions:
            self._actions = list(self._decide(self._state).actions)
        return self._actions.pop(0)

    def _look(self, state: DoomState) -> None:
        """Note which torch is seen first."""
        if self.first is not None:
            return
        shown = {seen.name for seen in scene_of(state) if clear(seen)}
        for torch in (0, 1):
            self._clear[torch] += f"{state.level.things[torch].colour} torch" in shown
            if self.first is None and self._clear[torch] >= _SURE:
                self.first = torch


def _at(state: DoomState, index: int) -> bool:
    thing = state.level.things[index]
    near = distance(state, thing.x, thing.y) <= REACH
    return near and abs(bearing(state, thing.x, thing.y)) <= REACH_ANGLE


def guided(kind: type[Conversation]) -> type[Conversation]:
    """Conversations of a kind in which the guide's hands go before the player's."""

    class Guided(kind):  # type: ignore[misc, valid-type]
        tour: Tour | None = None

        def hands(self, tick: int) -> Hands | None:
            action = self.tour.action() if self.tour is not None else None
            return super().hands(tick) if action is None else Hands(action, "guide")

    return Guided


def episode(world: Watched, seed: int, small: SmallPolicy, arm: str, ticks: int) -> dict[str, Any]:
    """One house under one arm: whether each of the two answers is right; None where the guide lost its way."""
    voice, model, watchers = PolicyVoice(small), load_model("small"), list[Subscriber]()
    how: dict[str, Any] = {"keep": True, "paced": False}
    if arm == "alone":
        talk = guided(Conversation)(voice, **how)
    elif arm == "planner":
        talk = guided(PlannedConversation)(SmallPlanner(model), voice, every=EVERY, waits=True, **how)  # type: ignore[arg-type, call-arg]
    else:
        eyes = SmallEyes(model)
        long = LongPlanner(SmallThinker(model), describe=voice.describe, judge=eyes, critic=eyes, ways=arm == "way")
        talk = guided(PlannedConversation)(long, voice, every=EVERY, waits=True, **how)  # type: ignore[arg-type, call-arg]
        watchers.append(long)
    tour = Tour(talk, ticks)
    talk.tour = tour  # type: ignore[attr-defined]
    world.referee = tour.referee
    talk.attach(world)
    talk.begin()
    outcome = play(
        world, InStep(small), talk.instruction, control=talk, subscribers=[*watchers, talk], observe="decision",
        seed=seed, options={"level": house(seed).to_json()}, time_limit=10 * _LEG_TICKS,
    )  # fmt: skip
    talk.close()
    assert not outcome.problems, outcome.problems
    lost = tour.lost or tour.first is None or len(tour.reached) < len(LEGS)
    right = None if lost else [torch == tour.first for torch in tour.reached]
    return {"arm": arm, "house": seed, "right": right, "reached": tour.reached, "first": tour.first}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The arms beside each other, as Markdown."""
    lines = ["| | n | first question, % | second question, % | both, % | the other torch, of both |", "|---" * 6 + "|"]
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm and row["right"] is not None]
        if not mine:
            continue
        wins = [sum(row["right"][i] for row in mine) for i in (0, 1)] + [sum(all(row["right"]) for row in mine)]
        other = sum(torch is not None and torch != row["first"] for row in mine for torch in row["reached"])
        shares = (percent(count / len(mine), wilson(count, len(mine))) for count in wins)
        lines.append(f"| {arm} | {len(mine)} | {' | '.join(shares)} | {other} of {2 * len(mine)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=9000, help="of the first house")
    parser.add_argument("--seconds", type=float, default=40.0, help="for an answer")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--policy", type=Path, default=SHIPPED, help="the checkpoint that plays")
    parser.add_argument("--out", type=Path, default=Path("asked_again.jsonl"), help="every house, a line each")
    args = parser.parse_args()
    small, world = load_small(args.policy), Watched(labels=True)
    ticks = round(args.seconds * world.tick_hz)
    jobs = [
        ({"arm": arm, "house": seed}, partial(episode, world, seed, small, arm, ticks))
        for seed in range(args.seed, args.seed + args.episodes)
        for arm in args.arms
    ]
    try:
        rows = resume(
            args.out, jobs, lambda row: print(f"{row['arm']:8s} house {row['house']}: {row['right']}", flush=True)
        )
    finally:
        world.close()
    print(table(rows))


if __name__ == "__main__":
    main()
