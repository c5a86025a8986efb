"""`Plan`: what a decision does, in stretches of time; how it becomes actions a tick, and how actions become a plan.

A plan speaks of milliseconds, so it can be played at any tick rate. Within a stretch what is held is held throughout,
the look is spread over its ticks, and the pointer is put where it belongs first. Its events, taps and
typed text, follow one another in the order in which they stand; each is down for at least one tick, and a tick in
which it is up follows. A stretch whose events or look need more ticks than its milliseconds have gets them. The wheel
turns a notch a tick, or more where there are fewer ticks than notches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from envs.action import BUTTONS, KEYS, NEUTRAL, Action
from envs.characters import US, Characters

STEP = 115  # milliseconds of a stretch that names no time: four ticks of Doom
LONGEST = 10_000  # milliseconds of a stretch
MOST_STRETCHES = 64
MOST_EVENTS = 32  # of a stretch
MOST_TEXT = 200  # characters that are typed at once
MOST_DEGREES, MOST_NOTCHES = 180.0, 20.0
THOUSANDTHS = 1000  # of the picture's width and height: what a pointer counts in
_DOWN, _UP = 75.0, 30.0  # milliseconds that a tap is down, and up before the next: games look once a frame or two
_TAP = 150.0  # milliseconds: what a person holds for so long and lets go of was a tap
_LONGEST_TURN = 10.0  # seconds that a look may be spread over where a world turns slowly

_NAMES = frozenset(KEYS) | frozenset(BUTTONS)
_MODIFIERS = frozenset(f"{name}{side}" for name in ("Shift", "Control", "Alt") for side in ("Left", "Right"))
_FIRST = frozenset({"ShiftLeft", "AltRight"})  # keys that change what others type

Event = frozenset[str] | str  # keys and buttons that are tapped together, or text to type


@dataclass(frozen=True)
class Stretch:
    """A stretch of a plan.

    `milliseconds`: how long. `hold`: keys and buttons that are down throughout. `events`: what is tapped (a set of keys
    and buttons, together) and typed (a text), in this order. `look`: (yaw, pitch) in degrees over the whole stretch,
    right and up positive, in hundredths. `pointer`: where the pointer is put, in thousandths of the picture from its
    upper left corner. `drag`: where the left button drags it from there. `wheel`: notches, up positive.

    Raises ValueError, which says what is wrong, for what no hand can do.
    """

    milliseconds: int = STEP
    hold: frozenset[str] = frozenset()
    events: tuple[Event, ...] = ()
    look: tuple[float, float] = (0.0, 0.0)
    pointer: tuple[int, int] | None = None
    drag: tuple[int, int] | None = None
    wheel: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "look", tuple(round(float(x), 2) + 0.0 for x in self.look))
        object.__setattr__(self, "wheel", round(float(self.wheel), 2) + 0.0)
        if not 1 <= self.milliseconds <= LONGEST:
            raise ValueError(f"for takes 1 to {LONGEST} milliseconds, not {self.milliseconds}")
        if not all(abs(x) <= MOST_DEGREES for x in self.look):
            raise ValueError(f"look takes degrees from {-MOST_DEGREES:g} to {MOST_DEGREES:g}")
        if not abs(self.wheel) <= MOST_NOTCHES:
            raise ValueError(f"wheel takes notches from {-MOST_NOTCHES:g} to {MOST_NOTCHES:g}")
        for point in (self.pointer, self.drag):
            if point is not None and not all(0 <= x <= THOUSANDTHS for x in point):
                raise ValueError(f"a point is given in thousandths of the picture, 0 to {THOUSANDTHS}, not {point}")
        if self.drag is not None and (self.pointer is None or "left" in self.hold):
            raise ValueError("drag presses the left button itself, from one point to another")
        if len(self.events) > MOST_EVENTS:
            raise ValueError(f"a stretch has at most {MOST_EVENTS} taps, clicks and texts, not {len(self.events)}")
        for event in self.events:
            self._check(event)
        named = self.hold.union(*(event for event in self.events if not isinstance(event, str)))
        if not named <= _NAMES:
            raise ValueError(f"there is no key {min(named - _NAMES)!r}")

    def _check(self, event: Event) -> None:
        if isinstance(event, str):
            if not 0 < len(event) <= MOST_TEXT:
                raise ValueError(f"type takes 1 to {MOST_TEXT} characters, not {len(event)}")
        elif not event:
            raise ValueError("tap names no key")
        self._check_free(_MODIFIERS if isinstance(event, str) else event)

    def _check_free(self, names: frozenset[str]) -> None:
        if taken := self.hold & names:
            raise ValueError(f"{min(taken)} is held, so it can't be tapped or change what is typed")

    def taps(self, characters: Characters = US) -> Iterator[frozenset[str]]:
        """What its events tap, one after the other, on a keyboard that types these characters. Raises ValueError for
        a text that can't be typed there, or not while something is held."""
        for event in self.events:
            if not isinstance(event, str):
                yield event
                continue
            for character in event:
                if character not in characters:
                    raise ValueError(f"no key of this keyboard types {character!r}")
                self._check_free(characters[character])
                yield characters[character]

    def names(self, characters: Characters = US) -> frozenset[str]:
        """All keys and buttons that it uses. Raises ValueError as `taps` does."""
        used = self.hold.union(*self.taps(characters))
        return used | {"left"} if self.drag is not None else used

    def states(self, characters: Characters = US) -> Iterator[frozenset[str]]:
        """What is down together at one time or another. Raises ValueError as `taps` does."""
        yield self.hold
        for chord in self.taps(characters):
            yield self.hold | chord
        if self.drag is not None:
            yield self.hold | {"left"}


