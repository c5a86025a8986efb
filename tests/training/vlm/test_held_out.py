"""Evaluation during fine-tuning: by decisions that are not learned, and the best weights are kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent import cli
from agent import doom_codec as codec
from agent.policy import Context, Decision
from agent.vlm.checkpoint import Manifest
from agent.vlm.policy import load_model
from tests.support.rambler import SPEC, record
from training.data.examples import Examples
from training.vlm.examples import encode_examples, log_probabilities, turn_of
from training.vlm.held_out import Evaluation, best_of, evaluation_steps, read_evaluations
from training.vlm.recipe import BcRecipe
from training.vlm.start import load, writer_of


class Steady:
    """Always does the same."""

    spec = SPEC

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [Decision(codec.decode([3, 2, 4, 0]).actions)] * len(contexts)


def test_evaluations_are_spread_over_the_run_and_the_last_one_is_at_its_end() -> None:
    assert evaluation_steps(8, 3) == {3, 6, 8}
    assert evaluation_steps(100, 10) == set(range(10, 101, 10))
    assert evaluation_steps(2, 10) == {1, 2}


def test_whole_episodes_are_held_out(rambled: tuple[Path, object], tmp_path: Path) -> None:
    every = Examples([rambled[0]], history=2)
    learned, held = every.split(0.5, seed=3)
    assert held is not None
    numbers = [sorted(part.order(7).tolist()) for part in (learned, held)]
    assert sorted(numbers) == [[*range(10)], [*range(10, 20)]]
    assert every.split(0.49, seed=3) == (every, None)


def test_agreement_rises_and_the_best_weights_are_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = record(Steady(), tmp_path / "data", 2), tmp_path / "run"
    options = f"--epochs 32 --batch 10 --lr 3e-2 --history 1 --held-out 0.5 --evaluations 4 --out {run}".split()
    assert cli.run(["train", "bc", "--model", str(folder), "--data", str(data), *options]) == 0
    found = read_evaluations(run / "evaluations.json")
    assert [e.step for e in found] == [8, 16, 24, 32]
    assert found[0].agreement < 0.5 < found[-1].agreement
    assert found[-1].loss < found[0].loss / 2
    best = best_of(found)
    assert Evaluation(**Manifest.read(run / "best").trained["held_out"]) == best
    assert f"hf:{run}/best" in (said := capsys.readouterr().out.replace("\n", ""))
    assert f"agreement {best.agreement:.0%}" in said

    # what the run said of its best weights, from the files
    model, processor = load_model(run / "best")
    _, held = Examples([data], history=1).split(0.5, seed=0)
    assert held is not None
    batch = encode_examples(processor, writer_of(processor, "tokens"), [held[int(i)] for i in held.order(0)])
    found_now, weights = log_probabilities(model, batch)
    assert float(-(found_now * weights).sum() / weights.sum()) == pytest.approx(best.loss, rel=1e-3)

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("bc/held-out agreement")] == [
        (10 * e.step, pytest.approx(e.agreement)) for e in found
    ]


def test_untrained_weights_agree_with_nothing(rambled: tuple[Path, object], folder: Path) -> None:
    """The agreement is that of whole actions: what an untrained model says is none."""
    import torch
    from accelerate import Accelerator

    from training.vlm.held_out import measure

    model, processor, writer = load(BcRecipe(str(folder), ("data",)), "cpu", False)
    examples = [Examples([rambled[0]], history=2)[i] for i in range(6)]
    batch = encode_examples(processor, writer, examples)
    assert all(len(turn_of(e, "tokens").plan.stretches) for e in examples)
    sums = measure(model.eval(), iter([batch]), Accelerator())
    assert sums[2:].tolist() == [0.0, 6.0]
    assert float(sums[0]) == pytest.approx(float(-torch.mul(*log_probabilities(model, batch)).sum()), rel=1e-5)
