"""Evaluation: how often a policy does what it is told, with confidence intervals, beside baselines and controls."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agent.capabilities import Scripted, spec_of
from agent.episode import Step, Subscriber
from agent.loop.players import Player, ScriptedPlayer
from envs import plugins
from envs.world import World
from tasks import confirmation, controls, speech
from tasks.play import play_task
from tasks.task import Task
from training.evaluation.statistics import proportion
from training.recipe import OnProgress, Progress, ignore_progress
from training.workers.hire import hire
from training.workers.parallel_play import ParallelPlay, portions
from training.workers.workers import Failed

CONTROLS: dict[str, Callable[[Task], Task | None]] = {
    "no language": controls.without_language,
    "language control": controls.other_name,
}
BASELINES = ("expert", "random")


@dataclass(frozen=True)
class Job:
    """One episode: a task, as the row of the table sees it. `row` is "policy", or of BASELINES or CONTROLS."""

    row: str
    task: Task


@dataclass(frozen=True)
class Result:
    """How an episode went.

    `success`, `why`: the verdict. `claim`: whether the player said that something that is there is not; None where that
    would be right. `signalled`: whether it said within LINGER ticks of its success that it was done; None without a
    success. `confirmed`: whether its first line confirmed the instruction rightly; None where there is nothing to
    confirm. `played`: a digest of all decisions of the episode, the same for the same decisions. `ticks`: how many were
    played, `late`: how many of them came late, as in `agent.episode.Outcome`.
    """

    success: bool
    why: str
    decisions: int
    claim: bool | None = None
    signalled: bool | None = None
    confirmed: bool | None = None
    played: str = ""
    ticks: int = 0
    late: int = 0


class _Decided(Subscriber):
    """Makes a digest of all decisions of an episode: when each was asked for, its actions, thought and speech."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._last = -1

    def on_step(self, step: Step) -> None:
        if step.decision is not None and step.index != self._last:
            self._last = step.index
            actions = [action.to_json() for action in step.decision.actions]
            decision = [step.asked, actions, step.decision.thought, step.decision.speech, step.decision.done]
            self._hash.update(json.dumps(decision).encode())

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]


def verb_of(task: Task) -> str:
    """The verb of a task, by which results are grouped."""
    return task.verb


