"""Episodes for the judge: frames of play, the instruction they are held against, and whether it was fulfilled.

Truth is always a verifier's, over the states of the episode. An episode is seen as `agent.small.judge_view.view` shows
it. Sources, which come in turn:

    success       the expert, every second time disturbed
    wrong object  the expert does the same with another thing than the instruction names
    near miss     the expert, stopped 1 to 6 decisions before its success
    relabelled    a success, with another instruction that it does not fulfil
    idle          standing about, turning around, or a random walk

A recipe of training may add failures of other kinds:

    rewound       a success, backwards
    already       what comes after a success: what is asked for was so before
    staring       the player faces what is wanted and does no more
    cut short     the expert, stopped anywhere before its success

How far an episode came is told where it can be: all the way in a success, the share of the decisions that the success
took in what stops before it, and nowhere in what does something else, nothing, or the reverse.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from agent import doom_codec as codec
from agent.loop.players import Player, ScriptedPlayer
from agent.policy import Decision
from agent.small.judge_view import JUDGE_FRAMES, view
from agent.small.model import FRAME_SIZE
from envs.doom.level import Level
from envs.doom.world import DoomState, DoomWorld
from envs.world import World
from tasks import world_tasks
from tasks.doom.geometry import bearing
from tasks.doom.language import Meaning
from tasks.task import Task, VerifierSpec
from tasks.verifier import Verdict
from training.data.disturb import Disturbed
from training.recipe import OnProgress, Progress, ignore_progress
from training.small.judge_goals import done, goal_of, judged_suite, others, say, spec_for
from training.small.judge_takes import (
    LINGER,
    Decide,
    Take,
    UnfitError,
    ask,
    decided,
    expert_player,
    lingering,
    shortened,
    succeeded,
    wanderer,
    wanted_point,
    watch,
    why_failed,
)
from training.workers.hire import hire
from training.workers.workers import Failed

SOURCES = ("success", "wrong object", "near miss", "relabelled", "idle")
# What is made of every level in turn: a third of it successes.
RECIPES = ("success", "wrong object", "near miss", "disturbed", "relabelled", "idle")
CUT: Final = "cut short"
Added = Literal["rewound", "already", "staring", "cut short"]
ADDED: tuple[Added, ...] = ("rewound", "already", "staring", CUT)
_NOWHERE = ("wrong object", "idle", "rewound")
REST = codec.decode(codec.NOOP)
_NEXT_LEVEL = 1_000_003  # added to a task's number where a level is no good; changes its verb too
_ATTEMPTS = 40
_LEAST = 2  # decisions before something was done
_PORTION = 5  # levels
_STARED = 4.0  # degrees from the view's centre at which one stares at a point


@dataclass(frozen=True)
class Order:
    """One episode to be made: its row in the arrays, the suite and number of its task, the recipe, and which of its
    level's episodes it is."""

    row: int
    suite: str
    index: int
    recipe: str
    turn: int


