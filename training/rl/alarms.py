"""Alarms: what tells that a run has collapsed, or that its reward tells nothing.

Entropy alone does not see it: a policy may write many words around one action (template collapse, RAGEN-2). So the
variance of rewards within groups, the distance to the parent and repeated decisions count as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envs.errors import UserError
from training.rl.recipe import Limits

Figures = Mapping[str, float]


_FAILED_AT_FIRST, _SUCCEEDS = 0.5, 0.9  # shares of success between which something was learned


class CollapseError(UserError, RuntimeError):
    """A run was stopped by its alarms."""


def alarms(log: Sequence[Figures], limits: Limits) -> list[str]:
    """What is wrong after the last iteration, in words; nothing where all is well.

    `log`: the figures of each iteration so far: "entropy", "variance", "kl", "repeated" and "success"; a figure that is
    missing trips nothing.
    """
    if not log:
        return []
    now, found = log[-1], []
    if now.get("entropy", limits.entropy) < limits.entropy:
        found.append(
            f"the entropy of a decision is {now['entropy']:.3g} nats, under {limits.entropy:g}: nothing is tried"
        )
    if now.get("kl", 0.0) > limits.kl:
        found.append(f"the policy is {now['kl']:.3g} nats a token away from its parent, more than {limits.kl:g}")
    recent = log[-limits.patience :]
    if len(recent) == limits.patience:
        if all(one.get("repeated", 0.0) > limits.repeated for one in recent):
            found.append(
                f"{100 * now['repeated']:.0f} % of the decisions are the same one, {len(recent)} times in a row"
            )
        if all(one.get("success", 0.0) >= limits.success for one in recent):
            found.append(
                f"the reward called {100 * now['success']:.0f} % of the episodes a success {len(recent)} times in a "
                "row: it calls everything one, or there is nothing left to learn"
            )
        if all(one.get("variance", limits.variance) < limits.variance for one in recent):
            found.append(f"the rewards within groups were all alike {len(recent)} times in a row: they teach nothing")
    return found


def mastered(log: Sequence[Figures], limits: Limits) -> bool:
    """Whether nothing is left to learn: what failed half of the time at first now nearly always succeeds. A reward that
    always says yes said so at first."""
    recent = log[-limits.patience :]
    return (
        len(log) > limits.patience
        and log[0].get("success", 1.0) <= _FAILED_AT_FIRST
        and all(
            one.get("success", 0.0) >= limits.success
            or (one.get("success", 0.0) >= _SUCCEEDS and one.get("variance", limits.variance) < limits.variance)
            for one in recent
        )
    )


def check(log: Sequence[Figures], limits: Limits) -> None:
    """Raises CollapseError where an alarm trips."""
    if found := alarms(log, limits):
        raise CollapseError(
            f"stopped after iteration {len(log)}: {'; '.join(found)}. Look at the episodes and at the reward"
        )
