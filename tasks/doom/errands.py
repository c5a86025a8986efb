"""Errands: houses of 8 to 16 rooms with locks inside locks, and the verifier of an errand's steps in their order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from envs.doom.layouts import Plan, furnish, tree_plan
from envs.doom.level import LOCKS, Level, Panel, joined
from envs.doom.things import ACTORS, KINDS
from envs.doom.world import DoomState
from tasks.doom.expert import find
from tasks.doom.geometry import DOOR_OPEN, REACH, REACH_ANGLE, bearing, distance
from tasks.doom.goals import targets_of
from tasks.doom.language import Meaning
from tasks.doom.planning import Errand, Unsolvable, errand, room_of, start_state, walk_through, without
from tasks.doom.verify import ROOM_MARGIN
from tasks.task import Pair, VerifierSpec, thing_name
from tasks.verifier import Verdict

ROOMS = (8, 16)
STEPS = (20, 60)  # of an errand
_GATES = (3, 5)
_ASKED = (3, 6)  # things that the user asks for
_OFF_THE_WAY = 160.0  # map units
_TRIES = 40
_LOOSE = 2  # things that nobody asks for and that can be taken

Step = dict[str, Any]  # the name and the arguments of a verifier, as JSON


class ErrandVerifier:
    """Success once every step was done in order and nothing was taken or shot that was not to be.

    A step is {"name", "args"} and, where the user asked for it, {"asked": True}. What prepares a step (a room to enter,
    a door, a switch, a key) counts whenever it is done; what was asked for counts in its turn alone. `done`: how many
    steps from the first on are done. `stage`: the step that is under way. `wrong`: what was done that nobody asked for;
    it fails the errand in the end, and does not cut it short.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = [{"asked": False, **step} for step in steps]
        if not self._steps:
            raise ValueError("an errand needs steps")
        self._prepared: set[int] = set()
        self._gone: set[int] = set()
        self.done = 0
        self.wrong: list[str] = []

    @property
    def stage(self) -> int:
        return min(self.done, len(self._steps) - 1)

    @property
    def progress(self) -> float:
        """The share of the steps that are done in order."""
        return self.done / len(self._steps)

    def update(self, state: DoomState) -> Verdict | None:
        gone = {i for i in range(len(state.level.things)) if find(state, i) is None} - self._gone
        self._prepared |= {i for i, s in enumerate(self._steps) if not s["asked"] and _holds(state, s)}
        fits: set[int] = set()
        while self.done < len(self._steps):
            step = self._steps[self.done]
            targets = set(step["args"].get("targets", ()))
            if not (self.done in self._prepared or (targets & gone) or (step["asked"] and _reached(state, step))):
                break
            fits |= targets
            self.done += 1
        self._gone |= gone
        self._note(state.level, gone - fits)
        if self.done < len(self._steps):
            return None
        return Verdict(not self.wrong, self.wrong[0] if self.wrong else "did the whole errand")

    def _note(self, level: Level, gone: set[int]) -> None:
        """What vanished out of turn is wrong; keys may be taken at any time."""
        for index in sorted(gone):
            thing = level.things[index]
            if thing.kind != "key":
                verb = "shot" if KINDS[thing.kind].role == "monster" else "took"
                self.wrong.append(f"{verb} the {thing_name(thing.kind, thing.colour)}, which was not asked for then")


def _holds(state: DoomState, step: Step) -> bool:
    """Whether a step that prepares others is done as things stand."""
    args = step["args"]
    if step["name"] == "enter":
        return state.level.rooms[int(args["room"])].rect.contains(state.x, state.y, ROOM_MARGIN)
    if step["name"] == "open":
        return all(state.doors[door] >= DOOR_OPEN for door in args["doors"])
    if step["name"] == "press":
        return int(args["panel"]) not in state.markers
    return all(find(state, target) is None for target in args["targets"])


def _reached(state: DoomState, step: Step) -> bool:
    """Whether the player is at one of the things that it is to go to."""
    if step["name"] != "go_to":
        return False
    things = [state.level.things[i] for i in step["args"]["targets"]]
    return any(distance(state, t.x, t.y) <= REACH and abs(bearing(state, t.x, t.y)) <= REACH_ANGLE for t in things)


