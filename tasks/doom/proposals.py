"""Proposals: an instruction for what is in view, and whether one can be done in a given level as things stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from envs.doom.level import Level
from envs.doom.things import KINDS
from envs.doom.world import DoomObject, DoomState
from tasks import world_tasks
from tasks.doom import geometry
from tasks.doom.build import steps_of
from tasks.doom.expert import find
from tasks.doom.geometry import REACH
from tasks.doom.goals import HELD_OUT_PAIRS, ROLES
from tasks.doom.language import Meaning, read
from tasks.doom.planning import Unsolvable, barred_doors, opened, room_of, walk_through, without
from tasks.doom.questions import clear
from tasks.doom.scene import PRESSED, Scene, Seen
from tasks.task import Pair, VerifierSpec
from tasks.verifier import Impossible, Verdict, Verifier

# What is proposed for a thing, as often as it stands there.
_FOR_ROLES: dict[str, tuple[str, ...]] = {
    "pickup": ("pick up the {x}", "pick up the {x}", "go to the {x}", "face the {x}"),
    "solid": ("go to the {x}", "touch the {x}", "face the {x}"),
    "monster": ("shoot the {x}", "shoot the {x}", "go to the {x}", "touch the {x}", "face the {x}"),
}
_FOR_FIXTURES: dict[Pair, str] = {
    ("door", None): "open the door",
    ("door", "red"): "unlock the red door",
    ("door", "blue"): "unlock the blue door",
    ("door", "yellow"): "unlock the yellow door",
    ("gate", None): "press the switch to open the gate",
    ("switch", None): "press the switch",
}
_ALWAYS = ("look up", "look down")
LOOKS = 0.03  # the share of proposals to look up or down where there is more to do
# Map units: whoever is nearer has gone there, or touches it, already.
_NEAR = {"go": REACH + 24.0, "touch": 64.0}


def propose(rng: np.random.Generator, scene: Scene, *, held_out_pairs: bool = False) -> str:
    """An instruction in plain words for something that is clear in a scene; to look up or down where nothing is.

    What a frame does not show can still make it impossible, such as a key out of reach: `achievable` tells.
    `held_out_pairs`: whether it may name a pair of tasks.doom.goals.HELD_OUT_PAIRS.
    """
    named = [s for s in scene if clear(s) and (held_out_pairs or s.pair not in HELD_OUT_PAIRS)]
    found = [s for s in named if not s.fixture or (s.pair in _FOR_FIXTURES and s.name_class != PRESSED)]
    if not found or rng.random() < LOOKS:
        return str(rng.choice(_ALWAYS))
    one = found[int(rng.integers(len(found)))]
    if one.fixture:
        return _FOR_FIXTURES[one.pair]
    return str(rng.choice(_templates(one))).format(x=one.name)


def _templates(seen: Seen) -> list[str]:
    every = _FOR_ROLES[KINDS[seen.kind].role]
    return [t for t in every if seen.distance > _NEAR.get(t.split()[0], 0.0)]


def achievable(text: str, level: Level, state: DoomState) -> VerifierSpec | None:
    """The verifier of an instruction in this very level, or None where it can't be done from this state.

    It must be read by tasks.doom.language.read, name what is there with a verb that fits it, and a plan must reach it,
    with locks and gates as they are. None too where it is done already, and for relations and things to avoid, which
    are told from where an episode starts.
    """
    meaning = read(text)
    if meaning is None or meaning.relation or meaning.avoid:
        return None
    plan = _plan(state)
    specs: list[VerifierSpec] = []
    try:
        for step in steps_of(meaning):
            if step.relation:
                return None
            spec, plan = _step(level, step, plan)
            specs.append(spec)
    except Unsolvable:
        return None
    spec = specs[0]
    if len(specs) > 1:
        spec = VerifierSpec("sequence", {"steps": [{"name": s.name, "args": s.args} for s in specs]})
    return spec if world_tasks.of("doom").verifier(spec).update(fresh(state, state.tick)) is None else None


def verifier_in(state: DoomState, text: str) -> Verifier | None:
    """A verifier of an instruction from this state on; None where the instruction is not read."""
    if read(text) is None:
        return None
    spec = achievable(text, state.level, state)
    if spec is None:
        return Impossible("it can't be done here, or it is done already")
    return _Since(world_tasks.of("doom").verifier(spec), state.tick)


class _Since:
    """A verifier whose instruction was given at tick `since`: it sees ticks from there on."""

    def __init__(self, verifier: Verifier, since: int) -> None:
        self._verifier, self._since = verifier, since

    def update(self, state: DoomState) -> Verdict | None:
        return self._verifier.update(fresh(state, self._since))


def fresh(state: DoomState, since: int) -> DoomState:
    """A state as the verifier of an instruction that was given at tick `since` has to see it: some count from 0."""
    return replace(state, tick=state.tick - since)


def _plan(state: DoomState) -> DoomState:
    """The state as plans have it: an object's id is its thing's index in the level."""
    found = ((i, find(state, i)) for i in range(len(state.level.things)))
    return replace(state, objects=tuple(DoomObject(i, o.kind, o.colour, o.x, o.y) for i, o in found if o))


def _step(level: Level, step: Meaning, plan: DoomState) -> tuple[VerifierSpec, DoomState]:
    """The verifier of one step, and the plan's state after it. Raises Unsolvable."""
    if step.verb in ("look_up", "look_down"):
        return VerifierSpec("look", {"direction": step.verb[5:]}), plan
    if step.verb == "stand_still":
        return VerifierSpec("stand_still"), plan
    if step.verb == "press":
        return _press(level, plan)
    if step.verb in ("open", "unlock", "switch"):
        return _open(level, step, plan)
    return _thing(level, step, plan)


