"""`Curriculum`: the archive of tasks tried, and which of the proposed tasks are tried next.

The archive is a list of tries with judged outcomes; everything else follows from it. Goals that the player reaches
sometimes teach most: their weight is 4p(1-p) for an estimated competence p (learnability), with a bonus for
goals that were tried rarely. Competence is told from the tries of all goals, by how near they are in meaning
(tasks.competence).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tasks import json_lines
from tasks.competence import Competence
from tasks.goal_text import Goal, goal_of, same
from tasks.setter import Proposal, Tried

_LEAST_TRUST = 0.1  # of a verb when goals are chosen, so that more can be found out about it
State = Literal["new", "learning", "mastered", "retired"]


@dataclass(frozen=True)
class Settings:
    """How a curriculum chooses.

    `prior` and `window`, of what a setter is told of a verb: how many tries one half weighs, and the last tries that
    count. `bonus`: what is added to the weight of a goal that was never tried; it falls with the root of the tries.
    `mastered`: the competence from which on a goal is mastered, after `least` tries. `rehearsal`: the share of choices
    that goes to mastered goals. `retire`: tries without any success after which a goal is tried no more.
    """

    prior: float = 2.0
    window: int = 30
    bonus: float = 0.5
    mastered: float = 0.8
    least: int = 4
    rehearsal: float = 0.15
    retire: int = 8


@dataclass(frozen=True)
class Standing:
    """Where a goal stands. `tries` and `successes`: as judged, without the tries that no reward could score.
    `competence`: the estimated chance of success. `weight`: how much it is worth a try."""

    goal: Goal
    tries: int
    successes: int
    competence: float
    weight: float
    state: State


@dataclass(frozen=True)
class Choice:
    """A proposal to try, where its goal stands, and whether it rehearses a mastered goal."""

    proposal: Proposal
    standing: Standing
    rehearsal: bool


class Curriculum:
    """The tries of one world, and what follows from them."""

    def __init__(self, world: str, tried: Iterable[Tried] = (), settings: Settings | None = None) -> None:
        self.world = world
        self.settings = settings or Settings()
        self._tried: dict[str, Tried] = {}
        self._goals: dict[Goal, list[bool]] = {}  # judged outcomes, oldest first
        self._verbs: dict[str, list[bool]] = {}
        self._judged: list[tuple[Goal, bool]] = []
        self._competence: Competence | None = None  # of the tries so far
        self.add(tried)

    @property
    def tried(self) -> tuple[Tried, ...]:
        """All tries, oldest first."""
        return tuple(self._tried.values())

    def add(self, tried: Iterable[Tried]) -> None:
        """Take tries into the archive. A try whose id is there already is not counted again."""
        for one in tried:
            if one.id in self._tried:
                continue
            self._tried[one.id] = one
            goal = self._known(goal_of(self.world, one.instruction))
            judged = [] if one.success is None else [one.success]
            self._goals.setdefault(goal, []).extend(judged)
            self._verbs.setdefault(goal.verb, []).extend(judged)
            self._judged += [(goal, done) for done in judged]
            self._competence = None

    def skills(self) -> dict[str, float]:
        """The player's competence by verb, for the verbs that it has tried."""
        return {verb: self._of_verb(verb) for verb, outcomes in sorted(self._verbs.items()) if outcomes}

    def standing(self, instruction: str) -> Standing:
        """Where the goal of an instruction stands, whether or not it was tried."""
        return self._standing(self._known(goal_of(self.world, instruction)))

    def standings(self) -> list[Standing]:
        """Where all goals that were tried stand, in the order of their first try."""
        return [self._standing(goal) for goal in self._goals]

    def choose(
        self, proposals: Sequence[Proposal], n: int, seed: int = 0, trust: Mapping[str, float] | None = None
    ) -> list[Choice]:
        """At most `n` of the proposals to try next, the same ones for the same archive, proposals and seed.

        Of proposals of one goal in one level it keeps the first. Retired goals are left out. The share
        `settings.rehearsal` goes to mastered goals; the rest is drawn by weight among the others. There are fewer than
        `n` where too few are worth a try. `trust`: how far judged successes of a verb are believed, 0 to 1; 1 for verbs
        that it doesn't name. What is not believed teaches little, so the goal weighs less.
        """
        rng = np.random.default_rng(seed)
        standings = [
            (proposal, self._trusted(self.standing(proposal.instruction), trust or {}))
            for proposal in _different(self.world, proposals)
        ]
        wanted = n * self.settings.rehearsal
        rehearsals = int(wanted) + int(rng.random() < wanted % 1.0)
        old = _draw(rng, [pair for pair in standings if pair[1].state == "mastered"], min(rehearsals, n))
        fresh = _draw(rng, [pair for pair in standings if pair[1].state in ("new", "learning")], n - len(old))
        return [Choice(*pair, True) for pair in old] + [Choice(*pair, False) for pair in fresh]

    def draw(self, proposals: Sequence[Proposal], n: int, seed: int = 0) -> list[Choice]:
        """At most `n` of the proposals by chance alone, whatever their goals' standing: what choosing is compared with.
        Duplicates are left out as in `choose`."""
        rng = np.random.default_rng(seed)
        different = _different(self.world, proposals)
        drawn = [different[i] for i in rng.permutation(len(different))[:n]]
        return [Choice(one, self.standing(one.instruction), False) for one in drawn]

    def levels(self, kinds: Sequence[str], n: int, seed: int = 0) -> list[str]:
        """The kinds of `n` levels to play next: drawn by the mean weight of the goals that were tried in such levels,
        so that levels grow with the player. A kind where nothing was judged weighs 1, as what is half mastered does."""
        weights: dict[str, list[float]] = {kind: [] for kind in kinds}
        for one in self._tried.values():
            if one.kind in weights and one.success is not None:
                weights[one.kind].append(self.standing(one.instruction).weight)
        means = np.array([np.mean(weights[kind]) if weights[kind] else 1.0 for kind in kinds]) + 1e-3
        rng = np.random.default_rng(seed)
        return [kinds[at] for at in rng.choice(len(kinds), size=n, p=means / means.sum())]

    def remembered(self, n: int, seed: int = 0, besides: Iterable[str] = ()) -> list[str]:
        """At most `n` goals that a setter may not see from where it looks, in the words in which they were tried; the
        same ones for the same archive and seed. They succeeded elsewhere, are not mastered, and `besides` has none of
        them. They are drawn by weight. Those that were met more often are drawn more often, since they may well be here
        too; verbs count alike, so that a verb that is rarely in view comes up as often as the others."""
        there = [goal_of(self.world, text) for text in besides]
        words = {
            self._known(goal_of(self.world, one.instruction)): one.instruction
            for one in self._tried.values()
            if one.success
        }
        standings = [self._standing(goal) for goal in words if not any(same(goal, one) for one in there)]
        learning = [one for one in standings if one.state == "learning"]
        met = Counter[str]()
        for one in learning:
            met[one.goal.verb] += one.tries
        found = [
            (Proposal(words[one.goal], 1), replace(one, weight=one.weight * one.tries / met[one.goal.verb]))
            for one in learning
        ]
        return [proposal.instruction for proposal, _ in _draw(np.random.default_rng(seed), found, n)]

    def save(self, path: Path) -> None:
        """Write the archive to a JSON-lines file, whole or not at all: the world in the first line, then a line for
        each try. Raises UserError."""
        rows: list[dict[str, Any]] = [{"world": self.world, "settings": asdict(self.settings)}]
        json_lines.write(path, [*rows, *(_row(one) for one in self._tried.values())])

    @classmethod
    def load(cls, path: Path) -> Curriculum:
        """The archive of a file, to go on. Raises JsonLinesError, a UserError and ValueError, for a damaged file."""
        rows = json_lines.read(path)
        try:
            head, *lines = rows
            return cls(head["world"], [Tried(**line) for line in lines], Settings(**head["settings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise json_lines.JsonLinesError(f"{path}: is no archive of tasks: {error!r}") from error

    def _trusted(self, standing: Standing, trust: Mapping[str, float]) -> Standing:
        factor = max(_LEAST_TRUST, trust.get(standing.goal.verb, 1.0))
        return replace(standing, weight=standing.weight * factor)

    def _known(self, goal: Goal) -> Goal:
        """The goal in the archive that this one is, or itself."""
        if goal in self._goals:
            return goal
        return next((known for known in self._goals if same(known, goal)), goal)

    def _of_verb(self, verb: str) -> float:
        recent = self._verbs.get(verb, [])[-self.settings.window :]
        return (sum(recent) + self.settings.prior * 0.5) / (len(recent) + self.settings.prior)

    def _standing(self, goal: Goal) -> Standing:
        settings, outcomes = self.settings, self._goals.get(goal, [])
        tries, successes = len(outcomes), sum(outcomes)
        if self._competence is None:
            self._competence = Competence(self._judged)
        p = self._competence.of(goal)
        state: State = "learning" if tries else "new"
        if tries >= settings.retire and not successes:
            state = "retired"
        elif tries >= settings.least and p >= settings.mastered:
            state = "mastered"
        weight = 0.0 if state == "retired" else 4.0 * p * (1.0 - p) + settings.bonus / math.sqrt(1.0 + tries)
        return Standing(goal, tries, successes, p, weight, state)


def _different(world: str, proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals without duplicates: one for each goal in a level."""
    kept: list[tuple[Proposal, Goal]] = []
    for proposal in proposals:
        goal = goal_of(world, proposal.instruction)
        if not any(same(goal, other) and _same_level(proposal, one) for one, other in kept):
            kept.append((proposal, goal))
    return [proposal for proposal, _ in kept]


def _same_level(a: Proposal, b: Proposal) -> bool:
    return (a.seed, a.options, a.kind) == (b.seed, b.options, b.kind)


def _draw(
    rng: np.random.Generator, pairs: Sequence[tuple[Proposal, Standing]], n: int
) -> list[tuple[Proposal, Standing]]:
    """At most `n` pairs, drawn by weight and never twice, in the order they were drawn."""
    # The n smallest of exponential times divided by the weights are such a draw (Efraimidis and Spirakis, 2006).
    times = rng.exponential(size=len(pairs)) / np.array([max(pair[1].weight, 1e-9) for pair in pairs])
    return [pairs[i] for i in np.argsort(times)[:n]]


def _row(tried: Tried) -> dict[str, Any]:
    """A try as JSON, without what is not said of it."""
    defaults = {"score": None, "task": "", "generation": 0, "kind": ""}
    return {key: value for key, value in asdict(tried).items() if key not in defaults or value != defaults[key]}
