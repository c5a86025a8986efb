"""Questions and answers, memories and captions as programs on ground truth: what can be said about a frame.

Only clear-cut questions are asked: what is too small to be told, or a near tie, is never what an answer hangs on.
Answers are one to four words of agent.small.vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from envs.doom.things import ACTORS, COLOURS, KINDS
from tasks.doom.goals import HELD_OUT_PAIRS, ROLES
from tasks.doom.language import noun_phrase
from tasks.doom.phrases import COLOUR_WORDS
from tasks.doom.question_phrases import HELD_OUT, OPENINGS, PLACE_NOUNS, TRAINING
from tasks.doom.scene import DOORWAY, Scene, Seen
from tasks.task import Pair, Phrasing

THING_PIXELS = 24  # of 160 x 120; a thing with fewer is not clear
FIXTURE_PIXELS = 64
EXIT_PIXELS = 20
DOORWAY_PIXELS = 9000  # above, a doorway is all around the picture and can't be told
AHEAD, ASIDE = 0.08, 0.14  # of the picture's width off its middle: ahead up to the first, left or right from the second
APART = 0.06  # of the picture's width between two things of which one is left of the other
EMPTY = 0.85  # the share of frames with nothing clear, and of questions on fixtures where there are none, left out
MOST_NAMED = 5  # in a caption


@dataclass(frozen=True)
class Question:
    """`text` with its `answer`; `kind` is what reports group by; `memory` is what it is about, if not the frame;
    `noun`: the thing in question, as the text calls it."""

    text: str
    answer: str
    kind: str
    memory: str = ""
    noun: str = ""


def ask(
    rng: np.random.Generator,
    scene: Scene,
    *,
    kind: str | None = None,
    phrasing: Phrasing = "training",
    held_out_pairs: bool = False,
    memory: float = 0.0,
) -> Question | None:
    """A clear question about a scene with its answer, or None where none was found.

    `kind`: one of KINDS_OF_QUESTIONS; any, if None. `phrasing`: "held_out" takes sentences that training never has.
    `held_out_pairs`: whether the question or its answer may name a pair of tasks.doom.goals.HELD_OUT_PAIRS. `memory`:
    the chance of a question about a memory instead.
    """
    if kind is None and rng.random() < memory:
        return ask_memory(rng, phrasing=phrasing, held_out_pairs=held_out_pairs)
    if not any(clear(s) for s in scene) and rng.random() < EMPTY:
        return None
    for _ in range(1 if kind else 8):
        chosen = kind or str(rng.choice(list(_ASKERS)))
        found = _ASKERS[chosen](rng, scene)
        if found is None or not (held_out_pairs or not HELD_OUT_PAIRS & set(found.pairs)):
            continue
        return Question(_worded(rng, found, phrasing), found.answer, chosen, noun=found.x)
    return None


def memory_question(rng: np.random.Generator, *, phrasing: Phrasing = "training") -> tuple[str, str, str]:
    """What was done and seen, oldest first; a question about it; the answer."""
    question = ask_memory(rng, phrasing=phrasing)
    return question.memory, question.text, question.answer


def clear(seen: Seen) -> bool:
    """Whether the thing is large enough to be recognised."""
    if seen.name_class == DOORWAY and seen.pixels > DOORWAY_PIXELS:
        return False
    return seen.pixels >= (FIXTURE_PIXELS if seen.fixture else THING_PIXELS)


def names_held_out(scene: Scene) -> bool:
    """Whether the clear things of a scene include a held-out pair."""
    return any(clear(s) and s.pair in HELD_OUT_PAIRS for s in scene)


def caption(scene: Scene, *, held_out_pairs: bool = False) -> str:
    """What is clear in a scene, from left to right: "red key left and imp ahead"; "nothing" where nothing is.

    At most MOST_NAMED, the largest. "" where it would name a held-out pair and `held_out_pairs` is not set.
    """
    named = sorted((s for s in scene if clear(s)), key=lambda s: -s.pixels)[:MOST_NAMED]
    if not held_out_pairs and any(s.pair in HELD_OUT_PAIRS for s in named):
        return ""
    in_order = sorted(named, key=lambda s: s.column)
    return " and ".join(f"{s.name} {side(s, exact=False)}" for s in in_order) or "nothing"


def exits(scene: Scene) -> str:
    """The exits in view, from left to right, each with where it is in twentieths of the picture's width: "door 4
    doorway 13"; "nothing" where there is none. At most MOST_NAMED."""
    found = [s for s in scene if s.kind in ("doorway", "door", "gate") and s.pixels >= EXIT_PIXELS]
    return " ".join(f"{s.kind} {min(int(20 * s.column), 19)}" for s in found[:MOST_NAMED]) or "nothing"


