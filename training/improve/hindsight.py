"""Hindsight: what a failed try did achieve. Proposals that the try did not follow are held against its frames.

The reward is asked about what else was proposed for the view in which the try began. A claim is doubted like one of a
try, with the reward's own errors: nobody tried these goals, so fewer claims are expected to be true. The best claim of
a try becomes an episode of that instruction. Hindsight relabelling is due to Andrychowicz et al. (arXiv 1707.01495).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of, same
from training.improve.build import Trust, advantage, beliefs_of
from training.improve.collect import Try
from training.improve.doubt import UNTRIED, Evidence
from training.improve.scoring import Judgement


@dataclass(frozen=True)
class Other:
    """Another instruction for the episode of a try. `id`: of the try."""

    id: str
    instruction: str


def others(
    env: str, tries: Sequence[Try], judgements: Mapping[str, Judgement], most: int, seed: int
) -> list[Other]:  # fmt: skip
    """What the reward is asked about tries that it calls a failure: at most `most` other goals for each of them."""
    rng = np.random.default_rng([seed, 41])
    found: list[Other] = []
    for one in tries:
        if judgements[one.id].claimed is not False or not one.ticks:
            continue
        goal = goal_of(env, one.instruction)
        different = [text for text in one.others if not same(goal_of(env, text), goal)]
        found += [Other(one.id, different[i]) for i in sorted(rng.permutation(len(different))[:most].tolist())]
    return found


def evidence_of(claims: Sequence[tuple[Other, Judgement]], tried: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The evidence of hindsight by verb: its own claims, and the controls of the tries."""
    found: dict[str, Evidence] = {}
    for _, one in claims:
        if one.claimed is not None:
            errors = replace(tried.get(one.verb, Evidence()), tried=0, claimed=0, yes=0, no=0)
            found[one.verb] = found.get(one.verb, errors) + Evidence(tried=1, claimed=int(one.claimed))
    return found


def relabelled(
    claims: Sequence[tuple[Other, Judgement]], tried: Mapping[str, Evidence], trust: Trust, archive: Curriculum
) -> dict[str, tuple[str, float]]:  # fmt: skip
    """The instruction that the episode of a try gets, and its weight, by the try's id: the one that weighs most.
    `trust`: of the tries; a verb that is not trusted where it was tried is not trusted here either."""
    beliefs = beliefs_of(evidence_of(claims, tried), UNTRIED)
    untried = Trust(None if trust.beliefs is None else beliefs, trust.least)
    found: dict[str, tuple[str, float]] = {}
    for other, one in claims:
        worth = min(trust.of(one.verb), untried.of(one.verb)) if one.claimed else 0.0
        weight = worth * advantage(archive, other.instruction)
        if weight > found.get(other.id, ("", 0.0))[1]:
            found[other.id] = other.instruction, round(weight, 3)
    return found
