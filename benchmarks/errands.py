"""Errands of 20 to 60 steps: `small` alone, with a planner, with memory beside it, told the ways that its map knows,
and with critic and judge as well.

    python benchmarks/errands.py --episodes 8 --minutes 1.7 --out errands.jsonl

The levels are the suite doom-errands; the world waits for the planner, so that the figures do not depend on the
machine. Progress is the share of an errand's steps that are done in order, by ground truth, which no player sees.
Repetition is the share of the player's moves to a place and direction (96 map units, 45 degrees) in which it was three
times or more before. A claim is a step that counts as done; it is false where ground truth does not agree, and poisons
what is planned from then on. `--out` keeps every episode: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.episode import Step, Subscriber
from agent.long.critic import SmallEyes
from agent.long.harness import LongPlanner
from agent.long.small import SmallThinker
from agent.loop.players import InStep, Player, ScriptedPlayer
from agent.loop.runtime import play
from agent.models import load_model
from agent.small import SmallPolicy, load_small
from agent.small.checkpoint import SHIPPED
from agent.talk.conversation import Conversation
from agent.talk.planned_conversation import PlannedConversation
from agent.talk.planner import SmallPlanner
from agent.talk.voice import PolicyVoice
from envs.doom.world import DoomState, DoomWorld
from tasks import world_tasks
from tasks.doom.errands import ErrandVerifier
from tasks.doom.proposals import achievable
from tasks.doom.suites import SUITES
from tasks.expert_policy import ExpertPolicy
from tasks.json_lines import resume
from tasks.task import Task, VerifierSpec
from tasks.verifier import Verdict
from training.data.episodes import Recorder
from training.evaluation.statistics import wilson

ARMS = ("expert", "alone", "planner", "memory", "way", "critic")
NAMES = {
    "expert": "the expert, which sees ground truth",
    "alone": "`small` alone",
    "planner": "with the planner `small`",
    "memory": "with planner and memory",
    "way": "with planner, memory and ways",
    "critic": "with planner, memory, ways, critic and judge",
}
EVERY = 3.0  # seconds of play after which a planner is asked again
_SLACK = 12  # ticks between what happens and what is said of it
_AGAIN = 3  # times that one was there before


class Audit(Subscriber):
    """Ground truth of an episode: which instructions were carried out, and how often the player was where."""

    def __init__(self, verifier: ErrandVerifier) -> None:
        self.verifier = verifier
        self.text = ""  # the instruction now, set by `on_step`
        self.stretches: list[tuple[int, str, VerifierSpec | None, DoomState]] = []
        self.reached: dict[int, int] = {}  # the tick at which a stretch was carried out
        self.said: list[tuple[int, str]] = []  # what the player says it has done
        self._moves: Counter[tuple[int, int, int]] = Counter()
        self._at: tuple[int, int, int] | None = None
        self.again = 0
        self._index = -1

    def judge(self, state: DoomState) -> Verdict | None:
        place = round(state.x / 96), round(state.y / 96), round(state.angle / 45) % 8
        if place != self._at:
            self.again += self._moves[place] >= _AGAIN
            self._moves[place] += 1
            self._at = place
        if not self.stretches or self.stretches[-1][1] != self.text:
            spec = achievable(self.text, state.level, state) if self.text else None
            self.stretches.append((state.tick, self.text, spec, state))
        number = len(self.stretches) - 1
        if number not in self.reached and _fact(*self.stretches[-1][2:], state):
            self.reached[number] = state.tick
        return self.verifier.update(state)

    def on_step(self, step: Step) -> None:
        self.text = step.instruction
        decision = step.decision
        if decision is not None and decision.done and step.index != self._index:
            self._index = step.index
            if not decision.speech.startswith("i see no") and not decision.speech.endswith("?"):
                self.said.append((step.tick, step.instruction))

    @property
    def repetition(self) -> float:
        return self.again / max(1, self._moves.total())

    def false(self, claims: Sequence[tuple[int, str]]) -> int:
        """How many of the claims, (tick, instruction), ground truth denies."""
        wrong = 0
        for tick, text in claims:
            mine = [i for i, (since, said, *_) in enumerate(self.stretches) if said == text and since <= tick]
            wrong += not any(self.reached.get(i, math.inf) <= tick + _SLACK for i in mine)
        return wrong


def _fact(spec: VerifierSpec | None, before: DoomState, state: DoomState) -> bool:
    """Whether what was asked for since `before` is so now."""
    if spec is None:
        return False
    if spec.name == "press":
        return len(state.markers) < len(before.markers)
    steps = spec.args["steps"] if spec.name == "sequence" else [{"name": spec.name, "args": dict(spec.args)}]
    if any(step["name"] not in ("go_to", "pick_up", "shoot", "open") for step in steps):
        return False
    asked = [{**step, "asked": step["name"] == "go_to"} for step in steps]
    return ErrandVerifier(asked).update(state) is not None


def episode(
    world: DoomWorld, task: Task, small: SmallPolicy | None, arm: str, ticks: int, record: Path | None = None
) -> dict[str, Any]:
    """One errand under one arm, and how it went. `small`: who plays, beside the expert. `record`: the folder to write
    the episode into."""
    verifier = world_tasks.verifier_of(task)
    assert isinstance(verifier, ErrandVerifier)
    audit, began = Audit(verifier), time.process_time()
    how: dict[str, Any] = {"seed": task.seed, "options": task.options, "time_limit": ticks, "judge": audit.judge}
    long: LongPlanner | None = None
    talk: Conversation | None = None
    recorders = [Recorder(record, task=task, policy=arm)] if record is not None else []
    if arm == "expert":
        player: Player = ScriptedPlayer(ExpertPolicy().start(task))
        outcome = play(world, player, task.instruction, subscribers=[audit, *recorders], observe="decision", **how)
    else:
        assert small is not None
        voice, model = PolicyVoice(small), load_model("small")
        if arm == "alone":
            talk = Conversation(voice)
        elif arm == "planner":
            talk = PlannedConversation(SmallPlanner(model), voice, every=EVERY, waits=True)
        else:
            eyes = SmallEyes(model) if arm == "critic" else None
            long = LongPlanner(
                SmallThinker(model), describe=voice.describe, judge=eyes, critic=eyes, ways=arm != "memory"
            )
            talk = PlannedConversation(long, voice, every=EVERY, waits=True)
        talk.attach(world)
        talk.begin(task.instruction)
        subscribers = [*([long] if long else []), talk, audit, *recorders]  # it has seen what it is asked about
        outcome = play(
            world, InStep(small), talk.instruction, control=talk, subscribers=subscribers, observe="decision",
            end_on_done=True, **how,
        )  # fmt: skip
        talk.close()
    assert not outcome.problems, outcome.problems
    claims = audit.said if long is None else [(claim.tick, claim.text) for claim in long.claims]
    return {
        "arm": arm, "task": task.id, "steps": len(task.verifier.args["steps"]) if task.verifier else 0,
        "done": verifier.done, "success": bool(outcome.success), "why": outcome.why, "ticks": outcome.ticks,
        "wrong": len(verifier.wrong), "repetition": audit.repetition, "claims": len(claims),
        "false": audit.false(claims), "turns": long.desk.turn if long else 0,
        "cpu": round(time.process_time() - began, 1),
    }  # fmt: skip


def _folder(record: Path | None, task: Task, arm: str) -> Path | None:
    return record / f"{task.id.replace('/', '-')}-{arm}" if record is not None else None


def interval(values: Sequence[float], rng: np.random.Generator) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean."""
    drawn = rng.choice(np.asarray(values), (2000, len(values))).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The arms beside each other, as Markdown."""
    lines = [
        "| | n | success, % | progress, % | things wrongly taken | repetition, % | claims of done | false | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        if not mine:
            continue
        wins, progress = sum(row["success"] for row in mine), [100 * row["done"] / row["steps"] for row in mine]
        (low, high), rng = wilson(wins, len(mine)), np.random.default_rng(0)
        spread = interval(progress, rng)
        cells = [
            NAMES[arm], str(len(mine)), f"{100 * wins / len(mine):.0f} ({100 * low:.0f}–{100 * high:.0f})",
            f"{np.mean(progress):.1f} ({spread[0]:.1f}–{spread[1]:.1f})",
            f"{np.mean([row['wrong'] for row in mine]):.1f}",
            f"{100 * np.mean([row['repetition'] for row in mine]):.0f}",
            str(sum(row["claims"] for row in mine)), str(sum(row["false"] for row in mine)),
            f"{np.mean([row['cpu'] for row in mine]):.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1.7, help="of game time, at most, for an errand")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--policy", type=Path, default=SHIPPED, help="the checkpoint that plays")
    parser.add_argument("--out", type=Path, default=Path("errands.jsonl"), help="every episode, a line each")
    parser.add_argument("--record", type=Path, help="a folder for the episodes as well, for `agent replay --video`")
    args = parser.parse_args()
    small, world = load_small(args.policy) if set(args.arms) - {"expert"} else None, DoomWorld()
    ticks = round(60 * args.minutes * world.tick_hz)
    jobs = [
        (
            {"arm": arm, "task": task.id},
            partial(episode, world, task, small, arm, ticks, _folder(args.record, task, arm)),
        )
        for task in SUITES["doom-errands"].tasks(args.seed, args.episodes)
        for arm in args.arms
    ]

    def tell(row: dict[str, Any]) -> None:
        done = f"{row['done']:2d} of {row['steps']} steps, {row['cpu']} CPU s"
        print(f"{row['arm']:8s} {row['task']}  {done}", flush=True)

    try:
        rows = resume(args.out, jobs, tell)
    finally:
        world.close()
    print(table(rows))


if __name__ == "__main__":
    main()
