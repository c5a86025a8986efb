"""Losses of policy gradients: exact numbers, gradients, and what happens where two computations disagree."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.rl.imitation import imitation_loss
from training.rl.policy_gradient import (
    AgreementError,
    Clipping,
    Level,
    check_agreement,
    entropy,
    k3,
    policy_loss,
)

TWO = torch.tensor([[True, True], [True, False]])


def loss_of(ratio: float, advantage: float, level: Level = "decision") -> tuple[float, float, float]:
    """The loss of one decision of one token, its gradient by the log-probability, and whether it is clipped."""
    told = torch.tensor([[-1.0]])
    found = (told + math.log(ratio)).requires_grad_()
    loss, clipped = policy_loss(found, told, torch.tensor([[True]]), torch.tensor([advantage]), Clipping(), level)
    loss.backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    return loss.item(), found.grad.item(), clipped.item()


@pytest.mark.parametrize("level", ["decision", "token"])
@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.5, 2.0, -2.56, 0.0),  # above 1 + 0.28: no further
        (0.5, 2.0, -1.0, -1.0),  # it became less likely although it was good
        (1.25, -2.0, 2.5, 2.5),
        (0.5, -2.0, 1.6, 0.0),  # below 1 - 0.2: no further
        (2.0, -2.0, 4.0, 4.0),
        (5.0, -2.0, 6.0, 0.0),  # dual clipping: at most 3 times the advantage
    ],
)
def test_ratios_are_clipped(ratio: float, advantage: float, expected: float, gradient: float, level: Level) -> None:
    loss, slope, clipped = loss_of(ratio, advantage, level)
    assert (loss, slope) == pytest.approx((expected, gradient), abs=1e-5)
    assert clipped == (not 0.8 <= ratio <= 1.28)


def test_a_decision_has_one_ratio_and_its_tokens_have_several() -> None:
    told = torch.zeros(2, 2)
    found = torch.log(torch.tensor([[1.2, 1.2], [1.0, 99.0]]))  # the last one is no token
    gains = torch.tensor([1.0, 10.0])
    of_decisions, clipped = policy_loss(found, told, TWO, gains, Clipping(), "decision")
    assert of_decisions.item() == pytest.approx(-(1.28 + 10.0) / 2)  # 1.44 is clipped
    assert clipped.item() == 0.5
    of_tokens, clipped = policy_loss(found, told, TWO, gains, Clipping(), "token")
    assert of_tokens.item() == pytest.approx(-(1.2 + 1.2 + 10.0) / 3)
    assert clipped.item() == 0.0


def test_the_distance_to_the_parent() -> None:
    found = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]], requires_grad=True)
    assert k3(found, found.detach(), TWO).item() == 0.0
    reference = found.detach() + torch.tensor([[0.5, -0.5], [0.0, 70.0]])
    distance = k3(found, reference, TWO)
    assert distance.item() == pytest.approx((math.exp(0.5) - 1.5 + math.exp(-0.5) - 0.5) / 3)
    distance.backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    expected = [[(1 - math.exp(0.5)) / 3, (1 - math.exp(-0.5)) / 3], [0.0, 0.0]]
    torch.testing.assert_close(found.grad, torch.tensor(expected))


def test_the_distance_is_that_of_the_distributions_in_the_mean() -> None:
    logits, parent = torch.tensor([0.3, -1.0, 0.5]), torch.tensor([1.0, 0.0, -1.0])
    logp, logq = logits.log_softmax(0), parent.log_softmax(0)
    drawn = torch.multinomial(logp.exp(), 40_000, replacement=True, generator=torch.Generator().manual_seed(0))[:, None]
    estimated = k3(logp[drawn], logq[drawn], torch.ones_like(drawn, dtype=torch.bool))
    assert estimated.item() == pytest.approx((logp.exp() * (logp - logq)).sum().item(), rel=0.05)


def test_entropy_and_imitation() -> None:
    assert entropy(torch.tensor([[1.0, 2.0], [4.0, 9.0]]), TWO).item() == 3.5
    found = torch.tensor([[-1.0, -2.0], [-5.0, -9.0]])
    assert imitation_loss(found, TWO, torch.tensor([2.0, 1.0])).item() == pytest.approx((2 + 4 + 5) / 5)
    assert imitation_loss(found, TWO, torch.zeros(2)).item() == 0.0


def test_agreement_is_asserted_and_the_difference_is_named() -> None:
    told = torch.tensor([[-1.0, -2.0], [-3.0, 0.0]])
    near = told + torch.tensor([[5e-5, -5e-5], [0.0, 9.0]])  # the last one is no token
    assert check_agreement(near, told, TWO, 1e-4) == pytest.approx(5e-5, rel=1e-2)

    def says(found: Tensor, words: str) -> None:
        with pytest.raises(AgreementError, match=words):
            check_agreement(found, told, TWO, 1e-4)

    says(told + torch.tensor([[0.0, 0.0], [0.25, 0.0]]), r"up to 0\.25 apart.*decision 1: -2\.7500 against -3\.0000")
    says(told + torch.tensor([[float("nan"), 0.0], [0.0, 0.0]]), "up to nan apart")
