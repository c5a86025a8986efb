"""How well a model answers and proposes: frames of levels that training never sees, and ground truth to hold against.

An answer is right if it is exactly the one. A proposal counts if the grammar reads it and the expert then does it in
that very level, from where the frame was taken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.doom.layouts import TRAINING_LAYOUTS
from envs.doom.level import LOCKS
from envs.doom.levels import TRAINING_THEMES
from envs.doom.world import DoomState, DoomWorld
from tasks import world_tasks
from tasks.doom import plans, suites
from tasks.doom.build import in_house
from tasks.doom.goals import targets_of
from tasks.doom.language import Meaning, read
from tasks.doom.proposals import achievable, fresh
from tasks.doom.questions import Question, ask
from tasks.doom.scene import Scene, scene_of
from tasks.expert_policy import ExpertPolicy
from tasks.task import Phrasing, Task, VerifierSpec
from training.data.disturb import random_walk
from training.evaluation.statistics import proportion
from training.recipe import OnProgress, Progress, ignore_progress
from training.workers.hire import hire
from training.workers.workers import Failed, Workers

Frames = npt.NDArray[np.uint8]
Answerer = Callable[[Frames, list[str], list[str]], list[str]]
Proposer = Callable[[Frames, int], list[str]]
Planner = Callable[[list[str], list[str]], list[tuple[str, ...]]]
PlannedGoal = plans.Planned

MEMORIES = 0.2  # the share of questions that are about a memory
PORTION = 8  # views that a worker is given at once
BATCH = 64  # frames that a model is shown at once
TIME_LIMIT = 1750  # ticks that the expert has for a proposal
MOST_DECISIONS = 60  # before a frame is taken
NOISE = 0.25  # the share of random decisions on the expert's way
WALK = 0.7  # the same for a quarter of the views, which are less on their way
LATER = 3  # decisions after the end of a task
PLACES = ("room", "house", "locks")  # where frames are taken, in turn


@dataclass(frozen=True)
class View:
    """A frame to be taken: in the level of a task, after some decisions of the expert, of which the share `noise` is
    left to chance, and at most LATER more once the task is decided."""

    task: Task
    decisions: int
    noise: float


@dataclass(frozen=True)
class Taken:
    """A frame that was taken, uint8 (120, 160, 3), and what it shows."""

    frame: Frames
    scene: Scene


@dataclass(frozen=True)
class Proposed:
    """A view and what was proposed for it."""

    view: View
    text: str


@dataclass(frozen=True)
class Tried:
    """What became of a proposal: whether the grammar reads it, whether a plan reaches it, and how the expert did."""

    read: bool
    planned: bool
    done: bool
    why: str


def view_of(seed: int, index: int) -> View:
    """View number `index` under `seed`, always the same: in evaluation levels that are rooms, houses with doors, and
    houses with locks, gates and switches in turn, all in training's themes and layouts."""
    rng = np.random.default_rng([seed, index, 0x401E5])
    place = PLACES[index % len(PLACES)]
    if place == "locks":
        task = _locks(rng, seed, index)
    else:
        task = suites.evaluation("doom-room" if place == "room" else "doom-rooms").task(seed, index)
    noise = WALK if rng.random() < 0.25 else NOISE
    return View(task, int(rng.integers(MOST_DECISIONS * (1 if place == "room" else 2))), noise)


def _locks(rng: np.random.Generator, seed: int, index: int) -> Task:
    """A task behind locks and gates in training's themes and layouts, which the player is never shown."""
    while True:
        verb = ("unlock", "switch", "pick_up", "go_to")[int(rng.integers(4))]
        pairs = targets_of(verb, "training")
        meaning = Meaning(verb, *pairs[int(rng.integers(len(pairs)))])
        if verb in ("unlock", "switch"):
            meaning = Meaning(verb, "door", str(rng.choice(["red", "blue", "yellow"])))
            meaning = meaning if verb == "unlock" else Meaning(verb, "gate")
        level_seed = suites.EVALUATION_SEEDS + int(rng.integers(suites.EVALUATION_SEEDS))
        try:
            level, spec = in_house(rng, meaning, level_seed, TRAINING_THEMES, TRAINING_LAYOUTS, vault=True)
        except ValueError:
            continue
        return Task(f"locks/{seed}/{index}", "", "doom", level_seed, {"level": level.to_json()}, 0, spec, verb)


def reach(world: DoomWorld, view: View) -> tuple[Frames, DoomState]:
    """Play up to a view: its frame and ground truth. The same view gives the same."""
    observation, info = world.reset(seed=view.task.seed, options=view.task.options)
    rng = np.random.default_rng([view.task.seed, 3])
    decide = ExpertPolicy().start(view.task)
    verifier, later = world_tasks.verifier_of(view.task), 0
    for _ in range(view.decisions):
        later += later > 0 or (verifier is not None and verifier.update(info["state"]) is not None)
        if later > LATER:
            break
        decision = random_walk(rng) if later or rng.random() < view.noise else decide(info["state"])
        observation, _, ended, _, info = world.step_chunk(decision.actions)
        if ended:
            raise RuntimeError(f"{view.task.id}: the episode ended on the way")
    return observation["pixels"], info["state"]


