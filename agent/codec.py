"""`Codec`: the action language of a world, made from its action space and its controls.

Version "keys1". A decision is a `Plan`: stretches of milliseconds (agent/plan.py). Models that are prompted write it as
text, the parts of a stretch in any order:

    hold ArrowRight ShiftLeft              keep keys down
    tap Space ControlLeft+KeyC             press and let go, one after the other
    press left   click right               the same for mouse buttons
    type "hello"                           type it
    look 16 -4                             turn right by 16 degrees and down by 4
    point 420 310   drag 420 310 500 310   in thousandths of the picture, from its upper left corner
    wheel -2                               notches, down
    wait                                   do nothing
    hold KeyW for 200ms then tap Space     stretches one after the other, and how long they take
    done                                   the task is done

`read` forgives: names of keys that everybody uses ("right arrow", "esc", "A"), a world's own words for what they do
("jump"), any case, commas. It never guesses: what is ambiguous, unknown or not in the world is an ActionTextError.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agent.action_reader import Reader
from agent.key_names import Names, mouse, plain
from agent.plan import STEP, Plan, Stretch, actions_of, plan_of
from envs.action import BUTTONS, KEYS, NEUTRAL, Action, KeyboardMouse

VERSION = "keys1"


class ActionTextError(ValueError):
    """An action text that can't be read: what is wrong, and what was expected."""


