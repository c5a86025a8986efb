"""Needles in a long past: what was in view for half a second, asked for after 10^3 to 10^6 steps of play.

    python benchmarks/needle.py [--steps 1000 10000 100000 1000000] [--seeds 5] [--needles 6] [--levels 16] [--json OUT]

The play is Doom's: an expert walks through houses, and the world's labels tell what every frame shows. A run is made of
stretches of that play in which the needles are not in view at all, and of needles: half-second stretches with a thing.
So a million steps cost as many pictures as there are different ones; the store, the index and the questions are as
long as the run. Lines of text are said all along, some of them needles.

Asked: when a thing was last seen, on which side of the picture it was then (place), what was there at a time, what
stood beside a thing, how often it was seen, which of two came first, whether a thing was there that never was, which
code was said, and when something was seen that looks like a picture of the thing from another place. An answer about a
moment is right if its tick is at most one look outside of the right half second. `several` is right where all needles
of a run are found, each by its look.

  truth       the index, with pictures described by the world's labels: what the memory itself loses
  small       the index, with pictures described and looked at again by the shipped model
  keywords    the best hit of full-text search for the words of the question, over small's descriptions
  summary     the running memory of an episode, agent/memory.py, over small's descriptions: right if it names the answer
  last N      the newest 64 descriptions and lines: right if they hold the answer
  no memory   the shipped model is asked the question itself, with the run's last picture and nothing else
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.memory import EpisodeMemory
from agent.recall.answering import Recall, clock
from agent.recall.eyes import Embeddings, PolicyEyes
from agent.recall.indexing import Drawn, every, index
from agent.recall.prompt import prompt
from agent.recall.sightings import any_of
from agent.recall.similar import Pictures
from agent.recall.store import SAID, SAW, Block, Event, Store
from agent.small import SmallPolicy, load_small
from envs.doom.world import DoomWorld
from tasks import world_tasks
from tasks.doom.questions import caption, clear
from tasks.doom.scene import Scene, scene_of
from training.evaluation.statistics import percent, wilson

HZ = 35.0
NEEDLE = 17  # ticks: half a second
APART = every(HZ)  # ticks from look to look
LEVEL_TICKS = 260
LAST = 64
LINE_EVERY = 700  # ticks from line to line
LINES = ("ok go to the torch", "i am on my way", "i see nothing here", "let me look around", "the door is shut")
CODES = ("amber", "silver", "copper")
WAYS = ("truth", "small", "keywords", "summary", "last N", "no memory")

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Footage:
    """Every tick of the play: its frame, what it shows, and the level it is of."""

    frames: list[Frame]
    scenes: list[Scene]
    levels: list[int]

    def names(self, at: int, *, only_clear: bool = False) -> set[str]:
        """The things that a frame shows."""
        return {seen.name for seen in self.scenes[at] if clear(seen) or not only_clear}

    def stretches(self, length: int, apart: int) -> list[int]:
        """The first ticks of stretches of one level."""
        last = len(self.frames) - length
        return [at for at in range(0, last, apart) if self.levels[at] == self.levels[at + length]]


@dataclass(frozen=True)
class Needle:
    """A thing that shows for NEEDLE ticks from tick `at` of the run on: `source` is where the footage has it."""

    name: str
    at: int
    source: int


@dataclass(frozen=True)
class Asked:
    """`right` tells from an answer's value and first tick whether it is; `needed`: the words of the answer, one of
    which a memory that is read must hold."""

    kind: str
    text: str
    right: Callable[[str, int | None], bool]
    needed: tuple[str, ...] = ()


def footage(levels: int, seed: int) -> Footage:
    """Play of the expert through houses."""
    world, doom = DoomWorld(labels=True), world_tasks.of("doom")
    made = Footage([], [], [])
    for number in range(levels):
        task = doom.suites["doom-rooms"].task(seed, number)
        assert task.verifier is not None
        seen, info = world.reset(seed=task.seed, options=task.options)
        expert, ticks, over = doom.expert(task.verifier), 0, False
        while ticks < LEVEL_TICKS and not over:
            decision = expert(info["state"])
            for action in decision.actions:
                made.frames.append(seen["pixels"].copy())
                made.scenes.append(scene_of(info["state"]))
                made.levels.append(number)
                seen, _, terminated, truncated, info = world.step(action)
                ticks, over = ticks + 1, terminated or truncated
            over = over or decision.done
    world.close()
    return made


class KnownEyes:
    """Eyes for frames of the footage, each looked at once: by `small`, or described from the labels."""

    def __init__(self, footage: Footage, small: PolicyEyes, *, truth: bool) -> None:
        self.name = "truth" if truth else "small"
        self._footage, self._small, self._truth = footage, small, truth
        self._at = {id(frame): at for at, frame in enumerate(footage.frames)}
        self._cache: dict[tuple[str, int], Any] = {}

    def describe(self, frames: Sequence[Frame]) -> list[str]:
        if self._truth:
            scenes = [self._footage.scenes[self._at[id(frame)]] for frame in frames]
            return [caption(scene, held_out_pairs=True) for scene in scenes]
        return self._once("describe", frames, self._small.describe)

    def embed(self, frames: Sequence[Frame]) -> Embeddings:
        if self._truth:
            return np.ones((len(frames), 1), np.float32)
        return np.stack(self._once("embed", frames, self._small.embed))

    def known(self, noun: str) -> str:
        return self._small.known(noun)

    def shows(self, frames: Sequence[Frame], thing: str) -> list[bool]:
        if self._truth:
            return [thing in self._footage.names(self._at[id(frame)]) for frame in frames]
        return self._once(f"shows {thing}", frames, lambda fresh: self._small.shows(fresh, thing))

    def _once(self, what: str, frames: Sequence[Frame], ask: Callable[[list[Frame]], Any]) -> list[Any]:
        fresh = {id(f): f for f in frames if (what, id(f)) not in self._cache}
        if fresh:
            found = ask(list(fresh.values()))
            self._cache.update(((what, key), value) for key, value in zip(fresh, found, strict=True))
        return [self._cache[what, id(frame)] for frame in frames]


@dataclass(frozen=True)
class Run:
    """A run of so many steps: `looks[i]` is the tick of the footage that is seen at tick i * APART."""

    steps: int
    needles: tuple[Needle, ...]
    absent: tuple[str, ...]
    looks: list[int]
    lines: list[Event]
    codes: Mapping[str, str]

    @classmethod
    def draw(cls, footage: Footage, steps: int, needles: int, rng: np.random.Generator) -> Run:
        """A run with so many needles at random, fewer where a short run has no room; the first shows twice where there
        is room. Ends the program where the footage has too few things."""
        shown: dict[str, list[int]] = defaultdict(list)
        for at in footage.stretches(NEEDLE, 4):
            for name in set.intersection(*(footage.names(t, only_clear=True) for t in range(at, at + NEEDLE))):
                if not any(seen.fixture for seen in footage.scenes[at] if seen.name == name):
                    shown[name].append(at)
        wanted, absent = _chosen(footage, shown, min(needles, steps // 100 - 2), rng)
        banned = {*wanted, *absent}
        fillers = [
            at for at in footage.stretches(APART, APART) if not banned & (footage.names(at) | footage.names(at + APART))
        ]
        names = [*wanted, *[next(iter(wanted))] * (steps >= 2000)]
        places = rng.choice(steps // 100 - 1, len(names), replace=False) * 100 + rng.integers(0, APART)
        hidden = tuple(
            Needle(name, int(at), int(rng.choice(wanted[name]))) for name, at in zip(names, places, strict=True)
        )
        looks: list[int] = []
        for at in rng.choice(fillers, steps // APART // 2 + 1):
            looks += [int(at), int(at) + APART]
        for needle in hidden:
            for tick in range(-(-needle.at // APART) * APART, needle.at + NEEDLE, APART):
                looks[tick // APART] = needle.source + tick - needle.at
        codes = {gate: str(rng.integers(1000, 10000)) for gate in CODES}
        lines = [Event(0, SAID, t, t, str(rng.choice(LINES))) for t in range(0, steps, LINE_EVERY)]
        for gate, code in codes.items():
            tick = int(rng.integers(steps))
            lines.append(Event(0, SAID, tick, tick, f"the code of the {gate} vault is {code}"))
        return cls(steps, hidden, tuple(absent), looks[: steps // APART], sorted(lines, key=lambda e: e.first), codes)

    def footage(self, whole: Footage) -> Iterator[Drawn]:
        for number, at in enumerate(self.looks):
            yield whole.frames[at], number * APART, number


def _chosen(
    footage: Footage, shown: Mapping[str, Sequence[int]], needles: int, rng: np.random.Generator
) -> tuple[dict[str, list[int]], list[str]]:
    """The needles of a run, with the places of the footage where no other needle is in view, and three things that the
    run never shows."""
    absent, *rest = np.split(rng.permutation(sorted(shown)), [3])
    wanted: dict[str, list[int]] = {}
    for name in map(str, rest[0]):
        others = {*map(str, absent), *wanted}
        alone = [at for at in shown[name] if not any(others & footage.names(t) for t in range(at, at + NEEDLE))]
        kept = {
            other: [at for at in places if not any(name in footage.names(t) for t in range(at, at + NEEDLE))]
            for other, places in wanted.items()
        }
        if alone and all(kept.values()):
            wanted = {**kept, name: alone}
        if len(wanted) == needles:
            return wanted, [str(name) for name in absent]
    raise SystemExit("too few things show for half a second without each other; take more --levels")


def questions(run: Run, whole: Footage) -> list[Asked]:
    """Questions with what makes an answer right."""
    last = {needle.name: needle for needle in sorted(run.needles, key=lambda needle: needle.at)}
    count = {name: sum(needle.name == name for needle in run.needles) for name in last}
    made: list[Asked] = []
    for name, needle in last.items():
        made.append(Asked("look", f"when did I last see the {name}?", _near(needle), (name,)))
        sides = _sides(whole, needle)
        made.append(Asked("place", f"where did I last see the {name}?", _says(*sides), tuple(sides)))
        at = clock((needle.at + NEEDLE / 2) / HZ)
        made.append(Asked("time", f"what was there at {at}?", _says(name), (name,)))
        beside = set.intersection(
            *(whole.names(t, only_clear=True) for t in range(needle.source, needle.source + NEEDLE))
        ) - {name}
        if beside:
            made.append(Asked("beside", f"what stood beside the {name}?", _says(*beside), tuple(beside)))
        made.append(Asked("count", f"how many times did you see the {name}?", _is(str(count[name]))))
    first = {needle.name: needle for needle in sorted(run.needles, key=lambda needle: -needle.at)}
    for a, b in pairwise(first):
        earlier = a if first[a].at < first[b].at else b
        made.append(Asked("order", f"which did you see first, the {a} or the {b}?", _is(earlier)))
    made += [Asked("never", f"did you ever see the {name}?", _is("no")) for name in run.absent]
    made += [
        Asked("text", f"what is the code of the {gate} vault?", _says(code), (code,))
        for gate, code in run.codes.items()
    ]
    return made


def _near(needle: Needle) -> Callable[[str, int | None], bool]:
    return lambda _, tick: tick is not None and needle.at - APART <= tick < needle.at + NEEDLE + APART


def _sides(whole: Footage, needle: Needle) -> list[str]:
    """The thing with the side of the picture that it was on, such as "red key left", as it was during a needle."""
    shown = (caption(whole.scenes[t], held_out_pairs=True) for t in range(needle.source, needle.source + NEEDLE))
    parts = {part for text in shown for part in text.split(" and ")}
    return sorted(part for part in parts if part.startswith(f"{needle.name} "))


def _says(*names: str) -> Callable[[str, int | None], bool]:
    return lambda text, _: any(re.search(rf"\b{re.escape(name)}\b", text) for name in names)


def _is(value: str) -> Callable[[str, int | None], bool]:
    return lambda text, _: text == value


def measure(run: Run, whole: Footage, eyes: KnownEyes, small: SmallPolicy, folder: Path) -> dict[str, Any]:
    """Index a run and ask: (way, kind, right) of every question, and what it costs."""
    file = folder / f"{eyes.name}.sqlite"
    began = time.perf_counter()
    rows: list[tuple[str, str, bool]] = []
    with Store(file, eyes.name) as store:
        source = store.begin("run", "/run", "", tick_hz=HZ, ticks=run.steps, events=run.lines)
        index(store, source, run.footage(whole), eyes)
        indexed = time.perf_counter() - began
        recall = Recall(store, eyes, lambda _, number: whole.frames[run.looks[number]])
        seconds, words = [], []
        for asked in questions(run, whole):
            began = time.perf_counter()
            answer = recall.answer(asked.text)
            seconds.append(time.perf_counter() - began)
            words.append(len(prompt(store, asked.text, answer).split()))
            tick = answer.moments[0].tick if answer.moments else None
            told = " . ".join(m.text for m in answer.moments) if asked.kind == "time" else answer.value
            rows.append((eyes.name, asked.kind, asked.right(told, tick)))
            if eyes.name == "small":
                rows += [(way, asked.kind, right) for way, right in beside(store, run, asked).items()]
                (said,) = small.answer([whole.frames[run.looks[-1]]], [asked.text])
                rows.append(("no memory", asked.kind, asked.right(said, None)))
        rows += several(rows)
        if eyes.name == "small":
            rows += [("small", "picture", right) for right in by_picture(recall, run, whole)]
        looks = store.count()[1]
    size = file.stat().st_size
    return {"rows": rows, "seconds": seconds, "words": max(words), "bytes": size, "indexed": indexed, "looks": looks}


def beside(store: Store, run: Run, asked: Asked) -> dict[str, bool]:
    """Whether the other ways hold the answer. They count nothing and can't tell that a thing never was."""
    hits = store.matching(any_of(re.findall(r"\w+", asked.text.lower())), most=1, order="best")
    found = bool(hits) and asked.right(hits[0].text, hits[0].first)
    newest = store.newest(LAST, kinds=(SAW, SAID))
    memory = EpisodeMemory("", HZ)
    for event in store.newest(4 * LAST, kinds=(SAW, SAID)):
        (memory.thought if event.kind == SAW else memory.said)(event.text)
    window = " . ".join(event.text for event in newest)
    return {
        "keywords": found,
        "summary": bool(asked.needed) and _says(*asked.needed)(memory.text, None),
        "last N": bool(asked.needed) and _says(*asked.needed)(window, None),
    }


