"""The critic: it tells what is still to come from hidden states, and goes on where it was."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.rl.advantages import Floats
from training.rl.value import REMEMBERED, Critic, ValueHead

WIDTH = 12


def round_of(seed: int, count: int = 600) -> tuple[Tensor, Floats]:
    """Hidden states whose second number, with noise, is what is still to come."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(count, WIDTH)).astype(np.float32)
    return torch.from_numpy(states), (states[:, 1] > 0.0) + 0.1 * rng.normal(size=count)


def critic() -> Critic:
    torch.manual_seed(0)
    return Critic(ValueHead(WIDTH), 1e-2)


def test_it_tells_more_of_rounds_that_it_has_not_seen_than_their_mean_does() -> None:
    learner, rng = critic(), np.random.default_rng(0)
    assert not learner.values(round_of(0)[0]).any()
    told = [learner.fit(*round_of(seed), rng)["explained"] for seed in range(5)]
    assert told[0] < 0.0  # the values were 0, which is less than the mean
    assert told[-1] > 0.5
    states, returns = round_of(9)
    assert np.corrcoef(learner.values(states), returns)[0, 1] > 0.7


def test_it_goes_on_as_if_it_had_not_been_stopped() -> None:
    whole, first = critic(), critic()
    for seed in range(3):
        whole.fit(*round_of(seed, 50), np.random.default_rng(seed))
    for seed in range(2):
        first.fit(*round_of(seed, 50), np.random.default_rng(seed))
    second = Critic(first._head, 1e-2)
    second.load_state(first.state())
    second.fit(*round_of(2, 50), np.random.default_rng(2))
    states = round_of(9)[0]
    assert (whole.values(states) == second.values(states)).all()


def test_old_rounds_are_forgotten() -> None:
    learner = critic()
    for seed in range(REMEMBERED + 3):
        learner.fit(*round_of(seed, 4), np.random.default_rng(0))
    assert len(learner.state()["rounds"]) == REMEMBERED


def test_returns_that_are_all_alike_leave_nothing_to_explain() -> None:
    states, _ = round_of(0, 20)
    assert critic().fit(states, np.ones(20), np.random.default_rng(0))["explained"] == 0.0