@dataclass(frozen=True, eq=False)
class Codec:
    """The action language of a world with the action space `space`.

    `controls`: what the world says that its keys and buttons do, by their names, and "look", "pointer" and "wheel".
    """

    space: KeyboardMouse
    controls: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys that do something, in the order of `envs.action.KEYS`."""
        return tuple(key for key in KEYS if key in self.space.keys - self.space.ignored)

    @cached_property
    def buttons(self) -> tuple[str, ...]:
        """The mouse buttons that do something."""
        return tuple(button for button in BUTTONS if button in self.space.buttons - self.space.ignored)

    @property
    def looks(self) -> bool:
        """Whether moving the mouse turns the view."""
        return self.space.max_look > 0.0 and "look" not in self.space.ignored

    @property
    def types(self) -> bool:
        """Whether text can be typed: most letters are there."""
        return sum(key.startswith("Key") for key in self.keys) >= _ENOUGH_LETTERS

    @cached_property
    def names(self) -> Names:
        return Names(self.keys, self.buttons, self.controls)

    @cached_property
    def _there(self) -> frozenset[str]:
        return frozenset((*self.keys, *self.buttons))

    # Text

    def read(self, text: str) -> Plan:
        """The plan that a text means. Raises ActionTextError."""
        shown = repr(text if len(text) <= 80 else text[:77] + "...")
        try:
            plan = Reader(text, self.names).plan()
            self._check(plan)
        except ValueError as error:
            raise ActionTextError(f"action text {shown}: {error}; expected {self.short_form}") from None
        return plan

    def write(self, plan: Plan) -> str:
        """The text of a plan; `read(write(plan)) == plan`. Raises ActionTextError for one that the world can't do."""
        try:
            self._check(plan)
        except ValueError as error:
            raise ActionTextError(f"plan: {error}") from None
        text = " then ".join(_written(stretch) for stretch in plan.stretches)
        if not plan.done:
            return text
        return "done" if plan.stretches == (Stretch(),) else f"{text} done"

    @property
    def heard(self) -> str:
        """What the world listens to, in a few words."""
        parts = [*_ranges(self.keys), *(f"the {button} button" for button in self.buttons)]
        parts += ["look"] * self.looks + ["a pointer"] * self.space.pointer + ["the wheel"] * self.space.wheel
        return ", ".join(parts[:12]) + (" and more" if len(parts) > 12 else "") if parts else "nothing"

    @cached_property
    def short_form(self) -> str:
        """The language in a line, as error messages show it."""
        return "parts such as " + ", ".join(f"'{part}'" for part, _ in self.parts)

    # Ticks

    def actions(self, plan: Plan, tick_hz: float, last: Action = NEUTRAL) -> tuple[Action, ...]:
        """The actions of a plan, one a tick of a world of `tick_hz`, all within the space; `last`: the action before.
        Raises ActionTextError for a plan that the world can't do."""
        try:
            self._check(plan)
        except ValueError as error:
            raise ActionTextError(f"plan: {error}") from None
        actions = actions_of(
            plan,
            tick_hz,
            max_look=self.space.max_look if self.looks else 0.0,
            last=last,
            characters=self.space.characters,
        )
        wrong = next((action for action in actions if not self.space.contains(action)), None)
        if wrong is not None:
            raise ActionTextError(f"plan: {wrong} is not in {self.space}")
        return actions

    def plan_of(self, actions: Sequence[Action], tick_hz: float, *, done: bool = False, taps: bool = False) -> Plan:
        """The plan of recorded actions, without what the world does not listen to; see `agent.plan.plan_of`."""
        heard = [
            Action(
                action.keys & self._there,
                action.buttons & self._there,
                action.look if self.looks else (0.0, 0.0),
                action.pointer if self.space.pointer else None,
                action.wheel if self.space.wheel else 0.0,
            )
            for action in actions
        ]
        return plan_of(heard, tick_hz, done=done, taps=taps)

    def _check(self, plan: Plan) -> None:
        """Raises ValueError where the plan asks for what the world lacks or refuses."""
        for stretch in plan.stretches:
            absent = stretch.names(self.space.characters) - self._there
            if absent:
                raise ValueError(self._lacks(min(absent)))
            if stretch.look != (0.0, 0.0) and not self.looks:
                raise ValueError("the mouse does not turn the view in this world")
            if stretch.pointer is not None and not self.space.pointer:
                raise ValueError("this world has no pointer")
            if stretch.wheel and not self.space.wheel:
                raise ValueError("this world does not listen to the wheel")
            for names in stretch.states(self.space.characters):
                if not self.space.contains(Action(names.difference(BUTTONS), names.intersection(BUTTONS))):
                    raise ValueError(f"{'+'.join(sorted(names))} may not be held together in this world")

    def _lacks(self, name: str) -> str:
        close = difflib.get_close_matches(name, [*self.keys, *map(mouse, self.buttons)], 1)
        what = f"the {name} mouse button" if name in BUTTONS else name
        return f"this world does not listen to {what}" + (f"; it has {close[0]}" if close else "")

    # Words for models

    def describe(self) -> str:
        """What a prompt says of the world's controls and of the language, in lines."""
        forms = [f"  {part:<{max(len(p) for p, _ in self.parts)}}  {means}" for part, means in self.parts]
        return "\n".join([self.describe_controls(), "Parts of an action, in any order:", *forms])

    def describe_controls(self) -> str:
        """What a prompt says of the world's controls, in lines."""
        return "\n".join(["Controls:", *self.told_controls])

    @cached_property
    def told_controls(self) -> list[str]:
        """The world's controls, in lines: what each key and button does, and the mouse."""
        lines = [f"{name}: {plain(self.controls[name])}" for name in self._named]
        rest = [name for name in self.keys if name not in self._named]
        if rest:
            lines.append(f"{'other keys' if len(rest) < len(self.keys) else 'keys'}: {' '.join(_ranges(rest))}")
        for button in self.buttons:
            said = plain(self.controls.get(button, ""))
            lines.append(f"{button} mouse button{said and ': '}{said}")
        return [*lines, self._of_the_mouse()]

    @cached_property
    def _named(self) -> list[str]:
        """The keys of which the world says what they do, in its order."""
        return [name for name, said in self.controls.items() if name in self.keys and plain(said)]

    @property
    def example(self) -> str:
        """An action of this world, as prompts show one."""
        if self.space.pointer and not self.looks and "left" in self.buttons:
            return "click left point 420 310"
        named = self._named or list(self.keys)
        parts = ["look -16 0"] * self.looks + [f"hold {named[0]} for 300ms then tap {named[-1]}"] * bool(named)
        return " ".join(parts) or "wait"

    def _of_the_mouse(self) -> str:
        said = {name: f": {text}" if (text := plain(self.controls.get(name, ""))) else "" for name in _MOUSE}
        parts = []
        if self.looks:
            parts.append(f"Moving the mouse turns the view{said['look']}.")
        if self.looks and self.space.pointer:
            parts.append(f"In menus it has a pointer on the picture instead{said['pointer']}.")
        elif self.space.pointer:
            parts.append(f"The mouse has a pointer on the picture{said['pointer']}.")
        if self.space.wheel:
            parts.append(f"The wheel is used{said['wheel']}.")
        return " ".join(parts) or "Moving the mouse does nothing."

    @cached_property
    def parts(self) -> list[tuple[str, str]]:
        """The parts of the language that the world has, each with an example, and what they mean."""
        forms, named = [], self._named or list(self.keys)
        if named:
            forms = [(f"hold {' '.join(named[::2][:2])}", "keep keys down"),
                     (f"tap {named[-1]}", "press a key and let it go; A+B: two together")]  # fmt: skip
        if self.buttons:
            forms += [(f"press {self.buttons[0]}", "keep a mouse button down"),
                      (f"click {self.buttons[0]}", "press a mouse button and let it go")]  # fmt: skip
        if self.looks:
            forms.append(("look 16 -4", "turn right by 16 degrees and down by 4"))
        if self.space.pointer:
            forms.append(("point 420 310", "put the pointer there, in thousandths of the picture from its upper left"))
            if "left" in self.buttons:
                forms.append(("drag 420 310 500 310", "drag from there to there"))
        if self.space.wheel:
            forms.append(("wheel -2", "turn the wheel by notches, up positive"))
        if self.types:
            forms.append(('type "hello"', "type a text"))
        return [
            *forms,
            ("wait", "do nothing"),
            ("for 200ms", f"how long it takes; {STEP}ms where nothing is said"),
            ("then", "begins another stretch with parts of its own"),
            ("done", "the instruction is fulfilled"),
        ]


