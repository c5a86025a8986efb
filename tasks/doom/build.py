"""Levels in which an instruction can be carried out: the level, the verifier, and the plan that proves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from envs.angles import wrapped
from envs.doom.layouts import TRAINING_LAYOUTS, VAULT_LAYOUTS, Plan, floor_plan, furnish
from envs.doom.level import LOCKS, Level, Thing
from envs.doom.levels import generate
from envs.doom.placement import PANEL_TEXTURES, TRAINING_THEMES, VAULT_PANEL_TEXTURES, VAULT_THEMES, place
from envs.doom.things import ACTORS, KINDS
from tasks.doom.goals import distractors, targets_of
from tasks.doom.language import Meaning
from tasks.doom.planning import Unsolvable, barred_doors, opened, start_state, walk_through, without
from tasks.task import Pair, VerifierSpec

PLACE_VERBS = ("open", "enter", "unlock", "switch")
_NO_THING = {"look_up": "look", "look_down": "look", "stand_still": "stand_still"}


class Made(NamedTuple):
    """A level and the verifier of what can be done in it."""

    level: Level
    verifier: VerifierSpec


def steps_of(meaning: Meaning) -> tuple[Meaning, ...]:
    return (replace(meaning, then=()), *meaning.then)


def _spec(steps: Sequence[VerifierSpec]) -> VerifierSpec:
    if len(steps) == 1:
        return steps[0]
    return VerifierSpec("sequence", {"steps": [{"name": s.name, "args": s.args} for s in steps]})


def _matching(level: Level, meaning: Meaning) -> list[int]:
    """The things of a level that a meaning's kind and colour fit."""
    return [i for i, t in enumerate(level.things) if t.kind == meaning.kind and meaning.colour in (None, t.colour)]


def _pair(rng: np.random.Generator, verb: str, kind: str | None, colour: str | None) -> Pair:
    """A (kind, colour) that exists and that the verb can be done with. Raises ValueError where there is none."""
    found = [p for p in targets_of(verb) if p[0] == kind and colour in (None, p[1])]
    if not found:
        raise ValueError(f"there is no {colour or ''} {kind} to {verb}")
    return found[rng.integers(len(found))]


def in_room(rng: np.random.Generator, meaning: Meaning, seed: int, themes: Sequence[str]) -> Made:
    """A single room for steps without doors. Raises ValueError where they can't be done."""
    steps = steps_of(meaning)
    if any(s.relation for s in steps):
        if len(steps) > 1 or meaning.avoid:
            raise ValueError("a relation stands alone")
        for attempt in range(16):
            made = _related(rng, meaning, seed ^ attempt, themes)
            if made is not None:
                return made
        raise ValueError(f"no room for the relation {meaning.relation}")
    things: list[Pair] = []
    for step in steps:
        if step.kind in KINDS:
            pair = _pair(rng, step.verb, step.kind, step.colour)
            things += [pair] if pair not in things else []
    if meaning.avoid is not None:
        pair = _pair(rng, "touch", *meaning.avoid)
        things += [pair] if pair not in things else []
    asked = {(s.kind, s.colour) for s in steps}
    for step in steps[:1]:
        if step.kind in KINDS:
            near = distractors(rng, things[0], step.verb)
            things += [p for p in near if p not in things and (p[0], None) not in asked][: 3 if len(steps) == 1 else 2]
    panels = int(any(s.verb == "press" for s in steps))
    level = generate(seed, things=things, themes=themes, panels=panels)
    specs = [_room_spec(level, step) for step in steps]
    if meaning.avoid is not None:
        specs[0].args["avoid"] = _matching(level, Meaning("", *meaning.avoid))
    taken: set[int] = set()
    for spec in specs:
        spec_targets = set(spec.args.get("targets", ()))
        if spec_targets and not spec_targets - taken:
            raise ValueError("the steps take what later steps need")
        if spec.name in ("pick_up", "shoot"):
            taken |= spec_targets
    return Made(level, _spec(specs))


def _room_spec(level: Level, step: Meaning) -> VerifierSpec:
    if step.verb in ("look_up", "look_down"):
        return VerifierSpec("look", {"direction": step.verb[5:]})
    if step.verb == "stand_still":
        return VerifierSpec("stand_still")
    if step.verb == "press":
        return VerifierSpec("press", {"panel": 0})
    return VerifierSpec(step.verb, {"targets": _matching(level, step)})


