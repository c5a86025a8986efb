"""Random action spaces, and plans and actions within them, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from agent.codec import Codec
from agent.plan import LONGEST, Plan, Stretch
from envs.action import BUTTONS, KEYS, Action, KeyboardMouse


class Refusing(KeyboardMouse):
    """A space that refuses Control with Q or W, and Alt with any F key, as desktops do."""

    def contains(self, x: Any) -> bool:
        return super().contains(x) and not (
            ("ControlLeft" in x.keys and x.keys & {"KeyQ", "KeyW"})
            or ("AltLeft" in x.keys and any(key[0] == "F" and len(key) > 1 for key in x.keys))
        )


@st.composite
def codecs(draw: st.DrawFn) -> Codec:
    keys = draw(st.just(KEYS) | st.lists(st.sampled_from(KEYS), unique=True, max_size=12).map(tuple))
    buttons = draw(st.lists(st.sampled_from(BUTTONS), unique=True))
    space = draw(st.sampled_from((KeyboardMouse, Refusing)))(
        keys, buttons, max_look=draw(st.sampled_from((0.0, 0.5, 20.0, 180.0))), pointer=draw(st.booleans()),
        wheel=draw(st.booleans()), ignored=draw(st.sampled_from(((), ("KeyW", "left"), ("look", "Space")))),
    )  # fmt: skip
    meanings = st.sampled_from(("jump", "roll away", "left", "open / use", "tap", "KeyW", "", "hold on", "forward"))
    return Codec(space, draw(st.dictionaries(st.sampled_from((*KEYS, *BUTTONS)), meanings, max_size=4)))


@st.composite
def stretches(draw: st.DrawFn, codec: Codec, *, taps: bool = True) -> Stretch:
    names = (*codec.keys, *codec.buttons)
    some = st.frozensets(st.sampled_from(names), max_size=4) if names else st.just(frozenset())
    hold, events = draw(some), []
    if taps and names:
        typed = [character for character, chord in codec.space.characters.items() if chord <= set(codec.keys)]
        texts = st.text(st.sampled_from(typed), min_size=1, max_size=12) if typed else st.nothing()
        events = draw(st.lists(st.frozensets(st.sampled_from(names), min_size=1, max_size=3) | texts, max_size=3))
    degrees = st.floats(-180, 180) if codec.looks else st.just(0.0)
    points = st.tuples(st.integers(0, 1000), st.integers(0, 1000))
    pointer = draw(st.none() | points) if codec.space.pointer else None
    drag = draw(st.none() | points) if taps and pointer and "left" in codec.buttons else None
    made = {
        "milliseconds": draw(st.just(115) | st.integers(1, LONGEST // 10)),
        "look": (draw(degrees), draw(degrees)),
        "pointer": pointer,
        "wheel": draw(st.floats(-20, 20)) if codec.space.wheel else 0.0,
    }
    for parts in (
        {"hold": hold, "events": tuple(events), "drag": drag},
        {"hold": hold}, {"events": tuple(events)}, {},
    ):  # fmt: skip
        try:  # what is held may not be tapped, and some keys not be held together
            made_one = Stretch(**made, **parts)
            codec.write(Plan((made_one,)))
        except ValueError:
            continue
        return made_one
    raise AssertionError("a stretch that does nothing is refused")


@st.composite
def plans(draw: st.DrawFn, codec: Codec, *, taps: bool = True, most: int = 6) -> Plan:
    some = draw(st.lists(stretches(codec, taps=taps), min_size=1, max_size=most))
    return Plan(tuple(some), draw(st.booleans()))


@st.composite
def recordings(draw: st.DrawFn, codec: Codec) -> list[Action]:
    """Actions of a person: runs of ticks in which the same is held."""
    actions: list[Action] = []
    for _ in range(draw(st.integers(1, 5))):
        held = draw(stretches(codec, taps=False))
        pointer = None if held.pointer is None else (held.pointer[0] / 1000, held.pointer[1] / 1000)
        look = tuple(min(max(x, -codec.space.max_look), codec.space.max_look) for x in held.look)
        actions += [
            Action(
                held.hold.difference(BUTTONS), held.hold.intersection(BUTTONS), (look[0], look[1]), pointer,
                float(round(held.wheel / 10)),
            )
        ] * draw(st.integers(1, 5))  # fmt: skip
    return actions