@dataclass(frozen=True)
class Plan:
    """What a decision does: its stretches one after the other, and whether the task is `done`. Raises ValueError for
    none or too many."""

    stretches: tuple[Stretch, ...] = (Stretch(),)
    done: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.stretches) <= MOST_STRETCHES:
            raise ValueError(f"a decision has 1 to {MOST_STRETCHES} stretches, not {len(self.stretches)}")

    @property
    def milliseconds(self) -> int:
        return sum(stretch.milliseconds for stretch in self.stretches)


def ticks_of(milliseconds: float, tick_hz: float) -> int:
    """The ticks of a time, rounded."""
    return math.floor(milliseconds * tick_hz / 1000.0 + 0.5)


def actions_of(
    plan: Plan, tick_hz: float, *, max_look: float = 180.0, last: Action = NEUTRAL, characters: Characters = US
) -> tuple[Action, ...]:
    """The actions of `plan`, one a tick of a world of `tick_hz`; at least one tick a stretch.

    `max_look`: degrees that the world turns in a tick at most. `last`: the action before: what is down there goes up
    before it is tapped. `characters`: what types each character. Raises ValueError for one that nothing types.
    """
    actions: list[Action] = []
    time = 0
    for stretch in plan.stretches:
        begin, time = ticks_of(time, tick_hz), time + stretch.milliseconds
        ticks = max(1, ticks_of(time, tick_hz) - begin)
        actions += _ticks(stretch, ticks, tick_hz, max_look, last, characters)
        last = actions[-1]
    return tuple(actions)


@dataclass
class _Timeline:
    """The ticks of a stretch while it is laid out: what is down besides what is held, and where the pointer is."""

    hold: frozenset[str]
    pointer: tuple[int, int] | None
    before: frozenset[str]  # what is down in the tick before
    ticks: list[tuple[frozenset[str], tuple[int, int] | None]] = field(default_factory=list)

    def add(self, down: frozenset[str] = frozenset(), ticks: int = 1) -> None:
        self.ticks += [(self.hold | down, self.pointer)] * ticks
        self.before = self.ticks[-1][0]

    def tap(self, chord: frozenset[str], down: int, up: int) -> None:
        if chord & self.before:
            self.add()
        if chord & _FIRST and chord - _FIRST:  # Shift first: in one tick nobody knows which key comes first
            self.add(chord & _FIRST)
        self.add(chord, down)
        self.add(ticks=up)

    def drag(self, to: tuple[int, int], ticks: int) -> None:
        begin, left = self.pointer or to, frozenset({"left"})
        if left & self.before:
            self.add()
        for tick in range(ticks + 1):
            x, y = (a + round((b - a) * tick / ticks) for a, b in zip(begin, to, strict=True))
            self.pointer = x, y
            self.add(left)
        self.add()


def _ticks(
    stretch: Stretch, ticks: int, tick_hz: float, max_look: float, last: Action, characters: Characters
) -> Iterator[Action]:
    line = _Timeline(stretch.hold, stretch.pointer, last.keys | last.buttons)
    down, up = max(1, math.ceil(_DOWN * tick_hz / 1000.0)), max(1, ticks_of(_UP, tick_hz))
    if stretch.pointer is not None and (stretch.events or stretch.drag):
        line.add()  # the pointer is there before it presses
    for chord in stretch.taps(characters):
        line.tap(chord, down, up)
    if stretch.drag is not None:
        line.drag(stretch.drag, max(2, ticks - len(line.ticks) - 2))
    turn = max(map(abs, stretch.look))
    turning = min(math.ceil(turn / max_look), ticks + math.ceil(_LONGEST_TURN * tick_hz)) if max_look > 0.0 else 0
    total = max(ticks, len(line.ticks), turning)
    if total > len(line.ticks):
        line.add(ticks=total - len(line.ticks))
    wheel = _notches(stretch.wheel, total)
    look = tuple(min(max(x / total, -max_look), max_look) for x in stretch.look)
    for tick, (names, pointer) in enumerate(line.ticks):
        yield Action(
            keys=names.difference(BUTTONS),
            buttons=names.intersection(BUTTONS),
            look=(look[0], look[1]),
            pointer=None if pointer is None else (pointer[0] / THOUSANDTHS, pointer[1] / THOUSANDTHS),
            wheel=wheel[tick],
        )