def side(seen: Seen, *, exact: bool = True) -> str | None:
    """ "left", "ahead" or "right"; None between two of them, unless not `exact`."""
    off = seen.column - 0.5
    if abs(off) <= (AHEAD if exact else (AHEAD + ASIDE) / 2):
        return "ahead"
    if exact and abs(off) < ASIDE:
        return None
    return "left" if off < 0 else "right"


@dataclass(frozen=True)
class _Found:
    """A question before its words: which templates, what fills them, and the pairs that it names."""

    topic: str
    answer: str
    pairs: tuple[Pair, ...] = ()
    x: str = ""


def _worded(rng: np.random.Generator, found: _Found, phrasing: Phrasing) -> str:
    templates = (TRAINING if phrasing == "training" else HELD_OUT)[found.topic]
    text = str(rng.choice(list(templates))).format(x=found.x, a=_a(found.x), xs=_plural(found.x))
    text = f"{rng.choice(list(OPENINGS))}{text}{rng.choice(['?', '?', ' ?', ''])}"
    return text[0].upper() + text[1:] if rng.random() < 0.2 else text


def _a(noun: str) -> str:
    if noun.startswith("anything"):
        return noun
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _plural(noun: str) -> str:
    if noun.endswith(" man"):
        return f"{noun[:-3]}men"
    return f"{noun}es" if noun.endswith(("ch", "sh", "s", "x")) else f"{noun}s"


def _noun(rng: np.random.Generator, pair: Pair, *, colour: bool = True) -> str:
    """Words for a thing, with or without its colour, or for a fixture; no article."""
    kind, its = pair
    if kind in KINDS:
        return noun_phrase(rng, kind, its if colour else None)
    return str(rng.choice(list(PLACE_NOUNS[pair])))


def _parts(scene: Scene) -> tuple[list[Seen], list[Seen], list[Seen], list[Seen]]:
    """Clear and unclear things, clear and unclear fixtures."""
    things, places = [s for s in scene if not s.fixture], [s for s in scene if s.fixture]
    return (
        [s for s in things if clear(s)], [s for s in things if not clear(s)],
        [s for s in places if clear(s)], [s for s in places if not clear(s)],
    )  # fmt: skip


def _pick(rng: np.random.Generator, among: Sequence[Seen]) -> Seen:
    return among[int(rng.integers(len(among)))]


def _colour(rng: np.random.Generator, scene: Scene) -> _Found | None:
    things, unclear, _, _ = _parts(scene)
    alone = [t for t in things if t.colour and sum(o.kind == t.kind for o in things + unclear) == 1]
    if not alone:
        return None
    one = _pick(rng, alone)
    assert one.colour is not None
    return _Found("colour", one.colour, (one.pair,), _noun(rng, one.pair, colour=False))


def _is_there(rng: np.random.Generator, scene: Scene) -> _Found | None:
    things, unclear, _, _ = _parts(scene)
    yes = rng.random() < 0.5
    how = rng.random()  # by kind and colour, by kind alone, by colour alone
    pairs = {t.pair for t in things}
    kinds, colours = {t.kind for t in things}, {t.colour for t in things if t.colour}
    unsure = {t.kind for t in unclear}
    if how < 0.12:
        among = sorted(colours) if yes else [c for c in COLOURS if c not in colours]
        if not among or (not yes and unclear) or not _coloured(scene):
            return None
        words = str(rng.choice(list(COLOUR_WORDS[str(rng.choice(among))])))
        return _Found("is_there", "yes" if yes else "no", (), f"{rng.choice(['anything', 'thing that is'])} {words}")
    if how < 0.3:
        candidates = sorted(kinds) if yes else [k for k in KINDS if k not in kinds | unsure]
        if not candidates:
            return None
        kind = str(rng.choice(candidates))
        return _Found("is_there", "yes" if yes else "no", (), _noun(rng, (kind, None)))
    if yes:
        if not things:
            return None
        pair = _pick(rng, things).pair
    else:
        absent = [p for p in ACTORS if p not in pairs and p[0] not in unsure]
        draw = rng.random()
        near = [p for p in absent if (p[0] in kinds if draw < 0.5 else p[1] in colours)] if draw < 0.85 else absent
        pair = (near or absent)[int(rng.integers(len(near or absent)))]
    return _Found("is_there", "yes" if yes else "no", (pair,), _noun(rng, pair))