def several(rows: Sequence[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    """For each way whether it found all needles of a run."""
    ways = dict.fromkeys(way for way, _, _ in rows)
    return [(way, "several", all(right for of, kind, right in rows if of == way and kind == "look")) for way in ways]


def by_picture(recall: Recall, run: Run, whole: Footage) -> list[bool]:
    """Whether a picture of each needle's thing, seen in another level or a second and more away, finds the needle."""
    found = []
    for needle in run.needles:
        level = whole.levels[needle.source]
        others = [
            at
            for at in range(0, len(whole.frames), 5)
            if needle.name in whole.names(at, only_clear=True)
            and (whole.levels[at] != level or abs(at - needle.source) > 2 * HZ)
        ]
        if others:
            best = max(others, key=lambda at: max(s.pixels for s in whole.scenes[at] if s.name == needle.name))
            right = [_near(other) for other in run.needles if other.name == needle.name]
            moments = recall.alike(whole.frames[best]).moments
            found.append(any(near("", moment.tick) for near in right for moment in moments))
    return found


def tables(found: Mapping[int, list[dict[str, Any]]]) -> str:
    """Markdown: right answers by length and by kind of question, and what they cost."""
    kinds = ("look", "place", "time", "beside", "several", "count", "order", "never", "text", "picture")
    lines = ["| steps | hours | " + " | ".join(WAYS) + " |", "|---" * (2 + len(WAYS)) + "|"]
    for steps, results in found.items():
        rows = [row for result in results for row in result["rows"] if row[1] not in ("picture", "several")]
        lines.append(f"| {steps} | {steps / HZ / 3600:.2g} | " + " | ".join(_share(rows, way) for way in WAYS) + " |")
    steps, results = list(found.items())[-1]
    rows = [row for result in results for row in result["rows"]]
    lines += ["", f"By kind of question at {steps} steps:", "", "| kind | " + " | ".join(WAYS) + " |"]
    lines.append("|---" * (1 + len(WAYS)) + "|")
    for kind in kinds:
        of = [row for row in rows if row[1] == kind]
        lines.append(f"| {kind} | " + " | ".join(_share(of, way) for way in WAYS) + " |")
    lines += ["", "| steps | looks | prompt, words at most | answer, ms, median and 99 % | MB an hour | indexing, s |"]
    lines.append("|---" * 6 + "|")
    for steps, results in found.items():
        small = [result for result in results if result["looks"] and any(row[0] == "small" for row in result["rows"])]
        seconds = 1000 * np.array([s for result in small for s in result["seconds"]])
        size = np.mean([result["bytes"] for result in small]) / 1e6 / (steps / HZ / 3600)
        lines.append(
            f"| {steps} | {np.mean([r['looks'] for r in small]):.0f} | {max(r['words'] for r in small)} | "
            f"{np.median(seconds):.0f}, {np.percentile(seconds, 99):.0f} | {size:.1f} | "
            f"{np.mean([r['indexed'] for r in small]):.0f} |"
        )
    return "\n".join(lines)


def search_ms(pictures: int, size: int = 193) -> float:
    """Milliseconds of an exact search among random pictures in memory."""
    vectors = np.random.default_rng(0).standard_normal((pictures, size), np.float32).astype(np.float16)
    at = np.arange(pictures)
    found = Pictures([Block(1, at, at, vectors)])
    taken = []
    for number in range(5):
        began = time.perf_counter()
        found.nearest(vectors[number].astype(np.float32), 64)
        taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken))