def collect(
    out: Path,
    suites_and_counts: Mapping[str, int],
    seed: int,
    evaluation: bool = False,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
    added: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Path:
    """Play episodes for the judge and write them to the folder `out`, which it returns.

    `suites_and_counts`: episodes of each suite, "judge-houses" or a training suite with a single step a task.
    `evaluation`: levels that training never sees, a new one for every episode; training makes one of each recipe out
    of every level. `added`: kinds of ADDED that are made too; for two of them comes another success. `only`: kinds that
    are made in place of all.

    Writes `frames.npy`, uint8 (N, 8, 120, 160, 3), and when that is whole `episodes.jsonl`, N lines with `instruction`,
    `success`, `reason`, `source`, `suite`, `verb`, `seed` (of the level), `decisions` and `progress`, how far the
    episode came from 0 to 1, or null. The same arguments give the same episodes, pixel for pixel but for the sway of
    the weapon. Raises ValueError for a suite that is held out or not fit for the judge.
    """
    for wanted, known in ((added, ADDED), (only, (*RECIPES, *ADDED))):
        if unknown := sorted(set(wanted) - set(known)):
            raise ValueError(f"unknown kind of episode {unknown[0]!r}; known: {', '.join(known)}")
    recipes = tuple(only) or (*RECIPES, *added, *["disturbed"] * (len(added) // 2))
    orders = list(_orders(suites_and_counts, recipes, evaluation))
    for name in suites_and_counts:
        judged_suite(name, evaluation)
    if not orders:
        raise ValueError("no episodes to collect")
    out.mkdir(parents=True, exist_ok=True)
    (out / "episodes.jsonl").unlink(missing_ok=True)
    shape = (len(orders), JUDGE_FRAMES, *FRAME_SIZE, 3)
    np.lib.format.open_memmap(out / "frames.npy", mode="w+", dtype=np.uint8, shape=shape)
    size = _PORTION * len(recipes)
    jobs = [orders[i : i + size] for i in range(0, len(orders), size)]
    meta: dict[int, dict[str, Any]] = {}
    with hire(partial(Collector, out / "frames.npy", seed, evaluation), workers, most=len(jobs)) as crew:
        for job, result in crew.run(jobs):
            if isinstance(result, Failed):
                raise RuntimeError(f"{job[0].suite}/{seed}/{job[0].index} and following: {result.error}")
            meta.update(zip((order.row for order in job), result, strict=True))
            on_progress(Progress("play", len(meta), len(orders)))
    partly = out / "episodes.jsonl.part"
    partly.write_text("".join(json.dumps(meta[row]) + "\n" for row in range(len(orders))))
    partly.rename(out / "episodes.jsonl")
    return out


def load(folder: Path) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    """The frames, mapped into memory, and the lines about them. Raises ValueError where the folder is not whole."""
    try:
        lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
        frames = np.load(folder / "frames.npy", mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ValueError(f"{folder}: no whole set of judged episodes: {error.strerror}") from error
    if len(frames) != len(lines):
        raise ValueError(f"{folder}: {len(frames)} rows of frames, but {len(lines)} lines about them")
    return frames, lines


def _orders(suites_and_counts: Mapping[str, int], recipes: Sequence[str], evaluation: bool) -> Iterator[Order]:
    row, n = 0, len(recipes)
    for suite, count in suites_and_counts.items():
        for i in range(count):
            # in evaluation every recipe has levels of its own, and goes through all verbs
            index = i // n + (i % n) * (_NEXT_LEVEL // n if evaluation else 0)
            yield Order(row, suite, index, recipes[i % n], i % n)
            row += 1


class Collector:
    """A Worker that plays episodes and puts their frames into the array at `path`."""

    def __init__(self, path: Path, seed: int, evaluation: bool) -> None:
        self._frames = np.load(path, mmap_mode="r+", allow_pickle=False)
        self._seed, self._evaluation = seed, evaluation
        self._worlds: dict[bool, World] = {}
        self._expert: tuple[str, Take] | None = None  # the last undisturbed take: several recipes use it

    def work(self, job: Sequence[Order]) -> list[dict[str, Any]]:
        """Make some episodes; what is to be known about each."""
        return [self._make(order) for order in job]

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()

    def _make(self, order: Order) -> dict[str, Any]:
        for attempt in range(_ATTEMPTS):
            index = order.index + attempt * _NEXT_LEVEL
            key = (self._seed, index, zlib.crc32(order.suite.encode()), order.turn, int(self._evaluation))
            try:
                return self._try(order, index, np.random.default_rng(key))
            except (UnfitError, ValueError):
                continue
        raise RuntimeError(f"no level for the recipe {order.recipe!r} of {order.suite}")

    def _try(self, order: Order, index: int, rng: np.random.Generator) -> dict[str, Any]:
        task = judged_suite(order.suite, self._evaluation).task(self._seed, index, evaluation=self._evaluation)
        level = Level.from_json(task.options["level"])
        goal, spec = goal_of(task, level)
        task = replace(task, verifier=spec)
        if order.recipe == "success":
            take = self._success(task, spec)
            end = decided(take) + lingering(rng)
        elif order.recipe == "disturbed":
            take = self._play(task, Disturbed(expert_player(task)), [spec], rng)
            end = decided(take) + lingering(rng)
        elif order.recipe == "wrong object":
            take = self._wrong(task, level, goal, spec, rng)
            end = len(take.decisions)
        elif order.recipe == "near miss":
            take = self._near_miss(task, spec, rng)
            end = len(take.decisions)
        elif order.recipe == "relabelled":
            take = self._success(task, spec)
            goal, spec = self._other_goal(level, goal, take, rng)
            task = replace(task, instruction=say(rng, level, goal))
            take = replace(take, watched=[watch(spec, take.states), *take.watched])
            end = min(verdict[1] for _, verdict in take.watched if verdict) + lingering(rng)
        elif order.recipe in ADDED:
            make = {"rewound": self._rewound, "already": self._already, "staring": self._staring, CUT: self._cut}
            take = make[order.recipe](task, spec, rng)
            end = len(take.decisions)
        else:
            take = self._idle(task, spec, rng)
            end = len(take.decisions)
        end = min(end, len(take.decisions))
        verdict = take.watched[0][1]
        success = verdict is not None and verdict[0].success and verdict[1] <= end
        source = "success" if order.recipe == "disturbed" else order.recipe
        if success != (source == "success"):
            raise UnfitError
        self._frames[order.row] = view(take.frames[: end + 1])
        return {
            "instruction": task.instruction,
            "success": success,
            "reason": done(level, spec) if success else why_failed(level, take, end),
            "source": source,
            "suite": order.suite,
            "verb": goal.verb,
            "seed": task.seed,
            "decisions": end,
            "progress": 1.0 if success else 0.0 if source in _NOWHERE else take.progress,
        }

    # The recipes. What they raise, ValueError and UnfitError, sends the order on to another level.

    def _success(self, task: Task, spec: VerifierSpec) -> Take:
        """The expert's play and some more; its random numbers are the level's own, so that recipes share the take."""
        if self._expert is None or self._expert[0] != task.id:
            rng = np.random.default_rng([task.seed, 3])
            self._expert = task.id, self._play(task, expert_player(task), [spec], rng, linger=LINGER)
        take = self._expert[1]
        decided(take)
        return take

    def _wrong(self, task: Task, level: Level, goal: Meaning, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        """The expert does something else, most often the same with another thing."""
        for other in others(rng, level, goal, same_verb=True):
            instead = spec_for(level, other)
            if instead is None:
                continue
            script = expert_player(replace(task, verifier=instead))
            take = self._play(task, Disturbed(script) if rng.random() < 0.5 else script, [spec, instead], rng)
            verdicts = [verdict for _, verdict in take.watched if verdict]
            # it must do something, and not what was asked for by accident
            if verdicts and min(n for _, n in verdicts) >= _LEAST and not succeeded(take.watched[0]):
                return take
        raise UnfitError

    def _near_miss(self, task: Task, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        if spec.name == "stand_still":  # nobody sees whether it was long enough
            raise UnfitError
        take = self._success(task, spec)
        needed = decided(take)
        for _ in range(4):
            cut = needed - int(rng.integers(1, 7))
            if cut < 1:
                continue
            if rng.random() < 0.5:
                return shortened(take, cut)
            # it stops there, or walks away
            script = iter(take.decisions[:cut])
            then: Decide = wanderer(rng) if rng.random() < 0.3 else lambda state: REST

            def decide(state: DoomState, script: Iterator[Decision] = script, then: Decide = then) -> Decision:
                return next(script, None) or then(state)

            missed = self._play(task, ScriptedPlayer(decide), [spec], rng, most=cut + 1 + lingering(rng))
            if not succeeded(missed.watched[0]):
                return missed
        raise UnfitError

    def _other_goal(
        self, level: Level, goal: Meaning, take: Take, rng: np.random.Generator
    ) -> tuple[Meaning, VerifierSpec]:
        """Another goal of the level, which the take does not fulfil."""
        for other in others(rng, level, goal, same_verb=bool(rng.random() < 0.5)):
            spec = spec_for(level, other)
            if spec is None:
                continue
            if not succeeded(watch(spec, take.states)):
                return other, spec
        raise UnfitError

    def _idle(self, task: Task, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        style, length = rng.random(), int(rng.integers(10, 41))
        if style < 0.3:
            decide: Decide = lambda state: REST  # noqa: E731 - one of three
        elif style < 0.5:
            turning = codec.decode(codec.tokens_of(turn=float(rng.choice([-32, -23, -16, 16, 23, 32, 32]))))
            decide = lambda state: turning  # noqa: E731
        else:
            decide = wanderer(rng)
        return self._play(task, ScriptedPlayer(decide), [spec], rng, most=length)

    def _rewound(self, task: Task, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        """A success, backwards: what was done is undone in the end."""
        if spec.name == "stand_still":  # backwards it looks the same
            raise UnfitError
        take = self._success(task, spec)
        end = decided(take)
        if end < _LEAST:
            raise UnfitError
        return Take(take.frames[end::-1], take.states[end::-1], take.decisions[:end], [(spec, None)])

    def _already(self, task: Task, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        """What comes after a success: the player stands there, or looks around, and what is asked for was so before."""
        if spec.name == "stand_still":  # who goes on standing stands still again
            raise UnfitError
        take = self._success(task, spec)
        end, length = decided(take), int(rng.integers(8, 25))
        turning = codec.decode(codec.tokens_of(turn=float(rng.choice([-23, 23, 32]))))
        then = turning if rng.random() < 0.3 and spec.name not in ("look", "face") else REST
        script = iter(take.decisions[:end])
        player = ScriptedPlayer(lambda state: next(script, None) or then)
        after = self._play(task, player, [], rng, most=end + length)
        return Take(after.frames[end:], after.states[end:], after.decisions[end:], [(spec, None)])

    def _cut(self, task: Task, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        """A success that ends too early, anywhere."""
        if spec.name == "stand_still":  # nobody sees how long it was
            raise UnfitError
        take = self._success(task, spec)
        if decided(take) < _LEAST:
            raise UnfitError
        return shortened(take, int(rng.integers(1, decided(take))))

    def _staring(self, task: Task, spec: VerifierSpec, rng: np.random.Generator) -> Take:
        """The player turns to what is wanted and does no more."""
        if spec.name == "face":  # that would be a success
            raise UnfitError
        point = wanted_point(Level.from_json(task.options["level"]), spec)

        def decide(state: DoomState) -> Decision:
            off = bearing(state, *point)
            return codec.decode(codec.tokens_of(turn=off)) if abs(off) > _STARED else REST

        return self._play(task, ScriptedPlayer(decide), [spec], rng, most=int(rng.integers(8, 31)))

    # Play

    def _play(
        self,
        task: Task,
        player: Player,
        watchers: Sequence[VerifierSpec],
        rng: np.random.Generator,
        *,
        linger: int | None = None,
        most: int | None = None,
    ) -> Take:
        """Play until one of `watchers` says its verdict and `linger` decisions more (a random number by default), or
        for `most` decisions."""
        after = lingering(rng) if linger is None else linger
        rests = rng.random() < 0.5  # after the verdict: or the player plays on
        most = task.time_limit // codec.CHUNK if most is None else most
        verifiers = [world_tasks.of("doom").verifier(spec) for spec in watchers]
        verdicts: list[tuple[Verdict, int] | None] = [None] * len(watchers)
        world = self._world(task)
        player.begin()
        observation, info = world.reset(seed=task.seed, options=task.options)
        frames, states, decisions = [observation["pixels"]], [info["state"]], list[Decision]()
        ends = most
        for n in range(most + LINGER + 1):
            for i, verifier in enumerate(verifiers):
                if verdicts[i] is None and (verdict := verifier.update(states[-1])):
                    verdicts[i] = verdict, n
                    ends = min(ends, n + after)
            if n >= ends:
                break
            decided = any(verdicts)
            decision = REST if decided and rests else ask(player, frames[-1], states[-1], task, n)
            observation, _, terminated, truncated, info = world.step_chunk(decision.actions)
            if terminated or truncated:
                raise UnfitError
            frames.append(observation["pixels"])
            states.append(info["state"])
            decisions.append(decision)
        return Take(frames, states, decisions, list(zip(watchers, verdicts, strict=True)))

    def _world(self, task: Task) -> World:
        """A world for rooms and one for houses, where reading the doors costs time."""
        house = len(task.options["level"]["rooms"]) > 1
        if house not in self._worlds:
            self._worlds[house] = DoomWorld()
        return self._worlds[house]
