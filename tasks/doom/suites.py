"""Suites of doom, and the splits that keep training and evaluation apart.

`training(name)` gives only suites that demonstrations may use; what is held out is reached by `evaluation(name)` alone,
by its own name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from envs.doom.layouts import HELD_OUT_LAYOUTS, TRAINING_LAYOUTS, VAULT_LAYOUTS
from envs.doom.level import LOCKS, Level
from envs.doom.levels import HELD_OUT_THEMES, TRAINING_THEMES, VAULT_THEMES, generate
from envs.doom.looks import randomised
from tasks.doom import dialogues
from tasks.doom.build import in_house, in_room
from tasks.doom.errands import errand_house
from tasks.doom.free_sentences import FREE
from tasks.doom.goals import HELD_OUT_PAIRS, distractors, goal_text, name_of, room_goal, spec_in, targets_of
from tasks.doom.language import Meaning, avoiding, compound, core, noun_phrase, phrase, related, sentence
from tasks.doom.planning import errand, start_state
from tasks.doom.proposals import achievable
from tasks.suite import EVALUATION_SEEDS, Suite, level_seed
from tasks.task import Pair, Task, VerifierSpec

__all__ = [
    "EVALUATION_SEEDS",
    "HELD_OUT_PAIRS",
    "SUITES",
    "DoomSuite",
    "Pair",
    "distractors",
    "evaluation",
    "goal_text",
    "name_of",
    "room_goal",
    "targets_of",
    "training",
]  # fmt: skip

BASIC = ("go_to", "face", "pick_up", "shoot", "look")
ROOM = (*BASIC, "touch", "press", "stand_still")
HOUSE = ("go_to", "pick_up", "enter", "open")
LOOKS = "-looks"  # how the names of suites in random looks end


Kind = Literal["room", "house", "vault", "steps", "errands", "relations", "crowd", "compounds", "dialogue", "free"]


@dataclass(frozen=True)
class DoomSuite(Suite):
    """A family of tasks in doom.

    `verbs`: for "relations" they are relations, for "compounds" verbs joined by "+". `synonyms`: held-out words for
    things and colours. `layouts`: of houses and vaults. `looks`: levels look as envs.doom.looks makes them. `compass`:
    as in Task.
    """

    world = "doom"
    verbs: tuple[str, ...] = BASIC
    themes: tuple[str, ...] = TRAINING_THEMES
    time_limit: int = 525
    synonyms: bool = False
    generator: dict[str, Any] = field(default_factory=dict)
    kind: Kind = "room"
    layouts: tuple[str, ...] = TRAINING_LAYOUTS
    looks: bool = False
    compass: bool = False

    def make(self, rng: np.random.Generator, task_id: str, verb: str, evaluation: bool) -> Task:
        seed = level_seed(rng, evaluation)
        level, text, spec, *rest = _MAKERS[self.kind](self, rng, verb, seed)
        answer, picture = rest or ("", "")
        level = randomised(level, seed) if self.looks else level
        options = {"level": level.to_json()}
        return Task(
            task_id, text, "doom", seed, options, self.time_limit, spec, verb, picture=picture, answer=answer,
            compass=self.compass,
        )  # fmt: skip


Made = tuple[Level, str, VerifierSpec]


def _draw(suite: DoomSuite, rng: np.random.Generator, verb: str) -> Meaning:
    """A random meaning for a verb, within the suite's split."""
    if verb == "press":
        return Meaning(verb, "panel")
    if verb == "unlock":
        return Meaning(verb, "door", str(rng.choice(list(LOCKS))))
    if verb in ("open", "switch"):
        return Meaning(verb, "door" if verb == "open" else "gate")
    pairs = targets_of(verb, suite.pairs)
    return Meaning(verb, *pairs[rng.integers(len(pairs))])


def _noun(suite: DoomSuite, rng: np.random.Generator, level: Level, kind: str | None, colour: str | None) -> str:
    """Words for a thing or a place that tell it from all others in the level."""
    for index, thing in enumerate(level.things):
        if (thing.kind, thing.colour) == (kind, colour):
            return name_of(rng, level, index, synonyms=suite.synonyms)
    assert kind is not None
    return f"{colour} {kind}" if colour else noun_phrase(rng, kind, None)


