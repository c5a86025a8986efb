"""`GameExercise`: tasks in a world, attempted twice from the very same start.

A world that is deterministic goes back by a reset with the same seed and options. The second attempt has the memory of
the first one in its own (agent.memory): what was done, seen and said. Whether the first one succeeded is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice

from agent.memory import with_attempt
from agent.policy import Context, PolicySpec
from envs.errors import UserError
from envs.world import World
from rewards.reward import Reward
from tasks import world_tasks
from tasks.task import Task
from training.rl.collect import make_world, starts_of
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.recipe import RlRecipe
from training.rl.rollouts import Collector, Rollout, Start
from training.rl.self_correction import Ask, Attempt

_TOKENS = 8  # of a decision of `small`, about


class GameExercise:
    """Tasks of a recipe's suite. Raises UserError for a world that can't go back to its start, and for `reasons` of a
    reward that sees ground truth."""

    def __init__(self, recipe: CorrectionRecipe, spec: PolicySpec, reward: Reward) -> None:
        if recipe.reasons and reward.sees_truth:
            raise UserError(f"reasons: reward {reward.name} sees ground truth, which no player is told; leave it out")
        self._recipe, self._spec, self._reward = recipe, spec, reward
        self._rl = rl_recipe(recipe)
        with closing(make_world(self._rl)) as world:
            check_goes_back(world)
        self._collector = Collector(partial(make_world, self._rl), recipe.worlds, reward)
        ticks = recipe.time_limit or max(task.time_limit for task in self.problems(8, recipe.seed))
        self.length = _TOKENS * -(-ticks // max(1, spec.chunk))

    def problems(self, count: int, seed: int, *, evaluation: bool = False) -> list[Task]:
        """Tasks; those of training come from other seeds than those of evaluation."""
        if not evaluation:
            wanted = self._rl.model_copy(update={"tasks": count, "seed": self._recipe.seed})
            return [start.task for start in starts_of(wanted, self._reward, seed)]
        suite, verbs, limit = world_tasks.suite(self._recipe.suite), self._recipe.verbs, self._recipe.time_limit
        fit = (one for one in suite.tasks(seed, 100 * count) if not verbs or one.verb in verbs)
        return [replace(one, time_limit=min(limit or one.time_limit, one.time_limit)) for one in islice(fit, count)]

    def attempt(
        self, ask: Ask[Context], problems: Sequence[Task], after: Sequence[Attempt[Context]] = ()
    ) -> list[Attempt[Context] | None]:
        told = [one.told for one in after] or [""] * len(problems)
        starts = [Start(task, at, text) for at, (task, text) in enumerate(zip(problems, told, strict=True))]
        collected = self._collector.collect(self._spec, ask, starts)
        found: dict[int, Attempt[Context]] = {one.start.group: self._attempt(one) for one in collected.rollouts}
        return [found.get(at) for at in range(len(problems))]

    def _attempt(self, rollout: Rollout) -> Attempt[Context]:
        told = rollout.memory
        if self._recipe.reasons and rollout.why:
            told = f"{told} judged: {rollout.why}"
        return Attempt(rollout.contexts, rollout.decisions, rollout.total, rollout.true_success, told)

    def again(self, prompts: Sequence[Context], after: Attempt[Context], problem: Task) -> tuple[Context, ...]:
        return tuple(replace(context, memory=with_attempt(context.memory, after.told)) for context in prompts)

    def close(self) -> None:
        self._collector.close()


def check_goes_back(world: World) -> None:
    """Raises UserError for a world that does not begin alike again."""
    if world.realtime or not world.deterministic:
        raise UserError(
            f"{type(world).__name__} can't go back to its very start: it is "
            + ("in real time" if world.realtime else "not deterministic")
            + "; learn to correct in one that can, such as doom"
        )


def rl_recipe(recipe: CorrectionRecipe) -> RlRecipe:
    """What a recipe shares with `agent train rl`: where it plays, and by which reward, asked at the end."""
    return RlRecipe.of(
        {
            "policy": recipe.policy, "suite": recipe.suite, "verbs": recipe.verbs, "reward": recipe.reward,
            "upper_bound": recipe.upper_bound, "tasks": recipe.problems, "group": 1, "worlds": recipe.worlds,
            "time_limit": recipe.time_limit, "think": recipe.think, "frames": False, "seed": recipe.seed,
        }
    )  # fmt: skip
