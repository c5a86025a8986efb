"""Suites of the playroom, and tasks from typed sentences. The splits are those of tasks.suite."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from envs.playroom.room import Room
from envs.playroom.rooms import HELD_OUT_THEMES, TRAINING_THEMES, generate
from envs.playroom.things import COLOURS, KINDS
from tasks.playroom.language import Meaning, phrase, read
from tasks.playroom.pushing import can_push
from tasks.suite import EVALUATION_SEEDS, Suite, level_seed
from tasks.task import Task, VerifierSpec

Pair = tuple[str, str]

# (kind, colour) pairs that no training instruction names; each kind and each colour is known from other pairs.
HELD_OUT_PAIRS: frozenset[Pair] = frozenset(
    {
        ("cube", "green"), ("ball", "blue"), ("duck", "red"), ("star", "yellow"), ("cup", "purple"), ("car", "white"),
        ("chair", "green"), ("tree", "red"), ("bottle", "yellow"), ("pyramid", "purple"), ("hat", "blue"),
        ("robot", "white"),
    }
)  # fmt: skip
BASIC = ("look_at", "go_to", "lift")
PLACES = {
    "put_on": ("table", "bench", "bed"), "put_in": ("bin",), "push_to": ("rug",), "sort_on": ("table",),
    "sort_in": ("bin",),
}  # fmt: skip
FLAT = ("cube", "cylinder", "book", "plate", "cup", "hat")  # what things are stacked on
# what is pushed: round and tall things roll on or topple
PUSHED = (
    "cube", "plate", "bottle", "book", "ring", "cone", "pyramid", "star", "car", "boat", "house", "hat", "cross",
    "robot", "rocket", "cactus", "arch", "stairs",
)  # fmt: skip
SORTED = (2, 3)  # things of a colour, least and most
TIME_LIMIT = 600  # ticks
SORT_LIMIT = 1500
_TRIES = 200  # rooms looked at before one is given up


@dataclass(frozen=True)
class PlayroomSuite(Suite):
    """A family of tasks in the playroom."""

    world = "playroom"
    verbs: tuple[str, ...] = BASIC
    themes: tuple[str, ...] = TRAINING_THEMES
    time_limit: int = TIME_LIMIT

    def make(self, rng: np.random.Generator, task_id: str, verb: str, evaluation: bool) -> Task:
        pairs = [
            (kind, colour)
            for kind in (PUSHED if verb == "push_to" else KINDS)
            for colour in COLOURS
            if ((kind, colour) in HELD_OUT_PAIRS) == (self.pairs == "held_out")
        ]
        kind, colour = pairs[rng.integers(len(pairs))]
        place = str(rng.choice(list(PLACES[verb]))) if verb in PLACES else None
        meaning = Meaning(verb, kind, colour, place)
        if verb == "stack":
            below = [pair for pair in pairs if pair[0] in FLAT and pair != (kind, colour)]
            meaning = replace(meaning, other=below[rng.integers(len(below))])
        elif verb in ("sort_on", "sort_in"):
            meaning = replace(meaning, kind=None)
        seed = level_seed(rng, evaluation)
        room, spec = make(rng, meaning, seed, self.themes)
        text = phrase(rng, meaning, self.phrasing)
        return Task(task_id, text, "playroom", seed, {"room": room.to_json()}, self.time_limit, spec, verb)


def make(
    rng: np.random.Generator, meaning: Meaning, seed: int, themes: Sequence[str] = TRAINING_THEMES
) -> tuple[Room, VerifierSpec]:
    """A room in which it can be done and is not done yet, and the verifier. Raises ValueError."""
    things = _things(rng, meaning)
    how: dict[str, Any] = {"raised": 0.2 if meaning.verb in BASIC else 0.0}
    if meaning.verb not in (*BASIC, "put_on", "put_in"):
        how["n_things"] = (5, 9)
    for attempt in range(_TRIES):
        room = generate(seed ^ attempt, things=things, themes=themes, **how)
        spec = _asked(room, meaning)
        if spec is not None:
            return room, spec
    raise ValueError(f"no room in which one can {meaning.verb} the {meaning.kind or f'{meaning.colour} things'}")


def _things(rng: np.random.Generator, meaning: Meaning) -> list[tuple[str, str, str | None]]:
    """What has to be in the room: what is asked for, and what is easily taken for it."""
    colour = meaning.colour or str(rng.choice(list(COLOURS)))
    # large ones fill the bin and a bench, and hide what they are stacked on
    size = None if meaning.verb in (*BASIC, "push_to") else "small"
    other = str(rng.choice([name for name in COLOURS if name != colour]))
    if meaning.kind is None:
        kinds = [str(kind) for kind in rng.permutation(list(KINDS))[: rng.integers(SORTED[0], SORTED[1] + 1)]]
        return [*((kind, colour, size) for kind in kinds), (kinds[0], other, None)]
    kind = str(rng.choice([name for name in KINDS if name != meaning.kind]))
    things: list[tuple[str, str, str | None]] = [(meaning.kind, colour, size)]
    if meaning.other is not None:
        below, tint = meaning.other
        things.append((below, tint or str(rng.choice(list(COLOURS))), "large"))
        things.append((below, str(rng.choice([name for name in COLOURS if name not in (tint, colour)])), "large"))
    # the same colour on another kind, and, where it was named, its kind in another colour
    things.append((kind, colour, None))
    if meaning.colour is not None:
        things.append((meaning.kind, other, None))
    return things


def _asked(room: Room, meaning: Meaning) -> VerifierSpec | None:
    """The verifier of what is asked for in a room; None where it can't be done there, or is done."""

    spec = spec_in(room, meaning)
    place = room.piece(meaning.place) if meaning.place else None
    if spec is None or (place is not None and place.covers(room.things[0].x, room.things[0].y)):
        return None
    if meaning.verb == "push_to" and not can_push(room, 0):
        return None
    targets = spec.args["targets"]
    if meaning.kind is None and (len(targets) > SORTED[1] or any(room.things[i].size != "small" for i in targets)):
        return None
    return spec