def attempt(world: DoomWorld, proposed: Proposed) -> Tried:
    """Let the expert do what was proposed, from where the frame was taken."""
    if read(proposed.text) is None:
        return Tried(False, False, False, "not read")
    _, state = reach(world, proposed.view)
    spec = achievable(proposed.text, state.level, state)
    if spec is None:
        return Tried(True, False, False, "nothing like it can be done there")
    return _played(world, state, spec)


def _played(world: DoomWorld, state: DoomState, spec: VerifierSpec) -> Tried:
    since, verifier = state.tick, world_tasks.of("doom").verifier(spec)
    decide = ExpertPolicy().start(Task("proposal", "", "doom", verifier=spec))
    while state.tick - since < TIME_LIMIT:
        verdict = verifier.update(fresh(state, since))
        if verdict is not None:
            return Tried(True, True, verdict.success, verdict.why)
        _, _, ended, _, info = world.step_chunk(decide(state).actions)
        if ended:
            break
        state = info["state"]
    return Tried(True, True, False, "time")


class Visitor:
    """A Worker that takes the frames of views, and lets the expert try what was proposed."""

    def __init__(self) -> None:
        self._world = DoomWorld(labels=True)

    def work(self, job: tuple[int, Sequence[View | Proposed]]) -> list[Taken | Tried]:
        """`job`: where it belongs in the order, which is the crew's to know, and what there is to do."""
        return [attempt(self._world, one) if isinstance(one, Proposed) else self._take(one) for one in job[1]]

    def _take(self, view: View) -> Taken:
        frame, state = reach(self._world, view)
        return Taken(frame, scene_of(state))

    def close(self) -> None:
        self._world.close()


def _visited(crew: Workers, jobs: Sequence[Any], stage: str, on_progress: OnProgress = ignore_progress) -> list[Any]:
    """What the crew makes of some views or proposals, in their order."""
    found: dict[int, list[Any]] = {}
    for (start, _), results in crew.run((i, jobs[i : i + PORTION]) for i in range(0, len(jobs), PORTION)):
        if isinstance(results, Failed):
            raise RuntimeError(results.error)
        found[start] = results
        on_progress(Progress(stage, sum(len(of_portion) for of_portion in found.values()), len(jobs)))
    return [one for start in sorted(found) for one in found[start]]


