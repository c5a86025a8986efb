"""Sampling: what is drawn has the probability that is told, and the trainer computes the same one again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from agent.doom_codec import HANDS
from agent.policy import Context, Decision
from agent.small import SmallPolicy, load_small
from agent.small.greedy import PATIENCE, is_stuck
from agent.small.model import SmallModel
from agent.small.output_grammar import ALLOWED_IDS, FIELD, HUSHED, MASK, THINK, Output, choices_of
from agent.small.sampling import batch_of, log_probabilities, sample, score
from agent.small.token_ids import ACT, GO, PLACE, SAY, STARTS
from envs.action import Action
from envs.doom.world import DoomWorld
from tasks import world_tasks


@pytest.fixture(scope="module")
def small() -> SmallPolicy:
    return load_small()


@pytest.fixture(scope="module")
def contexts(small: SmallPolicy) -> list[Context]:
    """Contexts of real play in Doom, with 0 to 5 decisions behind them."""
    found = []
    world = DoomWorld()
    try:
        for task in world_tasks.suites()["doom-rooms"].tasks(3, 3):
            observation, _ = world.reset(seed=task.seed, options=task.options)
            actions: tuple[tuple[Action, ...], ...] = ()
            thoughts: tuple[str, ...] = ()
            for number in range(6):
                frame = observation["pixels"]
                found.append(Context((frame,), task.instruction, actions, thoughts, seed=number))
                decision = small.act([found[-1]])[0]
                actions, thoughts = (*actions, decision.actions), (*thoughts, decision.thought)
                observation, *_ = world.step_chunk(decision.actions)
    finally:
        world.close()
    return found


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def tokens_of(decisions: Sequence[Decision]) -> list[tuple[int, ...]]:
    return [decision.tokens for decision in decisions]


@pytest.mark.parametrize("think", [0, 2, THINK])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_trainer_computes_the_probabilities_that_were_drawn_from(
    small: SmallPolicy, contexts: list[Context], temperature: float, think: int
) -> None:
    decisions = sample(small.model, contexts, temperature=temperature, think=think, generator=seeded())
    assert all(len(d.tokens) == len(d.log_probabilities) for d in decisions)
    if think:
        assert len({len(d.tokens) for d in decisions}) > 1
        assert any(d.thought.partition(" (")[0] for d in decisions)
    found = log_probabilities(small.model, contexts, tokens_of(decisions), temperature, think)
    assert found.dtype == torch.float32
    for row, decision in enumerate(decisions):
        count = len(decision.tokens)
        assert found[row, :count].tolist() == pytest.approx(decision.log_probabilities, abs=1e-4)
        assert not found[row, count:].any()


def test_the_trainer_scores_a_row_as_alone(small: SmallPolicy, contexts: list[Context]) -> None:
    decisions = sample(small.model, contexts, temperature=2.0, generator=seeded(1))
    together = log_probabilities(small.model, contexts, tokens_of(decisions), 2.0)
    for row, (context, decision) in list(enumerate(zip(contexts, decisions, strict=True)))[::3]:
        alone = log_probabilities(small.model, [context], [decision.tokens], 2.0)
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-4, rtol=0)


def test_gradients_flow_to_every_part_that_acts(small: SmallPolicy, contexts: list[Context]) -> None:
    model = SmallModel(small.model.config)
    model.load_state_dict(small.model.state_dict())
    decisions = sample(model, contexts, generator=seeded())
    scores = score(model, batch_of(contexts, tokens_of(decisions)), 1.0)
    assert not scores.log_probabilities.isnan().any()
    (scores.log_probabilities.sum(1) * torch.linspace(-1, 1, len(contexts))).mean().backward()
    unused = {"picture_mark", "when", "segment.weight", "segment.bias"}  # of pictures, the judge and the cells
    for name, parameter in model.named_parameters():
        has = parameter.grad is not None and parameter.grad.isfinite().all() and bool(parameter.grad.any())
        assert has != (name in unused), name
    # a step along the gradient of one decision makes this decision likelier
    model.zero_grad()
    before = score(model, batch_of(contexts[:1], tokens_of(decisions[:1])), 1.0).log_probabilities.sum()
    before.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter += 1e-4 * parameter.grad
    assert log_probabilities(model, contexts[:1], tokens_of(decisions[:1]), 1.0).sum() > before


def test_entropies_are_those_of_the_allowed_tokens(small: SmallPolicy, contexts: list[Context]) -> None:
    decisions = sample(small.model, contexts, temperature=1.5, generator=seeded(2))
    scores = score(small.model, batch_of(contexts, tokens_of(decisions)), 1.5)
    entropies = scores.entropies.detach()
    assert torch.equal(scores.mask.sum(1), torch.tensor([len(d.tokens) for d in decisions]))
    assert not entropies[~scores.mask].any()
    for row, decision in enumerate(decisions):
        for at, choice in enumerate(choices_of(decision.tokens, THINK)):
            assert -1e-5 <= float(entropies[row, at]) <= np.log(len(ALLOWED_IDS[choice])) + 1e-5
    hot = score(small.model, batch_of(contexts, tokens_of(decisions)), 1e4).entropies[:, 0]
    assert hot.tolist() == pytest.approx([np.log(81)] * len(contexts), abs=1e-3)  # all columns alike, and "not in view"


@pytest.mark.slow
def test_draws_are_as_often_as_they_are_likely(small: SmallPolicy, contexts: list[Context]) -> None:
    """Of the first token, and of whole decisions by their entropy, over many draws."""
    n, warm = 400, 2.0
    decisions = small.sample([contexts[0]] * n, temperature=warm, generator=seeded(3))
    drawn = Counter(decision.tokens[0] for decision in decisions)
    told = {decision.tokens[0]: np.exp(decision.log_probabilities[0]) for decision in decisions}
    assert len(drawn) > 2
    for token, count in drawn.items():
        p = told[token]
        assert abs(count / n - p) <= 4.5 * np.sqrt(p * (1 - p) / n) + 1e-3
    # the surprise of whole decisions is on average their entropy
    surprise = np.array([-sum(decision.log_probabilities) for decision in decisions])
    with torch.no_grad():
        entropy = score(small.model, batch_of([contexts[0]] * n, tokens_of(decisions)), warm).entropies.sum(1).numpy()
    assert abs((surprise - entropy).mean()) < 4.5 * (surprise - entropy).std() / np.sqrt(n)


def test_nothing_but_grammar_and_temperature_has_a_say(small: SmallPolicy, contexts: list[Context]) -> None:
    """An end that the greedy player avoids is drawn as often as it is likely; a stuck player has the plain
    distribution."""
    policy = SmallPolicy(SmallModel(small.model.config), device="cpu", think=0)
    policy.model.load_state_dict(small.model.state_dict())
    tokens = policy.sample(contexts[:1], temperature=1e-3, generator=seeded())[0].tokens
    end = STARTS[-1] + HANDS.index("done")
    with_end = [(*tokens[:-1], end)]
    chance = log_probabilities(policy.model, contexts[:1], with_end, 1.0, 0)[0, len(tokens) - 1].exp().item()
    with torch.no_grad():  # two chances in five after these tokens
        policy.model.head.bias[end] += np.log(0.4 / 0.6) - np.log(chance / (1 - chance))
    policy = SmallPolicy(policy.model, device="cpu", think=0)
    assert not policy.act(contexts[:1])[0].done
    assert any(decision.done for decision in policy.sample([contexts[0]] * 32, generator=seeded(4)))

    idle = (Action(),) * policy.spec.chunk
    stuck = replace(contexts[0], actions=(idle,) * PATIENCE, thoughts=("",) * PATIENCE)
    assert is_stuck(stuck)
    decisions = policy.sample([stuck] * 8, temperature=0.1, generator=seeded(5))
    again = log_probabilities(policy.model, [stuck] * 8, tokens_of(decisions), 0.1, 0)
    for row, decision in enumerate(decisions):
        assert again[row, : len(decision.tokens)].tolist() == pytest.approx(decision.log_probabilities, abs=1e-4)


def test_low_temperature_is_the_likeliest_token(small: SmallPolicy, contexts: list[Context]) -> None:
    decisions = small.sample(contexts, temperature=1e-4, generator=seeded())
    for context, decision in zip(contexts, decisions, strict=True):
        batch = batch_of([context], [decision.tokens])
        with torch.no_grad():
            encoded = small.model.encode(batch.frames, batch.prompt)
            hidden = small.model.write(encoded, batch.tokens, batch.order, torch.zeros_like(batch.tokens))
        likeliest = (small.model.logits(hidden)[0] + MASK[batch.choices]).argmax(-1)
        assert likeliest.tolist() == list(decision.tokens)


def test_a_generator_decides_the_draws(small: SmallPolicy, contexts: list[Context]) -> None:
    first, same, other = (small.sample(contexts, temperature=1.5, generator=seeded(n)) for n in (7, 7, 8))
    assert first == same != other


def test_budgets_of_words_hold(small: SmallPolicy, contexts: list[Context]) -> None:
    for think in (0, 1, 5):
        for decision in sample(small.model, contexts, temperature=50.0, think=think, generator=seeded(think)):
            assert len(decision.actions) == small.spec.chunk
            choices = choices_of(decision.tokens, think)
            assert choices[:PLACE] == [FIELD, FIELD + 1]
            end = decision.tokens.index(SAY) if SAY in decision.tokens else decision.tokens.index(GO)
            assert end - PLACE <= think
            assert choices.count(HUSHED) <= 1


def test_what_is_no_decision_is_refused(small: SmallPolicy, contexts: list[Context]) -> None:
    decision = small.sample(contexts[:1], generator=seeded())[0]
    for wrong in (decision.tokens[:-1], decision.tokens[1:], (*decision.tokens, GO), (ACT, *decision.tokens), ()):
        with pytest.raises(ValueError, match="decision"):
            log_probabilities(small.model, contexts[:1], [wrong], 1.0)
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature"):
            small.sample(contexts[:1], temperature=temperature)
        with pytest.raises(ValueError, match="temperature"):
            log_probabilities(small.model, contexts[:1], [decision.tokens], temperature)


def test_the_greedy_player_tells_no_probabilities(small: SmallPolicy, contexts: list[Context]) -> None:
    assert all(d.tokens == () == d.log_probabilities for d in small.act(contexts))
    output = Output(ACT, THINK)
    assert output.excluded(ALLOWED_IDS[output.choice], torch.zeros(81)) == []