def _coloured(scene: Scene) -> bool:
    """Whether colour alone tells what is meant: some kinds have none by name and one in the picture, and doors have."""
    return all(s.colour for s in scene if not s.fixture) and not any(s.colour for s in scene if s.fixture)


def _count(rng: np.random.Generator, scene: Scene) -> _Found | None:
    things, unclear, _, _ = _parts(scene)
    present = bool(things) and rng.random() < 0.75
    if rng.random() < 0.5:
        if unclear or not _coloured(scene):
            return None
        colours = sorted({t.colour for t in things if t.colour}) if present else list(COLOURS)
        if not colours:
            return None
        colour = str(rng.choice(colours))
        answer = sum(t.colour == colour for t in things)
        return _Found("count", str(answer), (), f"{rng.choice(list(COLOUR_WORDS[colour]))} thing")
    kinds = sorted({t.kind for t in things}) if present else list(KINDS)
    # what there are two of says more than another one
    several = [k for k in kinds if sum(t.kind == k for t in things) > 1]
    kind = str(rng.choice(several if several and rng.random() < 0.5 else kinds))
    if any(t.kind == kind for t in unclear):
        return None
    return _Found("count", str(sum(t.kind == kind for t in things)), (), _noun(rng, (kind, None)))


def _count_all(rng: np.random.Generator, scene: Scene) -> _Found | None:
    things, unclear, _, _ = _parts(scene)
    if unclear or (not things and rng.random() < 0.5):
        return None
    return _Found("count_all", str(len(things)))


def _where(rng: np.random.Generator, scene: Scene) -> _Found | None:
    every = [s for s in scene if clear(s)]
    sides = {s: side(s) for s in every}
    alone = [s for s in every if sides[s] and sum(_same_name(o, s) for o in scene) == 1]
    if not alone:
        return None
    wanted = str(rng.choice(sorted({str(sides[s]) for s in alone})))  # all answers equally often, as far as possible
    one = _pick(rng, [s for s in alone if sides[s] == wanted])
    by_kind = not one.fixture and sum(o.kind == one.kind for o in scene) == 1 and rng.random() < 0.3
    pairs = () if by_kind or one.fixture else (one.pair,)
    return _Found("where", wanted, pairs, _noun(rng, one.pair, colour=not by_kind))


def _same_name(a: Seen, b: Seen) -> bool:
    """Whether one could be meant where the other is named: small things of a kind can't be told by their colour, and
    a plain door can't be named without naming all doors."""
    if a.kind == b.kind and (not clear(a) or not clear(b)):
        return True
    return a.pair == b.pair or (b.pair == ("door", None) and a.kind in ("door", "gate"))


def _nearest(rng: np.random.Generator, scene: Scene) -> _Found | None:
    things, unclear, _, _ = _parts(scene)
    if not things:
        return None
    first, *others = sorted(things, key=lambda t: t.distance)
    margin = 1.2 * first.distance + 16.0
    if any(t.distance < margin for t in (*others, *unclear)) or (not others and rng.random() < 0.5):
        return None
    return _Found("nearest", first.name, (first.pair,))


def _beside(sign: int) -> Callable[[np.random.Generator, Scene], _Found | None]:
    """What is next on the left (-1) or right (1) of a thing."""

    def find(rng: np.random.Generator, scene: Scene) -> _Found | None:
        things, unclear, _, _ = _parts(scene)
        alone = [t for t in things if sum(o.pair == t.pair for o in things) == 1]
        if len(things) < 2 or not alone:
            return None
        one = _pick(rng, alone)
        if any(o.kind == one.kind for o in unclear):
            return None
        offs = [(sign * (o.column - one.column), o) for o in things + unclear if o is not one]
        beyond = sorted((p for p in offs if p[0] > 0), key=lambda p: p[0])
        if any(abs(off) < APART for off, _ in offs) or not all(clear(o) for _, o in beyond):
            return None
        topic = "left_of" if sign < 0 else "right_of"
        name = _noun(rng, one.pair)
        if not beyond:
            return _Found(topic, "nothing", (one.pair,), name) if rng.random() < 0.3 else None
        if len(beyond) > 1 and beyond[1][0] - beyond[0][0] < APART:
            return None
        return _Found(topic, beyond[0][1].name, (one.pair, beyond[0][1].pair), name)

    return find


