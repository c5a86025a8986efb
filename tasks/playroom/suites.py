"""Suites of the playroom, and tasks from typed sentences. The splits are those of tasks.suites."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.playroom.room import Room
from envs.playroom.rooms import HELD_OUT_THEMES, TRAINING_THEMES, generate
from envs.playroom.things import COLOURS, KINDS
from tasks.language import Phrasing
from tasks.playroom.language import Meaning, phrase, read
from tasks.suites import EVALUATION_SEEDS
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
PLACES = {"put_on": ("table", "bench", "bed"), "put_in": ("bin",), "push_to": ("rug",)}
TIME_LIMIT = 600  # ticks


@dataclass(frozen=True)
class PlayroomSuite:
    """A family of tasks. `verbs` come in turn. `pairs`: "training" never names a held-out pair, "held_out" only those
    are asked for. `held_out`: evaluation only. `time_limit`: ticks."""

    name: str
    about: str
    verbs: tuple[str, ...] = BASIC
    themes: tuple[str, ...] = TRAINING_THEMES
    pairs: str = "training"
    phrasing: Phrasing = "training"
    held_out: bool = False
    time_limit: int = TIME_LIMIT

    def task(self, seed: int, index: int, *, evaluation: bool = True) -> Task:
        """Task number `index` of the suite under `seed`."""
        if self.held_out and not evaluation:
            raise ValueError(f"suite {self.name!r} is held out from training")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed, index, int(evaluation)])
        verb = self.verbs[index % len(self.verbs)]
        pairs = [
            (kind, colour)
            for kind in KINDS
            for colour in COLOURS
            if ((kind, colour) in HELD_OUT_PAIRS) == (self.pairs == "held_out")
        ]
        kind, colour = pairs[rng.integers(len(pairs))]
        place = str(rng.choice(list(PLACES[verb]))) if verb in PLACES else None
        meaning = Meaning(verb, kind, colour, place)
        room_seed = int(rng.integers(EVALUATION_SEEDS)) + (EVALUATION_SEEDS if evaluation else 0)
        room, spec = make(rng, meaning, room_seed, self.themes)
        return Task(
            f"{self.name}/{seed}/{index}", phrase(rng, meaning, self.phrasing), "playroom", room_seed,
            {"room": room.to_json()}, self.time_limit, spec, verb,
        )  # fmt: skip

    def tasks(self, seed: int, n: int, *, evaluation: bool = True) -> Iterator[Task]:
        return (self.task(seed, index, evaluation=evaluation) for index in range(n))


def make(
    rng: np.random.Generator, meaning: Meaning, seed: int, themes: Sequence[str] = TRAINING_THEMES
) -> tuple[Room, VerifierSpec]:
    """A room in which it can be done and is not done yet, and the verifier. Raises ValueError."""
    colour = meaning.colour or str(rng.choice(list(COLOURS)))
    size = "small" if meaning.verb in PLACES else None  # large ones fill the bin and a bench
    other = str(rng.choice([name for name in COLOURS if name != colour]))
    kind = str(rng.choice([name for name in KINDS if name != meaning.kind]))
    # what is easily taken for it: the same colour on another kind, and, where it was named, its kind in another colour
    things: list[tuple[str, str, str | None]] = [(meaning.kind, colour, size), (kind, colour, None)]
    if meaning.colour is not None:
        things.append((meaning.kind, other, None))
    for attempt in range(20):
        room = generate(seed ^ attempt, things=things, themes=themes, raised=0.0 if meaning.verb in PLACES else 0.2)
        place = room.piece(meaning.place) if meaning.place else None
        if meaning.place and (place is None or place.covers(room.things[0].x, room.things[0].y)):
            continue
        named = [i for i, t in enumerate(room.things) if t.kind == meaning.kind and meaning.colour in (None, t.colour)]
        args: dict[str, Any] = {"targets": named}
        if meaning.verb == "put_on":
            args["support"] = meaning.place
        return room, VerifierSpec(f"playroom.{meaning.verb}", args)
    raise ValueError(f"no room in which one can {meaning.verb} the {meaning.kind}")


def task_from_instruction(text: str, seed: int = 0) -> Task:
    """A task for a typed instruction; without a verifier where the grammar does not know it."""
    rng = np.random.default_rng([zlib.crc32(text.lower().encode()), seed])
    room_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
    meaning = read(text)
    if meaning is None:
        return Task(f"typed/{seed}", text, "playroom", room_seed, {"room": generate(room_seed).to_json()}, TIME_LIMIT)
    room, spec = make(rng, meaning, room_seed)
    options = {"room": room.to_json()}
    return Task(f"typed/{seed}", text, "playroom", room_seed, options, TIME_LIMIT, spec, meaning.verb)


SUITES: dict[str, PlayroomSuite] = {
    suite.name: suite
    for suite in (
        PlayroomSuite("playroom-basic", "the playroom: look at, go to, lift"),
        PlayroomSuite("playroom-put", "the playroom: put on table, bench or bed, put in the bin", ("put_on", "put_in")),
        PlayroomSuite(
            "playroom-pairs", "playroom-basic with (kind, colour) pairs that no training instruction names",
            pairs="held_out", held_out=True,
        ),
        PlayroomSuite(
            "playroom-themes", "playroom-basic in rooms of themes never trained on", themes=HELD_OUT_THEMES,
            held_out=True,
        ),
        PlayroomSuite(
            "playroom-phrasings", "playroom-basic in sentences never trained on", phrasing="held_out", held_out=True
        ),
    )
}  # fmt: skip
