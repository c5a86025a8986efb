"""Measure a policy on a suite, beside the expert: success rates with 95 % Wilson intervals.

    python examples/evaluate.py
    agent eval --suite doom-basic --episodes 100 --policy random    # the same from the command line

Tasks of a suite are the same for the same seed, and their levels never occur in training.
"""

from __future__ import annotations

from agent.random_policy import RandomPolicy
from envs.doom.world import DoomWorld
from tasks import world_tasks
from training.evaluation.success import evaluate


def main(episodes: int = 20) -> None:
    tasks = list(world_tasks.suite("doom-basic").tasks(seed=11, n=episodes))
    for row, tally in evaluate(tasks, RandomPolicy, DoomWorld, rows=("policy", "expert")).items():
        result = tally.to_json()
        low, high = (100 * bound for bound in result["ci"])
        print(f"{row:8} {100 * result['success']:5.1f} % ({low:.1f} to {high:.1f}) of {result['episodes']}")


if __name__ == "__main__":
    main()
