"""`ImproveRecipe`: the configuration of `agent self-improve`."""

from __future__ import annotations

from typing import Any

import pydantic

from tasks import world_tasks
from training.recipe import Section

PRACTICE = "practice"
_SET = 240  # tasks of a world whose propose role nobody learned


class ImproveRecipe(Section):
    """What a run of self-improvement does.

    `suite`: where the levels come from; training's half of the seeds for play, the other half for evaluation; "" for
    what the world makes of a seed alone. `kinds`: more suites of the world, whose levels are played as well: where
    there is most to learn most often, and where the setter asks for one. `setter`, `reward`: entry points by name.
    `policy`: the first player, "small" or a checkpoint folder. `learner`: "practice", or the entry point of a learner
    that imitates the tries that succeeded, such as "bc". `levels` of a generation, each with `tries` tasks one after
    the other, without a reset in between; `proposals`: of which the curriculum chooses one; `time_limit`: ticks of a
    try. `temperature`: of the sampled play.

    Exploration. `attempts`: how often a task is tried in a row while the player doesn't say that it is done. `sticky`:
    the chance that a decision repeats the actions before it. `planner`: who breaks a goal into steps, which are then
    tried one after the other: "" for nobody, "small", or a chat model such as openai:MODEL@URL. `choose`: whether the
    curriculum chooses among the proposals; otherwise chance does. `remembered`: how many goals that succeeded in other
    levels are proposed beside what the setter says of a view, and practised in each level.

    Doubt. `doubt`: whether claimed successes weigh by how far the reward is trusted, verb by verb; otherwise all of
    them count in full. `second`: the reward of the second view; "" for the same reward on other frames. `controls`: of
    each kind for each verb, by which false positives are counted. `least_trust`: a verb that is trusted less teaches
    nothing. `ask_me`: tries of a generation about which a person is asked.

    Experience beside the tries that succeeded. `hindsight`: how many other proposals a failed try is held against, 0
    for none. `composition`: whether steps that succeeded one after the other become one episode of the whole goal.

    Practice: in each of `rounds`, `practised` tasks are each played by a `group` of episodes from the same start, and
    the player learns from what the reward says of them (PPO, training.rl), at `practice_rate`, with the weight `kl` on
    its distance to the parent; what comes a decision later is worth `gamma` of it. `said`: the share of the reward for
    saying that it is done, see training.rl.rollouts.Pay. `share`: of a round's decisions that
    it learns from, `averaged`: of the rounds over whose weights the candidate is the mean, see training.rl.recipe.
    Verbs are left out where the share of successes that the reward calls so is not by `least_told` above that of
    failures.

    `held_out`: suites, or YAML files of tasks, whose evaluation has to improve; none for a world that no verifier
    knows, where the reward judges the player's own goals in levels of evaluation. `old`: suites that must not lose.
    `episodes` of each. `rehearsal_suites`: what the player plays before it learns, `rehearsal_episodes` of each, so
    that the old is not forgotten: practice keeps near what it did there, and a learner that imitates imitates it too,
    as the share `rehearsal` of what it learns. `passes` over the fresh data, `rate`: of learning, `keep`: the share of
    the parent's weights in the candidate's, where it imitates. `least`: tries to imitate, or tasks to practise, without
    which a generation learns nothing. `most_loss`: points that each of the old suites may lose. `confidence`: that the
    held-out tasks improve, and that an old suite loses, see evaluate.verdict. `most_gap`: points by which judged and
    true success may part further than in the first generation, and in the last third of practice than in its first.
    """

    env: str = "doom"
    suite: str = "doom-vault"
    kinds: tuple[str, ...] = ()
    policy: str = "small"
    setter: str = "small"
    reward: str = "judge"
    learner: str = PRACTICE
    generations: pydantic.PositiveInt = 8
    seed: pydantic.NonNegativeInt = 0
    levels: pydantic.PositiveInt = 120
    tries: pydantic.PositiveInt = 8
    proposals: pydantic.PositiveInt = 4
    time_limit: pydantic.PositiveInt = 350
    temperature: pydantic.PositiveFloat = 1.0
    attempts: pydantic.PositiveInt = 1
    sticky: float = pydantic.Field(default=0.0, ge=0.0, lt=1.0)
    planner: str = ""
    choose: bool = True
    remembered: pydantic.NonNegativeInt = 0
    doubt: bool = True
    second: str = ""
    controls: pydantic.PositiveInt = 24
    least_trust: float = pydantic.Field(default=0.5, ge=0.0, le=1.0)
    ask_me: pydantic.NonNegativeInt = 0
    hindsight: pydantic.NonNegativeInt = 3
    composition: bool = True
    rounds: pydantic.PositiveInt = 40
    practised: pydantic.PositiveInt = 48
    group: pydantic.PositiveInt = 3
    share: float = pydantic.Field(default=0.5, gt=0.0, le=1.0)
    averaged: float = pydantic.Field(default=0.5, ge=0.0, le=1.0)
    least_told: float = pydantic.Field(default=0.3, ge=0.0, le=1.0)
    practice_rate: pydantic.PositiveFloat = 3e-4
    kl: float = pydantic.Field(default=0.02, ge=0.0)
    gamma: float = pydantic.Field(default=0.995, gt=0.0, le=1.0)
    said: float = pydantic.Field(default=0.4, ge=0.0, lt=1.0)
    held_out: tuple[str, ...] = ("doom-vault-steps", "doom-vault")
    old: tuple[str, ...] = ("doom-basic", "doom-rooms")
    episodes: pydantic.PositiveInt = 200
    rehearsal_suites: tuple[str, ...] = ("doom-room", "doom-rooms", "doom-compounds")
    rehearsal_episodes: pydantic.NonNegativeInt = 40
    rehearsal: float = pydantic.Field(default=0.5, gt=0.0, lt=1.0)
    passes: pydantic.PositiveInt = 4
    rate: pydantic.PositiveFloat = 1e-4
    keep: float = pydantic.Field(default=0.3, ge=0.0, lt=1.0)
    least: pydantic.PositiveInt = 20
    most_loss: float = pydantic.Field(default=2.0, ge=0.0)
    confidence: float = pydantic.Field(default=0.9, ge=0.5, lt=1.0)
    most_gap: float = pydantic.Field(default=10.0, gt=0.0)


def recipe_for(env: str, suite: str = "") -> dict[str, Any]:
    """Where a run plays, who sets its tasks and what it is evaluated on in a world other than doom, unless it is told.
    A world without suites plays levels by seed alone, and the reward judges its candidates.

    `suite`: where it plays; the first of the world's by default.
    """
    suite = suite or next((name for name, one in world_tasks.of(env).suites.items() if not one.held_out), "")
    setter = {"setter": f"suite:{suite}:{_SET}"} if suite else {}
    return {"env": env, "suite": suite, "held_out": (suite,) if suite else (), **setter}


# A run of a few minutes on two cores; it is the whole loop, on less of everything.
QUICK = {"generations": 1, "levels": 48, "tries": 2, "proposals": 6, "time_limit": 240, "episodes": 60, "rounds": 12,
         "practised": 32, "held_out": ("doom-vault-steps",), "old": ("doom-basic",), "least": 10,
         "rehearsal_episodes": 24, "passes": 3, "confidence": 0.5}  # fmt: skip
