"""Rollouts: what a policy saw and drew is kept as it was, and rewards come to the right decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import Action
from rewards.combine import Corrected
from rewards.reward import Reward
from rewards.truth import Truth
from tasks import world_tasks
from tasks.speech import LINGER
from tasks.task import Task
from tests.support.lamp_rewards import Near, Up
from tests.support.lamp_world import GoTo, LampWorld
from training.rl.rollouts import Collected, Collector, Pay, Rollout, Start

SPEC = PolicySpec(View.stretched((120, 160), 3), history=3, chunk=4)
UP, DOWN = Action(keys=frozenset({"KeyW"})), Action(keys=frozenset({"KeyS"}))


def task(number: int, time_limit: int = 24) -> Task:
    suite = world_tasks.suite("lamp-basic")
    return replace(suite.task(0, number, evaluation=False), time_limit=time_limit)


class Walker:
    """Goes up or down, as its context's random seed says. `sizes`: contexts in each pass."""

    def __init__(self, done_after: int = 99) -> None:
        self.spec, self.sizes, self._done_after = SPEC, list[int](), done_after

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.sizes.append(len(contexts))
        return [self._decide(context) for context in contexts]

    def _decide(self, context: Context) -> Decision:
        up = context.seed % 3 > 0
        done = len(context.actions) >= self._done_after
        return Decision(((UP if up else DOWN),) * 4, "up" if up else "down", "so", done, (int(up),), (-0.5,))


def collect(reward: Reward, starts: Sequence[Start], count: int = 2, pay: Pay | None = None, **how: Any) -> Collected:
    collector = Collector(LampWorld, count, reward, pay or Pay())
    try:
        return collector.collect(SPEC, Walker(**how).act, starts)
    finally:
        collector.close()


def starts(*numbers: int, time_limit: int = 24) -> list[Start]:
    return [Start(task(number, time_limit), number) for number in numbers]


def test_contexts_are_those_that_the_loop_of_play_gives() -> None:
    seen: list[Context] = []

    class Keeping(Walker):
        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            seen.extend(contexts)
            return super().act(contexts)

    (rollout,) = collect(Up(), starts(3)).rollouts
    one = rollout.start.task
    play(
        LampWorld(), InStep(Keeping()), one.instruction, seed=one.seed, options=one.options,
        time_limit=one.time_limit, observe="decision", end_on_done=True,
    )  # fmt: skip
    assert len(seen) == len(rollout.contexts) == 6
    for played, sampled in zip(seen, rollout.contexts, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(played.frames, sampled.frames, strict=True))
        assert replace(played, frames=()) == replace(sampled, frames=())


def test_what_is_played_does_not_depend_on_what_is_played_beside_it() -> None:
    alone = [collect(Near(), starts(number), 1).rollouts[0] for number in range(4)]
    beside = collect(Near(), starts(*range(4)), 3).rollouts
    for one, other in zip(alone, beside, strict=True):
        assert one.start == other.start
        assert one.decisions == other.decisions
        assert one.rewards.tolist() == other.rewards.tolist()


