"""What can be asked for in a playroom, and where things are in the picture: ground truth that players learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.playroom.room import Room
from envs.playroom.state import PlayroomState
from envs.playroom.things import CLASSES
from tasks.playroom.expert import choose
from tasks.playroom.language import Meaning, phrase, read
from tasks.playroom.suites import HELD_OUT_PAIRS, spec_in
from tasks.playroom.verify import FAMILIES
from tasks.task import Phrasing, Query, Task, VerifierSpec
from tasks.verifier import Impossible, Verifier

__all__ = [
    "CLASSES", "VERBS", "choose", "other_task", "other_words", "possible", "sights", "spec_of", "verbs_for",
    "verifier_in", "wanted", "words",
]  # fmt: skip

VERBS = ("look_at", "go_to", "lift", "put_on table", "put_on bench", "put_on bed", "put_in bin")
_LONG = 20  # ticks, more than any verifier wants something to last
_PAIRS = {number: pair for pair, number in CLASSES.items()}


def possible(state: PlayroomState) -> list[Query]:
    """All that can be asked for here, never a held-out pair."""
    things = state.room.things
    kinds = [thing.kind for thing in things]
    verbs = [verb for verb in VERBS if " " not in verb or state.room.piece(verb.split()[1]) is not None]
    pairs = {(thing.kind, thing.colour) for thing in things} - HELD_OUT_PAIRS
    return [
        (VERBS.index(verb), CLASSES[pair], int(kinds.count(pair[0]) == 1)) for pair in sorted(pairs) for verb in verbs
    ]


def verbs_for(number: int) -> list[int]:
    """Verbs that want a class and nothing else, by which it can be asked for in training; none for what is never named
    there."""
    pair = _PAIRS[number]
    nameable = pair[1] is not None and pair not in HELD_OUT_PAIRS
    return [i for i, verb in enumerate(VERBS) if nameable and " " not in verb]


def spec_of(state: PlayroomState, query: Query) -> VerifierSpec:
    """The verifier of a query in a room that holds its thing."""
    verb, _, place = VERBS[query[0]].partition(" ")
    targets = [i for i, t in enumerate(state.room.things) if (t.kind, t.colour) == _PAIRS[query[1]]]
    args = {"targets": targets} | ({"support": place} if verb == "put_on" else {})
    return VerifierSpec(f"playroom.{verb}", args)


def words(rng: np.random.Generator, query: Query, phrasing: Phrasing = "training") -> str:
    """An instruction that means a query; without the colour now and then, where the kind alone tells the thing."""
    verb, _, place = VERBS[query[0]].partition(" ")
    kind, colour = _PAIRS[query[1]]
    named = None if query[2] and rng.random() < 0.5 else colour
    return phrase(rng, Meaning(verb, kind, named, place or None), phrasing)


def other_words(rng: np.random.Generator, task: Task) -> str | None:
    """An instruction for the same with another thing of the room; None where the verb has nothing to exchange."""
    spec = task.verifier
    if spec is None or task.verb not in {verb.partition(" ")[0] for verb in VERBS}:
        return None
    things = Room.from_json(task.options["room"]).things
    meant = {(things[i].kind, things[i].colour) for i in spec.args["targets"]}
    others = sorted({(thing.kind, thing.colour) for thing in things} - meant)
    if not others:
        return None
    place = "bin" if task.verb == "put_in" else spec.args.get("support")
    return phrase(rng, Meaning(task.verb, *others[int(rng.integers(len(others)))], place))


def other_task(rng: np.random.Generator, task: Task) -> Task | None:
    """The same room with another thing asked for; None where the verb has nothing to exchange."""
    text = other_words(rng, task)
    meaning = None if text is None else read(text)
    if text is None or meaning is None:
        return None
    return replace(task, instruction=text, verifier=spec_in(Room.from_json(task.options["room"]), meaning))


def verifier_in(state: PlayroomState, text: str) -> Verifier | None:
    """A verifier of an instruction from this state on; None where the instruction is not read."""
    meaning = read(text)
    if meaning is None:
        return None
    spec = spec_in(state.room, meaning)
    if spec is None or _done(spec, state):
        return Impossible("it can't be done here, or it is done already")
    return FAMILIES[spec.name](**spec.args)


def _done(spec: VerifierSpec, state: PlayroomState) -> bool:
    """Whether it takes nothing but time."""
    verifier = FAMILIES[spec.name](**spec.args)
    verdicts = [verifier.update(replace(state, tick=state.tick + ticks)) for ticks in (0, _LONG)]
    return any(verdict is not None and verdict.success for verdict in verdicts)


def sights(state: PlayroomState) -> dict[int, tuple[float, float]]:
    """Classes of what is in view, with the column of its middle and the row of its foot, both in [0, 1]. Raises
    ValueError where the state has no labels."""
    if state.labels is None:
        raise ValueError("where things are in the picture needs labels: make the world with labels=True")
    height, width = state.labels.shape
    rows, columns = np.nonzero(state.labels)
    values, found = state.labels[rows, columns], {}
    for number in np.flatnonzero(np.bincount(values, minlength=256) >= 3).tolist():
        mine = values == number
        found[number] = float(columns[mine].mean() + 0.5) / width, float(rows[mine].max()) / height
    return found


def wanted(state: PlayroomState, spec: VerifierSpec) -> int:
    """The class of what one has to look for now: the thing, and once it is in the hand, the place it belongs to."""
    targets = spec.args["targets"]
    if state.held in targets:
        place = {"playroom.put_in": "bin", "playroom.push_to": "rug"}.get(spec.name)
        place = place or spec.args.get("support") or spec.args.get("place")
        if place is not None:
            return CLASSES[place, None]
    things = state.room.things
    nearest = things[min(targets, key=state.distance)]
    return CLASSES[nearest.kind, nearest.colour]