def spec_in(room: Room, meaning: Meaning) -> VerifierSpec | None:
    """The verifier of what is asked for in a room; None where what it names is not there."""

    def named(kind: str | None, colour: str | None) -> list[int]:
        return [i for i, t in enumerate(room.things) if kind in (None, t.kind) and colour in (None, t.colour)]

    args: dict[str, Any] = {"targets": named(meaning.kind, meaning.colour)}
    if meaning.other is not None:
        args["supports"] = named(*meaning.other)
    if not all(args.values()) or (meaning.place and room.piece(meaning.place) is None):
        return None
    if meaning.kind is None:
        return VerifierSpec("playroom.sort", {**args, "place": meaning.place})
    if meaning.verb == "put_on":
        args["support"] = meaning.place
    return VerifierSpec(f"playroom.{meaning.verb}", args)


def task_from_instruction(text: str, seed: int = 0) -> Task:
    """A task for a typed instruction; without a verifier where the grammar does not know it."""
    rng = np.random.default_rng([zlib.crc32(text.lower().encode()), seed])
    room_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
    meaning = read(text)
    if meaning is None:
        return Task(f"typed/{seed}", text, "playroom", room_seed, {"room": generate(room_seed).to_json()}, TIME_LIMIT)
    room, spec = make(rng, meaning, room_seed)
    limit = SORT_LIMIT if meaning.kind is None else TIME_LIMIT
    return Task(f"typed/{seed}", text, "playroom", room_seed, {"room": room.to_json()}, limit, spec, meaning.verb)


_TRAINING = (
    PlayroomSuite("playroom-basic", "the playroom: look at, go to, lift"),
    PlayroomSuite("playroom-put", "the playroom: put on table, bench or bed, put in the bin", ("put_on", "put_in")),
    PlayroomSuite("playroom-push", "the playroom: push onto the rug", ("push_to",)),
    PlayroomSuite("playroom-stack", "the playroom: put one thing on another", ("stack",)),
    PlayroomSuite(
        "playroom-sort", "the playroom: put all things of a colour on the table, or in the bin",
        ("sort_on", "sort_in"), time_limit=SORT_LIMIT,
    ),
)  # fmt: skip
_SPLITS: dict[str, tuple[str, dict[str, Any]]] = {
    "pairs": ("with (kind, colour) pairs that no training instruction names", {"pairs": "held_out"}),
    "themes": ("in rooms of themes never trained on", {"themes": HELD_OUT_THEMES}),
    "phrasings": ("in sentences never trained on", {"phrasing": "held_out"}),
}


def _held_out() -> Iterator[PlayroomSuite]:
    """Each suite for training in what is held out from it: playroom-put-pairs; that of playroom-basic is
    playroom-pairs. Sorting names no pair."""
    for suite in _TRAINING:
        for split, (about, how) in _SPLITS.items():
            if (suite.name, split) != ("playroom-sort", "pairs"):
                name = f"{suite.name.removesuffix('-basic')}-{split}"
                yield replace(suite, name=name, about=f"{suite.name} {about}", held_out=True, **how)


SUITES: dict[str, PlayroomSuite] = {suite.name: suite for suite in (*_TRAINING, *_held_out())}
