"""`load_learnable`: a Learnable by the name of its policy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from agent.policy import Think
from agent.small.checkpoint import SHIPPED
from envs.errors import UserError
from envs.world import World
from training.rl.learnable import Learnable
from training.rl.small_learnable import SmallLearnable


def load_learnable(
    policy: str,
    *,
    think: Think = "auto",
    frozen_vision: bool = False,
    make_world: Callable[[], World] | None = None,
    ask: str = "",
) -> Learnable:
    """`small`, a checkpoint folder of it, or `hf:FOLDER`, a model of transformers, of which low-rank changes are
    trained. `think`: see Think. `frozen_vision`: see SmallLearnable. `make_world`: of the world that it plays, for a
    model that speaks the language of any world. `ask`: see Learnable, of `small` alone. Raises UserError for another
    policy, and CheckpointError."""
    if policy.startswith("hf:"):
        if frozen_vision:
            raise UserError("frozen_vision: low-rank changes leave the weights alone as they are; leave it out")
        if ask:
            raise UserError(f"--policy {policy}: advantage-conditioned imitation is for checkpoints of small")
        from training.rl.vlm_learnable import load_vlm

        learnable = load_vlm(policy.removeprefix("hf:"), think=think)
        if make_world is not None:
            with closing(make_world()) as world:
                learnable.fit(world)
        return learnable
    return SmallLearnable(folder_of_small(policy), think=think, frozen_vision=frozen_vision, ask=ask)


def folder_of_small(policy: str, *, others: str = ", or hf:FOLDER") -> Path:
    """The checkpoint of `small` that a name means. Raises UserError, which names what `others` there may be, for
    another one."""
    folder = SHIPPED if policy == "small" else Path(policy).expanduser()
    if not folder.is_dir():
        raise UserError(f"--policy {policy}: expected small, a checkpoint folder of small{others}")
    return folder