def _related(rng: np.random.Generator, meaning: Meaning, seed: int, themes: Sequence[str]) -> Made | None:
    """Two of the same, one of which stands in the relation and the other clearly does not; None where no place is
    found for them."""
    pair = _pair(rng, meaning.verb, meaning.kind, meaning.colour)
    other = _pair(rng, "go_to", *meaning.other) if meaning.other else None
    if other == pair:
        raise ValueError("a thing can't stand in a relation to its own kind")
    room = generate(seed, things=[other] if other else [], themes=themes, pillars=0, n_things=(2, 3))
    # no other thing may fit the same name
    rest = [t for i, t in enumerate(room.things) if t.kind != pair[0] and (i == 0 or not other or t.kind != other[0])]
    rect, here = room.rooms[0].rect, (float(room.start[0]), float(room.start[1]))
    for _ in range(80):
        taken = [here, *((float(t.x), float(t.y)) for t in rest)]
        if meaning.relation == "next_to":
            turn, reach = rng.uniform(0, 2 * math.pi), rng.uniform(96, 125)
            first = (round(rest[0].x + reach * math.cos(turn)), round(rest[0].y + reach * math.sin(turn)))
            if not rect.contains(*first, 48) or any(math.dist(first, p) < 90 for p in taken):
                continue
        else:
            spot = place(rng, rect, taken)
            if spot is None:
                continue
            first = spot
        second = place(rng, rect, [*taken, first])
        if second is not None and holds(
            meaning.relation, here, first, second, (rest[0].x, rest[0].y) if other else None
        ):
            things = (Thing(*pair, *first), Thing(*pair, *second), *rest)
            level = replace(room, things=things)
            return Made(level, VerifierSpec(meaning.verb, {"targets": [0]}))
    return None


def holds(
    relation: str | None,
    here: tuple[float, float],
    first: tuple[float, float],
    second: tuple[float, float],
    other: tuple[float, float] | None,
) -> bool:
    """Whether, seen from `here`, the first of two alike clearly stands in a relation, and the second clearly not."""
    if relation in ("nearer", "farther"):
        near, far = (first, second) if relation == "nearer" else (second, first)
        a, b = math.dist(here, near), math.dist(here, far)
        return b - a > 90.0 and b > 1.3 * a
    if other is None:
        raise ValueError(f"the relation {relation} needs another thing")
    if relation == "next_to":
        return math.dist(first, other) <= 130.0 and math.dist(second, other) >= 260.0

    def right(point: tuple[float, float]) -> float:
        a, b = (math.degrees(math.atan2(p[1] - here[1], p[0] - here[0])) for p in (point, other))
        return wrapped(b - a)

    sign = 1.0 if relation == "right_of" else -1.0
    return 10.0 <= sign * right(first) <= 70.0 and 10.0 <= -sign * right(second) <= 70.0


def in_house(
    rng: np.random.Generator,
    meaning: Meaning,
    seed: int,
    themes: Sequence[str],
    layouts: Sequence[str],
    *,
    vault: bool = False,
) -> Made:
    """Several rooms; the things that are asked for are in other rooms than the start.

    `vault`: doorways are locked and barred, and what is asked for is behind one of them. Raises ValueError where the
    steps can't be done in rooms.
    """
    steps = steps_of(meaning)
    if any(s.relation or s.verb in _NO_THING or s.verb == "press" for s in steps):
        raise ValueError("such steps belong into a single room")
    for _ in range(60):
        plan = floor_plan(rng, layouts, themes)
        try:
            made = _house(rng, plan, steps, seed, vault)
        except Unsolvable:
            continue
        if made is not None:
            return made
    raise ValueError("no house for these steps")


def _house(rng: np.random.Generator, plan: Plan, steps: Sequence[Meaning], seed: int, vault: bool) -> Made | None:
    rooms = plan.furnished()
    start = 0 if vault else rooms[rng.integers(len(rooms))]
    elsewhere = [r for r in rooms if r != start]
    doors = _vault_doors(rng, plan) if vault else {}
    asked: list[int] = []  # the door of each step, or -1
    for step in steps:
        free = [i for i in range(len(plan.joins)) if i not in asked]
        if step.verb not in ("open", "unlock", "switch"):
            asked.append(-1)
            continue
        if not free:
            return None
        door = free[rng.integers(len(free))]
        asked.append(door)
        if step.verb == "unlock" or step.colour is not None:
            colour = step.colour or str(rng.choice(list(LOCKS)))
            if colour not in LOCKS:
                raise ValueError(f"no {colour} locks; known: {', '.join(LOCKS)}")
            # one lock of each colour, so that the colour names it
            doors = {i: d for i, d in doors.items() if d != ("locked", colour)}
            doors[door] = ("locked", colour)
        elif step.verb == "switch" or step.kind == "gate":
            doors = {i: d for i, d in doors.items() if d[0] != "remote"}
            doors[door] = ("remote", None)
        else:
            doors[door] = ("door", None)
    if not vault and "open" not in {s.verb for s in steps}:
        doors.update({i: ("door", None) for i in range(len(plan.joins)) if i not in doors and rng.random() < 0.3})
    things: list[tuple[str, str | None, int]] = []
    for step in steps:
        if step.kind in KINDS:
            pair = _pair(rng, step.verb, step.kind, step.colour)
            if pair not in [t[:2] for t in things]:
                things.append((*pair, elsewhere[rng.integers(len(elsewhere))]))
    wanted = [t[:2] for t in things]
    keys = sorted({str(colour) for kind, colour in doors.values() if kind == "locked"})
    things += [("key", c, rooms[rng.integers(len(rooms))]) for c in keys if ("key", c) not in wanted]
    things += _company(rng, steps, things, rooms)
    panels = [(int(rng.integers(len(plan.rooms))), i) for i, (kind, _) in sorted(doors.items()) if kind == "remote"]
    try:
        level = furnish(
            plan, rng, start=start, things=things, doors=doors, panels=panels, seed=seed,
            panel_textures=_switches(plan),
        )  # fmt: skip
    except ValueError:
        return None  # the level was too full
    return checked(level, steps, asked, errands=vault and all(d < 0 for d in asked))


