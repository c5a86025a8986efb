"""The scripted expert of the playroom. Like tasks.doom.expert it reads ground truth and has no memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from agent import doom_codec as codec
from agent.policy import Decision
from envs.errors import UserError
from envs.playroom.mjcf import EYE
from envs.playroom.room import Furniture
from envs.playroom.rooms import BODY_RADIUS
from envs.playroom.state import PlayroomState
from tasks.playroom.pushing import push
from tasks.playroom.verify import NEAR, REST_SPEED, is_there, look_tolerance
from tasks.playroom.walking import VIEW, Point, Tokens, bearing_to, turn_to, walk_to
from tasks.task import VerifierSpec

ARM = 1.15  # metres along the floor from which one picks up
CLOSE = 0.7  # metres: as near as one goes where something hides it
HAND_BELOW = 14.0  # degrees: what is held hovers so far under the crosshair
SWING = 0.25  # metres a second: what is let go of faster rolls or slides off
STILL = 0.12  # metres a second: slower than that, one stands
HOLD = 0.85  # metres from the eyes to what is held
OFF_CENTRE = 0.05  # metres that what is stacked may be off the middle of what is below


def start(spec: VerifierSpec) -> Callable[[PlayroomState], Decision]:
    """What decides from ground truth towards what `spec` verifies. Raises UserError for what the expert can't do."""
    if spec.name not in _FAMILIES:
        raise UserError(f"the expert cannot do {spec.name}; it can do {', '.join(_FAMILIES)}")
    return lambda state: codec.decode(choose(state, spec))


def choose(state: PlayroomState, spec: VerifierSpec) -> Tokens:
    """The action tokens for one decision towards what `spec` verifies. Raises KeyError for an unknown verifier."""
    return _FAMILIES[spec.name](state, **spec.args)


def _nearest(state: PlayroomState, things: Iterable[int]) -> int:
    return min(things, key=state.distance)


