"""Imitation: examples are what the player knew and decided, and a model that learns them decides the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agent import cli
from agent import doom_codec as codec
from agent.loop.control import Control, Hands, Order
from agent.loop.instruction import LiveInstruction
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.small import load_small
from agent.small.checkpoint import read_manifest, save_small
from agent.small.model import SmallConfig, SmallModel
from agent.small.output_grammar import SILENT, THINKING
from agent.small.policy import SmallPolicy
from agent.small.prompt import prompt_of
from agent.small.token_ids import ACT, GO, SAY, WORD_ID
from agent.view import View
from envs.action import Action
from envs.doom.world import DoomWorld
from tasks.doom import suites
from tasks.play import play_task
from tests.support.thread_workers import no_processes
from tests.support.worlds import SquareWorld
from training import loop
from training.data.episode_weights import write_weights
from training.data.episodes import EpisodeError, Recorder
from training.data.examples import Example, Examples
from training.learner import Learner, load_learner
from training.ranks import Ranks
from training.recipe import OnProgress, Progress, ignore_progress
from training.small import imitation
from training.small.imitation import ImitationBatches, ImitationRecipe, imitate, text_of

SHORT = 9  # decisions of an episode that counts as short


class Spy:
    """A policy that notes what it is asked and what it answers."""

    def __init__(self, policy: SmallPolicy) -> None:
        self.spec, self._policy = policy.spec, policy
        self.asked: list[tuple[Context, Decision]] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        decisions = self._policy.act(contexts)
        self.asked += zip(contexts, decisions, strict=True)
        return decisions


Recorded = tuple[Path, list[tuple[Context, Decision]]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Five short episodes of the shipped model, and what it was asked and answered in them."""
    root, world, asked = tmp_path_factory.mktemp("recorded"), DoomWorld(), list[tuple[Context, Decision]]()
    small = load_small()
    for any_length in suites.training("doom-room").tasks(3, 40, evaluation=False):
        task = replace(any_length, time_limit=SHORT * small.spec.chunk)
        spy = Spy(small)
        recorder = Recorder(root / f"{len(list(root.iterdir()))}", task=task, policy="small", durable=False)
        outcome = play_task(world, InStep(spy), task, subscribers=[recorder], observe="decision")
        if outcome.success and outcome.decisions <= SHORT:
            asked += spy.asked
        else:
            shutil.rmtree(recorder.path)
        if len(list(root.iterdir())) == 5:
            break
    world.close()
    return root, asked


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny model that knows nothing."""
    folder = tmp_path_factory.mktemp("fresh") / "model"
    torch.manual_seed(0)
    sizes = SmallConfig(width=64, heads=2, layers=1, text_layers=1, channels=(16, 32), blocks=1)
    save_small(SmallModel(sizes), folder, nouns={"rusty drum": "barrel"})
    return folder


def examples_of(*roots: Path, failures: bool = False) -> Examples:
    return Examples(roots, history=17, failures=failures, frame_size=(120, 160))


def test_an_example_is_what_the_player_knew_and_decided(recorded: Recorded) -> None:
    root, asked = recorded
    examples = examples_of(root)
    assert len(examples) == len(asked) > 20
    for number, (context, decision) in enumerate(asked):
        example = examples[number]
        assert same_context(example.context, context)
        assert example.decision == decision


def same_context(one: Context, other: Context) -> bool:
    """Whether a model reads the same from both. Dialogue and pictures are not recorded; seeds and ticks are the
    player's."""
    a, b = prompt_of(one), prompt_of(other)
    return (
        np.array_equal(one.frames[-1], other.frames[-1])
        and (a.request, a.thought, a.memory) == (b.request, b.thought, b.memory)
        and np.array_equal(a.past, b.past)
        and bare(one) == bare(other)
    )


def bare(context: Context) -> Context:
    return replace(context, frames=(), ticks=(), seed=0, dialogue=())


class Thinker:
    """Thinks something new in every decision, and does something else."""

    spec = PolicySpec(View.stretched((24, 32), 5), history=5, tick_hz=50.0)

    def __init__(self) -> None:
        self.asked: list[tuple[Context, Decision]] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        (context,) = contexts
        tokens = (8, 2, len(self.asked) % 9, 0)
        decision = replace(codec.decode(tokens), thought=f"step {len(self.asked)} (3, 4)", tokens=tokens)
        self.asked.append((context, decision))
        return [decision]