def _switches(plan: Plan) -> Sequence[str]:
    """What switches look like: the vault's own are seen with its own themes alone."""
    return VAULT_PANEL_TEXTURES if all(room.theme.name in VAULT_THEMES for room in plan.rooms) else PANEL_TEXTURES


def _vault_doors(rng: np.random.Generator, plan: Plan) -> dict[int, tuple[str, str | None]]:
    """A kind for every doorway: locks of different colours, at most one gate, and plain doors."""
    colours = [str(c) for c in rng.permutation(list(LOCKS))]
    kinds: list[tuple[str, str | None]] = [
        ("locked", colours[0]),
        ("remote", None),
        ("locked", colours[1]),
        ("door", None),
    ]
    order = [int(i) for i in rng.permutation(len(kinds))]
    return {i: kinds[order[i % len(kinds)]] for i in range(len(plan.joins))}


def _company(
    rng: np.random.Generator,
    steps: Sequence[Meaning],
    things: Sequence[tuple[str, str | None, int]],
    rooms: Sequence[int],
) -> list[tuple[str, str | None, int]]:
    """Other things: some that are easily taken for what is asked, and some more."""
    have = [t[:2] for t in things]
    named = [(s.kind, s.colour) for s in steps]
    alike = distractors(rng, have[0], "go_to") if have and steps[0].kind in KINDS else []
    order = rng.permutation(len(ACTORS))
    every = list(ACTORS)
    pool = [*alike, *(every[int(i)] for i in order)]
    out: list[Pair] = []
    for pair in pool:
        if pair not in have and pair not in out and (pair[0], None) not in named:
            out.append(pair)
        if len(out) >= len(rooms) + 2:
            break
    return [(*pair, rooms[int(rng.integers(len(rooms)))]) for pair in out]


def checked(level: Level, steps: Sequence[Meaning], asked: Sequence[int], *, errands: bool) -> Made | None:
    """The verifier, once a plan shows that every step can be done in its order.

    `errands`: None unless something has to be fetched or pressed on the way.
    """
    state = start_state(level)
    barred = barred_doors(state)
    specs = []
    for step, door in zip(steps, asked, strict=True):
        args: dict[str, Any]
        if door >= 0:
            state = opened(state, door)
            args, name = {"doors": [door]}, "open"
        else:
            targets = [i for i in _matching(level, step) if any(o.id == i for o in state.objects)]
            if not targets:
                return None
            goal = level.things[targets[0]]
            # the expert walks to the nearest one; each must be within reach
            after = [walk_through(state, (level.things[t].x, level.things[t].y), [t]) for t in targets]
            state, args, name = after[0], {"targets": targets}, step.verb
            if step.verb == "enter":
                inside = [i for i, room in enumerate(level.rooms) if room.rect.contains(goal.x, goal.y)]
                args = {"room": inside[0]}
            elif step.verb in ("pick_up", "shoot"):
                state = without(state, targets)
        specs.append(VerifierSpec(name, args))
    if errands and barred_doors(state) == barred:
        return None
    there = {o.id for o in state.objects}
    taken = [i for i, t in enumerate(level.things) if i not in there and t.kind == "key"]
    unbarred = sorted(barred - barred_doors(state))
    for spec in specs:
        fetched = [i for i in taken if i not in spec.args.get("targets", ())]
        if fetched:
            spec.args["allowed"] = fetched
        also = [i for i in unbarred if i not in spec.args.get("doors", ())]
        if spec.name == "open" and also:
            spec.args["also"] = also
    return Made(level, _spec(specs))


def level_for(
    rng: np.random.Generator,
    meaning: Meaning,
    seed: int,
    themes: Sequence[str] = TRAINING_THEMES,
    layouts: Sequence[str] = TRAINING_LAYOUTS,
) -> tuple[Made, str] | None:
    """A level in which what was typed can be done, with its verifier, and the verb; None where nothing can do it."""
    steps = steps_of(meaning)
    verbs = [_NO_THING.get(s.verb, s.verb) for s in steps]
    try:
        if not any(s.verb in PLACE_VERBS for s in steps):
            return in_room(rng, meaning, seed, themes), "+".join(verbs)
        locks = any(s.verb in ("unlock", "switch") or s.kind == "gate" or s.colour for s in steps if s.verb != "enter")
        vault = locks and not any(s.verb == "open" and s.colour is None and s.kind == "door" for s in steps)
        places = VAULT_LAYOUTS if vault else layouts
        looks = VAULT_THEMES if vault else themes
        return in_house(rng, meaning, seed, looks, places, vault=vault), "+".join(verbs)
    except ValueError:
        return None
