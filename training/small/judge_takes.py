"""Takes: episodes as they were played for the judge, and how they are played, cut and told apart."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agent import doom_codec as codec
from agent.loop.players import DecisionRequest, Player, ScriptedPlayer
from agent.policy import Context, Decision
from envs.angles import wrapped
from envs.doom.level import Level
from envs.doom.world import DoomState
from tasks import world_tasks
from tasks.expert_policy import ExpertPolicy
from tasks.task import Task, VerifierSpec
from tasks.verifier import Verdict
from training.data.disturb import random_walk
from training.small.judge_goals import done, failed

LINGER = 8  # the most decisions that an episode goes on after its verdict

Decide = Callable[[DoomState], Decision]
Frame = npt.NDArray[np.uint8]
Watched = tuple[VerifierSpec, tuple[Verdict, int] | None]


@dataclass(frozen=True)
class Take:
    """An episode as played: `frames` and `states` before every decision and after the last one, and the decisions.

    `watched`: the verifiers that watched, each with its verdict and the number of decisions before it, or None. The
    first is the instruction's. `progress`: how far it came, from 0 to 1, where only its recipe knows.
    """

    frames: list[Frame]
    states: list[DoomState]
    decisions: list[Decision]
    watched: list[Watched]
    progress: float | None = None


class UnfitError(Exception):
    """A level of which this recipe can't be made."""


def expert_player(task: Task) -> ScriptedPlayer:
    return ScriptedPlayer(ExpertPolicy().start(task))


def ask(player: Player, frame: Frame, state: DoomState, task: Task, n: int) -> Decision:
    context = Context((frame,), task.instruction, seed=zlib.crc32(f"{task.seed}/{n}".encode()))
    tick = n * codec.CHUNK
    player.ask(DecisionRequest(tick, player.queue.epoch, context, state))
    actions, answer = player.queue.take(tick, codec.CHUNK)
    assert answer is not None
    return replace(answer.decision, actions=tuple(actions))


def wanted_point(level: Level, spec: VerifierSpec) -> tuple[float, float]:
    """Where the thing, the switch or the door is that a verifier asks for. Raises UnfitError where there is none."""
    if spec.args.get("targets"):
        thing = level.things[spec.args["targets"][0]]
        return float(thing.x), float(thing.y)
    if spec.name == "press":
        return level.panels[int(spec.args["panel"])].centre
    if spec.name == "open":
        return level.doors[int(spec.args["doors"][0])].rect.centre
    raise UnfitError


def wanderer(rng: np.random.Generator) -> Decide:
    """A random walk that keeps on for a while with what it does, and now and then shoots."""
    held: list[Decision] = []

    def decide(state: DoomState) -> Decision:
        if not held:
            shoots = rng.random() < 0.1
            decision = codec.decode(codec.tokens_of(hand="attack")) if shoots else random_walk(rng)
            held.extend([decision] * int(rng.integers(1, 6)))
        return held.pop()

    return decide


def lingering(rng: np.random.Generator) -> int:
    """Decisions that an episode goes on after its verdict: mostly 0 to 3."""
    return int(rng.integers(4)) if rng.random() < 0.85 else int(rng.integers(4, LINGER + 1))


def decided(take: Take) -> int:
    """The number of decisions before the success; raises UnfitError where there was none."""
    verdict = take.watched[0][1]
    if verdict is None or not verdict[0].success:
        raise UnfitError
    return verdict[1]


def shortened(take: Take, cut: int) -> Take:
    """A success without what came after `cut` decisions."""
    part = take.frames[: cut + 1], take.states[: cut + 1], take.decisions[:cut]
    return Take(*part, [(take.watched[0][0], None)], cut / decided(take))


def succeeded(watched: Watched) -> bool:
    return watched[1] is not None and watched[1][0].success


def watch(spec: VerifierSpec, states: Sequence[DoomState]) -> Watched:
    """A fresh verifier's verdict over an episode."""
    verifier = world_tasks.of("doom").verifier(spec)
    for n, state in enumerate(states):
        if verdict := verifier.update(state):
            return spec, (verdict, n)
    return spec, None


def why_failed(level: Level, take: Take, end: int) -> str:
    """What is said of a failure that ended after `end` decisions."""
    spec, verdict = take.watched[0]
    if verdict is not None and verdict[1] <= end:
        return failed(level, spec, verdict[0].why)
    if all(_same_view(take.states[0], state) for state in take.states[: end + 1]):
        return "nothing was done"
    for instead, other in take.watched[1:]:
        if other is not None and other[0].success and other[1] <= end:
            return done(level, instead)
    return failed(level, spec, "")


def _same_view(a: DoomState, b: DoomState) -> bool:
    turned = abs(wrapped(a.angle - b.angle))
    still = math.hypot(a.x - b.x, a.y - b.y) < 8.0 and turned < 3.0 and abs(a.pitch - b.pitch) < 3.0
    return still and a.ammo == b.ammo