def errand_house(
    rng: np.random.Generator, seed: int, verb: str, themes: Sequence[str], pairs: str
) -> tuple[Level, Meaning, VerifierSpec]:
    """A house, what is asked for there, the last of it with `verb`, and its verifier. Raises ValueError where what was
    drawn makes no errand of 20 to 60 steps."""
    plan = tree_plan(rng, int(rng.integers(ROOMS[0], ROOMS[1] + 1)), themes)
    growth = _Growth(plan, rng)
    asked = _asked(rng, verb, pairs)
    places = _places(len(asked), growth.order)
    things = [(str(m.kind), m.colour, room) for m, room in zip(asked, places, strict=True)]
    things += [("key", colour, room) for colour, room in growth.keys]
    things += _company(rng, [(t[0], t[1]) for t in things], growth.order)
    level = _furnished(plan, rng, growth, things, seed)
    steps = steps_to(level, [VerifierSpec(m.verb, {"targets": [i]}) for i, m in enumerate(asked)])
    if not STEPS[0] <= len(steps) <= STEPS[1]:
        raise ValueError(f"the errand has {len(steps)} steps")
    return level, replace(asked[0], then=tuple(asked[1:])), VerifierSpec("errand", {"steps": steps})


def _furnished(
    plan: Plan, rng: np.random.Generator, growth: _Growth, things: Sequence[tuple[str, str | None, int]], seed: int
) -> Level:
    """The level, with nothing that could be taken by who comes through a doorway at a run. Raises ValueError."""
    for _ in range(_TRIES):
        level = furnish(
            plan, rng, start=growth.order[0], things=things, doors=growth.doors, panels=growth.panels, seed=seed
        )
        loose = [t for t in level.things if KINDS[t.kind].role == "pickup" and t.kind != "key"]
        ways = [door.rect.centre for door in level.doors]
        if all(math.dist((t.x, t.y), way) >= _OFF_THE_WAY for t in loose for way in ways):
            return level
    raise ValueError("the house is too full")


@dataclass
class _Growth:
    """How a house opens up from its first room: `order` of the rooms, and what bars each doorway; what opens it lies in
    a room that is reached before, most often behind the bar before it."""

    plan: Plan
    rng: np.random.Generator
    order: list[int] = field(default_factory=list)
    doors: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    keys: list[tuple[str, int]] = field(default_factory=list)
    panels: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng, plan = self.rng, self.plan
        kinds = self._kinds(len(plan.joins))
        self.order = [int(rng.integers(len(plan.rooms)))]
        newest = list(self.order)  # the rooms since the last bar
        for kind, colour in kinds:
            door, room = self._next()
            self.doors[door] = (kind, colour)
            if kind in ("locked", "remote"):
                where = newest[rng.integers(len(newest))]
                if colour is not None:
                    self.keys.append((colour, where))
                else:
                    self.panels.append((where, door))
                newest = []
            newest.append(room)
            self.order.append(room)

    def _kinds(self, doorways: int) -> list[tuple[str, str | None]]:
        """Three locks, three to five gates, and doors or open doorways, in a random order."""
        rng = self.rng
        bars: list[tuple[str, str | None]] = [("locked", str(colour)) for colour in rng.permutation(list(LOCKS))]
        gates = int(rng.integers(_GATES[0], _GATES[1] + 1))
        bars += [("remote", None)] * min(gates, doorways - len(bars) - 1)
        plain = [("door" if rng.random() < 0.8 else "open", None) for _ in range(doorways - len(bars))]
        kinds = [*bars, *plain]
        return [kinds[int(i)] for i in rng.permutation(len(kinds))]

    def _next(self) -> tuple[int, int]:
        """A doorway out of what is reached, mostly of the newest room that has one, and the room behind it."""
        ways = []
        for door, (a, b) in enumerate(self.plan.joins):
            if (a in self.order) != (b in self.order):
                near, far = (a, b) if a in self.order else (b, a)
                ways.append((self.order.index(near), door, far))
        newest = max(way[0] for way in ways)
        choice = [way for way in ways if way[0] == newest] if self.rng.random() < 0.7 else ways
        _, door, room = choice[self.rng.integers(len(choice))]
        return door, room


def _asked(rng: np.random.Generator, verb: str, pairs: str) -> list[Meaning]:
    """What the user asks for, the last with `verb`; no kind of thing twice, and no keys, which open locks."""
    count = int(rng.integers(_ASKED[0], _ASKED[1] + 1))
    verbs = [*(str(v) for v in rng.choice(["pick_up", "go_to", "shoot"], count - 1)), verb]
    out: list[Meaning] = []
    for one in verbs:
        # the player arrives at a run and would slide into what it can take
        kinds = {m.kind for m in out} | {"key"}
        found = [p for p in targets_of("touch" if one == "go_to" else one, pairs) if p[0] not in kinds]
        out.append(Meaning(one, *found[rng.integers(len(found))]))
    return out