class Meddler(Control):
    """Gives other instructions at some ticks, and takes the controls for a while."""

    def __init__(self, instruction: LiveInstruction) -> None:
        self._instruction = instruction

    def order(self, tick: int) -> Order:
        if tick in (10, 40):
            self._instruction.set(f"what is wanted from {tick} on")
        return "play"

    def hands(self, tick: int) -> Hands | None:
        return Hands(Action(frozenset({"KeyS"})), "human") if 22 <= tick < 27 else None


def test_new_instructions_and_other_hands_leave_their_mark(tmp_path: Path) -> None:
    policy, instruction = Thinker(), LiveInstruction("what is wanted first")
    recorder = Recorder(tmp_path / "episode", policy="thinker", durable=False)
    world, meddler = SquareWorld(length=60), Meddler(instruction)
    play(world, InStep(policy), instruction, seed=1, subscribers=[recorder], control=meddler)
    examples = Examples([tmp_path], history=5)
    assert len(examples) == len(policy.asked) > 12
    assert {context.since for context, _ in policy.asked} >= {None, 0, 1, 4}
    for number, (context, decision) in enumerate(policy.asked):
        example = examples[number]
        assert same_context(example.context, context), number
        assert example.tokens == decision.tokens
        whole = len(example.decision.actions) == len(decision.actions)  # unless it was cut short
        assert example.decision.actions == decision.actions[: len(example.decision.actions)]
        assert whole or number + 1 == len(examples) or policy.asked[number + 1][0].actions[-1:] != (decision.actions,)


@pytest.mark.slow
def test_a_tiny_model_learns_five_episodes_by_heart(
    recorded: Recorded, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_processes(monkeypatch, "training.small.imitation")  # the command below trains in a process of its own
    losses: list[float] = []

    def note(news: Progress) -> None:
        losses.append(news.figures["loss"])

    recipe = ImitationRecipe(parent=fresh, data=(recorded[0],), epochs=60, batch=8, rate=3e-3)
    checkpoint = imitate(recipe, tmp_path / "run", on_progress=note)
    assert losses[-1] < 0.05 * losses[0]
    policy = load_small(checkpoint)
    answers = policy.act([context for context, _ in recorded[1]])
    right = [said(answer) == said(decision) for answer, (_, decision) in zip(answers, recorded[1], strict=True)]
    assert np.mean(right) >= 0.9
    manifest = read_manifest(checkpoint)
    assert manifest["nouns"] == {"rusty drum": "barrel"}
    assert manifest["trained"]["recipe"]["epochs"] == 60
    assert imitate(recipe, tmp_path / "run", resume=True) == checkpoint  # it is done: nothing happens
    with pytest.raises(ValueError, match="--resume"):
        imitate(recipe, tmp_path / "run")
    with pytest.raises(ValueError, match="has batch 8, not 4"):
        imitate(recipe.model_copy(update={"batch": 4}), tmp_path / "run", resume=True)


def said(decision: Decision) -> tuple[object, ...]:
    return decision.actions, decision.thought, decision.speech, decision.done


class KilledError(Exception):
    pass


def run(recipe: ImitationRecipe, out: Path, on_progress: OnProgress = ignore_progress) -> dict[str, torch.Tensor]:
    """Imitate in this process; the weights."""
    out.mkdir(exist_ok=True)
    imitation.train(recipe, ImitationBatches(recipe), out, Ranks(), on_progress)
    return load_small(out / "model").model.state_dict()


def test_a_killed_run_goes_on_as_if_nothing_happened(
    recorded: Recorded, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)

    def kill(news: Progress) -> None:
        if news.done >= 32:
            raise KilledError

    recipe = ImitationRecipe(parent=fresh, data=(recorded[0],), rehearsal=(recorded[0],), epochs=1, batch=8, rate=1e-3)
    with pytest.raises(KilledError):
        run(recipe, tmp_path / "cut", kill)
    assert not (tmp_path / "cut" / "model").exists()
    cut, whole = run(recipe, tmp_path / "cut"), run(recipe, tmp_path / "whole")
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, atol=1e-6, rtol=0, msg=name)


