"""Building: which of the tries are learned from, and how much each of them weighs.

A try weighs by its advantage over what is expected, 1 - p for a goal of competence p, times what its success is worth
by the doubt of its verb. A person's answer about a try goes before what the reward says of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.curriculum import Curriculum
from tasks.setter import Tried
from training.improve.collect import Try
from training.improve.doubt import TRIED, Belief, Evidence, believe
from training.improve.scoring import Judgement

_LEAST_ADVANTAGE = 0.1  # of what is mastered: it is learned a little, so that it stays


@dataclass(frozen=True)
class Trust:
    """What claims are worth, by verb. `least`: what is worth less counts as nothing. `beliefs`: None where nothing is
    doubted."""

    beliefs: Mapping[str, Belief] | None
    least: float

    def of(self, verb: str) -> float:
        """The weight of a claimed success of a verb, 0 to 1."""
        if self.beliefs is None:
            return 1.0
        trust = self.beliefs[verb].trust if verb in self.beliefs else 0.0
        return trust if trust >= self.least else 0.0


def evidence_of(
    judgements: Mapping[str, Judgement], controls: Sequence[Mapping[str, Any]], answers: Mapping[str, bool]
) -> dict[str, Evidence]:
    """The evidence of one generation by verb. `controls`: rows with `verb` and `claimed`. `answers`: by the id of the
    try; those of tries that were not claimed are left out."""
    found: dict[str, Evidence] = {}

    def add(verb: str, **counts: int) -> None:
        found[verb] = found.get(verb, Evidence()) + Evidence(**counts)

    for id_, one in judgements.items():
        if one.claimed is None:
            continue
        answer = answers.get(id_) if one.claimed else None
        add(one.verb, tried=1, claimed=int(one.claimed), yes=int(answer is True), no=int(answer is False))
    for row in controls:
        if row["claimed"] is not None:
            add(str(row["verb"]), controls=1, false_claims=int(row["claimed"]))
    return found


def added(a: Mapping[str, Evidence], b: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The evidence of two sources together."""
    return {verb: a.get(verb, Evidence()) + b.get(verb, Evidence()) for verb in sorted({*a, *b})}


def beliefs_of(evidence: Mapping[str, Evidence], prior: tuple[float, float] = TRIED) -> dict[str, Belief]:
    """What is believed of each verb."""
    return {verb: believe(counts, prior) for verb, counts in evidence.items()}


def worth(one: Judgement, answer: bool | None, trust: Trust) -> float:
    """What a try is worth as a success, 0 to 1."""
    if answer is not None:
        return float(answer)
    return trust.of(one.verb) if one.claimed else 0.0


def tried(
    tries: Sequence[Try], judgements: Mapping[str, Judgement], answers: Mapping[str, bool], generation: int
) -> list[Tried]:
    """The tries as the archive of tasks has them: as they were judged, where nobody answered."""
    return [
        Tried(
            one.id, one.instruction, answers.get(one.id, judgements[one.id].claimed), judgements[one.id].value,
            one.task, generation, one.kind,
        )
        for one in tries
    ]  # fmt: skip


def advantage(archive: Curriculum, instruction: str) -> float:
    """How much is left to learn of a goal."""
    return max(_LEAST_ADVANTAGE, 1.0 - archive.standing(instruction).competence)