def _places(count: int, order: Sequence[int]) -> list[int]:
    """The rooms of what is asked for: spread over the house in the order in which it opens, the last in the last."""
    return [order[round((i + 1) * (len(order) - 1) / count)] for i in range(count)]


def _company(rng: np.random.Generator, have: Sequence[Pair], rooms: Sequence[int]) -> list[tuple[str, str | None, int]]:
    """Things that nobody asks for, none alike and none of a kind that is asked for: most only stand in the way, a few
    can be taken by mistake."""
    kinds = {kind for kind, _ in have}

    def drawn(role: str, count: int) -> list[Pair]:
        pool = [pair for pair in ACTORS if pair[0] not in kinds and KINDS[pair[0]].role == role]
        return [pool[int(i)] for i in rng.permutation(len(pool))[:count]]

    found = [*drawn("solid", len(rooms) - _LOOSE), *drawn("pickup", _LOOSE)]
    return [(*pair, rooms[int(rng.integers(len(rooms)))]) for pair in found]


def steps_to(level: Level, goals: Sequence[VerifierSpec]) -> list[Step]:
    """The steps that a plan takes to `goals`, each of which names things: every room that is entered for the first
    time, every door, key and switch on the way, and the goals themselves. Raises Unsolvable."""
    walk = _Walk(level)
    for goal in goals:
        thing = level.things[goal.args["targets"][0]]
        walk.to((float(thing.x), float(thing.y)), goal.args["targets"])
        walk.steps.append({"name": goal.name, "args": goal.args, "asked": True})
        if goal.name in ("pick_up", "shoot"):
            walk.state = without(walk.state, goal.args["targets"])
    return walk.steps


class _Walk:
    """A planned walk through a level, and the steps it takes."""

    def __init__(self, level: Level) -> None:
        self.state = start_state(level)
        self.steps: list[Step] = []
        self._seen = {room_of(level, self.state.x, self.state.y)}

    def to(self, goal: tuple[float, float], keep: Sequence[int]) -> None:
        """Walk to a point, what has to be done first done."""
        for _ in range(4 * len(self.state.level.doors) + 1):
            todo = errand(self.state, goal)
            if todo is None:
                self._cross(goal)
                self.state = walk_through(self.state, goal, keep)
                return
            self._do(todo)
        raise Unsolvable("errands without end")

    def _do(self, todo: Errand) -> None:
        level = self.state.level
        if todo.panel is not None:
            panel = level.panels[todo.panel]
            place = _before(level, panel)
            self._cross(place)
            self.state = self._opened(walk_through(self.state, place), panel.door)
            self.steps.append({"name": "press", "args": {"panel": todo.panel}})
            return
        assert todo.thing is not None
        key = level.things[todo.thing]
        self._cross((float(key.x), float(key.y)))
        self.state = without(walk_through(self.state, (key.x, key.y), [todo.thing]), [todo.thing])
        self.steps.append({"name": "pick_up", "args": {"targets": [todo.thing]}})

    def _cross(self, goal: tuple[float, float]) -> None:
        """Note the doors that are opened and the rooms that are new on the way to a point that nothing bars."""
        level = self.state.level
        here = room_of(level, self.state.x, self.state.y)
        for door, room in _way(level, here, room_of(level, *goal)):
            if self.state.doors[door] <= 0.0:
                self.steps.append({"name": "open", "args": {"doors": [door]}})
                self.state = self._opened(self.state, door)
            if room not in self._seen:
                self._seen.add(room)
                self.steps.append({"name": "enter", "args": {"room": room}})

    def _opened(self, state: DoomState, door: int | None) -> DoomState:
        return replace(state, doors=tuple(96.0 if i == door else h for i, h in enumerate(state.doors)))


def _before(level: Level, panel: Panel) -> tuple[float, float]:
    """The point before a panel where one stands to press it."""
    x, y = panel.centre
    r = level.rooms[room_of(level, x, y)].rect
    return min(max(x, r.x0 + 18.0), r.x1 - 18.0), min(max(y, r.y0 + 18.0), r.y1 - 18.0)


def _way(level: Level, start: int, goal: int) -> list[tuple[int, int]]:
    """The doors and the rooms behind them on the one way from room to room."""
    ways: dict[int, list[tuple[int, int]]] = {start: []}
    fresh = [start]
    while fresh:
        room = fresh.pop(0)
        for door in range(len(level.doors)):
            pair = joined(level, door)
            if room in pair:
                other = pair[0] if pair[1] == room else pair[1]
                if other not in ways:
                    ways[other] = [*ways[room], (door, other)]
                    fresh.append(other)
    return ways[goal]
