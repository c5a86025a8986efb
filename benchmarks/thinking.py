"""What thinking pays: success against the tokens of a decision, paused and on a clock that charges for every token.

    python benchmarks/thinking.py --episodes 100 --out thinking.jsonl --figure docs/thinking.png

Every row plays the same tasks with another budget of thoughts: `--think off`, numbers of tokens, and `auto`, the
policy's own. Paused, the world waits for the decision. On the clock it goes on meanwhile: a decision of so many tokens
comes as many milliseconds later, and what it meant for the ticks that are over is dropped, as in real time. The clock
counts ticks of the world, so that the figures do not depend on the machine.

`--policy` takes any policies that `agent play` takes, chat models among them. Tokens are those that a policy says it
wrote; for others, as for `small`, its words and the six fields of its action. `--out` keeps every episode: the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from agent.cli.compose import load_policy
from agent.loop.players import DecisionRequest, InStep, Player, TimedDecision, timed
from agent.policy import Decision, Policy
from agent.small.place import read_place
from agent.small.token_ids import FIELDS
from envs.doom.world import DoomWorld
from envs.world import World
from tasks.doom import suites
from tasks.play import play_task
from tasks.task import Task
from training.evaluation.statistics import percent, wilson
from training.workers.parallel_play import ParallelPlay

THINK = ("off", "2", "4", "8", "auto")
SUITE = "doom-basic"
_AT_ONCE = 8  # episodes

Row = dict[str, Any]


def tokens_of(decision: Decision) -> int:
    """The tokens of a decision: as the policy says, else its words and the fields of its action, with <go> and
    <say>."""
    if decision.tokens:
        return len(decision.tokens)
    thought, _ = read_place(decision.thought)
    said = len(decision.speech.split())
    return len(thought.split()) + (said + 1 if said else 0) + 1 + len(FIELDS)


class Charged(Player):
    """A policy whose decisions come as late as their tokens cost: the world goes on while it thinks, by its own clock.

    `seconds`: of a token. As `agent.loop.players.Beside`, it is asked earlier where its decisions come late. `counted`
    is told the tokens of every decision.
    """

    def __init__(self, policy: Policy, seconds: float, tick_hz: float, counted: Callable[[int], None]) -> None:
        super().__init__(policy.spec)
        self._policy, self._seconds, self._hz, self._counted = policy, seconds, tick_hz, counted
        self._coming: tuple[int, TimedDecision] | None = None  # the tick at which a decision is there

    def begin(self, tick: int = 0) -> None:
        super().begin(tick)
        self._coming = None

    def due(self, tick: int) -> bool:
        if self._coming is not None:
            if tick < self._coming[0]:
                return False
            self.queue.merge(self._coming[1])
            self._coming = None
        lead = min(max(self.queue.late, default=0), self.spec.chunk - 1)
        return super().due(tick + (0 if self.spec.whole else lead))

    def _ask(self, request: DecisionRequest) -> None:
        (decision,) = self._policy.act([request.context])
        tokens = tokens_of(decision)
        self._counted(tokens)
        seconds = self._seconds * tokens
        made = timed(request, decision, seconds, self.spec.whole)
        late = math.ceil(seconds * self._hz)
        if late:
            self._coming = request.tick + late, made
        else:
            self.queue.merge(made)


def episode(world: World, player: InStep, job: tuple[str, Task, str, float]) -> Row:
    """One task with one budget on one clock."""
    policy, task, think, milliseconds = job
    counts: list[int] = []
    mine = Charged(player.policy, milliseconds / 1000.0, world.tick_hz, counts.append)
    outcome = play_task(world, mine, task, observe="tick" if milliseconds else "decision")
    return {
        "policy": policy, "think": think, "ms": milliseconds, "task": task.id, "success": bool(outcome.success),
        "tokens": sum(counts), "decisions": len(counts), "ticks": outcome.ticks,
    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Budgets and clocks beside each other, as Markdown."""
    lines = [
        "| policy | clock, ms a token | think | n | success, % | tokens a decision | decisions an episode |",
        "|---" * 7 + "|",
    ]
    for policy, ms, of in _lines(rows):
        for think, mine in of:
            wins, decisions = sum(row["success"] for row in mine), sum(row["decisions"] for row in mine)
            cells = [
                policy, f"{ms:g}" if ms else "paused", think, str(len(mine)),
                percent(wins / len(mine), wilson(wins, len(mine))),
                f"{sum(row['tokens'] for row in mine) / max(1, decisions):.1f}", f"{decisions / len(mine):.0f}",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path: Path, rows: Sequence[Row]) -> None:
    """The figure: success over the tokens of a decision, a line for each policy and clock, with 95 % Wilson
    intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), dpi=130, layout="constrained")
    axes = figure.subplots()
    styles = dict(zip(dict.fromkeys(row["policy"] for row in rows), ("-", "--", ":", "-."), strict=False))
    colours: dict[float, Any] = {}
    for policy, ms, of in _lines(rows):
        points = []
        for think, mine in of:
            wins, n = sum(row["success"] for row in mine), len(mine)
            low, high = wilson(wins, n)
            tokens = sum(row["tokens"] for row in mine) / max(1, sum(row["decisions"] for row in mine))
            points.append((tokens, 100 * wins / n, 100 * (wins / n - low), 100 * (high - wins / n), think))
        points.sort()
        x, y, below, above, names = zip(*points, strict=True)
        drawn = axes.errorbar(
            x, y, (below, above), marker="o", capsize=3, linestyle=styles[policy], color=colours.get(ms),
            label=f"{policy}, {f'{ms:g} ms a token' if ms else 'paused'}",
        )  # fmt: skip
        colours[ms] = drawn[0].get_color()
        marks: dict[tuple[float, float], list[str]] = {}
        for at, value, name in zip(x, y, names, strict=True) if not ms else ():  # other clocks have nearly the same x
            marks.setdefault((at, value), []).append(name)
        for place, same in marks.items():
            axes.annotate(", ".join(same), place, textcoords="offset points", xytext=(4, 5), fontsize=8)
    axes.margins(x=0.12)
    axes.set(xlabel="tokens a decision", ylabel="success, %", ylim=(-2, 102))
    axes.legend()
    figure.savefig(path)


def _lines(rows: Sequence[Row]) -> list[tuple[str, float, list[tuple[str, list[Row]]]]]:
    """The rows by policy and clock, and of these by their budget, from the smallest one."""
    order = {"off": -1, "auto": math.inf}
    found = []
    for policy in dict.fromkeys(row["policy"] for row in rows):
        for ms in sorted({row["ms"] for row in rows if row["policy"] == policy}):
            of = [row for row in rows if (row["policy"], row["ms"]) == (policy, ms)]
            names = sorted({row["think"] for row in of}, key=lambda name: order.get(name) or float(name))
            found.append((policy, ms, [(name, [row for row in of if row["think"] == name]) for name in names]))
    return found


def token_ms(policy: Policy, tasks: Sequence[Task]) -> float:
    """Milliseconds of a token on this machine, alone and in step: the median of the first decisions of some tasks."""
    taken: list[float] = []

    class Timed:
        spec = policy.spec

        def act(self, contexts: Any) -> list[Decision]:
            began = time.perf_counter()
            decisions = policy.act(contexts)
            taken.append(1000 * (time.perf_counter() - began) / tokens_of(decisions[0]))
            return decisions

    world = DoomWorld()
    try:
        for task in tasks:
            play_task(world, InStep(Timed()), task, observe="decision")
    finally:
        world.close()
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", nargs="+", default=["small"])
    parser.add_argument("--suite", default=SUITE)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--think", nargs="+", default=list(THINK))
    parser.add_argument("--ms", type=float, nargs="+", default=[0.0, 4.0, 7.0, 11.0], help="of a token; 0: paused")
    parser.add_argument("--out", type=Path, default=Path("thinking.jsonl"), help="every episode, a line each")
    parser.add_argument("--figure", type=Path, help="success against tokens, as a PNG")
    args = parser.parse_args()
    rows: list[Row] = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    have = {(row["policy"], row["think"], row["ms"], row["task"]) for row in rows}
    tasks = list(suites.evaluation(args.suite).tasks(args.seed, args.episodes))
    together = ParallelPlay(partial(DoomWorld), min(_AT_ONCE, args.episodes))
    try:
        for name, think in product(args.policy, args.think):
            policy = load_policy(name, think)
            for ms in args.ms:
                jobs = [(name, task, think, ms) for task in tasks if (name, think, ms, task.id) not in have]
                if not jobs:
                    continue
                played = together.play(policy, jobs, episode, "doom")
                rows += played
                with args.out.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in played)
                wins = sum(row["success"] for row in played)
                print(f"{name}, think {think}, {ms:g} ms a token: {wins} of {len(played)}", flush=True)
    finally:
        together.close()
    wanted = [r for r in rows if r["policy"] in args.policy and r["think"] in args.think and r["ms"] in args.ms]
    print(table(wanted))
    for name in args.policy:
        print(f"\n{name} takes {token_ms(load_policy(name), tasks[:3]):.1f} ms a token here, one player at a time")
    if args.figure:
        draw(args.figure, wanted)


if __name__ == "__main__":
    main()