@dataclass
class Tally:
    """Successes, by verb and in all, why the others failed, and how often it was said that what is there is not.
    `group`: what stands in place of the verb."""

    group: Callable[[Task], str] = verb_of
    by_verb: dict[str, list[int]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    claims: list[int] = field(default_factory=lambda: [0, 0])  # false ones, of how many episodes
    signals: list[int] = field(default_factory=lambda: [0, 0])  # that it is done, of how many successes
    confirmations: list[int] = field(default_factory=lambda: [0, 0])  # right ones, of how many instructions
    played: list[tuple[str, str]] = field(default_factory=list)  # each task's id, and the digest of its episode
    ticks: list[int] = field(default_factory=lambda: [0, 0])  # that came late, of how many

    def add(self, task: Task, result: Result) -> None:
        verb = self.group(task)
        self.played.append((task.id, result.played))
        _count(self.by_verb.setdefault(verb, [0, 0]), result.success)
        if not result.success:
            self.failures[f"{verb}: {result.why}"] += 1
        _count(self.claims, result.claim)
        _count(self.signals, result.signalled)
        _count(self.confirmations, result.confirmed)
        self.ticks = [self.ticks[0] + result.late, self.ticks[1] + result.ticks]

    def to_json(self) -> dict[str, Any]:
        """JSON values: `success`, `ci`, `episodes`, and the same for every verb in `by_verb`.

        `false_claims`: their `share` of the `episodes` in which there was something to be done. `done_signalled`: the
        share of the successes after which the player said so within a second. `confirmed`: the share of the
        instructions that it confirmed rightly. `late`: the share of the `ticks` that came late, in a world that moves
        by itself. `played`: a digest of all episodes; two evaluations with the same one are the same, decision by
        decision.
        """
        successes, n = (sum(counts[i] for counts in self.by_verb.values()) for i in (0, 1))
        return {
            **proportion(successes, n, name="success"),
            "by_verb": {verb: proportion(*counts, name="success") for verb, counts in sorted(self.by_verb.items())},
            "failures": dict(self.failures.most_common(8)),
            "false_claims": proportion(*self.claims, name="share"),
            "done_signalled": proportion(*self.signals, name="share"),
            "confirmed": proportion(*self.confirmations, name="share"),
            "late": {"share": self.ticks[0] / max(1, self.ticks[1]), "ticks": self.ticks[1]},
            "played": hashlib.sha256(json.dumps(sorted(self.played)).encode()).hexdigest()[:16],
        }


def _count(counts: list[int], happened: bool | None) -> None:
    if happened is not None:
        counts[0] += happened
        counts[1] += 1


class Evaluator:
    """A Worker that plays the episodes of a job in lockstep, several at once, which share the model's passes."""

    def __init__(self, policy: Callable[[], Any], make_world: Callable[[], World]) -> None:
        self._load = policy
        self._policies: dict[str, Any] = {}
        self._worlds = ParallelPlay(make_world)

    def work(self, job: Sequence[Job]) -> list[Result]:
        row = job[0].row
        policy = self._policy(row if row in BASELINES else "policy")
        if isinstance(policy, Scripted):
            return self._worlds.play_scripts(
                job,
                lambda world, one: self._play(world, ScriptedPlayer(policy.start(one.task), spec=spec_of(policy)), one),
            )
        return self._worlds.play(policy, job, self._play, job[0].task.world)

    def _play(self, world: World, player: Player, job: Job) -> Result:
        task = job.task
        if task.verifier is None and not task.answer:
            raise ValueError(f"task {task.id} has no verifier")
        # who says that it is done before it is has failed
        decided = _Decided()
        outcome = play_task(
            world, player, task, subscribers=[decided], observe="decision", end_on_done=True, linger=speech.LINGER
        )
        player.close()
        confirmed = confirmation.confirmed(task, (line for _, line in outcome.said))
        said = speech.judge_speech(task, outcome)
        if said is None:
            claim = speech.false_claim(task, outcome)
            signalled = outcome.done if outcome.success and task.verb != "stand_still" else None
            return Result(
                bool(outcome.success), outcome.why, outcome.decisions, claim, signalled, confirmed, decided.digest(),
                outcome.ticks, outcome.late,
            )  # fmt: skip
        lines = confirmation.beyond(line for _, line in outcome.said)
        why = f"said {lines[0]!r}" if lines else "said nothing"
        return Result(
            said, why, outcome.decisions, confirmed=confirmed, played=decided.digest(), ticks=outcome.ticks,
            late=outcome.late,
        )  # fmt: skip

    def _policy(self, name: str) -> Any:
        if name not in self._policies:
            policy = self._load() if name == "policy" else plugins.load("policy", name)()
            self._policies[name] = policy
        return self._policies[name]

    def close(self) -> None:
        self._worlds.close()


def evaluate(
    tasks: Sequence[Task],
    load: Callable[[], Any],
    make_world: Callable[[], World],
    *,
    workers: str | int = 2,
    rows: Sequence[str] = ("policy",),
    group: Callable[[Task], str] = verb_of,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Tally]:
    """Play every task once for every row; how it went, by row.

    `load` makes the policy in each process, `make_world` the world; both must be picklable. `rows`: see Job.
    `group`: as in Tally. A control leaves out tasks that have nothing to exchange. The stages of progress are the rows.
    Raises RuntimeError where an episode could not be played.
    """
    jobs = {row: list(_jobs(row, tasks)) for row in rows}
    total = sum(len(of_row) for of_row in jobs.values())
    tallies = {row: Tally(group) for row in rows}
    done = 0
    with hire(partial(Evaluator, load, make_world), workers, most=max(1, total)) as crew:
        orders = [portion for of_row in jobs.values() for portion in portions(of_row, crew.count)]
        for portion, results in crew.run(orders):
            if isinstance(results, Failed):
                raise RuntimeError(f"{portion[0].task.id} to {portion[-1].task.id}: {results.error}")
            for job, result in zip(portion, results, strict=True):
                tallies[job.row].add(job.task, result)
            done += len(portion)
            on_progress(Progress(portion[0].row, done, total))
    return tallies


def _jobs(row: str, tasks: Sequence[Task]) -> Iterator[Job]:
    for task in tasks:
        if row == "expert" and task.verifier is None:
            continue  # it neither searches nor speaks
        changed = CONTROLS[row](task) if row in CONTROLS else task
        if changed is not None:
            yield Job(row, changed)
