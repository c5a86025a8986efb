"""`RlRecipe`: how a policy learns from a reward by its own play."""

from __future__ import annotations

from typing import Literal

import pydantic

from training.recipe import Section
from training.rl.conditioning import BETTER

Method = Literal["ppo", "grpo", "awr", "filtered", "conditioned"]


class Limits(Section):
    """When a run has collapsed, see training.rl.alarms.

    `entropy`: of a decision, in nats, at least. `variance`: of the reward within groups, at least. `kl`: to the parent,
    in nats a token, at most. `repeated`: the share of the most frequent decision, at most. `success`: the share of
    episodes that the reward calls a success, from which on it calls everything one. `patience`: iterations in a row
    after which a lack of variance, success everywhere or one decision repeated trips the alarm.
    """

    entropy: float = 0.05
    variance: float = 1e-4
    kl: float = 0.5
    repeated: float = pydantic.Field(0.9, gt=0.0, le=1.0)
    success: float = pydantic.Field(0.99, gt=0.0, le=1.0)
    patience: int = pydantic.Field(3, ge=1)


class RlRecipe(Section):
    """How a policy learns from a reward.

    `policy`: the parent, as training.rl.load.load_learnable takes it. `suite`: where it plays; several of a world as
    NAME+NAME, in turn. `world`: in place of the suite's, where it practises tasks of its own. `verbs`: only tasks of
    these; all by default. `reward`: a reward's name. `upper_bound`: the reward may see ground truth. `method`: "ppo",
    "grpo", or imitation of its own decisions: "awr" (weighted by advantage), "filtered" (of the best episodes) or
    "conditioned" (told whether they were better than expected).

    Collection: `tasks` a round, each played by a `group` of episodes from the same start, in `worlds` worlds a process.
    `pool`: as many tasks of the suites are played again and again, see training.rl.practice, so that the value function
    comes to know them; 0 for new ones in every round.
    `workers`: processes, or who else plays; 0 for this process. `time_limit`: ticks of an episode, at most.
    `temperature`: of sampling. `think`: see agent.policy.Think. `frames`: a reward that scores single frames does so
    after every decision, and otherwise at the end of the episode. `shaped`, `graded`, `unfinished`,
    `token_price`, `free_tokens`, `said`, `confirmed`: see training.rl.rollouts.Pay.

    Learning: `epochs` over the decisions of a round, in steps of `batch`. `rate`, `value_rate`: learning rates of the
    policy and of the value head. `frozen_vision`: the image encoder of `small` stays as it is. `gamma`, `trace`: see
    advantages.gae. `scaled`: see advantages.group_relative. `share`: of a round's decisions that "ppo" learns from,
    drawn in proportion to the size of their advantages: the others tell little and cost as much. `level`, `clip_low`,
    `clip_high`, `dual`: see policy_gradient. `kl`, `entropy`: weights of the distance to the parent and of the entropy.
    `beta`, `largest`: see imitation.exponential. `top`: the share of episodes that "filtered" learns from. `better`,
    `untold`: see conditioning.conditions. `norm`: of gradients, at most. `keep_every`: write a checkpoint after so many
    rounds; 0 for the last one alone. `rehearsed`: suites of training that the policy plays before it learns,
    `rehearsal_episodes` of each, and `rehearsal`: the weight of the distance to what it did there, see
    training.rl.rehearsal. `averaged`: the share of the rounds, counted from the last one, over whose weights
    the final checkpoint is the mean (Polyak and Ruppert); 0 for the last weights alone. What chance adds in a round
    cancels out in the mean, and what all rounds agree on stays.
    """

    FREE = frozenset({"workers"})

    policy: str = "small"
    suite: str
    world: str = ""
    verbs: tuple[str, ...] = ()
    reward: str
    upper_bound: bool = False
    method: Method = "ppo"
    iterations: int = pydantic.Field(20, ge=1)
    seed: int = pydantic.Field(0, ge=0)

    tasks: int = pydantic.Field(8, ge=1)
    pool: int = pydantic.Field(0, ge=0)
    group: int = pydantic.Field(4, ge=1)
    worlds: int = pydantic.Field(8, ge=1)
    workers: str | int = 0
    time_limit: int | None = pydantic.Field(None, ge=1)
    temperature: float = pydantic.Field(1.0, gt=0.0)
    think: Literal["off", "auto"] | pydantic.NonNegativeInt = "auto"
    frames: bool = True
    shaped: bool = False
    graded: bool = False
    unfinished: bool = False
    token_price: float = pydantic.Field(0.0, ge=0.0)
    free_tokens: int = pydantic.Field(0, ge=0)
    said: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    confirmed: float = pydantic.Field(0.0, ge=0.0)

    epochs: int = pydantic.Field(2, ge=1)
    batch: int = pydantic.Field(128, ge=1)
    rate: float = pydantic.Field(2e-5, gt=0.0)
    value_rate: float = pydantic.Field(1e-3, gt=0.0)
    frozen_vision: bool = False
    gamma: float = pydantic.Field(0.99, ge=0.0, le=1.0)
    trace: float = pydantic.Field(0.95, ge=0.0, le=1.0)
    share: float = pydantic.Field(1.0, gt=0.0, le=1.0)
    scaled: bool = True
    level: Literal["decision", "token"] = "decision"
    clip_low: float = pydantic.Field(0.20, gt=0.0, lt=1.0)
    clip_high: float = pydantic.Field(0.28, gt=0.0)
    dual: float = pydantic.Field(3.0, gt=1.0)
    kl: float = pydantic.Field(0.05, ge=0.0)
    entropy: float = pydantic.Field(0.0, ge=0.0)
    beta: float = pydantic.Field(1.0, gt=0.0)
    largest: float = pydantic.Field(20.0, gt=1.0)
    top: float = pydantic.Field(0.25, gt=0.0, le=1.0)
    better: float = pydantic.Field(0.3, gt=0.0, lt=1.0)
    untold: float = pydantic.Field(0.1, ge=0.0, lt=1.0)
    norm: float = pydantic.Field(1.0, gt=0.0)
    keep_every: int = pydantic.Field(0, ge=0)
    rehearsed: tuple[str, ...] = ()
    rehearsal_episodes: int = pydantic.Field(40, ge=1)
    rehearsal: float = pydantic.Field(1.0, ge=0.0)
    averaged: float = pydantic.Field(0.0, ge=0.0, le=1.0)
    limits: Limits = Limits.of({})

    @pydantic.model_validator(mode="after")
    def _grouped(self) -> RlRecipe:
        if self.method == "grpo" and self.group < 2:
            raise ValueError("grpo compares episodes of a group: group must be at least 2")
        return self

    @property
    def uses_values(self) -> bool:
        """Whether the method learns a value function."""
        return self.method in ("ppo", "awr", "conditioned")

    @property
    def ask(self) -> str:
        """What the policy is asked for while it plays, see training.rl.learnable.Learnable."""
        return BETTER if self.method == "conditioned" else ""