def test_worlds_share_passes_of_the_policy_and_of_the_reward() -> None:
    near, walker = Near(), Walker()
    collector = Collector(LampWorld, 3, near)
    collected = collector.collect(SPEC, walker.act, [Start(task(1), 0)] * 6)
    assert len(collected.rollouts) == 6
    assert walker.sizes == near.passes == [3] * (sum(walker.sizes) // 3)
    seconds = collected.seconds
    assert seconds["all"] >= seconds["world"] + seconds["policy"] + seconds["reward"]


def reaches() -> tuple[int, list[float]]:
    """A task that the walker comes near the lamp in, and the chance after each decision of it."""
    for number in range(40):
        (rollout,) = collect(Near(), starts(number), pay=Pay(shaped=True)).rollouts
        if rollout.scored and len(rollout.rewards) > 1:
            world = LampWorld()
            observation, _ = world.reset(seed=rollout.start.task.seed)
            frames = [observation["pixels"]]
            for decision in rollout.decisions:
                frames.append(world.step_chunk(decision.actions)[0]["pixels"])
            return number, Near().chances([""] * len(frames), np.stack(frames)).tolist()
    raise AssertionError


def test_a_reward_that_sees_frames_pays_where_the_goal_is_reached_and_ends_the_episode() -> None:
    number, chances = reaches()
    (rollout,) = collect(Near(), starts(number)).rollouts
    count = len(chances) - 1
    assert chances[-1] >= Near.threshold > max(chances[1:-1])
    assert rollout.rewards.tolist() == [0.0] * (count - 1) + [1.0]
    assert (rollout.scored, rollout.timed_out, rollout.after) == (True, False, None)
    (shaped,) = collect(Near(), starts(number), pay=Pay(shaped=True)).rollouts
    expected = np.diff(chances)
    expected[-1] += 1.0
    assert shaped.rewards == pytest.approx(expected)


def test_every_token_has_its_price() -> None:
    number, chances = reaches()
    for reward, paid in ((Near(), 1.0), (Up(), None)):
        (free,) = collect(reward, starts(number)).rollouts
        (rollout,) = collect(reward, starts(number), pay=Pay(token_price=0.1)).rollouts
        assert rollout.decisions == free.decisions
        assert rollout.scored == free.scored
        assert (free.rewards - rollout.rewards).tolist() == pytest.approx([0.1] * len(free.rewards)), "one token each"
        (spared,) = collect(reward, starts(number), pay=Pay(token_price=0.1, free_tokens=1)).rollouts
        assert spared.rewards.tolist() == free.rewards.tolist()
        assert paid is None or rollout.rewards[-1] == pytest.approx(paid - 0.1)
    assert len(chances) > 2


def test_an_episode_that_times_out_keeps_what_is_seen_then() -> None:
    rollout = next(one for one in collect(Near(), starts(*range(8), time_limit=6)).rollouts if not one.scored)
    assert len(rollout.contexts) == 2  # of four ticks and of two
    assert rollout.timed_out
    assert rollout.after is not None
    assert len(rollout.after.actions[-1]) == 2
    assert not np.array_equal(rollout.after.frames[-1], rollout.contexts[-1].frames[-1])


def test_the_player_may_end_an_episode() -> None:
    for rollout in collect(Near(), starts(*range(4)), done_after=1).rollouts:
        assert len(rollout.decisions) <= 2
        assert not rollout.timed_out


def test_a_reward_of_whole_episodes_pays_at_the_end_and_a_failure_drops_the_episode() -> None:
    many = starts(*range(20), time_limit=8)
    high = [one for one in many if row_of(one.task) < 20]
    assert high
    collected = collect(Up(), many)
    assert len(collected.rollouts) == len(many) - len(high)
    assert collected.failures == ("it can't go up",) * len(high)
    for rollout in collected.rollouts:
        assert not rollout.rewards[:-1].any()
        assert rollout.rewards[-1] == rollout.scored
        assert not rollout.timed_out  # the reward saw all of it
    graded = collect(Up(), many, pay=Pay(graded=True)).rollouts
    assert {one.rewards[-1] for one in graded} >= {0.0, 0.5, 1.0}
    corrected = collect(Corrected(Up(), 0.1, 0.4), many).rollouts
    assert {round(float(one.rewards[-1]), 6) for one in corrected} == {-0.2, 1.8}


def row_of(one: Task) -> int:
    world = LampWorld()
    world.reset(seed=one.seed)
    return int(world.me[0])


class Spying(Up):
    """Looks for ground truth."""

    def score(self, task: Task, episodes: Sequence[Any]) -> Any:
        assert task.verifier is None
        assert all(episode.success is None and episode.why == "" for episode in episodes)
        return super().score(task, episodes)


def test_the_truth_is_logged_and_neither_seen_nor_used(monkeypatch: pytest.MonkeyPatch) -> None:
    many = starts(*range(30), time_limit=60)
    found = collect(Spying(), many).rollouts
    assert {one.true_success for one in found} == {True, False}
    assert {one.true_success for one in found if one.scored} == {True, False}
    assert {len(one.decisions) for one in found} == {15}  # no verdict ends an episode
    monkeypatch.setattr(world_tasks, "verifier_of", lambda task: None)
    unjudged = collect(Spying(), many).rollouts
    assert [one.true_success for one in unjudged] == [None] * len(found)
    assert [one.rewards.tolist() for one in unjudged] == [one.rewards.tolist() for one in found]


def test_the_upper_bound_is_the_verdict() -> None:
    found = collect(Truth(), starts(*range(30), time_limit=60)).rollouts
    assert [one.scored for one in found] == [one.true_success for one in found]
    assert min(len(one.decisions) for one in found if one.scored) < 15  # it ends there


class Speaker(Walker):
    """Says one thing at its first decision and another later; ends once it has made so many decisions."""

    def __init__(self, first: str = "", later: str = "", done_after: int = 99) -> None:
        super().__init__()
        self._first, self._later, self._decisions = first, later, done_after

    def _decide(self, context: Context) -> Decision:
        words, done = self._later if context.actions else self._first, max(context.ticks) >= 4 * self._decisions
        return replace(super()._decide(context), speech=words, done=done)


def spoken(pay: Pay, some: Sequence[Start], **how: Any) -> list[Rollout]:
    collector = Collector(LampWorld, 4, Truth(), pay)
    try:
        return list(collector.collect(SPEC, Speaker(**how).act, some).rollouts)
    finally:
        collector.close()


def test_a_part_of_a_success_is_paid_to_who_says_so_in_time() -> None:
    many = starts(*range(30), time_limit=120)
    plain = [one for one in spoken(Pay(), many) if one.scored]
    won = [one.start for one in plain]
    silent = spoken(Pay(said=0.4), won)
    for before, after in zip(plain, silent, strict=True):
        assert before.rewards[-1] == 1.0
        assert after.rewards.sum() == pytest.approx(0.6)
        more = len(after.decisions) - len(before.decisions)
        assert more == -(-LINGER // 4) or after.start.task.time_limit <= 4 * len(after.decisions)
        assert after.scored
        assert not after.timed_out
        in_time = spoken(Pay(said=0.4), [after.start], done_after=len(before.decisions) + 2)[0]
        assert in_time.rewards.sum() == pytest.approx(1.0)
        assert in_time.decisions[-1].done
    lost = [one for one in spoken(Pay(said=0.4), many, done_after=0) if not one.scored]
    assert lost
    assert all(not one.rewards.any() for one in lost), "who says so too early has failed"


def test_a_world_that_ends_at_the_success_lets_nobody_speak() -> None:
    class Closing(LampWorld):
        def step(self, action: Action) -> Any:
            observation, paid, _, truncated, info = super().step(action)
            ended = GoTo().update(info["state"]) is not None
            return observation, paid, ended, truncated, info

    many = starts(*range(30), time_limit=120)
    collector = Collector(Closing, 4, Truth(), Pay(said=0.4))
    try:
        won = [one for one in collector.collect(SPEC, Walker().act, many).rollouts if one.scored]
    finally:
        collector.close()
    assert won
    assert {float(one.rewards.sum()) for one in won} == {1.0}


def test_another_reward_pays_in_full_who_ends_before_the_time_is_up() -> None:
    some = starts(*range(12), time_limit=12)
    for after, paid in ((1, 1.0), (99, 0.6)):
        found = [one for one in collect(Up(), some, pay=Pay(said=0.4), done_after=after).rollouts if one.scored]
        assert found
        assert {float(one.rewards.sum()) for one in found} == {paid}
    wrong = [one for one in collect(Corrected(Up(), 0.1, 0.4), some, pay=Pay(said=0.4)).rollouts if not one.scored]
    assert wrong
    assert {round(float(one.rewards.sum()), 6) for one in wrong} == {-0.2}, "a punishment is none for silence"


def test_the_right_confirmation_is_paid_once() -> None:
    right, wrong = {"first": "ok go to glowing lamp"}, {"first": "ok go to the imp", "later": "ok go to glowing lamp"}
    some = starts(*range(4), time_limit=8)
    for how, paid in ((right, 0.2), (wrong, 0.0), ({}, 0.0)):
        found = spoken(Pay(confirmed=0.2), some, **how)
        assert [one.rewards[0] for one in found] == pytest.approx([paid] * len(some))
        assert not any(one.rewards[1:].any() for one in found if not one.scored)


def test_an_answer_is_judged_by_its_words() -> None:
    asked = [Start(replace(task(3), verifier=None, answer="which lamp ?"), 0)]
    for later, success in (("which lamp?", True), ("done", False), ("", False)):
        (one,) = spoken(Pay(said=0.4), asked, first="ok go to glowing lamp", later=later)
        assert (one.true_success, one.scored) == (success, success)
        assert one.rewards.sum() == float(success), "there is nothing more to say"
        assert (len(one.decisions) == 2) == bool(later)


def test_what_can_not_be_sampled_is_refused() -> None:
    class Blind(Near):
        def goal(self, world: str, instruction: str, picture: str = "") -> Any:
            return None

    with pytest.raises(ValueError, match="one frame can't show"):
        collect(Blind(), starts(0))

    class Moving(LampWorld):
        realtime = True

    with pytest.raises(ValueError, match="in lockstep"):
        Collector(Moving, 1, Up()).collect(SPEC, Walker().act, starts(0))