def _press(level: Level, plan: DoomState) -> tuple[VerifierSpec, DoomState]:
    left = sorted(plan.markers, key=lambda i: math.dist(level.panels[i].centre, (plan.x, plan.y)))
    for panel in left:
        point = level.panels[panel].centre
        try:
            rect = level.rooms[room_of(level, *point)].rect
            after = walk_through(plan, (_within(point[0], rect.x0, rect.x1), _within(point[1], rect.y0, rect.y1)))
        except Unsolvable:
            continue
        if panel not in after.markers:
            continue
        door = level.panels[panel].door
        heights = tuple(96.0 if i == door else h for i, h in enumerate(after.doors))
        args = {"panel": panel, **_fetched(level, plan, after)}
        return VerifierSpec("press", args), replace(after, doors=heights, markers=after.markers - {panel})
    raise Unsolvable("no switch is left to press")


def _within(value: float, low: int, high: int) -> float:
    return min(max(value, low + geometry.PLAYER_RADIUS + 2.0), high - geometry.PLAYER_RADIUS - 2.0)


def _open(level: Level, step: Meaning, plan: DoomState) -> tuple[VerifierSpec, DoomState]:
    if step.kind == "gate":
        fits = [i for i, d in enumerate(level.doors) if d.kind == "remote"]
    elif step.verb == "unlock" or step.colour is not None:
        fits = [i for i, d in enumerate(level.doors) if d.kind == "locked" and step.colour in (None, d.colour)]
    else:
        fits = [i for i, d in enumerate(level.doors) if d.kind == "door"]
    shut = [i for i in fits if plan.doors[i] <= 0.0]
    for door in sorted(shut, key=lambda i: math.dist(level.doors[i].rect.centre, (plan.x, plan.y))):
        try:
            after = opened(plan, door)
        except Unsolvable:
            continue
        args = {"doors": [door], **_fetched(level, plan, after)}
        # what was opened before, and what has to be on the way
        also = [
            i
            for i, height in enumerate(after.doors)
            if i != door and (height > 0.0 or i in barred_doors(plan) - barred_doors(after))
        ]
        return VerifierSpec("open", {**args, **({"also": also} if also else {})}), after
    raise Unsolvable("no such door is left to open")


def _thing(level: Level, step: Meaning, plan: DoomState) -> tuple[VerifierSpec, DoomState]:
    role = ROLES.get(step.verb)
    there = {o.id for o in plan.objects}
    fits = [
        i
        for i, t in enumerate(level.things)
        if i in there and t.kind == step.kind and step.colour in (None, t.colour)
        and (role is None or KINDS[t.kind].role in role)
    ]  # fmt: skip
    if not fits:
        raise Unsolvable("no such thing is there")
    near = min(fits, key=lambda i: math.dist((level.things[i].x, level.things[i].y), (plan.x, plan.y)))
    goal = (float(level.things[near].x), float(level.things[near].y))
    after = walk_through(plan, goal, fits)
    args: dict[str, Any] = {"targets": fits}
    if step.verb == "enter":
        args = {"room": room_of(level, *goal)}
    elif step.verb in ("pick_up", "shoot"):
        after = without(after, fits)
    return VerifierSpec(step.verb, {**args, **_fetched(level, plan, after, fits)}), after


def _fetched(level: Level, before: DoomState, after: DoomState, but: Sequence[int] = ()) -> dict[str, Any]:
    """Keys that have to be taken on the way."""
    gone = {o.id for o in before.objects} - {o.id for o in after.objects} - set(but)
    keys = sorted(i for i in gone if level.things[i].kind == "key")
    return {"allowed": keys} if keys else {}
