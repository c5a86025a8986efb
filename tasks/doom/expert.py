"""The scripted expert: it reads ground truth and does what a task asks. It makes demonstrations and checks levels.

It has no memory: what it does follows from the state and the task alone, so that any state that a policy reaches can
be labelled with what the expert would do there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from agent import doom_codec as codec
from agent.policy import Decision
from envs.doom.things import KINDS
from envs.doom.world import DoomObject, DoomState
from tasks import world_tasks
from tasks.doom.geometry import PLAYER_RADIUS, REACH, aim_tolerance, bearing, distance, face_tolerance, view_of
from tasks.doom.navigation import Route, clear
from tasks.doom.planning import Errand, Point, barred_doors, closed, errand, errand_for, room_of
from tasks.task import VerifierSpec

SEARCH_TURN = 32.0  # degrees a decision while the target is out of view; always the same way, so that it can be learned
WALK_ANGLE = 24.0  # walk while the way ahead is within this
SHOOT_RANGE = 300.0
SLIDE = 66.0  # map units: how far one slides in a turn, and the two bodies
NEAR = 48.0  # map units at which the player almost touches
DOOR_REACH = 60.0  # map units from a door's middle at which the expert uses it
USE_ANGLE = 20.0  # degrees
_STAGED = ("sequence", "errand")  # verifiers of several steps, which say at which of them the player is


Tokens = codec.Tokens


def start(spec: VerifierSpec) -> Callable[[DoomState], Decision]:
    """What decides from ground truth towards what `spec` verifies, for one episode."""
    if spec.name not in _STAGED:
        return lambda state: codec.decode(choose(state, spec))
    verifier: Any = world_tasks.of("doom").verifier(spec)

    def decide(state: DoomState) -> Decision:
        verifier.update(state)
        return codec.decode(choose(state, spec, verifier.stage))

    return decide


def choose(state: DoomState, spec: VerifierSpec, stage: int = 0) -> Tokens:
    """The action tokens for one decision towards what `spec` verifies.

    `stage`: the step that is under way, as the verifier says. Raises ValueError for an unknown verifier.
    """
    if spec.name in _STAGED:
        step = spec.args["steps"][stage]
        return choose(state, VerifierSpec(step["name"], step.get("args", {})))
    if spec.name == "look":
        return _look(state, 1.0 if spec.args["direction"] == "up" else -1.0)
    if spec.name == "stand_still":
        return codec.NOOP
    if spec.name == "press":
        return _first(state, state.level.panels[spec.args["panel"]].centre) or _press(state, spec.args["panel"])
    if spec.name == "enter":
        return _enter(state, spec.args["room"])
    if spec.name == "open":
        return _open(state, spec.args["doors"])
    targets = frozenset(spec.args["targets"])
    thing = _nearest(state, targets)
    if thing is None:
        return codec.NOOP
    family = _FAMILIES.get(spec.name)
    if family is None:
        raise ValueError(f"the expert does not know the verifier {spec.name!r}")
    return _first(state, (thing.x, thing.y)) or family(state, thing)


def find(state: DoomState, index: int) -> DoomObject | None:
    """The object that thing number `index` of the level is now, or None once it is gone."""
    thing = state.level.things[index]
    for o in state.objects:
        if (o.kind, o.colour) == (thing.kind, thing.colour) and math.hypot(o.x - thing.x, o.y - thing.y) < 4.0:
            return o
    return None


def _nearest(state: DoomState, targets: frozenset[int]) -> DoomObject | None:
    found = [o for o in (find(state, t) for t in sorted(targets)) if o is not None]
    return min(found, key=lambda o: distance(state, o.x, o.y), default=None)


def _level_view(state: DoomState) -> float:
    """The look that brings the view back to the horizon, degrees."""
    return 0.0 if abs(state.pitch) < 3.0 else -state.pitch


def _turn_to(state: DoomState, off: float) -> float:
    """Degrees to turn in this decision for a point `off` degrees from the centre."""
    return SEARCH_TURN if abs(off) > view_of(state) else off


def walk_to(state: DoomState, x: float, y: float, stop: float, avoid: Sequence[DoomObject]) -> Tokens:
    """Walk to within `stop` map units of a point, around obstacles."""
    off = bearing(state, x, y)
    dist = distance(state, x, y)
    same_room = len(state.level.rooms) == 1 or room_of(state.level, state.x, state.y) == room_of(state.level, x, y)
    if dist <= stop and same_room:
        return codec.tokens_of(turn=_turn_to(state, off), look=_level_view(state))
    if not clear(state, (state.x, state.y), (x, y), avoid):
        route = Route.to(state, (x, y), avoid, barred_doors(state) if state.level.doors else frozenset())
        door = _door_ahead(state, route)
        if door is not None:
            return _use_door(state, door)
        way = route.next_point(state)
        if way is not None:
            around = bearing(state, *way)
            # in a single room it looks for the target first: the way can only be known once the target was seen
            if not same_room or min(abs(off), abs(around)) <= view_of(state):
                off = around
    turn = _turn_to(state, off)
    walk = abs(off) <= WALK_ANGLE
    forth = -1 if slides(state, avoid, walk) else int(walk)
    return codec.tokens_of(turn=turn, look=_level_view(state), forth=forth)


def slides(state: DoomState, avoid: Sequence[DoomObject], walk: bool) -> bool:
    """Whether the player slides, or may slide, into a thing that it must not take, so that it has to step back."""
    for o in avoid:
        if KINDS[o.kind].role == "pickup":
            dist, off = distance(state, o.x, o.y), abs(bearing(state, o.x, o.y))
            if (dist < SLIDE and off < 50.0 and not walk) or (dist < NEAR and off < 75.0):
                return True
    return False


def _door_ahead(state: DoomState, route: Route) -> int | None:
    """The closed door that the next steps of a way lead through."""
    shut = [i for i in range(len(state.level.doors)) if closed(state, i)]
    if not shut:
        return None
    for x, y in route.points(state, 6):
        for i in shut:
            if state.level.doors[i].rect.contains(x, y):
                return i
    return None


def _use_door(state: DoomState, door: int) -> Tokens:
    """Walk up to a door, straight ahead, and open it; wait while it moves."""
    x, y = state.level.doors[door].rect.centre
    off = bearing(state, x, y)
    near = distance(state, x, y) <= DOOR_REACH
    if state.doors[door] > 0.0 and near:
        return codec.tokens_of(turn=_turn_to(state, off), look=_level_view(state))
    if near and abs(off) <= USE_ANGLE:
        return codec.tokens_of(turn=off, hand="use", look=_level_view(state))
    forth = 1 if abs(off) <= WALK_ANGLE and not near else 0
    return codec.tokens_of(turn=_turn_to(state, off), look=_level_view(state), forth=forth)


def _first(state: DoomState, goal: Point) -> Tokens | None:
    """What comes before the walk to a point: fetch a key or press a switch; None where the way is free."""
    if not state.level.doors:
        return None
    return _run(state, errand(state, goal))


def _run(state: DoomState, todo: Errand | None) -> Tokens | None:
    if todo is None:
        return None
    if todo.panel is not None:
        return _press(state, todo.panel)
    assert todo.thing is not None
    key = find(state, todo.thing)
    return None if key is None else _take(state, key)


def _enter(state: DoomState, room: int) -> Tokens:
    goal = state.level.rooms[room].rect.centre
    return _first(state, goal) or walk_to(state, *goal, 0.0, state.objects)


def _open(state: DoomState, doors: Sequence[int]) -> Tokens:
    """Open the nearest of some doors, first fetch its key or press its switch; wait while one is opening."""
    if any(state.doors[door] > 0.0 for door in doors):
        return codec.NOOP
    barred = barred_doors(state)
    rects = state.level.doors
    door = min(doors, key=lambda i: (i in barred, distance(state, *rects[i].rect.centre)))
    todo = errand_for(state, door) if door in barred else errand(state, rects[door].rect.centre)
    if todo is not None and (tokens := _run(state, todo)) is not None:
        return tokens
    return walk_to(state, *rects[door].rect.centre, 0.0, state.objects)


def _others(state: DoomState, thing: DoomObject) -> list[DoomObject]:
    return [o for o in state.objects if o.id != thing.id]


def _go_to(state: DoomState, thing: DoomObject) -> Tokens:
    return walk_to(state, thing.x, thing.y, REACH - 24.0, _others(state, thing))


def _take(state: DoomState, thing: DoomObject) -> Tokens:
    return walk_to(state, thing.x, thing.y, 0.0, _others(state, thing))


def _face(state: DoomState, thing: DoomObject) -> Tokens:
    off = bearing(state, thing.x, thing.y)
    exact = 0.4 * face_tolerance(distance(state, thing.x, thing.y))
    return codec.tokens_of(turn=0.0 if abs(off) < exact else _turn_to(state, off), look=_level_view(state))


def _shoot(state: DoomState, thing: DoomObject) -> Tokens:
    off = bearing(state, thing.x, thing.y)
    dist = distance(state, thing.x, thing.y)
    others = _others(state, thing)
    monsters = [o for o in others if KINDS[o.kind].role == "monster"]
    in_line = any(
        abs(bearing(state, o.x, o.y) - off) < aim_tolerance(KINDS[o.kind].radius, distance(state, o.x, o.y)) + 6.0
        for o in monsters
        if distance(state, o.x, o.y) < dist + 80.0 and abs(bearing(state, o.x, o.y) - off) < 180.0
    )
    sight = clear(state, (state.x, state.y), (thing.x, thing.y), (), width=2.0)
    if dist > (140.0 if in_line else SHOOT_RANGE) or not sight:
        return walk_to(state, thing.x, thing.y, 60.0, others)
    if abs(off) > 0.5 * aim_tolerance(KINDS[thing.kind].radius, dist):
        return codec.tokens_of(turn=_turn_to(state, off), look=_level_view(state))
    return codec.tokens_of(hand="attack", look=_level_view(state))


def _look(state: DoomState, sign: float) -> Tokens:
    pitch = state.pitch * sign
    return codec.tokens_of(look=12.0 * sign if pitch < 16.0 else 0.0)


def _press(state: DoomState, panel: int) -> Tokens:
    x, y = state.level.panels[panel].centre
    off = bearing(state, x, y)
    if distance(state, x, y) < PLAYER_RADIUS + 32.0 and abs(off) < 25.0:
        return codec.tokens_of(turn=off, hand="use", look=_level_view(state))
    return walk_to(state, x, y, 0.0, state.objects)


_FAMILIES: dict[str, Callable[[DoomState, DoomObject], Tokens]] = {
    "go_to": _go_to,
    "face": _face,
    "pick_up": _take,
    "touch": _take,
    "shoot": _shoot,
}
