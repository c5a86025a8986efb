"""Fine-tuning with real architectures: each tiny model learns a few episodes by heart and plays them from pixels.

    python benchmarks/overfit.py
    python benchmarks/overfit.py --games arrows --episodes 2 --models idefics3 --epochs 100

Records short episodes of an expert in each game, fine-tunes tiny models with random weights (tests/support/tiny_vlm.py)
on them with `training.vlm.train`, and plays the same tasks again. The games, all but the last in lockstep: `doom`
(doom-basic), `push` (playroom-push), and `arrows`, a web page that knows the arrow keys alone: "go to column 3, row 1"
of five columns and four rows, from the middle. `arrows-live` is the same in a page that moves on by itself, so that it
also measures how fast the machine is. It makes weights, tokenizers and processors itself and downloads nothing. The
table says how many of the tasks each model fulfils, with the 95 % Wilson interval, beside the same model untrained. The
same command goes on where it was stopped: what is done stays in --out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from agent import action_tokens
from agent.cli.compose import make_player
from agent.episode import Outcome, Subscriber
from agent.loop.players import Player, ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Decision, Policy
from agent.prompted import Setting
from agent.vlm.policy import VlmPolicy, grow, load_hf, load_model
from agent.vlm.turn_grammar import add_action_tokens
from envs.action import Action
from envs.world import World
from tasks import world_tasks
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from tasks.task import Task, VerifierSpec
from tasks.verifier import Verdict
from tests.support.tiny_vlm import TINY, tiny
from training.data.episodes import Recorder, read_episode
from training.data.examples import Examples
from training.evaluation.statistics import wilson
from training.recipe import Progress
from training.vlm.recipe import BcRecipe
from training.vlm.train import train_bc

PAGES = Path(__file__).parents[1] / "tests" / "support" / "pages"


class Game(Protocol):
    """A world, and tasks in it that an expert fulfils in few decisions: `longest` of them. `size`: of its frames."""

    world: World
    longest: int

    def tasks(self, seed: int) -> Iterable[Task]: ...

    def expert(self, task: Task) -> Player: ...

    def play(self, task: Task, player: Player, subscribers: Sequence[Subscriber] = ()) -> Outcome: ...


def in_words(decide: Callable[[Any], Decision], world: World) -> Callable[[Any], Decision]:
    """An expert that does what the action language makes of its actions: a model that has learned every word of it then
    comes to the same places. Turns are said in steps of a few degrees, and in the playroom a small difference at the
    beginning is a miss at the end."""
    setting = Setting().at(world)

    def said(state: Any) -> Decision:
        decision = decide(state)
        plan = action_tokens.decode(action_tokens.encode(setting.plan_of(decision.actions, done=decision.done)))
        return replace(decision, actions=setting.codec.actions(plan, setting.tick_hz))

    return said


class SuiteGame:
    """Tasks of a suite, in lockstep."""

    def __init__(self, world: World, suite: str, longest: int) -> None:
        self.world, self.longest, self._suite = world, longest, suite

    def tasks(self, seed: int) -> Iterable[Task]:
        return world_tasks.training(self._suite).tasks(seed, 400, evaluation=False)

    def expert(self, task: Task) -> Player:
        return ScriptedPlayer(in_words(ExpertPolicy().start(task), self.world))

    def play(self, task: Task, player: Player, subscribers: Sequence[Subscriber] = ()) -> Outcome:
        return play_task(self.world, player, task, subscribers=subscribers, observe="decision")


class Arrows:
    """The page of the arrows: go to a place and stay there."""

    longest = 60
    TICKS = 6  # of a decision: 200 ms
    SPAN, NEAR = 14.0, 24.0  # pixels: where the expert stops, and what counts as there
    REST = 12  # ticks there that count as staying

    def __init__(self, folder: Path, page: str = "arrows_lockstep.html") -> None:
        from envs.browser.world import BrowserWorld

        file = folder / "arrows.yaml"
        file.write_text(
            f"page: {PAGES / page}\nsize: 320x240\ntick_hz: 30\npointer_lock: false\n"
            "keys: [ArrowUp, ArrowDown, ArrowLeft, ArrowRight]\nready: window.state !== undefined\n"
            'state: "({x: state.x, y: state.y})"\n'
            "controls: {ArrowUp: up, ArrowDown: down, ArrowLeft: left, ArrowRight: right}\n"
        )
        self.world: World = BrowserWorld(str(file))

    def tasks(self, seed: int) -> Iterable[Task]:
        for number in range(20):
            column, row = number % 5, number // 5
            goal = VerifierSpec("there", {"x": 32 + 64 * column, "y": 30 + 60 * row})
            yield Task(f"arrows/{number}", f"go to column {column}, row {row}", "arrows", time_limit=300, verifier=goal)

    def expert(self, task: Task) -> Player:
        def decide(state: Any) -> Decision:
            off = [_goal(task)[axis] - state["page"][axis] for axis in ("x", "y")]
            pairs = zip(off, (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")), strict=True)
            keys = frozenset(names[d > 0] for d, names in pairs if abs(d) > self.SPAN)
            return Decision((Action(keys),) * self.TICKS)

        return ScriptedPlayer(decide)

    def play(self, task: Task, player: Player, subscribers: Sequence[Subscriber] = ()) -> Outcome:
        came = [0]  # the tick since which it is there

        def judge(state: Any) -> Verdict | None:
            if not all(abs(_goal(task)[axis] - state["page"][axis]) <= self.NEAR for axis in ("x", "y")):
                came[0] = state["tick"] + 1
            return Verdict(True, "it is there") if state["tick"] - came[0] >= self.REST else None

        return play(
            self.world, player, task.instruction, seed=0, judge=judge, time_limit=task.time_limit,
            subscribers=subscribers, observe="tick" if self.world.realtime else "decision",
        )  # fmt: skip


def _goal(task: Task) -> dict[str, float]:
    assert task.verifier is not None
    return dict(task.verifier.args)


def _doom(folder: Path) -> Game:
    from envs.doom.world import DoomWorld

    return SuiteGame(DoomWorld(), "doom-basic", 8)


def _push(folder: Path) -> Game:
    from envs.playroom.world import Playroom

    return SuiteGame(Playroom(), "playroom-push", 30)


def _live(folder: Path) -> Game:
    return Arrows(folder, "arrows.html")


GAMES: dict[str, Callable[[Path], Game]] = {"doom": _doom, "arrows": Arrows, "push": _push, "arrows-live": _live}


def record(game: Game, out: Path, episodes: int, seed: int) -> list[Task]:
    """Short successful episodes of the expert in `out`; their tasks. Those that are there are kept."""
    tasks: list[Task] = []
    for number, task in enumerate(game.tasks(seed)):
        path = out / f"{number}"
        if (out / f"{number}.failed").exists():
            continue
        if not path.exists():
            recorder = Recorder(path, task=task, policy="expert", durable=False)
            game.play(task, game.expert(task), [recorder])
        episode = read_episode(path)
        if episode.success and episode.meta["decisions"] <= game.longest:
            tasks.append(task)
        else:
            shutil.rmtree(path)
            (out / f"{number}.failed").touch()
        if len(tasks) == episodes:
            return tasks
    raise RuntimeError(f"only {len(tasks)} short episodes")


def successes(game: Game, policy: Policy, tasks: Sequence[Task]) -> int:
    count, clock = 0, "realtime" if game.world.realtime else "lockstep"
    for task in tasks:
        player = make_player(policy, task, game.world, clock)  # type: ignore[arg-type]
        try:
            count += bool(game.play(task, player).success)
        finally:
            player.close()
    return count


def measure(game: Game, folder: Path, name: str, tasks: Sequence[Task], args: argparse.Namespace) -> dict[str, Any]:
    """Train a model and have it play; what the table says of it."""
    made, run = folder / name, folder / f"{name}-run"
    if not made.exists():
        model, processor = tiny(name, width=args.width, layers=args.layers)
        model.save_pretrained(made)
        processor.save_pretrained(made)
    model, processor = load_model(made)
    add_action_tokens(processor.tokenizer)
    grow(model, processor.tokenizer)
    # An untrained model plays until the time is up, so a few tasks do.
    before = successes(game, VlmPolicy(model, processor), tasks[:3])
    recipe = BcRecipe(
        str(made), (str(folder / "data"),), epochs=args.epochs, batch=args.batch, rate=args.rate,
        history=args.history, seed=args.seed, held_out=0.0,
    )  # fmt: skip
    losses, start = [0.0], time.perf_counter()

    def note(news: Progress) -> None:
        losses.append(news.figures["loss"])
        if args.verbose:
            print(f"  {news.done} of {news.total} decisions, loss {losses[-1]:.4f}", flush=True)

    checkpoint = train_bc(recipe, run, resume=run.exists(), on_progress=note)
    seconds = time.perf_counter() - start
    right = successes(game, load_hf(checkpoint, think="off"), tasks)
    size = sum(p.numel() for p in model.parameters())
    found = {"parameters": size, "loss": losses[-1], "seconds": seconds, "before": before, "before_of": len(tasks[:3])}
    return {**found, "right": right, "of": len(tasks), "ci": wilson(right, len(tasks))}


def line(game: str, name: str, found: dict[str, Any]) -> str:
    low, high = found["ci"]
    counts = f"{found['right']} of {found['of']} ({100 * low:.0f}–{100 * high:.0f} %)"
    size, before = f"{found['parameters'] / 1e6:.2f} M", f"{found['before']} of {found['before_of']}"
    return f"| {game} | {name} | {size} | {found['loss']:.4f} | {found['seconds']:.0f} | {before} | {counts} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=["doom", "arrows", "push"])
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--models", nargs="+", choices=list(TINY), default=["qwen3_vl", "idefics3", "gemma3", "llava"])
    parser.add_argument("--epochs", type=float, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--history", type=int, default=1)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/overfit"))
    parser.add_argument("--verbose", action="store_true", help="print the loss while it learns")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    heads = ("game", "model", "parameters", "loss at the end", "training s", "untrained", "successes (95 %)")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    for chosen in args.games:
        folder = args.out.resolve() / chosen
        (folder / "data").mkdir(parents=True, exist_ok=True)
        game = GAMES[chosen](folder)
        try:
            tasks = record(game, folder / "data", args.episodes, args.seed)
            if args.verbose:
                print(f"  {len(Examples([folder / 'data'], history=args.history))} decisions", flush=True)
            for name in args.models:
                result = folder / f"{name}.json"
                if not result.exists():
                    result.write_text(json.dumps(measure(game, folder, name, tasks, args)))
                print(line(chosen, name, json.loads(result.read_text())), flush=True)
        finally:
            game.world.close()


if __name__ == "__main__":
    main()