def _share(rows: Sequence[tuple[str, str, bool]], way: str) -> str:
    right = [row[2] for row in rows if row[0] == way]
    if not right:
        return "-"
    return f"{percent(sum(right) / len(right), wilson(sum(right), len(right)))}, n = {len(right)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--small-seeds", type=int, help="seeds at which small looks as well; by default all")
    parser.add_argument("--needles", type=int, default=6)
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=1_000_000, help="of the search by picture that is timed")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    whole = footage(args.levels, seed=77)
    policy = load_small()
    small = PolicyEyes(policy, "small")
    truth, seen = (KnownEyes(whole, small, truth=truth) for truth in (True, False))
    by_small = args.seeds if args.small_seeds is None else args.small_seeds
    found: dict[int, list[dict[str, Any]]] = {steps: [] for steps in args.steps}
    for steps in args.steps:
        for seed in range(args.seeds):
            run = Run.draw(whole, steps, args.needles, np.random.default_rng([steps, seed]))
            for eyes in (truth, seen) if seed < by_small else (truth,):
                with tempfile.TemporaryDirectory() as folder:
                    found[steps].append(measure(run, whole, eyes, policy, Path(folder)))
            print(f"{steps} steps, seed {seed}: {found[steps][-1]['indexed']:.0f} s to index", flush=True)
        print(tables({steps: results for steps, results in found.items() if results}), flush=True)
    print(f"\nSearch by picture among {args.pictures}: {search_ms(args.pictures):.0f} ms, median of 5")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