_MOUSE = ("look", "pointer", "wheel")
_ENOUGH_LETTERS = 20


def _written(stretch: Stretch) -> str:
    keys = [name for name in sorted(stretch.hold) if name not in BUTTONS]
    buttons = [name for name in sorted(stretch.hold) if name in BUTTONS]
    parts = [f"hold {' '.join(keys)}"] * bool(keys) + [f"press {' '.join(buttons)}"] * bool(buttons)
    for event in stretch.events:
        if isinstance(event, str):
            parts.append(f"type {json.dumps(event, ensure_ascii=False)}")
        elif len(event) == 1 and event <= set(BUTTONS):
            parts.append(f"click {min(event)}")
        else:
            parts.append(f"tap {'+'.join(mouse(n) if n in BUTTONS else n for n in sorted(event))}")
    if stretch.look != (0.0, 0.0):
        parts.append(f"look {stretch.look[0]:g} {stretch.look[1]:g}")
    if stretch.pointer is not None:
        points = (*stretch.pointer, *(stretch.drag or ()))
        parts.append(f"{'point' if stretch.drag is None else 'drag'} {' '.join(map(str, points))}")
    if stretch.wheel:
        parts.append(f"wheel {stretch.wheel:g}")
    if stretch.milliseconds != STEP:
        parts.append(f"for {stretch.milliseconds}ms")
    return " ".join(parts if len(parts) > (stretch.milliseconds != STEP) else ["wait", *parts])


def _ranges(keys: Sequence[str]) -> list[str]:
    """Keys as a list in which all letters, all digits and the like are one entry."""
    out = list(keys)
    for first, last in (("KeyA", "KeyZ"), ("Digit0", "Digit9"), ("F1", "F12"), ("Numpad0", "Numpad9")):
        row = KEYS[KEYS.index(first) : KEYS.index(last) + 1]
        if set(row) <= set(out):
            at = out.index(first)
            out = [key for key in out if key not in row]
            out.insert(at, f"{first}..{last}")
    return out
