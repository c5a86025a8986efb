"""Recorded episodes with everything that an episode can hold, of odd frame size, for exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agent.episode import Look, Outcome, Step
from agent.loop.instruction import LiveInstruction
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import NEUTRAL, Action
from rewards.score import Failure, Score
from rewards.score_file import save_scores
from tasks.task import Task, VerifierSpec
from tests.support.worlds import SquareWorld
from training.data.episodes import EpisodeWriter, Recorder

HEIGHT, WIDTH = 25, 33  # odd: H.264 wants even sizes
TASK = Task("square-1", "go", "square", 3, {"size": "small"}, 40, VerifierSpec("near", {"x": 1}), "go")
JUDGE = "judge:a model@http://127.0.0.1"


class Talker:
    """Plays at random, thinks, speaks, and says which tokens it was sampled as."""

    spec = PolicySpec(View.stretched((HEIGHT, WIDTH)), chunk=4, tick_hz=50.0)

    def act(self, contexts: list[Context]) -> list[Decision]:
        return [self._decide(context) for context in contexts]

    def _decide(self, context: Context) -> Decision:
        rng = np.random.default_rng(context.seed)
        keys = ("KeyW", "KeyA", "KeyS", "KeyD")
        actions = tuple(
            Action(frozenset(k for k in keys if rng.random() < 0.3), frozenset(), (float(rng.normal()), 1 / 3))
            for _ in range(4)
        )
        word = "left" if rng.random() < 0.5 else "rechts, bitte schön"
        return Decision(
            actions, thought=f"{word} {rng.integers(100)}", speech=word * (rng.random() < 0.3), tokens=(3, 1)
        )


def record(folder: Path) -> list[Path]:
    """Three episodes: one that is played and told otherwise midway, one that a person plays with pointer and wheel, and
    one that a judge could not score."""
    return [_told(folder / "a" / "told"), _by_hand(folder / "a" / "hand"), _short(folder / "b" / "short")]


def judge(folder: Path) -> None:
    """Scores of the episodes of `record`, as agent rewards score --write leaves them."""
    save_scores(
        folder / "a", JUDGE, {"told": Score(87.5, True, "it went", JUDGE), "hand": Score(3.0, False, "", JUDGE)}
    )
    save_scores(folder / "b", JUDGE, {"short": Failure("no answer")})


def _world() -> SquareWorld:
    return SquareWorld(height=HEIGHT, width=WIDTH)


def _told(path: Path) -> Path:
    goal = LiveInstruction("go")

    class Change(Recorder):
        def on_step(self, step: Step) -> None:
            super().on_step(step)
            if step.tick == 20:
                goal.set("stop — now")

    recorder = Change(path, task=TASK, policy="talker", meta={"note": [1, "ä"]})
    notes = {"place": np.arange(3)}
    outcome = play(
        _world(), InStep(Talker()), goal, seed=3, subscribers=[recorder], observe="decision", annotate=lambda *_: notes
    )
    assert not outcome.problems
    return path


def _by_hand(path: Path) -> Path:
    """Undrawn and starved ticks, a pointer that comes and goes, a wheel, numbers that no float32 holds."""
    rng = np.random.default_rng(5)
    writer = EpisodeWriter(path, frame_size=(HEIGHT, WIDTH), tick_hz=50.0, meta={"instruction": "use the menu"})
    for tick in range(30):
        held = frozenset({"KeyW", "F5"}) if tick % 7 == 3 else frozenset[str]()
        pointer = (float(rng.random()), 1.0) if tick % 3 == 0 else None
        action = Action(held, frozenset({"right"}), (rng.normal() * 0.1, -1 / 7), pointer, float(tick % 2) / 3)
        starved = tick in (1, 9)
        frame = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) if tick >= 2 and tick % 2 == 0 else None
        writer.add(
            Step(
                tick, frame, NEUTRAL if starved else action, 0.1 * tick, "use the menu", "human", starved, None, -1, -1,
                {}, time=1.7e9 + tick / 50,
            )
        )  # fmt: skip
    writer.look(Look("captions", 4, (2, 4), ((HEIGHT, WIDTH), (12, 16))))
    writer.finish(
        {"success": True, "why": "picked", "done": None, "decided": 29},
        rng.integers(0, 9, (HEIGHT, WIDTH, 3), np.uint8),
    )
    return path


def _short(path: Path) -> Path:
    writer = EpisodeWriter(path, frame_size=(HEIGHT, WIDTH), tick_hz=50.0)
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    writer.add(Step(0, grey, Action(frozenset({"KeyW"})), 0.0, "", "agent", False, Decision((NEUTRAL,)), 0, 0, {}))
    writer.finish(Outcome(False, "fell", 1, 0.1, "lockstep", 1, 1.0, 0, 0, 0.0, 0.0, 1.0, 1.0).to_json())
    return path