# What people call by a name that fits several fixtures: where only some of them are in view, the question is left out.
_MEANT: dict[str, tuple[frozenset[Pair], frozenset[Pair]]] = {
    "door": (
        frozenset({("door", None), ("door", "red"), ("door", "blue"), ("door", "yellow")}),
        frozenset({("gate", None)}),
    ),
    "locked door": (frozenset({("door", "red"), ("door", "blue"), ("door", "yellow")}), frozenset({("gate", None)})),
    "wooden door": (frozenset({("door", None)}), frozenset()),
    "red door": (frozenset({("door", "red")}), frozenset()),
    "blue door": (frozenset({("door", "blue")}), frozenset()),
    "yellow door": (frozenset({("door", "yellow")}), frozenset()),
    "gate": (frozenset({("gate", None)}), frozenset()),
    "doorway": (frozenset({("doorway", None)}), frozenset()),
    "switch": (frozenset({("switch", None)}), frozenset()),
}


def _words_for(rng: np.random.Generator, name: str) -> str:
    return str(rng.choice(list(PLACE_NOUNS[name, None]))) if name in ("gate", "doorway", "switch") else name


def _fixture(rng: np.random.Generator, scene: Scene) -> _Found | None:
    """Is there a door, a red door, a gate, a doorway, a switch?"""
    _, _, places, unclear = _parts(scene)
    if not places and rng.random() < EMPTY:
        return None
    yes = rng.random() < 0.5
    here = {s.pair for s in places}
    fits = [n for n, (meant, _) in _MEANT.items() if bool(meant & here) == yes]
    if not fits:
        return None
    name = str(rng.choice(fits))
    unsure = _MEANT[name][1]
    # a sliver of something on a wall may be the thing that is asked for
    if not yes and (unsure & here or any(u.kind != "switch" or name == "switch" for u in unclear)):
        return None
    words = _words_for(rng, name)
    return _Found("is_there", "yes" if yes else "no", (), words)


def _count_fixtures(rng: np.random.Generator, scene: Scene) -> _Found | None:
    _, _, places, unclear = _parts(scene)
    if not places and rng.random() < EMPTY:
        return None
    here = {s.pair for s in places}
    names = [n for n in ("door", "doorway", "switch", "locked door") if not _MEANT[n][1] & here]
    present = [n for n in names if _MEANT[n][0] & here]
    name = str(rng.choice(present if present and rng.random() < 0.75 else names))
    if any(u.kind != "switch" or name == "switch" for u in unclear):
        return None
    words = _words_for(rng, name)
    return _Found("count", str(sum(s.pair in _MEANT[name][0] for s in places)), (), words)


def _lock(rng: np.random.Generator, scene: Scene) -> _Found | None:
    """What colour is the lock of the one locked door in view?"""
    _, _, places, unclear = _parts(scene)
    doors = [s for s in places if s.kind == "door"]
    if len(doors) != 1 or doors[0].colour is None or any(u.kind == "door" for u in unclear):
        return None
    return _Found("lock", doors[0].colour)


_ASKERS: dict[str, Callable[[np.random.Generator, Scene], _Found | None]] = {
    "colour": _colour,
    "is_there": _is_there,
    "count": _count,
    "count_all": _count_all,
    "where": _where,
    "nearest": _nearest,
    "left_of": _beside(-1),
    "right_of": _beside(1),
    "fixture": _fixture,
    "count_fixtures": _count_fixtures,
    "lock": _lock,
}
KINDS_OF_QUESTIONS = tuple(_ASKERS)

# Memories. What is done, as it is remembered; the second form is the answer to "what did you do".
DEEDS: dict[str, tuple[str, str]] = {
    "pick_up": ("i picked up the {x}", "picked up {x}"),
    "go_to": ("i went to the {x}", "went to {x}"),
    "shoot": ("i shot the {x}", "shot {x}"),
    "touch": ("i touched the {x}", "touched {x}"),
    "see": ("i saw the {x}", "saw {x}"),
    "press": ("i pressed the {x}", "pressed {x}"),
    "open": ("i opened the {x}", "opened {x}"),
    "unlock": ("i unlocked the {x}", "unlocked {x}"),
}
_DEED_ROLES: dict[str, frozenset[str]] = {
    **ROLES, "go_to": frozenset({"pickup", "solid", "monster"}), "see": frozenset({"pickup", "solid", "monster"}),
}  # fmt: skip
_DEED_PLACES: dict[str, tuple[Pair, ...]] = {
    "press": (("switch", None),),
    "open": (("door", None),),
    "unlock": (("door", "red"), ("door", "blue"), ("door", "yellow")),
}
_ASKED = ("touch", "shoot", "pick_up", "see")
MOST_DEEDS = 5
MOST_ROOMS = 4
_Deed = tuple[str, Pair]