def test_weights_choose_what_is_learned(recorded: Recorded, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(recorded[0], root)
    write_weights(root, {"0": 2.0, "3": 0.5, "4": 0.0})
    examples = examples_of(root)
    lengths = [int(e.meta["decisions"]) for e in examples.dataset.episodes]
    assert len(examples) == lengths[0] + lengths[3]
    chosen = [examples[int(number)] for number in examples.order(0)]
    assert sorted({example.weight for example in chosen}) == [0.5, 2.0]
    assert {w for example in chosen for w in text_of(example).times(example.weight).weights} == {0.5, 2.0}
    write_weights(root, {"0": 0.0})
    with pytest.raises(EpisodeError, match="all 5 weigh 0"):
        examples_of(root)
    (root / "weights.json").write_text(json.dumps({"0": -1.0}))
    with pytest.raises(EpisodeError, match=r"weights\.json: expected"):
        examples_of(root)


def test_rehearsal_has_its_share_of_every_batch(recorded: Recorded, fresh: Path, tmp_path: Path) -> None:
    root, other = recorded[0], tmp_path / "other"
    shutil.copytree(root, other)
    write_weights(other, {str(number): 0.25 for number in range(5)})  # tells them apart
    recipe = ImitationRecipe(parent=fresh, data=(root,), rehearsal=(other,), rehearsal_share=0.25, batch=8, epochs=2)
    batches = ImitationBatches(recipe)
    decisions = len(examples_of(root))
    assert batches.steps == -(-2 * decisions // 6)
    for step in (0, batches.steps - 1):
        assert sorted(example.weight for example in batches.at(step)) == [0.25] * 2 + [1.0] * 6
        halves = [example for rank in range(2) for example in batches.at(step, rank, 2)]
        assert len(halves) == 8
    seen = [
        e.context.frames[-1].tobytes() for step in range(batches.steps) for e in batches.at(step) if e.weight == 1.0
    ]
    assert len(set(seen[:decisions])) == len({f.tobytes() for f in frames_of(root)})  # all in the first epoch


def frames_of(root: Path) -> list[np.ndarray]:
    examples = examples_of(root)
    return [examples[number].context.frames[-1] for number in range(len(examples))]


def test_recorded_tokens_are_learned_as_they_are() -> None:
    decision = Decision(codec.decode((3, 2, 3, 0)).actions, "red key (12, 7)", "ok get xylophone", tokens=())
    example = Example(Context((), "get it"), decision)
    text = text_of(example)
    red, key, ok = (WORD_ID[word] for word in ("red", "key", "ok"))
    assert text.tokens[3:8] == [red, key, SAY, ok, GO]  # words that can't be written are left out
    assert text.choices[2] == THINKING
    assert text_of(replace(example, thinks=False)).choices[2] == SILENT
    other = [*text.tokens[1:3], key, GO, *text.tokens[-4:]]
    assert text_of(replace(example, tokens=tuple(other))).tokens == [ACT, *other]
    assert text_of(replace(example, tokens=(1, 2, 3))).tokens == text.tokens  # another model's


def test_only_tick_rates_at_which_decisions_mean_the_same(fresh: Path, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "data" / "episode", policy="thinker", durable=False)
    play(SquareWorld(length=12), InStep(Thinker()), "go", seed=1, subscribers=[recorder])
    with pytest.raises(EpisodeError, match="50 ticks a second"):
        ImitationBatches(ImitationRecipe(parent=fresh, data=(tmp_path / "data",)))


@pytest.mark.slow
def test_learner_bc_and_its_commands(
    recorded: Recorded, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(load_learner("bc"), Learner)
    data, new = str(recorded[0]), str(tmp_path / "new")
    assert cli.run(["train", "update", "--parent", str(fresh), "--data", data, "--out", new, "--json"]) == 0
    checkpoint = Path(json.loads(capsys.readouterr().out)["checkpoint"])
    before, after = (load_small(folder).model.state_dict() for folder in (fresh, checkpoint))
    assert any((before[name] != value).any() for name, value in after.items())
    assert cli.run(["train", "bc", "--model", str(fresh), "--data", data, "--out", new, "--lora"]) == 2
    assert "--lora is for models of transformers" in capsys.readouterr().err
    assert cli.run(["train", "bc", "--model", "no/such", "--data", data, "--out", new, "--keep", "0.5"]) == 2
    assert "--keep is for checkpoints of small" in capsys.readouterr().err
    assert cli.run(["train", "bc", "--model", "small", "--data", data, "--out", new, "--epochs", "0"]) == 2
    assert "epochs" in capsys.readouterr().err