def _notches(wheel: float, ticks: int) -> list[float]:
    """The turn of a wheel in each of so many ticks: whole notches as early and as evenly as can be."""
    most = math.ceil(abs(wheel))
    ends = [max(0.0, min(abs(wheel), math.ceil(most * (tick + 1) / min(ticks, max(most, 1))))) for tick in range(ticks)]
    return [math.copysign(end - begin, wheel) if end > begin else 0.0 for begin, end in pairwise([0.0, *ends])]


def plan_of(actions: Sequence[Action], tick_hz: float, *, done: bool = False, taps: bool = False) -> Plan:
    """The plan of recorded actions, one a tick of `tick_hz`.

    What is held comes back tick by tick, by `actions_of` at the same rate. Look and wheel come back by their sum over
    a stretch, which is at most STEP ms long where they move, in hundredths. The pointer comes back in thousandths, and
    its way between two ends of stretches is lost unless a button is down. `taps`: say "tap" of what was down for a
    short time: that is shorter, and forgets for how long. Raises ValueError for no actions, or for more than a plan
    holds.
    """
    if not actions:
        raise ValueError("a plan needs at least one action")
    held = [action.keys | action.buttons for action in actions]
    tapped = _short_presses(held, max(1, ticks_of(_TAP, tick_hz))) if taps else {}
    stretches = []
    for begin, end in _runs(actions, held, tick_hz):
        part = actions[begin:end]
        pointer = next((a.pointer for a in reversed(part) if a.pointer is not None), None)
        stretches.append(
            Stretch(
                max(1, round(1000 * end / tick_hz) - round(1000 * begin / tick_hz)),
                held[begin],
                tuple(frozenset({name}) for tick in range(begin, end) for name in tapped.get(tick, ())),
                (_within(math.fsum(a.look[0] for a in part)), _within(math.fsum(a.look[1] for a in part))),
                None if pointer is None else (round(pointer[0] * THOUSANDTHS), round(pointer[1] * THOUSANDTHS)),
                wheel=_within(math.fsum(a.wheel for a in part), MOST_NOTCHES),
            )
        )
    return Plan(tuple(stretches), done)


def _within(x: float, most: float = MOST_DEGREES) -> float:
    return min(max(x, -most), most)


def _runs(actions: Sequence[Action], held: Sequence[frozenset[str]], tick_hz: float) -> Iterator[tuple[int, int]]:
    """The ticks [begin, end) of each stretch: a change of what is held begins one, and so does a while of movement."""
    step, longest = max(1, ticks_of(STEP, tick_hz)), max(1, math.floor(LONGEST * tick_hz / 1000.0) - 1)
    begin, moves = 0, _moves(actions[0], actions[0])
    for tick in range(1, len(actions)):
        now, before = actions[tick], actions[tick - 1]
        dragged = now.pointer not in (None, before.pointer) and bool(now.buttons)
        moves = moves or _moves(now, before)
        if held[tick] != held[tick - 1] or dragged or tick - begin >= (step if moves else longest):
            yield begin, tick
            begin, moves = tick, _moves(now, now)
    yield begin, len(actions)


def _moves(now: Action, before: Action) -> bool:
    return now.look != before.look or now.look != (0.0, 0.0) or now.wheel != 0.0 or now.pointer is not None


def _short_presses(held: list[frozenset[str]], most: int) -> dict[int, list[str]]:
    """Take out of `held` what is down for at most `most` ticks and then up; what that was, by the tick of its press."""
    found: dict[int, list[str]] = {}
    for name in sorted(frozenset().union(*held)):
        begin: int | None = None
        for tick, down in enumerate(held):
            if name in down:
                begin = tick if begin is None else begin
            elif begin is not None:
                if tick - begin <= most:
                    found.setdefault(begin, []).append(name)
                    held[begin:tick] = [other - {name} for other in held[begin:tick]]
                begin = None
    return found
