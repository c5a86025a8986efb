"""Fine-tuning: what is trained is what is played, down to the log-probabilities."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import GenerationConfig, LogitsProcessor

from agent import cli
from agent import doom_codec as codec
from agent.capabilities import fitted
from agent.family import family
from agent.lineage import Parent, content_hash
from agent.loop.players import InStep, ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Context, Decision
from agent.prompted import Setting, Turn
from agent.view import View
from agent.vlm.chat_template import end_of_turn
from agent.vlm.policy import encode_prompts, grow, load_hf, load_model
from agent.vlm.turn_grammar import TurnGrammar, add_action_tokens, form_of
from tasks.doom import suites
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from tests.support.rambler import SPEC, Easy, Rambler
from tests.support.tiny_vlm import TINY, tiny
from tests.support.worlds import SquareWorld
from training import loop
from training.data.episodes import EpisodeError, Recorder
from training.data.examples import Examples
from training.recipe import Progress
from training.vlm import train
from training.vlm.examples import IGNORED, TextWriter, TokenWriter, Writer, encode_examples, log_probabilities, turn_of
from training.vlm.held_out import EVALUATIONS, read_evaluations
from training.vlm.recipe import BcRecipe
from training.vlm.train import train_bc


def test_examples_are_the_contexts_that_the_player_was_in(rambled: tuple[Path, list[tuple[Context, Decision]]]) -> None:
    root, asked = rambled
    examples = Examples([root], history=SPEC.history)
    assert len(examples) == len(asked) == 20
    assert sorted(examples.order(3)) == list(range(20))
    for number, (context, decision) in enumerate(asked):
        example = examples[number]
        plan = example.setting.codec.plan_of(decision.actions, SPEC.tick_hz)
        assert turn_of(example, "tokens") == Turn(plan, decision.thought, decision.speech)
        assert len(example.context.frames) == len(context.frames)
        assert all(np.array_equal(a, b) for a, b in zip(example.context.frames, context.frames, strict=True))
        assert example.context.actions == context.actions
        assert example.context.thoughts == context.thoughts
        assert example.context.instruction == context.instruction
        assert example.context.memory == context.memory
        assert example.setting.codec.describe_controls() == Setting().at(Easy()).codec.describe_controls()
    assert len({example.context.memory for example in map(examples.__getitem__, range(10))}) == 10


def writer_of(processor: Any, form: str) -> Writer:
    tokenizer, end = processor.tokenizer, end_of_turn(processor)
    return TokenWriter(TurnGrammar(tokenizer, end)) if form == "tokens" else TextWriter(tokenizer, end)


class Forced(LogitsProcessor):
    """Makes `generate` write given ids."""

    def __init__(self, prompt: int, rows: list[list[int]]) -> None:
        self.prompt, self.rows = prompt, rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        step = input_ids.shape[1] - self.prompt
        out = torch.full_like(scores, -torch.inf)
        for row, ids in enumerate(self.rows):
            out[row, ids[min(step, len(ids) - 1)]] = 0.0
        return out


@pytest.mark.parametrize(("name", "form"), list(itertools.product(TINY, ("text", "tokens"))))
def test_the_trainer_and_the_player_see_the_same_thing(
    rambled: tuple[Path, list[tuple[Context, Decision]]], name: str, form: str
) -> None:
    """A decision has the same log-probability in the trainer's batch, padded on the right, and in the step-by-step
    cache of generation, padded on the left."""
    model, processor = tiny(name)
    if form == "tokens":
        add_action_tokens(processor.tokenizer)
        grow(model, processor.tokenizer)
    end = end_of_turn(processor)
    writer = writer_of(processor, form)
    examples = Examples([rambled[0]], history=SPEC.history)
    chosen = [examples[i] for i in (0, 1, 5, 12)]
    batch = encode_examples(processor, writer, chosen)
    model.train()  # dropout is 0 in these models; the code paths of training are taken
    with torch.no_grad():
        found, weights = log_probabilities(model, batch)
    trained = [row[w > 0].tolist() for row, w in zip(found, weights, strict=True)]
    rows = [writer.write(turn_of(e, writer.form), e.setting).ids for e in chosen]
    assert [len(row) for row in trained] == [len(row) for row in rows]

    prompts = encode_prompts(processor, [e.context for e in chosen], [e.setting for e in chosen], writer.form)
    width = prompts["input_ids"].shape[1]
    out = model.eval().generate(
        **prompts,
        generation_config=GenerationConfig(
            max_new_tokens=max(map(len, rows)), eos_token_id=end, pad_token_id=processor.tokenizer.pad_token_id
        ),
        logits_processor=[Forced(width, rows)],
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert out.cache is not None
    steps = torch.stack(out.logits, 1).log_softmax(-1)
    for row, (ids, values) in enumerate(zip(rows, trained, strict=True)):
        assert out.sequences[row, width : width + len(ids)].tolist() == ids
        played = [float(steps[row, at, i]) for at, i in enumerate(ids)]
        assert played == pytest.approx(values, abs=1e-4)


def test_repeated_actions_weigh_less(tmp_path: Path) -> None:
    """Only the action's tokens do; thoughts, disturbances and who is done are taken from the record as they are."""
    turns = [1, 1, 1, 2, 2, 0, 0, 0]

    class Recorded(ScriptedPlayer):
        def _ask(self, question: Any) -> None:
            self.actor = "noise" if question.tick == 4 else "expert"
            super()._ask(question)

    answers = iter(turns)

    def decide(state: Any) -> Decision:
        turn = next(answers)
        return Decision(codec.decode(codec.tokens_of(turn)).actions, thought="on", done=turn == 0)

    recorder = Recorder(tmp_path / "episode", durable=False)
    world = SquareWorld(length=4 * len(turns))
    play(world, Recorded(decide), "turn", seed=1, subscribers=[recorder], observe="decision")
    examples = Examples([tmp_path], history=4, gamma=0.5)
    numbers = sorted(examples.order(0))
    assert numbers == [0, 2, 3, 4, 5, 6, 7]  # the second one was a disturbance
    assert [examples[i].action_weight for i in numbers] == [1, 0.25, 1, 0.5, 1, 0.5, 0.25]
    assert turn_of(examples[7], "text").plan.done

    _, processor = tiny("idefics3")
    writer = writer_of(processor, "text")
    ids, action = writer.write(turn_of(examples[4], "text"), examples[4].setting)
    batch = encode_examples(processor, writer, [examples[4]])
    weights = batch["weights"][0, batch["labels"][0] != IGNORED].tolist()
    assert weights == [0.5 if action.start <= at < action.stop else 1.0 for at in range(len(ids))]
    assert 0.5 in weights
    assert weights[-1] == 1.0


