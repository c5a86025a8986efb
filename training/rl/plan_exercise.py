"""`PlanExercise`: goals are taken apart into steps, in two attempts, by the planning role of `small`.

    unlock the blue door                                    the first attempt, such as "open blue door"
    unlock the blue door, attempt before: open blue door    the second attempt, with the first one in its memory

A plan is right where its steps are exactly those of ground truth, in their order (tasks/doom/plans.py). Goals are said
in training's phrasings, and in evaluation in words and phrasings that training never has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.capabilities import THEN
from agent.memory import with_attempt
from agent.small.output_grammar import MOST
from agent.small.prompt import Prompt, plan_prompt
from agent.small.token_ids import ANSWER
from agent.small.word_hashing import split
from training.evaluation.roles import PlannedGoal, goals_to_plan
from training.rl.self_correction import Ask, Attempt


class PlanExercise:
    """Goals of doom, most of which need something first."""

    length = MOST[ANSWER] + 1  # and its end

    def problems(self, count: int, seed: int, *, evaluation: bool = False) -> list[PlannedGoal]:
        return goals_to_plan(count, seed, "held_out" if evaluation else "training")

    def attempt(
        self, ask: Ask[Prompt], problems: Sequence[PlannedGoal], after: Sequence[Attempt[Prompt]] = ()
    ) -> list[Attempt[Prompt] | None]:
        told = [one.told for one in after] or [""] * len(problems)
        prompts = [
            plan_prompt(one.goal, with_attempt(one.memory, text)) for one, text in zip(problems, told, strict=True)
        ]
        attempts: list[Attempt[Prompt] | None] = []
        for one, prompt, decision in zip(problems, prompts, ask(prompts), strict=True):
            right = tuple(decision.speech.split(THEN)) == one.steps
            attempts.append(Attempt((prompt,), (decision,), float(right), right, decision.speech))
        return attempts

    def again(self, prompts: Sequence[Prompt], after: Attempt[Prompt], problem: PlannedGoal) -> tuple[Prompt, ...]:
        memory = split(with_attempt(problem.memory, after.told), "memory")
        return tuple(replace(prompt, memory=memory) for prompt in prompts)

    def close(self) -> None:
        """Nothing is held."""