def ask_memory(rng: np.random.Generator, *, phrasing: Phrasing = "training", held_out_pairs: bool = False) -> Question:
    """A question about a memory of one to MOST_DEEDS deeds, and mostly of the rooms that were visited."""
    while True:
        deeds = [_deed(rng, held_out_pairs) for _ in range(int(rng.integers(1, MOST_DEEDS + 1)))]
        if len(set(deeds)) < len(deeds):
            continue
        rooms = int(rng.integers(1, MOST_ROOMS + 1))
        kind = str(rng.choice(list(_MEMORIES)))
        found = _MEMORIES[kind](rng, deeds, rooms, held_out_pairs)
        if found is not None:
            break
    lines = [DEEDS[verb][0].format(x=_plain(pair)) for verb, pair in deeds]
    if kind == "memory_rooms" or rng.random() < 0.5:
        lines.append(f"i was in {rooms} room{'s' if rooms > 1 else ''}")
    return Question(_worded(rng, found, phrasing), found.answer, kind, " . ".join(lines))


def _plain(pair: Pair) -> str:
    return f"{pair[1]} {pair[0]}" if pair[1] else pair[0]


def _deed(rng: np.random.Generator, held_out_pairs: bool) -> _Deed:
    verb = str(rng.choice(list(DEEDS)))
    # most questions are about things that were picked up
    verb = "pick_up" if rng.random() < 0.25 else verb
    if verb in _DEED_PLACES:
        places = _DEED_PLACES[verb]
        return verb, places[int(rng.integers(len(places)))]
    pairs = [p for p in ACTORS if KINDS[p[0]].role in _DEED_ROLES[verb] and (held_out_pairs or p not in HELD_OUT_PAIRS)]
    return verb, pairs[int(rng.integers(len(pairs)))]


def _picked(rng: np.random.Generator, deeds: Sequence[_Deed], rooms: int, held: bool) -> _Found | None:
    taken = [pair for verb, pair in deeds if verb == "pick_up"]
    if len(taken) > 1 or (not taken and rng.random() < 0.7):
        return None
    return _Found("memory_picked", _plain(taken[0]) if taken else "nothing")


def _picked_count(rng: np.random.Generator, deeds: Sequence[_Deed], rooms: int, held: bool) -> _Found | None:
    return _Found("memory_picked_count", str(sum(verb == "pick_up" for verb, _ in deeds)))


def _did(rng: np.random.Generator, deeds: Sequence[_Deed], rooms: int, held: bool) -> _Found | None:
    asked = [(v, p) for v, p in deeds if v in _ASKED]
    if rng.random() < 0.5:
        if not asked:
            return None
        verb, pair = asked[int(rng.integers(len(asked)))]
        return _Found(f"memory_{verb}", "yes", (), _noun(rng, pair))
    told = {p for _, p in deeds}
    for _ in range(20):
        verb, pair = _deed(rng, held)
        if asked and rng.random() < 0.7:
            # the same verb with another thing, or the same thing with another verb
            own = asked[int(rng.integers(len(asked)))]
            verb, pair = (own[0], pair) if rng.random() < 0.5 else (verb, own[1])
        if verb not in _ASKED or pair[0] not in KINDS or KINDS[pair[0]].role not in _DEED_ROLES[verb]:
            continue
        # a thing that was gone to was seen, and one that was taken was touched
        if (verb, pair) not in deeds and not (verb in ("see", "touch") and pair in told):
            return _Found(f"memory_{verb}", "no", (), _noun(rng, pair))
    return None


def _rooms(rng: np.random.Generator, deeds: Sequence[_Deed], rooms: int, held: bool) -> _Found | None:
    return _Found("memory_rooms", str(rooms))


def _end(topic: str, index: int) -> Callable[[np.random.Generator, Sequence[_Deed], int, bool], _Found | None]:
    def find(rng: np.random.Generator, deeds: Sequence[_Deed], rooms: int, held: bool) -> _Found | None:
        verb, pair = deeds[index]
        return _Found(topic, DEEDS[verb][1].format(x=_plain(pair)))

    return find


_MEMORIES: dict[str, Callable[[np.random.Generator, Sequence[_Deed], int, bool], _Found | None]] = {
    "memory_picked": _picked,
    "memory_picked_count": _picked_count,
    "memory_did": _did,
    "memory_rooms": _rooms,
    "memory_first": _end("memory_first", 0),
    "memory_last": _end("memory_last", -1),
}
KINDS_OF_MEMORIES = tuple(_MEMORIES)
