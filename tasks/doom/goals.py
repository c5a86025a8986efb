"""Goals: what a level must hold for a task, the words that ask for it, and its verifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.doom.level import Level
from envs.doom.things import ACTORS, KINDS
from tasks.doom.language import Meaning, noun_phrase, phrase
from tasks.task import Pair, Phrasing, Task, VerifierSpec

# (kind, colour) pairs that no training instruction names; each kind and each colour is known from other pairs.
HELD_OUT_PAIRS: frozenset[Pair] = frozenset(
    {
        ("key", "yellow"), ("bush", "yellow"), ("skull", "green"), ("map", "green"),
        ("armor", "blue"), ("torch", "blue"), ("column", "red"), ("demon", "red"),
    }
)  # fmt: skip

ROLES: dict[str, frozenset[str]] = {
    "pick_up": frozenset({"pickup"}),
    "shoot": frozenset({"monster"}),
    "touch": frozenset({"solid", "monster"}),
}


def targets_of(verb: str, pairs: str = "all") -> list[Pair]:
    """The (kind, colour) pairs that a verb can be asked for, within a split."""
    roles = ROLES.get(verb)
    found = [p for p in ACTORS if roles is None or KINDS[p[0]].role in roles]
    if pairs == "training":
        found = [p for p in found if p not in HELD_OUT_PAIRS]
    elif pairs == "held_out":
        found = [p for p in found if p in HELD_OUT_PAIRS]
    return found


def distractors(rng: np.random.Generator, target: Pair, verb: str) -> list[Pair]:
    """Things that are easily confused with the target: its kind in another colour, its colour on another kind."""
    kind, colour = target
    others: list[Pair] = []
    if colour is not None:
        others.append((kind, str(rng.choice([c for c in KINDS[kind].colours if c and c != colour]))))
        same = [p for p in targets_of(verb) if p[1] == colour and p[0] != kind]
        if same:
            others.append(same[rng.integers(len(same))])
    alike = [p for p in targets_of(verb) if p != target and p not in others]
    if alike:
        others.append(alike[rng.integers(len(alike))])
    return others


def name_of(rng: np.random.Generator, level: Level, index: int, *, synonyms: bool = False) -> str:
    """Words that tell thing number `index` from all others in its level."""
    thing = level.things[index]
    unique = sum(t.kind == thing.kind for t in level.things) == 1
    phrasing: Phrasing = "held_out" if synonyms else "training"
    return noun_phrase(rng, thing.kind, thing.colour, unique_kind=unique and not synonyms, phrasing=phrasing)


def room_goal(rng: np.random.Generator, verb: str, pairs: str = "training") -> tuple[list[Pair], dict[str, Any]]:
    """What a single room must hold for a verb: things, the target first, and generator options."""
    if verb in ("look", "stand_still"):
        return [], {}
    if verb == "press":
        return [], {"panels": 1}
    targets = targets_of(verb, pairs)
    target = targets[rng.integers(len(targets))]
    return [target, *distractors(rng, target, verb)], {}


def spec_in(level: Level, meaning: Meaning) -> VerifierSpec:
    """The verifier of a single step that wants a thing of the level, a panel, or nothing."""
    if meaning.verb in ("look_up", "look_down"):
        return VerifierSpec("look", {"direction": meaning.verb.removeprefix("look_")})
    if meaning.verb == "stand_still":
        return VerifierSpec(meaning.verb)
    if meaning.kind == "panel":
        return VerifierSpec(meaning.verb, {"panel": 0})
    wanted = (meaning.kind, meaning.colour)
    targets = [i for i, thing in enumerate(level.things) if (thing.kind, thing.colour) == wanted]
    return VerifierSpec(meaning.verb, {"targets": targets})


def goal_text(
    rng: np.random.Generator, verb: str, level: Level, phrasing: Phrasing = "training", *, synonyms: bool = False
) -> tuple[str, VerifierSpec]:
    """An instruction for `verb` in a level whose first thing is the target, and its verifier."""
    if verb == "look":
        direction = str(rng.choice(["up", "down"]))
        return phrase(rng, f"look_{direction}", phrasing=phrasing), VerifierSpec("look", {"direction": direction})
    if verb == "stand_still":
        return phrase(rng, verb, phrasing=phrasing), VerifierSpec(verb)
    if verb == "press":
        return phrase(rng, verb, noun_phrase(rng, "panel", None), phrasing=phrasing), VerifierSpec(verb, {"panel": 0})
    name = name_of(rng, level, 0, synonyms=synonyms)
    return phrase(rng, verb, name, phrasing=phrasing), VerifierSpec(verb, {"targets": [0]})


def other_words(rng: np.random.Generator, task: Task) -> str | None:
    """An instruction for the same with another thing of the level, or the other direction; None where the verb has
    nothing to exchange."""
    spec = task.verifier
    if spec is None:
        return None
    if spec.name == "look":
        return phrase(rng, f"look_{'down' if spec.args['direction'] == 'up' else 'up'}")
    if "targets" not in spec.args or "level" not in task.options:
        return None
    level = Level.from_json(task.options["level"])
    possible = set(targets_of(spec.name))
    wanted = {(level.things[i].kind, level.things[i].colour) for i in spec.args["targets"]}
    others = [i for i, t in enumerate(level.things) if (t.kind, t.colour) in possible - wanted]
    if not others:
        return None
    return phrase(rng, spec.name, name_of(rng, level, others[int(rng.integers(len(others)))]))