def test_failed_episodes_are_left_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "episode", durable=False)

    class No:
        success, why = False, "no"

    calls = itertools.count()
    play(
        Easy(), InStep(Rambler()), "win", seed=1, judge=lambda state: No() if next(calls) > 3 else None,
        subscribers=[recorder], observe="decision",
    )  # fmt: skip
    with pytest.raises(EpisodeError, match="no episode"):
        Examples([tmp_path], history=4)
    assert len(Examples([tmp_path], history=4, failures=True))


@pytest.mark.parametrize("form", ["tokens", "text"])
def test_lora_comes_back_from_disk(
    rambled: tuple[Path, list[tuple[Context, Decision]]], folder: Path, tmp_path: Path, form: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The checkpoint holds the low-rank changes and the new embeddings, and plays like the model that was trained."""
    kept: dict[str, Any] = {}
    save = train.save_checkpoint

    def spy(model: Any, processor: Any, *rest: Any) -> None:
        kept["model"] = model
        save(model, processor, *rest)

    monkeypatch.setattr(train, "save_checkpoint", spy)
    recipe = BcRecipe(
        str(folder), (str(rambled[0]),), lora=True, rank=4, epochs=1, rate=1e-2, form=form, checkpointing=True, micro=3
    )
    checkpoint = train_bc(recipe, tmp_path / "run")
    assert sum(f.stat().st_size for f in checkpoint.glob("*.safetensors")) < 0.6 * sum(
        f.stat().st_size for f in folder.glob("*.safetensors")
    )
    (child,) = family([checkpoint])
    assert child.lineage.parent == Parent(folder.name, content_hash(folder))
    assert [(data.count, data.unit) for data in child.lineage.data] == [(2, "episodes")]
    model, processor = load_model(checkpoint)
    assert form_of(processor.tokenizer) == form
    examples = Examples([rambled[0]], history=4)
    batch = encode_examples(processor, writer_of(processor, form), [examples[3], examples[9]])
    with torch.no_grad():
        loaded, _ = log_probabilities(model, batch)
        trained, _ = log_probabilities(kept["model"].eval(), batch)
        untrained, _ = log_probabilities(grown(folder, processor), batch)
    torch.testing.assert_close(loaded, trained, atol=1e-4, rtol=1e-4)
    assert loaded.mean() > untrained.mean() + 0.1


def grown(folder: Path, processor: Any) -> Any:
    model, _ = load_model(folder)
    grow(model, processor.tokenizer)
    return model


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "options", [{}, {"lora": True, "quantize": "4bit"}, {"lora": True, "held_out": 0.5, "evaluations": 3, "pack": 400}]
)
def test_a_killed_run_goes_on_where_it_was(
    rambled: tuple[Path, list[tuple[Context, Decision]]], folder: Path, tmp_path: Path, options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    held_out = "held_out" in options
    recipe = BcRecipe(str(folder), (str(rambled[0]),), epochs=4 if held_out else 2, batch=5, rate=1e-3, **options)
    whole = train_bc(recipe, tmp_path / "whole")

    def kill(news: Progress) -> None:
        assert news.total == 8 * 5
        if news.done == 4 * 5:
            raise KilledError

    with pytest.raises(KilledError):
        train_bc(recipe, tmp_path / "cut", on_progress=kill)
    with pytest.raises(ValueError, match="--resume"):
        train_bc(recipe, tmp_path / "cut")
    with pytest.raises(ValueError, match="has batch 5, not 6"):
        train_bc(BcRecipe(**{**vars(recipe), "batch": 6}), tmp_path / "cut", resume=True)
    steps: list[int] = []
    cut = train_bc(recipe, tmp_path / "cut", resume=True, on_progress=lambda news: steps.append(news.done // 5))
    assert steps == [4, 5, 6, 7, 8]  # the state of step 3 was the last one saved
    if held_out:
        found, expect = (read_evaluations(run.parent / EVALUATIONS) for run in (cut, whole))
        assert [e.step for e in found] == [3, 6, 8]
        assert [e.loss for e in found] == pytest.approx([e.loss for e in expect], rel=1e-5)
    file = "adapter_model.safetensors" if "lora" in options else "model.safetensors"
    after, expected = load_file(cut / file), load_file(whole / file)
    assert set(after) == set(expected)
    for name, value in after.items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)
    assert train_bc(recipe, tmp_path / "cut", resume=True) == cut


@pytest.mark.slow
def test_two_processes_of_accelerate_go_on_with_a_run_as_one_does(
    rambled: tuple[Path, list[tuple[Context, Decision]]], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    recipe = BcRecipe(str(folder), (str(rambled[0]),), epochs=2, batch=4, rate=1e-3)
    whole = train_bc(recipe, tmp_path / "whole")

    def kill(news: Progress) -> None:
        if news.done == 4 * 4:
            raise KilledError

    with pytest.raises(KilledError):
        train_bc(recipe, tmp_path / "cut", on_progress=kill)
    launch = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0"
    plain = "--mixed_precision no --dynamo_backend no -m agent train bc --epochs 2 --batch 4 --lr 1e-3 --resume"
    names = ["--model", str(folder), "--data", str(rambled[0]), "--out", str(tmp_path / "cut")]
    done = subprocess.run(
        [sys.executable, "-m", *launch.split(), *plain.split(), *names], capture_output=True, text=True, check=False,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Checkpoint:") == 1
    after, expected = (load_file(run / "model.safetensors") for run in (tmp_path / "cut" / "model", whole))
    first, _ = load_model(folder)
    moved = max((expected[name] - value).abs().max() for name, value in first.state_dict().items()
                if name in expected and expected[name].shape == value.shape)  # fmt: skip
    assert max((after[name] - expected[name]).abs().max() for name in expected) < moved / 50


@pytest.fixture
def demonstrations(tmp_path: Path) -> Iterator[tuple[Path, list[Any], Any]]:
    """Two short episodes of the expert in the doom world, looking up and down; their tasks and the world."""
    from envs.doom.world import DoomWorld

    world, tasks = DoomWorld(), {}
    for task in suites.training("doom-basic").tasks(5, 60, evaluation=False):
        if task.verb == "look" and (way := task.verifier.args["direction"]) not in tasks:
            tasks[way] = task
            recorder = Recorder(tmp_path / "data" / way, task=task, policy="expert", durable=False)
            player = ScriptedPlayer(ExpertPolicy().start(task))
            assert play_task(world, player, task, subscribers=[recorder], observe="decision").success
    yield tmp_path / "data", list(tasks.values()), world
    world.close()


def test_it_learns_two_episodes_and_plays_them_from_pixels(
    demonstrations: tuple[Path, list[Any], Any], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, tasks, world = demonstrations
    assert len(tasks) == 2
    options = f"--epochs 140 --batch 7 --lr 1e-2 --history 4 --out {tmp_path / 'run'}".split()
    assert cli.run(["train", "bc", "--model", str(folder), "--data", str(data), *options]) == 0
    assert f"hf:{tmp_path / 'run' / 'model'}" in capsys.readouterr().out.replace("\n", "")
    policy = fitted(load_hf(tmp_path / "run" / "model"), world)
    assert policy.spec.codec == "keys1"
    assert policy.spec.view == View.stretched((120, 160), 4)
    assert policy.spec.history == 4
    outcomes = [play_task(world, InStep(policy), task, observe="decision") for task in tasks]
    assert [outcome.success for outcome in outcomes] == [True, True], [outcome.why for outcome in outcomes]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [({"gamma": 1.5}, "gamma"), ({"batch": 0}, "at least 1"), ({"epochs": 0.0}, "above 0")],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        BcRecipe("model", ("data",), **wrong)


def test_a_folder_with_something_else_in_it_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no run"):
        train_bc(BcRecipe(str(folder), (str(tmp_path),)), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