def evaluate_answers(
    answerer: Answerer,
    n: int,
    seed: int,
    *,
    phrasing: Phrasing = "training",
    held_out_pairs: bool = False,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> dict[str, Any]:
    """Exact answers to `n` questions, a fifth of them about a memory, the others about frames of evaluation levels.

    `answerer(frames, questions, memories)` gives an answer for each; frames uint8 (B, 120, 160, 3), black for questions
    about a memory; a memory is "" for questions about a frame. Gives "exact" with its 95 % Wilson interval "ci",
    "questions", the same "by_kind", and beside both "majority": how often the most frequent answer of each kind is
    right.
    """
    scores: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    mistakes: Counter[str] = Counter()
    done = 0
    for frames, questions in _asked(n, seed, phrasing, held_out_pairs, workers):
        texts, memories = [q.text for q in questions], [q.memory for q in questions]
        answers = answerer(frames, texts, memories)
        if len(answers) != len(questions):
            raise ValueError(f"the answerer gave {len(answers)} answers to {len(questions)} questions")
        for question, answer in zip(questions, answers, strict=True):
            right = " ".join(answer.lower().split()) == question.answer
            scores[question.kind].append((question.answer, right))
            if not right:
                mistakes[f"{question.kind}: {question.answer} / {answer}"] += 1
        done += len(questions)
        on_progress(Progress(f"{phrasing} phrasings", done, n))
    by_kind = {kind: _exact(of_kind) for kind, of_kind in sorted(scores.items())}
    # one who knows the kind of a question and nothing else gives its most frequent answer
    by_majority = sum(round(k["majority"] * k["questions"]) for k in by_kind.values())
    every = _exact([one for of_kind in scores.values() for one in of_kind])
    return {**every, "majority": by_majority / n, "by_kind": by_kind, "mistakes": dict(mistakes.most_common(12))}


def goals_to_plan(n: int, seed: int, phrasing: Phrasing = "training") -> list[PlannedGoal]:
    """`n` goals with their steps, the same ones for the same seed; see `evaluate_plans`."""
    return [plans.draw(np.random.default_rng([seed, i, 0x91A]), phrasing, tuple(LOCKS)) for i in range(n)]


def evaluate_plans(
    planner: Planner, n: int, seed: int, *, phrasing: Phrasing = "training", on_progress: OnProgress = ignore_progress
) -> dict[str, Any]:
    """How many of `n` goals are taken apart into exactly the right steps, in their order. Most have to do with locks of
    all colours and gates, as those of doom-vault; with some comes a memory of what is done already.

    `planner(goals, memories)` gives the steps of each goal. Gives "exact" with its 95 % Wilson interval "ci", "goals",
    the same "by_kind", and the most frequent "mistakes". With `phrasing` "held_out" words are held out as well.
    """
    drawn = goals_to_plan(n, seed, phrasing)
    scores: dict[str, list[bool]] = defaultdict(list)
    mistakes: Counter[str] = Counter()
    for start in range(0, n, BATCH):
        some = drawn[start : start + BATCH]
        found = planner([one.goal for one in some], [one.memory for one in some])
        for one, steps in zip(some, found, strict=True):
            right = tuple(steps) == one.steps
            scores["one step" if len(one.steps) == 1 else "several steps"].append(right)
            if not right:
                mistakes[f"{one.goal}: {', '.join(one.steps)} / {', '.join(steps)}"] += 1
        on_progress(Progress(f"{phrasing} phrasings", start + len(some), n))

    def share(some: Sequence[bool]) -> dict[str, Any]:
        return proportion(sum(some), len(some), name="exact", of="goals")

    return {
        **share([one for of_kind in scores.values() for one in of_kind]),
        "by_kind": {kind: share(of_kind) for kind, of_kind in sorted(scores.items())},
        "mistakes": dict(mistakes.most_common(12)),
    }


def _exact(answers: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    right, total = sum(ok for _, ok in answers), len(answers)
    most = Counter(answer for answer, _ in answers).most_common(1)
    return {
        **proportion(right, total, name="exact", of="questions"),
        "majority": most[0][1] / total if total else None,
    }


def _asked(
    n: int, seed: int, phrasing: Phrasing, held_out_pairs: bool, workers: str | int
) -> Iterator[tuple[Frames, list[Question]]]:
    """`n` questions in batches, with the frames that they are asked at."""
    left, start = n, 0
    with hire(Visitor, workers, most=n) as crew:
        while left:
            count = min(BATCH, 2 * left)  # not every frame has a question
            taken: list[Taken] = _visited(crew, [view_of(seed, start + i) for i in range(count)], "frames")
            pairs: list[tuple[Frames, Question]] = []
            for index, one in enumerate(taken, start):
                rng = np.random.default_rng([seed, index, 0xA5C])
                question = ask(rng, one.scene, phrasing=phrasing, held_out_pairs=held_out_pairs, memory=MEMORIES)
                if question is not None:
                    pairs.append((one.frame, question))
            start += count
            pairs = pairs[:left]
            left -= len(pairs)
            if pairs:
                yield np.stack([frame for frame, _ in pairs]), [question for _, question in pairs]


def evaluate_proposals(
    proposer: Proposer, n: int, seed: int, *, workers: str | int = 2, on_progress: OnProgress = ignore_progress
) -> dict[str, Any]:
    """How many proposals for `n` frames of evaluation levels are read and done.

    `proposer(frames, seed)` gives an instruction for each frame, uint8 (B, 120, 160, 3). Gives "achievable"
    (the expert did it within TIME_LIMIT ticks of when the frame was taken) with its 95 % Wilson interval "ci", "read",
    "planned", "proposals", "different", the same "by_verb", "failures", and the most frequent as "examples".
    """
    with hire(Visitor, workers, most=n) as crew:
        seen = [view_of(seed, index) for index in range(n)]
        texts: list[str] = []
        for start in range(0, n, BATCH):
            taken: list[Taken] = _visited(crew, seen[start : start + BATCH], "frames")
            said = proposer(np.stack([one.frame for one in taken]), seed + start)
            if len(said) != len(taken):
                raise ValueError(f"the proposer gave {len(said)} proposals for {len(taken)} frames")
            texts += said
        tried: list[Tried] = _visited(
            crew, [Proposed(*pair) for pair in zip(seen, texts, strict=True)], "the expert tries", on_progress
        )
    by_verb: dict[str, list[Tried]] = defaultdict(list)
    failures: Counter[str] = Counter()
    for text, one in zip(texts, tried, strict=True):
        meaning = read(text)
        by_verb[meaning.verb if meaning else "not read"].append(one)
        if not one.done:
            failures[f"{text}: {one.why}"] += 1
    return {
        **_share(tried),
        "different": len(set(texts)),
        "by_verb": {verb: _share(of_verb) for verb, of_verb in sorted(by_verb.items())},
        "failures": dict(failures.most_common(12)),
        "examples": [text for text, _ in Counter(texts).most_common(12)],
    }


def _share(tried: Sequence[Tried]) -> dict[str, Any]:
    done, total = sum(t.done for t in tried), len(tried)
    return {
        **proportion(done, total, name="achievable", of="proposals"),
        "read": sum(t.read for t in tried) / total if total else None,
        "planned": sum(t.planned for t in tried) / total if total else None,
    }
