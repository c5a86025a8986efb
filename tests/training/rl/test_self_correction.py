"""Self-correction: what attempts are paid in each stage, what they teach, and a text model that learns by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agent.policy import Decision
from envs.errors import UserError
from training.rl import sorting
from training.rl.causal_learnable import load_causal
from training.rl.correct import SUMMARY, checked_recipe, opened, train_correction
from training.rl.correction_measures import Counts, counts_of, delta_interval, measure_redrawn
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.learnable import Scores
from training.rl.self_correction import (
    Attempt,
    CorrectionLearner,
    Lesson,
    Pair,
    attempt_twice,
    leave_one_out,
    lessons_of,
    lessons_of_pair_sft,
    lessons_of_star,
    reverse_kl,
    sampled,
)
from training.rl.sorting import Row, Sorting
from training.rl.train import MODEL, STATE


def recipe(**fields: Any) -> CorrectionRecipe:
    shared = {"policy": "hf:none", "suite": "sorting", "upper_bound": True, "rounds": 2, "stage_one": 1, "problems": 3}
    return CorrectionRecipe.of({**shared, "group": 2, **fields})


def attempt(prompt: str, said: str, reward: float) -> Attempt[str]:
    return Attempt((prompt,), (Decision((), speech=said, tokens=(1, 2)),), reward, reward > 0.5, said)


def pair(group: int, first: float, second: float) -> Pair[str]:
    return Pair(group, attempt("21>", "a", first), attempt("21>a? 21>", "b", second))


def test_the_baseline_is_the_mean_of_the_others() -> None:
    assert leave_one_out([1.0, 0.0, 0.5, 3.0], [0, 0, 0, 1]) == [0.75, -0.75, 0.0, 0.0]


def test_stage_one_pays_the_second_attempt_and_pins_the_first() -> None:
    lessons = lessons_of([pair(0, 1, 0), pair(0, 0, 1)], recipe(), stage=1)
    assert [(one.weight, one.beta) for one in lessons] == [(0, 0.1), (0, 0.1), (-1, 0.01), (1, 0.01)]
    assert [one.prompt for one in lessons] == ["21>", "21>", "21>a? 21>", "21>a? 21>"]


def test_stage_two_pays_both_and_the_change_counts_alpha_times() -> None:
    pairs = [pair(0, 1, 0), pair(0, 0, 1)]
    lessons = lessons_of(pairs, recipe(), stage=2)
    assert [(one.weight, one.beta) for one in lessons] == [(1, 0.01), (-1, 0.01), (-21, 0.01), (21, 0.01)]
    assert [one.weight for one in lessons_of(pairs, recipe(alpha=0), stage=2)] == [1, -1, -1, 1]


def test_what_is_imitated() -> None:
    pairs = [pair(0, 1, 1), pair(0, 0, 1), pair(1, 1, 0), pair(1, 0, 0)]
    assert [one.decision for one in lessons_of_star(pairs, recipe())] == [pairs[1].second.decisions[0]]
    attempts = [attempt("21>", said, reward) for said, reward in (("21", 0), ("12", 1), ("11", 0), ("99", 0))]
    problems = [Row("21")] * 3 + [Row("43")]
    made = lessons_of_pair_sft(Sorting(2), attempts, [0, 0, 0, 1], problems)
    assert [(one.prompt, one.decision.speech) for one in made] == [("21>21? 21>", "12"), ("21>11? 21>", "12")]


def test_the_distance_has_the_gradient_of_the_reverse_kl() -> None:
    logits = torch.tensor([0.3, -1.0, 0.7], requires_grad=True)
    reference = torch.tensor([1.0, 0.0, -0.5]).log_softmax(0)
    logp = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - reference)).sum(), logits, retain_graph=True)

    def drawn(token: int) -> Tensor:
        one = torch.ones(1, 1)
        return reverse_kl(logp[token].expand(1, 1), reference[token].expand(1, 1), one).sum()

    (found,) = torch.autograd.grad(sum(logp[k].exp().detach() * drawn(k) for k in range(3)), logits)
    assert torch.allclose(found, exact, atol=1e-6)


def test_counts_and_their_interval() -> None:
    counts = counts_of([pair(0, 1, 0), pair(0, 0, 1), pair(0, 0, 1), pair(0, 1, 1)])
    assert counts == Counts(0, 2, 1, 1)
    assert (counts.first, counts.second, counts.delta) == (0.5, 0.75, 0.25)
    low, high = delta_interval(Counts(100, 60, 20, 320))
    assert 0.04 < low < 0.08 < high < 0.12
    assert delta_interval(Counts(10, 0, 0, 10))[0] < 0.0 < delta_interval(Counts(10, 0, 0, 10))[1]


def test_rows_of_training_and_evaluation_are_never_the_same() -> None:
    exercise = Sorting(4)
    training, held_out = exercise.problems(300, 0), exercise.problems(300, 0, evaluation=True)
    assert not set(training) & set(held_out)
    assert training == exercise.problems(300, 0) != exercise.problems(300, 1)
    row = Row("3914")
    assert sorting.is_right(row, "1349")
    assert [sorting.is_right(row, answer) for answer in ("1348", "3149", "134", "")] == [False] * 4
    assert sorting.is_in_order(row, "1348"), "this judge does not see which digits were asked for"
    assert [sorting.is_in_order(row, answer) for answer in ("3149", "134")] == [False] * 2
    with pytest.raises(UserError, match="truth or order"):
        Sorting(2, "judge")


@pytest.fixture(scope="module")
def sorter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sorting.tiny_sorter(tmp_path_factory.mktemp("sorter") / "tiny", digits=2, steps=150, width=32, layers=1)


def test_the_player_tells_what_the_trainer_computes(sorter: Path) -> None:
    model = load_causal(str(sorter), most=4)
    prompts = ["21>", "31>13? 31>", "7>"]  # of different lengths
    drawn = model.sample(prompts, temperature=0.7, generator=torch.Generator().manual_seed(0))
    batch = model.batch(prompts, [one.tokens for one in drawn])
    scores = model.score(batch, 0.7)
    for row, one in enumerate(drawn):
        told = torch.tensor(one.log_probabilities)
        assert torch.allclose(scores.log_probabilities[row, : len(told)], told, atol=1e-4)
        assert not scores.log_probabilities[row, len(told) :].any()
    assert torch.allclose(model.reference(batch, 0.7), scores.log_probabilities.detach(), atol=1e-5)


def test_the_reference_is_the_parent_whatever_was_learned(sorter: Path) -> None:
    model = load_causal(str(sorter), most=4)
    drawn = model.sample(["21>"], temperature=1.0, generator=torch.Generator().manual_seed(0))
    batch = model.batch(["21>"], [drawn[0].tokens])
    before = model.reference(batch, 1.0)
    learner = CorrectionLearner(model, recipe(rate=5e-3), length=3)
    for _ in range(6):
        learner.learn([Lesson("21>", drawn[0], 1.0, 0.0, drawn=False)], 1)
    assert torch.equal(model.reference(batch, 1.0), before)
    assert model.score(batch, 1.0).log_probabilities.sum() > before.sum() + 0.1


def test_a_second_attempt_is_asked_with_the_first_one_and_a_retry_is_not(sorter: Path) -> None:
    model, exercise = load_causal(str(sorter), most=3), Sorting(2)
    ask = sampled(model, 1.0, torch.Generator().manual_seed(0))
    problems = exercise.problems(4, 0)
    pairs = attempt_twice(exercise, ask, problems, range(4))
    assert [one.second.prompts[0] for one in pairs] == [
        f"{problem.text}{one.first.told}? {problem.text}" for problem, one in zip(problems, pairs, strict=True)
    ]
    firsts = [(problem, one.first) for problem, one in zip(problems, pairs, strict=True)]
    assert measure_redrawn(exercise, ask, firsts, best=True).right_wrong == 0, "the better one counts"


class Table(nn.Module):
    """A model with a distribution over four tokens for each of three prompts, as a Scorable."""

    tolerance = 1e-5

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(3, 4))

    @property
    def module(self) -> nn.Module:
        return self

    def sample(self, contexts: Sequence[int], *, temperature: float, generator: torch.Generator) -> list[Decision]:
        logp = self.logits.detach().log_softmax(1)[list(contexts)]
        drawn = torch.multinomial(logp.exp(), 1, generator=generator)
        told = logp.gather(1, drawn)
        return [
            Decision((), tokens=(int(token),), log_probabilities=(float(value),))
            for token, value in zip(drawn, told, strict=True)
        ]

    def batch(self, contexts: Sequence[int], tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        return torch.tensor(list(contexts)), torch.tensor(tokens)

    def score(self, batch: tuple[Tensor, Tensor], temperature: float) -> Scores:
        logp = self.logits.log_softmax(1)[batch[0]]
        entropies = -(logp.exp() * logp).sum(1, keepdim=True)
        return Scores(logp.gather(1, batch[1]), entropies, torch.ones_like(batch[1], dtype=torch.bool))

    def reference(self, batch: tuple[Tensor, Tensor], temperature: float) -> Tensor:
        return torch.full(batch[1].shape, 0.25).log()


def drawn_pairs(table: Table, generator: torch.Generator, count: int = 64) -> list[Pair[int]]:
    """Token 0 solves it. Prompt 0 asks first; prompt 1 asks again after a right attempt, and 2 after a wrong one."""
    firsts = table.sample([0] * count, temperature=1.0, generator=generator)
    asked = [1 if one.tokens == (0,) else 2 for one in firsts]
    seconds = table.sample(asked, temperature=1.0, generator=generator)

    def attempt(prompt: int, one: Decision) -> Attempt[int]:
        return Attempt((prompt,), (one,), float(one.tokens == (0,)), one.tokens == (0,))

    return [
        Pair(0, attempt(0, first), attempt(prompt, second))
        for first, prompt, second in zip(firsts, asked, seconds, strict=True)
    ]


@pytest.mark.parametrize("stage", [1, 2])
def test_it_learns_to_correct(stage: int) -> None:
    """In stage I the second attempts gain while the first ones stay where they were; in stage II both gain."""
    table, generator = Table(), torch.Generator().manual_seed(0)
    wanted = recipe(rate=0.05, beta2=1.0)
    learner = CorrectionLearner(table, wanted, length=1)
    for _ in range(60):
        pairs = drawn_pairs(table, generator)
        learner.learn(lessons_of(pairs, wanted, stage), 2 * len(pairs))
    first, kept, corrected = table.logits.softmax(1)[:, 0].tolist()
    assert kept > 0.8
    assert corrected > 0.8
    assert (abs(first - 0.25) < 0.05) if stage == 1 else (first > 0.5)


@pytest.mark.parametrize("method", ["score", "single", "star", "pair_sft"])
def test_a_killed_run_goes_on_to_the_same_weights(
    sorter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    wanted = recipe(policy=f"hf:{sorter}", digits=2, rounds=3, method=method, group=4, rate=3e-3)
    train_correction(wanted, tmp_path / "whole")
    learn, count = CorrectionLearner.learn, 0

    def dying(self: Any, lessons: Any, attempts: int) -> dict[str, float]:
        nonlocal count
        count += 1
        figures = learn(self, lessons, attempts)
        if count == 3:
            raise KeyboardInterrupt  # the weights have changed, and the round is not over
        return figures

    with monkeypatch.context() as patch:
        patch.setattr(CorrectionLearner, "learn", dying)
        with pytest.raises(KeyboardInterrupt):
            train_correction(wanted, tmp_path / "cut")
    assert (tmp_path / "cut" / STATE).exists()
    train_correction(wanted, tmp_path / "cut")
    said = [json.loads((tmp_path / run / SUMMARY).read_text())["rounds"] for run in ("whole", "cut")]
    assert said[0] == said[1]
    files = [(tmp_path / run / MODEL / "model.safetensors").read_bytes() for run in ("whole", "cut")]
    assert files[0] == files[1]


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rows are text"):
        checked_recipe({"policy": "small", "suite": "sorting"}, trust=False)
    with pytest.raises(ValueError, match="stage_one is 3 of 2 rounds"):
        checked_recipe({"policy": "tiny", "suite": "sorting", "rounds": 2, "stage_one": 3}, trust=False)
    with (
        pytest.raises(UserError, match="expected a causal language model"),
        opened(recipe(policy=f"hf:{tmp_path}"), tmp_path),
    ):
        pass
