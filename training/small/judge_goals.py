"""Goals that a given level holds: what else could have been asked for there, and what is said of how it went.

The judge's episodes are held against these goals. A goal is a Meaning of a single step. Everything is said in words of
agent.small.vocabulary, at most REASON words, and no held-out (kind, colour) pair is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from envs.doom.layouts import TRAINING_LAYOUTS
from envs.doom.level import Door, Level
from envs.doom.levels import HELD_OUT_THEMES
from envs.doom.things import KINDS
from tasks.doom import suites
from tasks.doom.build import checked
from tasks.doom.goals import HELD_OUT_PAIRS, ROLES, name_of, spec_in
from tasks.doom.language import Meaning, noun_phrase, phrase
from tasks.doom.planning import Unsolvable
from tasks.doom.suites import DoomSuite
from tasks.task import Task, VerifierSpec, thing_name

REASON = 7  # the most words of a reason

# The vault's verbs in the themes and layouts of training: the judge knows locks and switches, the player does not.
HOUSES = DoomSuite(
    "judge-houses", "doors, locks and switches, for the judge alone",
    verbs=("unlock", "open", "switch", "enter", "pick_up", "go_to"), kind="vault", layouts=TRAINING_LAYOUTS,
    time_limit=1400,
)  # fmt: skip
LOOKING = replace(HOUSES, name=f"{HOUSES.name}{suites.LOOKS}", about=f"{HOUSES.about}, in any looks", looks=True)
THEMES = replace(
    HOUSES, name=f"{HOUSES.name}-themes", about=f"{HOUSES.about}, with textures never trained on",
    themes=HELD_OUT_THEMES, held_out=True,
)  # fmt: skip

_ROOM_VERBS = ("go_to", "face", "pick_up", "shoot", "touch")
_HOUSE_VERBS = ("go_to", "pick_up", "enter")
_DOOR_VERBS = {"door": "open", "locked": "unlock", "remote": "switch"}


def judged_suite(name: str, evaluation: bool = False) -> DoomSuite:
    """A suite that the judge learns from, by name; in an `evaluation` one that is held out too. Raises ValueError for
    one that it may not learn from, and for one with several steps."""
    if name not in suites.SUITES and not name.startswith(HOUSES.name):
        raise ValueError(f"suite {name!r}: the expert's episodes for the judge are of doom")
    if evaluation:
        suite = {one.name: one for one in (HOUSES, LOOKING, THEMES)}.get(name) or suites.evaluation(name)
    else:
        suite = {one.name: one for one in (HOUSES, LOOKING)}.get(name) or suites.training(name)
    if suite.kind not in ("room", "house", "vault", "steps", "crowd"):
        raise ValueError(f"suite {name!r}: the judge learns from single steps, such as doom-room or {HOUSES.name}")
    return suite


def goal_of(task: Task, level: Level) -> tuple[Meaning, VerifierSpec]:
    """The goal that a task of a judged suite is, and its verifier. Raises ValueError for a task without one."""
    spec = task.verifier
    if spec is None:
        raise ValueError(f"task {task.id} has no verifier")
    if spec.name == "look":
        return Meaning(f"look_{spec.args['direction']}"), spec
    if spec.name == "open":
        door = level.doors[spec.args["doors"][0]]
        return Meaning(task.verb, _door_kind(door), door.colour), _any_plain(level, spec)
    if "targets" in spec.args:
        thing = level.things[spec.args["targets"][0]]
        return Meaning(task.verb, thing.kind, thing.colour), spec
    return Meaning(task.verb, "panel" if spec.name == "press" else None), spec


def goals_of(level: Level) -> list[Meaning]:
    """What can be asked for in a level, by its looks; `spec_for` says whether it can be done."""
    house = len(level.rooms) > 1
    found: list[Meaning] = []
    for thing in level.things:
        if (thing.kind, thing.colour) in HELD_OUT_PAIRS:
            continue
        for verb in _HOUSE_VERBS if house else _ROOM_VERBS:
            if verb not in ROLES or KINDS[thing.kind].role in ROLES[verb]:
                found.append(Meaning(verb, thing.kind, thing.colour))
    found += [_opening(door) for door in level.doors if door.kind in _DOOR_VERBS]
    if not house:
        found += [Meaning("look_up"), Meaning("look_down"), Meaning("stand_still")]
        found += [Meaning("press", "panel")] if level.panels else []
    return list(dict.fromkeys(found))


def _opening(door: Door) -> Meaning:
    """What asks for a door, a lock or a gate."""
    return Meaning(_DOOR_VERBS[door.kind], _door_kind(door), door.colour)


def _door_kind(door: Door) -> str:
    return "gate" if door.kind == "remote" else "door"


def others(rng: np.random.Generator, level: Level, goal: Meaning, *, same_verb: bool) -> Iterator[Meaning]:
    """Other goals of the level in random order, those first that are most easily taken for `goal`.

    `same_verb`: first the same with another thing; otherwise first something else with the same thing.
    """

    def far(other: Meaning) -> float:
        verb = other.verb == goal.verb or {other.verb, goal.verb} == {"look_up", "look_down"}
        kind = other.kind is not None and other.kind == goal.kind
        colour = other.colour is not None and other.colour == goal.colour
        same = kind and other.colour == goal.colour
        unlike = 0.0 if same else 0.5 if kind or colour else 1.0
        return float(not verb if same_verb else not same) + 0.4 * unlike + 0.5 * float(rng.random())

    found = [g for g in goals_of(level) if g != goal]
    # an opened lock opens a door too: who only reads "open the door" can't know that another one is meant
    found = [g for g in found if {g.verb, goal.verb} != {"open", "unlock"}]
    yield from sorted(found, key=far)


def spec_for(level: Level, goal: Meaning) -> VerifierSpec | None:
    """The verifier of a goal, or None where it can't be done in this level."""
    if len(level.rooms) == 1:
        return spec_in(level, goal)
    door = next((i for i, door in enumerate(level.doors) if door.kind != "open" and _opening(door) == goal), -1)
    try:
        made = checked(level, [goal], [door], errands=False)
    except Unsolvable:
        return None
    return _any_plain(level, made.verifier) if made else None


