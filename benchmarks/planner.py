"""What a planner is worth: `small` alone, and under planners, on instructions longer than it was ever taught.

    python benchmarks/planner.py --episodes 60 --out planner.json
    python benchmarks/planner.py --suite doom-vault --rows expert alone small

Each task has four or five steps in one room, such as "pick up the red key, then shoot the imp, then press the switch,
then go to the torch"; `small` is taught two at most. Ground truth checks every step in its order, and the episode fails
where a wrong thing is taken, shot or stood at. The levels never occur in training. The world waits for the planner, so
that the figures do not depend on the machine's speed. The expert shows what can be done. A planner reads what `small`
says is in view; smol sees no pictures. With `--suite` the tasks are those of a suite of doom.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.loop.players import InStep, Player, ScriptedPlayer
from agent.models import load_model
from agent.small import SmallPolicy, load_small
from agent.small.checkpoint import SHIPPED
from agent.talk.conversation import Conversation
from agent.talk.planned_conversation import PlannedConversation
from agent.talk.planner import ChatPlanner, Planner, load_planner
from agent.talk.voice import PolicyVoice
from envs.doom.levels import TRAINING_THEMES
from envs.doom.world import DoomWorld
from tasks.doom.build import in_room
from tasks.doom.goals import targets_of
from tasks.doom.language import Meaning, sentence
from tasks.doom.suites import EVALUATION_SEEDS, evaluation
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from tasks.task import Task
from training.evaluation.statistics import wilson

VERBS = ("pick_up", "go_to", "shoot", "press", "face", "touch")
TICKS = 350  # for a step
LONG = 600.0  # seconds


def long_tasks(seed: int, episodes: int) -> Iterator[Task]:
    """Tasks of four and five steps in turn, each thing in one step alone."""
    for index in range(episodes):
        rng = np.random.default_rng([seed, index])
        made = None
        while made is None:
            steps = _draw(rng, 4 + index % 2)
            level_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
            try:
                made = in_room(rng, replace(steps[0], then=tuple(steps[1:])), level_seed, TRAINING_THEMES)
            except ValueError:  # no room for all that
                continue
        text = sentence(rng, replace(steps[0], then=tuple(steps[1:])))
        options = {"level": made.level.to_json()}
        yield Task(f"long/{seed}/{index}", text, "doom", level_seed, options, TICKS * len(steps), made.verifier)


def _draw(rng: np.random.Generator, count: int) -> list[Meaning]:
    steps: list[Meaning] = []
    while len(steps) < count:
        verb = str(rng.choice(VERBS))
        # One arrives at a run, and would slide into what can be taken.
        pairs = targets_of("touch" if verb == "go_to" else verb, "training")
        step = Meaning(verb, "panel") if verb == "press" else Meaning(verb, *pairs[rng.integers(len(pairs))])
        if step.kind not in {other.kind for other in steps}:
            steps.append(step)
    return steps


def play(world: DoomWorld, task: Task, small: SmallPolicy, planner: Planner | None, row: str) -> dict[str, Any]:
    """One episode, and how it went."""
    if row == "expert":
        player: Player = ScriptedPlayer(ExpertPolicy().start(task))
        outcome, told = play_task(world, player, task), []
    else:
        voice = PolicyVoice(small)
        talk = Conversation(voice) if planner is None else PlannedConversation(planner, voice, waits=True)
        talk.attach(world)
        talk.begin(task.instruction)
        outcome = play_task(
            world, InStep(small), task, instruction=talk.instruction, control=talk, subscribers=[talk], end_on_done=True
        )
        assert not outcome.problems, outcome.problems
        told = [line.text for line in talk.lines if line.who == "note"]
        if isinstance(talk, PlannedConversation):
            talk.close()
    assert not any("planner is off" in text for text in told), told
    return {
        "task": task.id,
        "text": task.instruction,
        "success": bool(outcome.success),
        "why": outcome.why,
        "ticks": outcome.ticks,
        "plans": [text for text in told if text.startswith("plan:")],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rows", nargs="+", default=["expert", "alone", "small", "smol"], help="or models by name")
    parser.add_argument("--suite", help="play the tasks of a suite instead")
    parser.add_argument("--policy", type=Path, help="a checkpoint of small instead of the shipped one")
    parser.add_argument("--out", type=Path, help="write every episode there, as JSON")
    args = parser.parse_args()
    suite = evaluation(args.suite) if args.suite else None
    tasks = list(suite.tasks(args.seed, args.episodes) if suite else long_tasks(args.seed, args.episodes))
    small, world = load_small(args.policy or SHIPPED), DoomWorld()
    results: dict[str, list[dict[str, Any]]] = {}
    try:
        for row in args.rows:
            planner: Planner | None = None
            if row not in ("expert", "alone"):
                named = f"small:{args.policy}" if row == "small" and args.policy else row
                planner = load_planner(named)
                if isinstance(planner, ChatPlanner):
                    planner.close()
                    # The same plans in every run, and as long as it takes.
                    planner = ChatPlanner(load_model(row, deadline=LONG), temperature=0.0)
            began = time.perf_counter()
            done = results[row] = []
            for task in tasks:
                done.append(play(world, task, small, planner, row))
                if args.out:
                    args.out.write_text(json.dumps(results, indent=1))
            if planner is not None:
                planner.close()
            _tell(row, done, time.perf_counter() - began)
    finally:
        world.close()


def _tell(row: str, done: list[dict[str, Any]], seconds: float) -> None:
    wins = sum(one["success"] for one in done)
    low, high = wilson(wins, len(done))
    name = {"expert": "expert", "alone": "small alone"}.get(row, f"small, planner {row}")
    plans = sum(len(one["plans"]) for one in done) / len(done)
    print(
        f"{name:24s} {wins:3d} of {len(done)}  {100 * wins / len(done):5.1f} % ({100 * low:.0f} to {100 * high:.0f})  "
        f"{plans:4.1f} plans an episode, {seconds / len(done):.1f} s",
        flush=True,
    )
    for why, count in Counter(one["why"] for one in done if not one["success"]).most_common(3):
        print(f"    {count:3d} x {why}", flush=True)


if __name__ == "__main__":
    main()
