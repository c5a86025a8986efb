"""`CorrectionRecipe`: how a model learns to correct itself."""

from __future__ import annotations

from typing import Literal

import pydantic

from training.recipe import Section

Method = Literal["score", "single", "star", "pair_sft"]


class CorrectionRecipe(Section):
    """How a model learns to correct itself, see training.rl.self_correction.

    `policy`: the parent, see training.rl.correct.opened. `suite`: what it attempts: a suite of tasks in a world, or
    "sorting". `verbs`: only tasks of these. `reward`: a reward's name; of sorting "truth", or "order" for a check that
    errs. `upper_bound`: the reward may see ground truth. `method`: "score", and what it is compared with:
    reinforcement of "single" attempts, and imitation of the model's own corrections ("star"), or of attempts of the
    parent that are put together to corrections ("pair_sft").

    `rounds`: of attempts, with one step of learning each; the first `stage_one` of them are stage I. `problems`: a
    round, each attempted by a `group` of pairs. `temperature`: of sampling. `alpha`: weight of the bonus r2 - r1.
    `beta1`: weight of the distance to the parent; `beta2`: that of the first attempts in stage I. `rate`: of learning.
    `batch`: decisions at a time in memory. `norm`: of gradients, at most.

    In a world: `worlds` at once, `time_limit` of an attempt in ticks, `think` see agent.policy.Think, `frozen_vision`
    of `small`. `reasons`: the second attempt is also told what the reward said of the first one. In text: `digits` of
    a row.
    """

    policy: str
    suite: str
    verbs: tuple[str, ...] = ()
    reward: str = "truth"
    upper_bound: bool = False
    method: Method = "score"
    rounds: int = pydantic.Field(40, ge=1)
    stage_one: int = pydantic.Field(20, ge=0)
    seed: int = pydantic.Field(0, ge=0)

    problems: int = pydantic.Field(8, ge=1)
    group: int = pydantic.Field(4, ge=2)
    temperature: float = pydantic.Field(1.0, gt=0.0)
    alpha: float = pydantic.Field(10.0, ge=0.0)
    beta1: float = pydantic.Field(0.01, ge=0.0)
    beta2: float = pydantic.Field(0.1, ge=0.0)
    rate: float = pydantic.Field(1e-4, gt=0.0)
    batch: int = pydantic.Field(128, ge=1)
    norm: float = pydantic.Field(1.0, gt=0.0)

    worlds: int = pydantic.Field(8, ge=1)
    time_limit: int | None = pydantic.Field(None, ge=1)
    think: Literal["off", "auto"] | pydantic.NonNegativeInt = "auto"
    frozen_vision: bool = True
    reasons: bool = False
    digits: int = pydantic.Field(5, ge=2, le=12)

    @pydantic.model_validator(mode="after")
    def _staged(self) -> CorrectionRecipe:
        if self.stage_one > self.rounds:
            raise ValueError(f"stage_one is {self.stage_one} of {self.rounds} rounds: expected at most all of them")
        return self