def _any_plain(level: Level, spec: VerifierSpec) -> VerifierSpec:
    """ "Open the door" means any of the plain doors."""
    if spec.name != "open" or level.doors[spec.args["doors"][0]].kind != "door":
        return spec
    return replace(spec, args={**spec.args, "doors": [i for i, d in enumerate(level.doors) if d.kind == "door"]})


def say(rng: np.random.Generator, level: Level, goal: Meaning) -> str:
    """An instruction for a goal, as training says it."""
    if goal.kind is None:
        return phrase(rng, goal.verb)
    for index, thing in enumerate(level.things):
        if (thing.kind, thing.colour) == (goal.kind, goal.colour):
            return phrase(rng, goal.verb, name_of(rng, level, index))
    return phrase(rng, goal.verb, f"{goal.colour} {goal.kind}" if goal.colour else noun_phrase(rng, goal.kind, None))


_DONE = {
    "go_to": "reached the {}", "face": "faced the {}", "pick_up": "picked up the {}", "shoot": "shot the {}",
    "touch": "touched the {}", "look": "looked {}", "stand_still": "stood still", "press": "pressed the switch",
    "enter": "entered the room", "open": "opened the {}",
}  # fmt: skip
_NOT_DONE = {
    "go_to": "did not reach the {}", "face": "did not face the {}", "pick_up": "did not take the {}",
    "shoot": "did not shoot the {}", "touch": "did not touch the {}", "look": "did not look {}",
    "stand_still": "did not stand still", "press": "did not press the switch", "enter": "did not enter the room",
    "open": "did not open the {}",
}  # fmt: skip
_WRONG = {"took": "took the {}", "shot": "shot the {}", "stands at": "went to the {}", "faces": "faced the {}"}
_WHY = re.compile(rf"^({'|'.join(_WRONG)}) the (?:(\w+) )?(\w+), which")
_OTHER_WHYS = {
    "moved": "it moved", "pressed another panel": "pressed the wrong switch",
    "opened another door": "opened the wrong door", "looked the other way": "looked the other way",
    "took it instead of facing it": "took it",
}  # fmt: skip


def done(level: Level, spec: VerifierSpec) -> str:
    """What is said of a success: "picked up the red key"."""
    return _DONE[spec.name].format(_object(level, spec))


def failed(level: Level, spec: VerifierSpec, why: str) -> str:
    """What is said of a failure. `why`: the verifier's words, or none where it never came to a verdict."""
    match = _WHY.match(why)
    if match:
        return _WRONG[match[1]].format(_name(match[3], match[2]))
    if "shots at nothing" in why:
        return "shot at nothing"
    return _OTHER_WHYS.get(why) or _NOT_DONE[spec.name].format(_object(level, spec))


def _object(level: Level, spec: VerifierSpec) -> str:
    if spec.name == "look":
        return str(spec.args["direction"])
    if spec.name == "open":
        door = level.doors[spec.args["doors"][0]]
        return "gate" if door.kind == "remote" else thing_name("door", door.colour)
    if "targets" in spec.args:
        thing = level.things[spec.args["targets"][0]]
        return _name(thing.kind, thing.colour)
    return ""


def _name(kind: str, colour: str | None) -> str:
    return kind if (kind, colour) in HELD_OUT_PAIRS else thing_name(kind, colour)
