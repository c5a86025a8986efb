"""How well an agent converses: scripted people talk with it while it plays, and ground truth says how that went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.talk.chat_voice import voice_of
from envs.doom.world import DoomWorld
from tasks.doom.conversation_scripts import script
from tasks.doom.converse import Talked, converse
from training.evaluation.statistics import proportion
from training.recipe import OnProgress, Progress, ignore_progress
from training.workers.hire import hire
from training.workers.parallel_play import ParallelPlay, portions
from training.workers.workers import Failed

ROWS = {"policy": True, "hears the first line alone": False}  # whether it hears what is said after the first line
WORST = 12  # failures that are told


@dataclass(frozen=True)
class Job:
    """A conversation, and whether the agent hears all of it."""

    seed: int
    index: int
    heard: bool


class Talker:
    """A Worker that has conversations in lockstep, several at once, which share the model's passes."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._policy = load()
        self._voice, self._listener = voice_of(self._policy)
        self._worlds = ParallelPlay(partial(DoomWorld, labels=True))

    def work(self, job: Sequence[Job]) -> list[Talked]:
        return self._worlds.play(
            self._policy,
            job,
            lambda world, player, one: converse(
                world, player, self._voice, script(one.seed, one.index), heard=one.heard, listener=self._listener
            ),
        )

    def close(self) -> None:
        self._worlds.close()


def evaluate_conversations(
    load: Callable[[], Any],
    n: int,
    seed: int,
    *,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Any]:
    """Have `n` conversations, once with all that is said and once with an agent that hears the first line alone.

    `load` makes the policy in each process; it must be picklable. Gives "success" with its 95 % Wilson interval "ci",
    "episodes", the same "by_kind" and "by_phrasing", the "failures", and the other row under "baselines".
    The stages of progress are the rows. Raises RuntimeError where a conversation could not be had.
    """
    done = 0
    rows: dict[str, list[Talked]] = {row: [] for row in ROWS}
    with hire(partial(Talker, load), workers, most=n) as crew:
        for row, heard in ROWS.items():
            orders = portions([Job(seed, index, heard) for index in range(n)], crew.count)
            for portion, results in crew.run(orders):
                if isinstance(results, Failed):
                    raise RuntimeError(f"conversations {portion[0].index} to {portion[-1].index}: {results.error}")
                rows[row] += results
                done += len(results)
                on_progress(Progress(row, done, len(ROWS) * n))
    found = {row: summary(talked) for row, talked in rows.items()}
    return {**found.pop("policy"), "baselines": found}


def summary(talked: Sequence[Talked]) -> dict[str, Any]:
    """The share of conversations that went right, in all and by kind and phrasing, and why others did not."""

    def by(key: Callable[[Talked], str]) -> dict[str, Any]:
        names = sorted({key(one) for one in talked})
        return {name: _share([one for one in talked if key(one) == name]) for name in names}

    failures = Counter(f"{one.script.kind}: {one.why}" for one in talked if not one.right)
    return {
        **_share(talked),
        "by_kind": by(lambda one: one.script.kind),
        "by_phrasing": by(lambda one: one.script.phrasing),
        "failures": dict(failures.most_common(WORST)),
    }


def _share(talked: Sequence[Talked]) -> dict[str, Any]:
    return proportion(sum(one.right for one in talked), len(talked), name="success")