def _room(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    # held-out pairs exist for verbs with a target only
    pairs = suite.pairs if targets_of(verb, suite.pairs) else "all"
    things, options = room_goal(rng, verb, pairs)
    level = generate(seed, things=things, themes=suite.themes, **{**suite.generator, **options})
    return (level, *goal_text(rng, verb, level, suite.phrasing, synonyms=suite.synonyms))


def _house(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    meaning = _draw(suite, rng, verb)
    level, spec = in_house(rng, meaning, seed, suite.themes, suite.layouts, vault=suite.kind == "vault")
    noun = _noun(suite, rng, level, meaning.kind, meaning.colour)
    return level, phrase(rng, verb, noun, phrasing=suite.phrasing), spec


def _steps(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    """One step in a vault: what nothing bars at the start. Raises ValueError where the vault has no such step."""
    locked = _draw(suite, rng, str(rng.choice(["unlock", "switch"])))
    level, _ = in_house(rng, locked, seed, suite.themes, suite.layouts, vault=True)
    if not suite.held_out:
        level = _shut(level, keys=verb == "pick_up")
    state = start_state(level)
    things = [i for i, t in enumerate(level.things) if errand(state, (float(t.x), float(t.y))) is None]
    may = targets_of(verb, "all" if suite.held_out else suite.pairs)
    fits = [i for i in things if (level.things[i].kind, level.things[i].colour) in may]
    if verb != "press" and not fits:
        raise ValueError(f"nothing to {verb} in the first rooms")
    noun = noun_phrase(rng, "panel", None) if verb == "press" else name_of(rng, level, fits[rng.integers(len(fits))])
    text = phrase(rng, verb, noun, phrasing=suite.phrasing)
    spec = achievable(text, level, state)
    if spec is None or "allowed" in spec.args:  # fetching a key would be another step
        raise ValueError(f"{text!r} is no single step here")
    return level, text, spec


def _shut(level: Level, *, keys: bool) -> Level:
    """The vault as players learn in it: its switch opens nothing, and there are `keys` of its locks only where one of
    them may be asked for. What switches and keys are for they find out by themselves."""
    locks = {door.colour for door in level.doors if door.kind == "locked"}
    things = tuple(thing for thing in level.things if keys or thing.kind != "key" or thing.colour not in locks)
    return replace(level, things=things, panels=tuple(replace(panel, door=None) for panel in level.panels))


def _errands(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    level, meaning, spec = errand_house(rng, seed, verb, suite.themes, suite.pairs)
    return level, sentence(rng, meaning), spec


def _relations(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    meaning = _draw(suite, rng, str(rng.choice(["go_to", "face", "pick_up", "shoot"])))
    other = _draw(suite, rng, "go_to") if verb in ("left_of", "right_of", "next_to") else None
    if other is not None and other.kind == meaning.kind:
        raise ValueError("two kinds make a clear relation")
    place = (other.kind, other.colour) if other is not None and other.kind else None
    level, spec = in_room(rng, replace(meaning, relation=verb, other=place), seed, suite.themes)
    assert meaning.kind is not None
    noun = noun_phrase(rng, meaning.kind, meaning.colour, unique_kind=True)
    beside = _noun(suite, rng, level, *place) if place else ""
    noun = related(rng, noun, verb, beside, suite.phrasing)
    return level, phrase(rng, meaning.verb, noun, phrasing=suite.phrasing), spec


def _crowd(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    """Two or three of the same, twice: of one kind and colour, or of one kind. The goal is one that is alone."""
    kinds = [str(kind) for kind in rng.permutation(sorted({kind for kind, _ in targets_of("go_to", suite.pairs)}))]
    things: list[Pair] = []
    for kind in kinds[:2]:
        pairs = [pair for pair in targets_of("go_to", suite.pairs) if pair[0] == kind]
        chosen = pairs if rng.random() < 0.5 else [pairs[rng.integers(len(pairs))]]
        things += [chosen[rng.integers(len(chosen))] for _ in range(rng.integers(2, 4))]
    for kind in kinds[2 : 2 + rng.integers(2, 4)]:
        pairs = [pair for pair in targets_of(verb, suite.pairs) if pair[0] == kind]
        things.append(pairs[rng.integers(len(pairs))])
    level = generate(seed, things=things, themes=suite.themes, n_things=(0, 0), pillars=0)
    goal = Meaning(verb, *things[-1])
    return level, phrase(rng, verb, name_of(rng, level, len(things) - 1)), spec_in(level, goal)


def _compounds(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    if verb == "avoid":
        meaning = _draw(suite, rng, str(rng.choice(["go_to", "pick_up"])))
        shunned = _draw(suite, rng, "touch")
        if shunned.kind is None or shunned.kind == meaning.kind:
            raise ValueError("two kinds make it clear what to avoid")
        meaning = replace(meaning, avoid=(shunned.kind, shunned.colour))
        level, spec = in_room(rng, meaning, seed, suite.themes)
        text = core(rng, meaning.verb, _noun(suite, rng, level, meaning.kind, meaning.colour), suite.phrasing)
        return level, avoiding(rng, text, _noun(suite, rng, level, *meaning.avoid), suite.phrasing), spec  # type: ignore[misc]
    verbs = verb.split("+")
    # the player arrives at a run and would slide into things that it can take
    steps = [replace(_draw(suite, rng, "touch" if v == "go_to" and v != verbs[-1] else v), verb=v) for v in verbs]
    level, spec = in_room(rng, replace(steps[0], then=tuple(steps[1:])), seed, suite.themes)
    texts = [core(rng, s.verb, _noun(suite, rng, level, s.kind, s.colour), suite.phrasing) for s in steps]
    return level, compound(rng, texts, suite.phrasing), spec


def _free(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> Made:
    texts = [text for text, meaning in FREE.items() if meaning.verb == verb]
    text = texts[rng.integers(len(texts))]
    level, spec = in_room(rng, FREE[text], seed, suite.themes)
    return level, text, spec


def _dialogue(suite: DoomSuite, rng: np.random.Generator, verb: str, seed: int) -> dialogues.Dialogue:
    return _DIALOGUES[suite.name.removesuffix(LOOKS)](rng, verb, seed, suite.themes)


_DIALOGUES = {
    "doom-missing": dialogues.missing,
    "doom-which": dialogues.unclear,
    "doom-ask": dialogues.asked,
    "doom-pictures": dialogues.shown,
    "doom-unknown": dialogues.unknown,
}
_MAKERS: dict[Kind, Callable[[DoomSuite, np.random.Generator, str, int], Made | dialogues.Dialogue]] = {
    "room": _room,
    "house": _house,
    "vault": _house,
    "steps": _steps,
    "errands": _errands,
    "relations": _relations,
    "crowd": _crowd,
    "compounds": _compounds,
    "dialogue": _dialogue,
    "free": _free,
}
_TARGETED = ("go_to", "face", "pick_up", "shoot")

SUITES: dict[str, DoomSuite] = {
    suite.name: suite
    for suite in (
        DoomSuite("doom-basic", "one room: go to, face, pick up, shoot, look"),
        DoomSuite("doom-room", "one room, all its verbs: doom-basic and touch, press, stand still", verbs=ROOM),
        DoomSuite(
            "doom-pairs", "doom-basic with (kind, colour) pairs that no training instruction names",
            verbs=_TARGETED, pairs="held_out", held_out=True,
        ),
        DoomSuite("doom-themes", "doom-basic with textures never trained on", themes=HELD_OUT_THEMES, held_out=True),
        DoomSuite("doom-phrasings", "doom-basic in sentences never trained on", phrasing="held_out", held_out=True),
        DoomSuite(
            "doom-synonyms", "doom-basic with words for things and colours never trained on",
            verbs=_TARGETED, synonyms=True, held_out=True,
        ),
        DoomSuite(
            "doom-rooms", "several rooms: go to, pick up, enter, open; what is asked for is in another room",
            verbs=HOUSE, kind="house", time_limit=1050,
        ),
        DoomSuite(
            "doom-told", "doom-rooms; the player's memory tells it in which direction the way begins",
            verbs=HOUSE, kind="house", time_limit=1050, compass=True,
        ),
        DoomSuite(
            "doom-steps", "houses with locks and gates that nothing opens; one step: what nothing bars at the start",
            verbs=("pick_up", "go_to", "face", "press"), kind="steps",
        ),
        DoomSuite(
            "doom-relations", "one room, two of the same: left of, right of, next to, nearer, farther",
            verbs=("left_of", "right_of", "next_to", "nearer", "farther"), kind="relations",
        ),
        DoomSuite(
            "doom-crowd", "one room, several that are alike; what is asked for is alone: levels to be looked at",
            verbs=("go_to", "face"), kind="crowd",
        ),
        DoomSuite(
            "doom-compounds", "one room, one thing after the other, or without touching a third",
            verbs=("pick_up+go_to", "go_to+pick_up", "shoot+pick_up", "pick_up+pick_up", "press+go_to", "avoid"),
            kind="compounds", time_limit=875,
        ),
        DoomSuite(
            "doom-missing", "one room; what is named is not there, and that has to be said; or it is there",
            verbs=("missing", "present"), kind="dialogue",
        ),
        DoomSuite(
            "doom-which", "one room; there are two of the kind, and one has to ask which; or only one",
            verbs=("which", "clear"), kind="dialogue",
        ),
        DoomSuite(
            "doom-ask", "one room; questions that are answered after looking around", verbs=("colour", "there"),
            kind="dialogue",
        ),
        DoomSuite(
            "doom-pictures", "doom-basic with a picture of the thing instead of its name", verbs=_TARGETED,
            kind="dialogue", held_out=True,
        ),
        DoomSuite(
            "doom-sentences", "one room; orders as people write them who were never told how to",
            verbs=("pick_up", "face", "go_to", "shoot", "look_up", "look_down", "stand_still", "press", "touch"),
            kind="free", held_out=True,
        ),
        DoomSuite(
            "doom-unknown", "one room; other languages and nonsense: the player has to say that it does not understand",
            verbs=("foreign", "nonsense"), kind="dialogue", held_out=True,
        ),
        DoomSuite(
            "doom-layouts", "doom-rooms in houses whose rooms join in ways never trained on", verbs=HOUSE, kind="house",
            layouts=HELD_OUT_LAYOUTS, time_limit=1400, held_out=True,
        ),
        DoomSuite(
            "doom-vault", "locked doors, coloured keys and switches that open gates; own themes and layouts",
            verbs=("unlock", "switch", "pick_up", "go_to", "enter"), kind="vault", themes=VAULT_THEMES,
            layouts=VAULT_LAYOUTS, time_limit=1750, held_out=True,
        ),
        DoomSuite(
            "doom-vault-steps", "doom-vault's levels, one step: what nothing bars at the start",
            verbs=("pick_up", "go_to", "face", "press"), kind="steps", themes=VAULT_THEMES,
            layouts=VAULT_LAYOUTS, time_limit=525, held_out=True,
        ),
        DoomSuite(
            "doom-errands", "houses of 8 to 16 rooms, locks inside locks: errands of 20 to 60 steps",
            verbs=("go_to", "pick_up", "shoot"), kind="errands", time_limit=14000, held_out=True,
        ),
    )
}  # fmt: skip
# what training may use, in any looks
SUITES |= {
    f"{name}{LOOKS}": replace(
        suite, name=f"{name}{LOOKS}", about=f"{name} in any textures, light, tint and field of view", looks=True
    )
    for name, suite in SUITES.items()
    if not suite.held_out
}


def evaluation(name: str) -> DoomSuite:
    """A suite by name, held out or not. Raises LookupError for an unknown name."""
    if name not in SUITES:
        raise LookupError(f"unknown suite {name!r}; known: {', '.join(SUITES)}")
    return SUITES[name]


def training(name: str) -> DoomSuite:
    """A suite that training may use. Raises ValueError for one that is held out."""
    suite = evaluation(name)
    if suite.held_out:
        raise ValueError(f"suite {name!r} is held out: training code can't use it")
    return suite
