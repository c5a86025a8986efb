"""The optimiser loop: its schedule, average and figures; parts, ranks and resumed runs change nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training import loop
from training.loop import FLOOR, Loop, Plan, saved_step, schedule
from training.ranks import Ranks, launch
from training.recipe import OnProgress, Progress, ignore_progress

STEPS, SIZE = 12, 4


class Model(nn.Module):
    """A layer, dropout, and one weight that is not trained."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.dropout = nn.Dropout(dropout)
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.dropout(x)) * self.fixed


def batch(step: int) -> Tensor:
    return torch.randn(SIZE, 3, generator=torch.Generator().manual_seed(step))


def batches(first: int = 0, parts: int = 1) -> Iterator[Sequence[Tensor]]:
    """Every step's batch in some parts of equal size."""
    for step in range(first, STEPS):
        yield batch(step).split(SIZE // parts)


def loss(model: nn.Module, part: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The part's share of the mean square of what is left to 1."""
    value = (model(part) - 1.0).square().sum() / SIZE
    return value, {"loss": value, "nothing": torch.tensor(math.nan)}


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1.0)


PLAN = Plan("test", steps=STEPS, size=SIZE, unit="rows", rate=0.1, warmup=3, average=0.9)


def trained(
    folder: Path, parts: int = 1, plan: Plan = PLAN, on_progress: OnProgress = ignore_progress, dropout: float = 0.0
) -> Model:
    model = Model(dropout)
    run: Loop[Tensor] = Loop(model, adam, plan, state=folder / "state", log=folder / "log", on_progress=on_progress)
    run.run(batches(run.first, parts), loss)
    return model


def assert_same(one: Model, other: Model) -> None:
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_the_rate_rises_and_falls() -> None:
    shares = [schedule(step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[:10] == sorted(shares[:10])
    assert shares[9:] == sorted(shares[9:], reverse=True)
    assert FLOOR < shares[99] < 1.1 * FLOOR


def test_it_learns_and_tells_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    told: list[Progress] = []
    model = trained(tmp_path, on_progress=told.append)
    assert [news.done for news in told] == [SIZE * (step + 1) for step in range(STEPS)]
    assert {news.total for news in told} == {SIZE * STEPS}
    assert told[-1].figures["loss"] < 0.5 * told[0].figures["loss"]
    assert set(told[-1].figures) == {"loss", "rows/s"}  # what is not finite is not told
    assert model.fixed.item() == 1.0
    assert list((tmp_path / "log").glob("events*"))


def test_the_model_gets_its_average(tmp_path: Path) -> None:
    """By hand: plain gradient descent, whose weights are averaged as the plan says."""
    plan = Plan("test", steps=STEPS, size=SIZE, rate=0.1, warmup=3, average=0.5, clip=0.3)
    model = Model()
    run: Loop[Tensor] = Loop(model, lambda p: torch.optim.SGD(p, lr=1.0), plan, state=tmp_path / "state")
    run.run(batches(), loss)
    other = Model()
    weights = list(other.layer.parameters())
    average = [w.detach().clone() for w in weights]
    for step in range(STEPS):
        grads = torch.autograd.grad(loss(other, batch(step))[0], weights)
        norm = float(torch.cat([g.flatten() for g in grads]).norm())
        decay = min(0.5, step / (step + 10.0))
        with torch.no_grad():
            for mean, weight, grad in zip(average, weights, grads, strict=True):
                weight -= 0.1 * schedule(step, STEPS, 3) * grad * min(1.0, 0.3 / norm)
                mean.mul_(decay).add_(weight, alpha=1 - decay)
    torch.testing.assert_close([w.detach() for w in model.layer.parameters()], average, atol=1e-5, rtol=1e-5)


def test_parts_add_up_to_their_batch(tmp_path: Path) -> None:
    assert_same(trained(tmp_path / "whole"), trained(tmp_path / "parts", parts=4))


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_as_if_nothing_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)

    def kill(news: Progress) -> None:
        if news.done == 7 * SIZE:
            raise KilledError

    state = tmp_path / "state"
    assert saved_step(state) == 0
    with pytest.raises(KilledError):
        trained(tmp_path, on_progress=kill, dropout=0.5)
    assert saved_step(state) == 6
    assert not list(tmp_path.glob(".*"))
    assert "fixed" not in torch.load(state, weights_only=True)["model"]  # what is not trained is not saved
    assert_same(trained(tmp_path, dropout=0.5), trained(tmp_path / "whole", dropout=0.5))


def _share(out: Path, ranks: Ranks, on_progress: OnProgress) -> None:
    """One of two processes, with half of every batch."""
    model = Model()
    run: Loop[Tensor] = Loop(model, adam, PLAN, state=out / "state", ranks=ranks, on_progress=on_progress)

    def of_half(model: nn.Module, part: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        value, figures = loss(model, part)
        return value * ranks.count, figures  # the gradients of the processes are averaged

    run.run(([parts[ranks.rank]] for parts in batches(run.first, ranks.count)), of_half)
    torch.save(model.state_dict(), out / f"{ranks.rank}.pt")
    ranks.close()


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    told: list[Progress] = []
    launch(partial(_share, tmp_path), 2, tmp_path / "meeting", told.append)
    alone = trained(tmp_path / "alone")
    for rank in range(2):
        model = Model()
        model.load_state_dict(torch.load(tmp_path / f"{rank}.pt", weights_only=True))
        assert_same(model, alone)
    assert told[-1].done == SIZE * STEPS


def _fail(ranks: Ranks, on_progress: OnProgress) -> None:
    if ranks.rank == 1:
        raise KilledError
    ranks.close()  # would wait for ever


def test_a_process_that_dies_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a training process died"):
        launch(_fail, 2, tmp_path / "meeting", ignore_progress)