def _click(state: PlayroomState) -> Tokens:
    """Press the left button, in every other decision: a press is an edge."""
    return codec.tokens_of(hand="attack" if state.tick // codec.CHUNK % 2 == 0 else "none")


def _look_at(state: PlayroomState, targets: Sequence[int]) -> Tokens:
    thing = _nearest(state, targets)
    right, up = state.bearing(thing)
    exact = 0.4 * look_tolerance(state, thing)
    out_of_view = abs(right) > VIEW
    return codec.tokens_of(
        turn=0.0 if abs(right) < exact else turn_to(right), look=0.0 if out_of_view or abs(up) < exact else up
    )


def _go_to(state: PlayroomState, targets: Sequence[int]) -> Tokens:
    thing = _nearest(state, targets)
    return walk_to(state, state.positions[thing][:2], NEAR - 0.2, {thing})


def _lift(state: PlayroomState, targets: Sequence[int]) -> Tokens:
    return _take(state, _nearest(state, targets))


def _put_on(state: PlayroomState, targets: Sequence[int], support: str) -> Tokens:
    thing = _nearest(state, targets)
    return _fetch(state, thing, state.lies_on(thing, support)) or _put(state, thing, _piece(state, support))


def _put_in(state: PlayroomState, targets: Sequence[int]) -> Tokens:
    thing = _nearest(state, targets)
    return _fetch(state, thing, state.is_in(thing)) or _put(state, thing, _piece(state, "bin"))


def _push_to(state: PlayroomState, targets: Sequence[int]) -> Tokens:
    return _click(state) if state.held is not None else push(state, _nearest(state, targets), _piece(state, "rug"))


def _stack(state: PlayroomState, targets: Sequence[int], supports: Sequence[int]) -> Tokens:
    thing = state.held if state.held in targets else _nearest(state, targets)
    assert thing is not None
    below = _nearest(state, set(supports) - {thing})
    return _fetch(state, thing, (thing, below) in state.on) or _put_over(state, thing, below)


def _sort(state: PlayroomState, targets: Sequence[int], place: str) -> Tokens:
    left = [thing for thing in targets if thing == state.held or not is_there(state, thing, place)]
    if not left:
        return codec.NOOP
    thing = state.held if state.held in left else _nearest(state, left)
    assert thing is not None
    return _fetch(state, thing, False) or _put(state, thing, _piece(state, place))


def _piece(state: PlayroomState, kind: str) -> Furniture:
    piece = state.room.piece(kind)
    if piece is None:
        raise ValueError(f"the expert needs a {kind}, and the room has none")
    return piece


def _take(state: PlayroomState, thing: int) -> Tokens:
    if state.held == thing:
        rests = any(above == thing for above, _ in state.on)
        return codec.tokens_of(look=12.0 if rests else 4.0 if state.pitch < -20.0 else 0.0)
    if state.held is not None or state.aimed == thing:
        return _click(state)
    right, up = state.bearing(thing)
    if state.distance(thing) > ARM:
        return walk_to(state, state.positions[thing][:2], ARM, {thing}, height=float(state.positions[thing][2]))
    if abs(right) < 2.0 and abs(up) < 3.0:
        return _probe(state, thing)
    return codec.tokens_of(turn=turn_to(right), look=up if abs(right) <= VIEW else 0.0)


def _probe(state: PlayroomState, thing: int) -> Tokens:
    """What is aimed at is hidden, or has a hole there: go nearer, look a little beside, step aside, in turn."""
    phase = state.tick // codec.CHUNK % 16
    if phase < 4 and state.distance(thing) > CLOSE:
        return walk_to(state, state.positions[thing][:2], CLOSE, {thing}, fine=True)
    if phase < 12:
        turn, look = ((0.0, -4.0), (0.0, 4.0), (4.0, 0.0), (-4.0, 0.0))[phase % 4]
        return codec.tokens_of(turn=turn, look=look)
    return codec.tokens_of(side=1 if state.tick // codec.CHUNK % 64 < 32 else -1)


def _fetch(state: PlayroomState, thing: int, there: bool) -> Tokens | None:
    """What to do until a thing is in the hand; None once it is. Nothing, where it is `there` already, or falls."""
    if state.held == thing:
        return None
    return codec.NOOP if there or _speed(state, thing) > REST_SPEED else _take(state, thing)


def _speed(state: PlayroomState, thing: int) -> float:
    return float(np.linalg.norm(state.velocities[thing][:3]))


def _put(state: PlayroomState, thing: int, piece: Furniture) -> Tokens:
    """Let go of what is held over a piece of furniture."""
    inner = 0.15 if piece.kind == "bin" else 0.22
    spot = _spot(state, thing, piece, inner)
    dist = math.hypot(spot[0] - state.x, spot[1] - state.y)
    if _over(state, thing, piece):
        return codec.NOOP if _speed(state, thing) > SWING else _click(state)
    half = state.room.things[thing].height / 2
    if state.tick // codec.CHUNK % 40 >= 36 and dist < 1.0:  # it is caught somewhere: get it free
        return codec.tokens_of(look=12.0 if state.pitch < 10.0 else 0.0, forth=-1)
    if state.positions[thing][2] - half < piece.height - 0.02 and dist < 1.3:  # it would be caught below the edge
        return codec.tokens_of(look=12.0 if state.pitch < 10.0 else 0.0, forth=-1)
    if dist > inner + BODY_RADIUS + 0.2:
        return walk_to(state, spot, inner + BODY_RADIUS + 0.15, {thing}, pitch=0.0)
    right = bearing_to(state, spot)
    up = math.degrees(math.atan2(piece.height + half - state.eye, dist + 0.1)) + HAND_BELOW - state.pitch
    return codec.tokens_of(turn=turn_to(right), look=up if abs(right) <= VIEW else 0.0)


def _spot(state: PlayroomState, thing: int, piece: Furniture, inner: float) -> Point:
    """The nearest place on a piece of furniture, `inner` metres inside of its edge, where nothing lies yet."""
    half_x, half_y = piece.half[0] - inner, piece.half[1] - inner
    nearest = (
        min(max(state.x, piece.x - half_x), piece.x + half_x),
        min(max(state.y, piece.y - half_y), piece.y + half_y),
    )
    if _clear(state, thing, piece, nearest, 0.1):
        return nearest
    edge = [(side * half_x, t * half_y) for side in (-1, 1) for t in np.linspace(-1.0, 1.0, 7)]
    edge += [(t * half_x, side * half_y) for side in (-1, 1) for t in np.linspace(-1.0, 1.0, 7)]
    spots = [(piece.x + x, piece.y + y) for x, y in edge]
    spots = [spot for spot in spots if _clear(state, thing, piece, spot, 0.1)] or [nearest]
    return min(spots, key=lambda spot: math.hypot(spot[0] - state.x, spot[1] - state.y))


def _clear(state: PlayroomState, thing: int, piece: Furniture, spot: Point, gap: float) -> bool:
    """Whether a thing at a place on a piece of furniture has `gap` metres to the others there. In the bin they
    may lie on each other."""
    if piece.kind == "bin":
        return True
    things = state.room.things
    return all(
        math.hypot(x - spot[0], y - spot[1]) > things[thing].radius + things[other].radius + gap
        for other, (x, y, z) in enumerate(state.positions.tolist())
        if other != thing and piece.covers(x, y) and z > piece.height
    )


def _over(state: PlayroomState, thing: int, piece: Furniture) -> bool:
    """Whether a thing would fall onto a piece of furniture, well inside of its edge."""
    x, y, z = state.positions[thing].tolist()
    edge = min(0.13, 0.45 * min(piece.half))
    high = z > piece.height * (0.3 if piece.kind == "bin" else 1.0)
    return high and piece.covers(x, y, -edge) and _clear(state, thing, piece, (x, y), -0.03)


def _put_over(state: PlayroomState, thing: int, below: int) -> Tokens:
    """Let go of what is held over another thing. The hand is brought over it by the pitch, which sets how high it is,
    by turns, and by steps: straight ones go far, slanting ones less, and one to the side a little away from it."""
    things, (x, y, z) = state.room.things, state.positions[thing].tolist()
    at = state.positions[below]  # where it is now
    top = float(at[2]) + things[below].height / 2
    half, keep = things[thing].height / 2, things[below].radius + BODY_RADIUS + 0.06
    tilt = math.asin(min(1.0, max(0.0, (EYE - top - half - 0.06) / HOLD)))  # degrees below the horizon, of the hand
    tilt = math.degrees(min(tilt, math.acos(keep / HOLD)))
    dist, out = state.distance(below), math.hypot(x - state.x, y - state.y)
    if dist > HOLD + 0.35:
        return walk_to(state, at[:2], HOLD + 0.2, {thing}, pitch=0.0)
    if math.hypot(x - at[0], y - at[1]) < OFF_CENTRE and z - half > top:
        return codec.NOOP if _speed(state, thing) > SWING else _click(state)
    right, up = bearing_to(state, at[:2]), HAND_BELOW - tilt - state.pitch
    turn = turn_to(right)
    if z - half < top - 0.02 and dist < out + things[below].radius:  # it would be caught below the top
        return codec.tokens_of(turn=turn, look=12.0 if state.pitch < 10.0 else 0.0, forth=-1)
    if abs(right) > 2.0 or abs(up) > 2.0 or _speed(state, thing) > STILL:
        return codec.tokens_of(turn=turn, look=up if abs(right) <= VIEW else 0.0)
    far = dist - out
    if far > 0.2 or far < -0.2:
        return codec.tokens_of(turn=turn, forth=1 if far > 0.0 else -1)
    side = 1 if state.tick // codec.CHUNK % 64 < 32 else -1
    return codec.tokens_of(turn=turn, forth=int(far > OFF_CENTRE), side=side if abs(far) > 0.8 * OFF_CENTRE else 0)


_FAMILIES: dict[str, Callable[..., Tokens]] = {
    "playroom.look_at": _look_at,
    "playroom.go_to": _go_to,
    "playroom.lift": _lift,
    "playroom.put_on": _put_on,
    "playroom.put_in": _put_in,
    "playroom.push_to": _push_to,
    "playroom.stack": _stack,
    "playroom.sort": _sort,
}
