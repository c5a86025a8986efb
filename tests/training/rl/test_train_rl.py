"""`train_rl`: policies learn from rewards, runs go on where they were, and what must not be learned from is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agent.lineage import WEIGHTS, content_hash
from agent.policy import Context
from agent.small import load_small
from agent.small.checkpoint import CheckpointError, read_manifest
from envs.errors import UserError
from rewards.calibrated import Calibrated, Measured
from rewards.calibration import Calibration
from rewards.truth import Truth
from tasks.task import Task
from tests.support import lamp_world
from tests.support.lamp_rewards import Near, Up
from training.recipe import Progress
from training.rl.alarms import CollapseError
from training.rl.collect import RolloutWorker, pay_of, pool_of, starts_of
from training.rl.conditioning import BETTER, UNTOLD, WORSE, conditions
from training.rl.learner import Learner, Lessons, _compared, _drawn, lessons_of
from training.rl.load import load_learnable
from training.rl.policy_gradient import AgreementError
from training.rl.practice import Practice
from training.rl.recipe import RlRecipe
from training.rl.rehearsal import kept_of
from training.rl.rollouts import Collector, Rollout, sampler
from training.rl.train import KEPT, MODEL, STATE, SUMMARY, check_reward, train_rl

UP, NEAR, ALWAYS = (f"tests.support.lamp_rewards:{name}" for name in ("Up", "Near", "Always"))


def recipe(tiny: Path, **fields: Any) -> RlRecipe:
    small = {
        "policy": str(tiny), "suite": "lamp-basic", "reward": UP, "think": "off", "iterations": 2, "tasks": 3,
        "group": 3, "worlds": 4, "time_limit": 8, "batch": 8, "rate": 3e-3, "epochs": 2,
        "limits": {"kl": 99.0},
    }  # fmt: skip
    return RlRecipe.of({**small, **fields})


def learned(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / MODEL / WEIGHTS)


def rounds(folder: Path) -> list[dict[str, float]]:
    """What a summary tells of each round, without what depends on time."""
    found = json.loads((folder / SUMMARY).read_text())["rounds"]
    timed = ("share", "seconds", "decisions/s")
    return [{name: value for name, value in one.items() if not name.startswith(timed)} for one in found]


@pytest.mark.parametrize("method", ["ppo", "grpo", "awr", "filtered", "conditioned"])
def test_every_method_learns_what_the_reward_wants(tiny: Path, tmp_path: Path, method: str) -> None:
    count = 8 if method == "conditioned" else 5  # half of what it imitates is what it shall not do
    wanted = recipe(tiny, method=method, iterations=count, tasks=8, group=4, graded=True, rate=0.01, batch=32, kl=0.0)
    news: list[Progress] = []
    model = train_rl(wanted, tmp_path / "run", news.append)
    rewards = [one["reward"] for one in rounds(tmp_path / "run")]
    assert rewards[-1] > rewards[0] + 0.25
    assert [(one.done, one.total) for one in news] == [(n, count) for n in range(1, count + 1)]
    figures = news[-1].figures
    assert figures["decisions/s"] > 0
    assert 0.5 < sum(figures[f"share {name}"] for name in ("world", "policy", "reward", "idle")) <= 1.0
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert not (tmp_path / "run" / STATE).exists()
    assert train_rl(wanted, tmp_path / "run") == model  # it is done


def test_a_checkpoint_plays_and_tells_where_it_comes_from(tiny: Path, tmp_path: Path) -> None:
    model = train_rl(recipe(tiny, keep_every=1), tmp_path / "run")
    assert load_small(model).nouns == {"lantern": "lamp"}
    assert sorted(path.name for path in (tmp_path / "run" / KEPT).iterdir()) == ["0001", "0002"]
    last = load_file(tmp_path / "run" / KEPT / "0002" / WEIGHTS)
    assert all(torch.equal(value, last[name]) for name, value in learned(tmp_path / "run").items())
    manifest = read_manifest(model)
    assert manifest["parent"] == {"name": "tiny", "hash": content_hash(tiny)}
    (data,) = manifest["data"]
    assert (data["name"], data["unit"]) == ("lamp-basic", "decisions")
    assert data["count"] == sum(one["decisions"] for one in rounds(tmp_path / "run"))
    assert manifest["trained"]["recipe"]["method"] == "ppo"


def test_a_checkpoint_is_the_mean_of_the_last_rounds(tiny: Path, tmp_path: Path) -> None:
    train_rl(recipe(tiny, iterations=4, averaged=0.5, keep_every=1, kl=0.1), tmp_path)
    third, fourth = (load_file(tmp_path / KEPT / f"000{n}" / WEIGHTS) for n in (3, 4))
    mean = learned(tmp_path)
    assert any(not torch.equal(third[name], fourth[name]) for name in mean)
    for name, value in mean.items():
        middle = (third[name].float() + fourth[name].float()) / 2.0
        torch.testing.assert_close(value.float(), middle, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("practised", [0, 5])
def test_a_killed_run_goes_on_to_the_same_curve(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, practised: int
) -> None:
    wanted = recipe(tiny, iterations=3, reward=NEAR, shaped=True, kl=0.1, averaged=1.0)
    practice = [start.task for start in starts_of(recipe(tiny, tasks=5, group=1), Up(), 0)][:practised]

    train_rl(wanted, tmp_path / "whole", practice=practice)
    learn, learnings = Learner.learn, list[int]()

    def dying(self: Learner, rollouts: Any, seed: int) -> dict[str, float]:
        figures = learn(self, rollouts, seed)
        learnings.append(seed)
        if len(learnings) == 3:
            raise KeyboardInterrupt  # the weights have changed, and the round is not over
        return figures

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", dying)
        with pytest.raises(KeyboardInterrupt):
            train_rl(wanted, tmp_path / "cut", practice=practice)
    assert (tmp_path / "cut" / STATE).exists()
    news: list[int] = []
    train_rl(wanted, tmp_path / "cut", lambda progress: news.append(progress.done), practice=practice)
    assert news == [3]
    assert rounds(tmp_path / "cut") == rounds(tmp_path / "whole")
    assert rounds(tmp_path / "cut")[0]["learned"] > 0
    whole, cut = learned(tmp_path / "whole"), learned(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_damaged_state_and_another_recipe_are_refused(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"can't go on from it.*remove it"):
        train_rl(recipe(tiny), tmp_path)
    with pytest.raises(ValueError, match="run of another recipe"):
        train_rl(recipe(tiny, seed=5), tmp_path)


def rollouts_of(wanted: RlRecipe, learnable: Any, reward: Any = None) -> tuple[Rollout, ...]:
    collector = Collector(lamp_world.LampWorld, wanted.worlds, reward or Up(), pay_of(wanted))
    starts = starts_of(wanted, reward or Up(), 0)
    return collector.collect(learnable.spec, sampler(learnable, wanted.temperature, 1), starts).rollouts


def test_agreement_with_the_player_is_asserted(tiny: Path) -> None:
    wanted = recipe(tiny)
    learnable = load_learnable(str(tiny), think="off")
    rollouts = rollouts_of(wanted, learnable)
    assert Learner(learnable, wanted).learn(rollouts, 0)["agreement"] < 1e-4
    with pytest.raises(AgreementError, match="apart from the player's"):  # the weights have changed
        Learner(learnable, wanted).learn(rollouts, 0)


def test_the_image_encoder_may_stay_as_it_is(tiny: Path, tmp_path: Path) -> None:
    train_rl(recipe(tiny, frozen_vision=True), tmp_path)
    before, after = load_file(tiny / WEIGHTS), learned(tmp_path)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any(name.startswith("small.layers.") for name in changed)
    assert [name for name in changed if name.startswith("small.vision.")] == []
    with pytest.raises(UserError, match="frozen_vision"):
        load_learnable("hf:anything", frozen_vision=True)


def test_groups_without_variance_teach_nothing(tiny: Path) -> None:
    wanted = recipe(tiny, method="grpo")
    learnable = load_learnable(str(tiny), think="off")
    rollouts = rollouts_of(wanted, learnable)
    by_group: dict[int, set[float]] = {}
    for one in rollouts:
        by_group.setdefault(one.start.group, set()).add(one.total)
    varied = {group for group, totals in by_group.items() if len(totals) > 1}
    lessons = lessons_of(rollouts, wanted, np.random.default_rng(0))
    kept = [one for one in rollouts if one.start.group in varied]
    assert len(lessons.contexts) == sum(len(one.rewards) for one in kept)
    alike = [one for one in rollouts if one.total == 0.0]
    before = {name: value.clone() for name, value in learnable.state().items()}
    assert Learner(learnable, wanted).learn(alike, 0) == {"learned": 0.0}
    assert all(torch.equal(value, before[name]) for name, value in learnable.state().items())


def test_a_time_out_is_bootstrapped_and_a_success_is_not(tiny: Path) -> None:
    wanted = recipe(tiny)
    learnable = load_learnable(str(tiny), think="off")
    torch.nn.init.constant_(learnable.value_head.net[-1].bias, 0.5)  # type: ignore[operator,union-attr]
    rollouts = rollouts_of(wanted, learnable, Near())
    learner = Learner(learnable, wanted)
    valued = learner._valued(rollouts, learner._states(rollouts))
    cut = next(one for one in valued if one.timed_out)
    assert cut.value_after == pytest.approx(0.5)
    assert _compared(cut, wanted)[1][-1] == pytest.approx(wanted.gamma * 0.5)


def test_decisions_that_tell_more_are_learned_from_more_often_and_the_mean_stays() -> None:
    weights = np.random.default_rng(0).normal(size=50) ** 3
    blank = Context(frames=(), instruction="")
    every = Lessons((blank,) * 50, tuple((row,) for row in range(50)), ((0.0,),) * 50, weights)
    assert _drawn(every, 1.0, np.random.default_rng(0)) is every
    sums, often = np.zeros(50), np.zeros(50)
    for seed in range(4000):
        some = _drawn(every, 0.2, np.random.default_rng(seed))
        rows = [tokens[0] for tokens in some.tokens]
        assert len(some.contexts) == len(some.told) == len(set(rows)) <= 10
        sums[rows] += some.weights / len(rows)
        often[rows] += 1
    assert np.abs(sums / 4000 - weights / 50).max() < 0.25 * np.abs(weights).mean() / 50
    order = np.argsort(np.abs(weights))
    assert often[order[-10:]].mean() > 5 * often[order[:10]].mean()


def test_the_start_of_episodes(tiny: Path) -> None:
    wanted = recipe(tiny)
    first, second = starts_of(wanted, Up(), 0), starts_of(wanted, Up(), 1)
    assert [one.group for one in first] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert {one.group for one in second} == {3, 4, 5}
    assert len({one.task.seed for one in first + second}) == 6
    assert all(one.task.time_limit == 8 for one in first)
    verb = first[0].task.verb
    assert starts_of(recipe(tiny, verbs=[verb]), Up(), 0) == first
    with pytest.raises(ValueError, match="with the verbs fly"):
        starts_of(recipe(tiny, verbs=["fly"]), Up(), 0)


def test_what_is_rehearsed_is_kept(tiny: Path, tmp_path: Path) -> None:
    def forgotten(rehearsal: float) -> float:
        wanted = recipe(tiny, rehearsed=["lamp-basic"], rehearsal_episodes=4, rehearsal=rehearsal, rate=1e-2, kl=0.0)
        train_rl(wanted, tmp_path / f"{rehearsal}")
        log = rounds(tmp_path / f"{rehearsal}")
        assert all(one["forgotten"] >= 0.0 for one in log)
        return log[-1]["forgotten"]

    assert forgotten(30.0) < 0.5 * forgotten(0.0)
    learnable = load_learnable(str(tiny), think="off")
    kept = kept_of(recipe(tiny, rehearsed=["lamp-basic"], rehearsal_episodes=4), learnable)
    for one in kept:
        distance = one.distance(learnable, 1.0)
        distance.backward()
        assert float(distance.detach()) == pytest.approx(0.0, abs=1e-8)
    gradients = [p.grad for p in learnable.module.parameters() if p.grad is not None]
    assert max(float(one.abs().max()) for one in gradients) < 1e-4, "it holds back nothing at first"
    with pytest.raises(ValueError, match="held out"):
        train_rl(recipe(tiny, rehearsed=["doom-vault"]), tmp_path / "vault")
    assert not (tmp_path / "vault").exists()


def test_a_rehearsing_run_goes_on_where_it_was(tiny: Path, tmp_path: Path) -> None:
    wanted = recipe(tiny, rehearsed=["lamp-basic"], rehearsal_episodes=3, iterations=3)
    train_rl(wanted, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.rl.train._Run.finish", lambda run: None)
        patch.setattr("training.rl.train._mastered", lambda log, recipe: len(log) == 2)
        train_rl(wanted, tmp_path / "killed")
    assert not (tmp_path / "killed" / MODEL).exists()
    train_rl(wanted, tmp_path / "killed")
    for name, weight in learned(tmp_path / "whole").items():
        assert torch.equal(learned(tmp_path / "killed")[name], weight)


def test_several_suites_are_played_in_turn(tiny: Path) -> None:
    wanted = recipe(tiny, suite="doom-room+doom-rooms", tasks=4, group=1)
    assert [one.task.id.split("/")[0] for one in starts_of(wanted, Up(), 1)] == ["doom-room", "doom-rooms"] * 2
    with pytest.raises(ValueError, match="'doom-vault' is held out"):
        starts_of(recipe(tiny, suite="doom-room+doom-vault"), Up(), 0)
    with pytest.raises(ValueError, match="of the worlds doom, playroom"):
        starts_of(recipe(tiny, suite="doom-room+playroom-basic"), Up(), 0)


def test_a_pool_of_tasks_is_played_again_and_again(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe(tiny, suite="lamp-basic", pool=5, iterations=3)
    pool = pool_of(wanted, Up())
    assert len({task.id for task in pool}) == 5
    assert pool_of(recipe(tiny, pool=0), Up()) == []
    verb = pool[0].verb
    assert {task.verb for task in pool_of(recipe(tiny, pool=2, verbs=[verb]), Up())} == {verb}
    seen: list[str] = []
    draw = Practice.draw

    def noted(practice: Practice, n: int, seed: Sequence[int]) -> list[Task]:
        drawn = draw(practice, n, seed)
        seen.extend(task.id for task in drawn)
        return drawn

    monkeypatch.setattr(Practice, "draw", noted)
    train_rl(wanted, tmp_path / "run")
    assert len(seen) > 5
    assert set(seen) <= {task.id for task in pool}


def test_what_goes_both_ways_is_practised_most() -> None:
    tasks = [Task(f"{number}", "go", "lamp", number) for number in range(4)]
    practice = Practice(tasks, {"0": [6, 6, 6], "1": [3, 3, 6], "2": [0, 0, 6]})
    shares = [practice.learnability(task) for task in tasks]
    assert shares[1] == shares[3] == 1.0, "what was never played may go both ways"
    alike = Practice(tasks, {"0": [3, 1.5, 6]})  # half a chance each time
    assert alike.learnability(tasks[0]) < 0.3
    assert shares[0] == pytest.approx(shares[2])
    assert shares[0] < 0.3
    counts = Counter(task.id for seed in range(400) for task in practice.draw(2, (1, seed)))
    assert counts["1"] > 2 * counts["0"]
    assert practice.draw(9, (0, 0)) != tasks
    assert {task.id for task in practice.draw(9, (0, 0))} == {"0", "1", "2", "3"}
    assert practice.draw(2, (0, 7)) == practice.draw(2, (0, 7))


def test_a_verb_of_few_tasks_is_practised_as_much() -> None:
    tasks = [Task(f"{n}", "go", "lamp", n, verb="press" if n == 0 else "face") for n in range(9)]
    verbs = Counter(task.verb for seed in range(600) for task in Practice(tasks).draw(1, (2, seed)))
    assert 240 < verbs["press"] < 360


def test_what_is_known_of_a_verb_is_believed_of_its_other_tasks() -> None:
    tasks = [Task(f"{n}", "go", "lamp", n, verb="press" if n < 9 else "face") for n in range(18)]
    failed = Practice(tasks, {f"{n}": [0, 0, 3] for n in range(6)})  # of press
    assert failed.learnability(tasks[8]) < 0.3 < 0.9 < failed.learnability(tasks[9])
    verbs = Counter(task.verb for seed in range(200) for task in failed.draw(3, (3, seed)))
    assert verbs["press"] * 4 < verbs["face"], "the tasks that were not played, too"


def test_workers_play_with_the_newest_weights(tiny: Path, tmp_path: Path) -> None:
    wanted = recipe(tiny, workers="tests.support.thread_workers:ThreadWorkers")
    train_rl(wanted, tmp_path / "run")  # agreement is asserted in every round
    assert [one["episodes"] + one["dropped"] for one in rounds(tmp_path / "run")] == [9.0, 9.0]
    assert RolloutWorker(wanted)


def test_a_judge_that_always_says_yes_trips_the_alarm(tiny: Path, tmp_path: Path) -> None:
    wanted = recipe(tiny, reward=ALWAYS, iterations=4, time_limit=4, limits={"patience": 2, "kl": 99.0})
    with pytest.raises(CollapseError, match=r"after iteration 2: .*success 2 times in a row: it calls everything one"):
        train_rl(wanted, tmp_path)
    with pytest.raises(CollapseError, match="after iteration 2"):  # it is not gone when one looks again
        train_rl(wanted, tmp_path)
    train_rl(wanted, tmp_path, ignore_alarms=True)
    assert len(rounds(tmp_path)) == 4


def test_ground_truth_is_refused_other_than_as_an_upper_bound(tiny: Path, tmp_path: Path) -> None:
    for name in ("truth", "mixture:0.5*truth+0.5*truth"):
        with pytest.raises(UserError, match="sees ground truth"):
            train_rl(recipe(tiny, reward=name), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train_rl(recipe(tiny, reward="truth", upper_bound=True, iterations=1, time_limit=4), tmp_path / "run")
    assert json.loads((tmp_path / "run" / SUMMARY).read_text())["about"].startswith("an upper bound")


def test_held_out_suites_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="held out from training"):
        train_rl(recipe(tiny, suite="doom-vault"), tmp_path / "run")


def test_a_reward_that_is_wrong_too_often_is_refused() -> None:
    def measured(rate: float) -> Calibrated:
        share = {"rate": rate, "ci": [0, 1], "count": 1, "n": 10}
        return Calibrated(Up(), Measured("up", Calibration(50.0), share, share))

    check_reward(measured(0.04), None, anyway=False)
    check_reward(measured(0.1), 0.2, anyway=False)
    check_reward(measured(0.1), None, anyway=True)
    check_reward(Truth(), None, anyway=False)
    for reward, limit in ((measured(0.1), None), (measured(0.04), 0.01), (Up(), None)):
        with pytest.raises(UserError, match="--trust-reward"):
            check_reward(reward, limit, anyway=False)


def test_recipes_that_can_not_be_followed(tiny: Path) -> None:
    for fields, said in (({"method": "grpo", "group": 1}, "at least 2"), ({"method": "dpo"}, "method")):
        with pytest.raises(ValueError, match=said):
            recipe(tiny, **fields)
    assert np.isfinite(recipe(tiny).rate)


def test_decisions_are_told_whether_they_were_better_than_expected(tiny: Path, tmp_path: Path) -> None:
    wanted = recipe(tiny, method="conditioned", graded=True, better=0.3, untold=0.2, iterations=1)
    learnable = load_learnable(str(tiny), think="off", ask=wanted.ask)
    rollouts = rollouts_of(wanted, learnable)
    learner = Learner(learnable, wanted)
    lessons = lessons_of(learner._valued(rollouts, learner._states(rollouts)), wanted, np.random.default_rng(0))
    assert lessons.conditions is not None
    counts = Counter(lessons.conditions)
    assert set(counts) == {BETTER, WORSE, UNTOLD}
    assert counts[BETTER] < counts[WORSE]
    assert {context.instruction for context in lessons.contexts} == {one.start.task.instruction for one in rollouts}
    assert learner.learn(rollouts, 0)["agreement"] < 1e-4, "as they were played, with the word"
    assert all(value == 1.0 for value in lessons.weights)


def test_conditions_follow_from_advantages() -> None:
    rng = np.random.default_rng(0)
    assert conditions([3.0, 1.0, 2.0, 0.0], 0.5, 0.0, rng) == [BETTER, WORSE, BETTER, WORSE]
    assert conditions([0.0, 0.0, 0.0, 1.0], 0.5, 0.0, rng) == [WORSE, WORSE, WORSE, BETTER]
    assert conditions([1.0, 1.0], 0.5, 0.0, rng) == conditions([], 0.5, 0.0, rng) == []
    assert 0.05 < conditions(np.arange(1000), 0.3, 0.1, rng).count(UNTOLD) / 1000 < 0.15


def test_a_conditioned_checkpoint_is_asked_for_better_decisions(tiny: Path, tmp_path: Path) -> None:
    first = train_rl(recipe(tiny, method="conditioned", graded=True, iterations=1), tmp_path / "run")
    policy, silent = load_small(first, think="off"), load_small(first, think="off", ask="")
    (context, *_) = rollouts_of(recipe(tiny), load_learnable(str(tiny), think="off"))[0].contexts
    words = replace(context, instruction=f"{context.instruction} {BETTER}")
    assert policy.ask == BETTER
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    one, two = (
        mine.sample([shown], generator=generator)
        for mine, shown, generator in zip((policy, silent), (context, words), generators, strict=True)
    )
    assert one == two
    again = train_rl(recipe(first, method="ppo", iterations=1), tmp_path / "more")  # agreement is asserted
    assert read_manifest(again)["ask"] == BETTER
    assert read_manifest(tiny)["ask"] == ""
    with pytest.raises(UserError, match="for checkpoints of small"):
        load_learnable("hf:anything", ask=BETTER)
    manifest = json.loads((first / "manifest.json").read_text())
    (first / "manifest.json").write_text(json.dumps({**manifest, "ask": 3}))
    with pytest.raises(CheckpointError, match="ask: expected a text"):
        load_small(first)


def test_a_decision_tells_the_hidden_state_that_it_was_drawn_from(tiny: Path) -> None:
    wanted = recipe(tiny)
    learnable = load_learnable(str(tiny), think="off")
    learner, rollouts = Learner(learnable, wanted), rollouts_of(wanted, learnable)
    made = learner._made_of([context for one in rollouts for context in one.contexts])
    torch.testing.assert_close(learner._states(rollouts), made, atol=1e-4, rtol=1e-4)
    assert len(made.unique(dim=0)) > 1


@pytest.mark.parametrize("unfinished", [False, True])
def test_what_the_time_limit_cut_short_may_be_no_failure(tiny: Path, unfinished: bool) -> None:
    wanted = recipe(tiny, reward=UP, unfinished=unfinished, graded=True)
    learnable = load_learnable(str(tiny), think="off")
    rollouts = rollouts_of(wanted, learnable)
    late = [one for one in rollouts if sum(len(d.actions) for d in one.decisions) >= 8 and not one.scored]
    assert late
    cut = [one for one in late if not any(decision.done for decision in one.decisions)]
    assert {one.timed_out for one in cut} == {one.after is not None for one in cut} == {unfinished}
    assert not any(one.timed_out for one in rollouts if one.scored)
    assert {one.total > 0.0 for one in cut} == {not unfinished}  # not now and once more when it comes
