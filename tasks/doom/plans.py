"""What has to be done first: goals taken apart into steps, as the planning role of `small` learns to do it.

A lock opens with the key of its colour, and a gate by its switch; what was done already is left out. The acting role is
shown none of this.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from agent.capabilities import THEN
from envs.doom.level import LOCKS
from tasks.doom.goals import HELD_OUT_PAIRS, targets_of
from tasks.doom.language import Meaning, plain, plain_goal, sentence
from tasks.doom.questions import DEEDS
from tasks.task import Phrasing, thing_name

MOST_WORDS = 16  # of a plan
# Of what lessons name some locks are nowhere: with many colours it is easier to learn that a key has its lock's than to
# learn what goes with each.
SHOWN_LOCKS = (*(one for one in LOCKS if ("key", one) not in HELD_OUT_PAIRS), "green", "purple", "white")
_VERBS = ("pick_up", "go_to", "face", "shoot", "touch")


@dataclass(frozen=True)
class Planned:
    """A goal as it is said, what was done before as the memory has it, and the steps that are left."""

    goal: str
    memory: str
    steps: tuple[str, ...]


def steps(meaning: Meaning, deeds: Collection[str] = ()) -> tuple[str, ...]:
    """The steps of a goal in plain words. `deeds`: those that are done already, in plain words."""
    found: list[str] = []
    for step in (meaning, *meaning.then):
        for one in _parts(step):
            if one not in (*deeds, *found):
                found.append(one)
    return tuple(found) or (plain(meaning),)


def _parts(step: Meaning) -> tuple[str, ...]:
    if step.verb in ("unlock", "open") and step.kind == "door" and step.colour:
        return plain_goal("pick_up", f"{step.colour} key"), plain_goal("open", f"{step.colour} door")
    if step.kind == "gate" and step.verb in ("switch", "open"):
        return (plain_goal("press", "switch"),)
    return (plain(Meaning(step.verb, step.kind, step.colour, step.relation, step.other)),)


def draw(rng: np.random.Generator, phrasing: Phrasing = "training", colours: Sequence[str] = SHOWN_LOCKS) -> Planned:
    """A random goal, mostly one that needs something first, and a random memory. `colours`: of locks."""
    while True:
        first = _goal(rng, colours, locked=rng.random() < 0.7)
        then = (_goal(rng, colours, locked=rng.random() < 0.3),) if rng.random() < 0.25 else ()
        meaning = Meaning(first.verb, first.kind, first.colour, then=then)
        deeds = [_deed(rng, first, colours) for _ in range(rng.integers(0, 4))]
        left = steps(meaning, deeds_of(deeds))
        if len(THEN.join(left).split()) <= MOST_WORDS:
            lines = [DEEDS[deed.verb][0].format(x=_name(deed)) for deed in deeds]
            return Planned(sentence(rng, meaning, phrasing), " . ".join(lines), left)


def deeds_of(done: Collection[Meaning]) -> list[str]:
    """What was done, in the words of plans."""
    return [plain_goal(deed.verb, _name(deed)) for deed in done]


def _goal(rng: np.random.Generator, colours: Sequence[str], *, locked: bool) -> Meaning:
    if locked:
        colour = str(rng.choice(list(colours)))
        kinds = (
            ("unlock", "door", colour),
            ("unlock", "door", colour),
            ("open", "door", colour),
            ("switch", "gate", None),
        )
        return Meaning(*kinds[rng.integers(len(kinds))])
    verb = _VERBS[rng.integers(len(_VERBS))]
    pairs = targets_of(verb, "training")
    return Meaning(verb, *pairs[rng.integers(len(pairs))])


def _deed(rng: np.random.Generator, goal: Meaning, colours: Sequence[str]) -> Meaning:
    """Something that was done: what the goal needs first now and then, or something like it."""
    draw = rng.random()
    if draw < 0.3 and goal.kind == "door":
        return Meaning("pick_up", "key", goal.colour)
    if draw < 0.5:
        return Meaning("pick_up", "key", str(rng.choice(list(colours))))
    if draw < 0.6:
        return Meaning("press", "panel")
    verb = str(rng.choice(["pick_up", "go_to", "shoot"]))
    pairs = targets_of(verb, "training")
    return Meaning(verb, *pairs[rng.integers(len(pairs))])


def _name(deed: Meaning) -> str:
    return "switch" if deed.kind == "panel" else thing_name(str(deed.kind), deed.colour)
