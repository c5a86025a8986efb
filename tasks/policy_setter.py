"""`small`: the propose role of the shipped model, or of any policy that has it, as a task setter."""

from __future__ import annotations

from pathlib import Path

from agent.capabilities import Proposes, spec_of
from envs.errors import UserError
from tasks.read_proposal import read_proposal
from tasks.setter import Proposal, Rejected, SetterView

SECONDS = 15.0  # that a player has for a step of a proposal
ROUNDS = 3  # of asking: a policy that samples often says the same again


class PolicySetter:
    """Proposes what a policy says can be done in the view's frames, in turn from the newest to the oldest.

    The policy looks at frames alone: what was tried and what the player can do is left to the curriculum. Where the
    world's language doesn't read an instruction it is rejected. `seconds`: the time limit of each step.
    """

    def __init__(self, policy: Proposes, *, seconds: float = SECONDS) -> None:
        self._policy, self._seconds = policy, seconds

    def propose(self, view: SetterView, n: int) -> list[Proposal | Rejected]:
        """At most `n` proposals, all different, and what was rejected on the way.

        There are fewer where the policy says nothing new in ROUNDS times `n` answers. Raises UserError if no frame
        is in view.
        """
        if not view.frames:
            raise UserError("this task setter looks at frames, and none is in view")
        sight = spec_of(self._policy).view
        frames = [sight.newest(view.frames[-1 - i % len(view.frames)]) for i in range(n)]
        found: dict[str, Proposal] = {}
        rejected: list[Rejected] = []
        for number in range(ROUNDS):
            # Row i of seed s may draw the numbers of row 0 of seed s + i: seeds that are n apart share none.
            for text in self._policy.propose(frames, n * (ROUNDS * view.seed + number)):
                one = read_proposal(view, text, self._seconds, "it sees what the task needs")
                if isinstance(one, Rejected):
                    rejected.append(one)
                elif len(found) < n:
                    found.setdefault(text, one)
            if len(found) == n:
                break
        return [*found.values(), *rejected]


def load_policy_setter(folder: str | Path | None = None) -> PolicySetter:
    """The setter that the shipped model is, or the one in a checkpoint folder. Raises CheckpointError."""
    from agent.small.policy import load_small

    return PolicySetter(load_small() if folder is None else load_small(Path(folder).expanduser()))
