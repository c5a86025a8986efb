"""Learner `bc`: behaviour cloning on recorded episodes, for checkpoints of `small` and for models of Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.lineage import MANIFEST
from training.recipe import OnProgress


@dataclass(frozen=True)
class BehaviourCloning:
    """Learns to repeat the decisions of recorded episodes.

    `options`: fields of the recipe of the parent's kind, training.small.imitation.ImitationRecipe or
    training.vlm.recipe.BcRecipe, without its parent and its data. `resume`: go on where a run
    in the same folder was stopped.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = True

    def update(self, dataset: Path, parent: Path, out: Path, on_progress: OnProgress) -> Path:
        """See training.learner.Learner."""
        return self.clone([dataset], parent, out, on_progress)

    def clone(self, data: Sequence[Path], parent: str | Path, out: Path, on_progress: OnProgress) -> Path:
        """As `update`, from several folders of episodes. `parent`: a folder, or a name on the Hugging Face hub."""
        if is_small(Path(parent)):
            from training.small.imitation import ImitationRecipe, imitate

            small = ImitationRecipe.of({**self.options, "parent": Path(parent), "data": tuple(data)})
            return imitate(small, out, resume=self.resume, on_progress=on_progress)
        from training.vlm.recipe import BcRecipe
        from training.vlm.train import train_bc

        vlm = BcRecipe(str(parent), tuple(map(str, data)), **self.options)
        return train_bc(vlm, out, resume=self.resume, on_progress=on_progress)


def is_small(checkpoint: Path) -> bool:
    """Whether a folder is a checkpoint of `small`."""
    try:
        return bool(json.loads((checkpoint / MANIFEST).read_text())["model"] == "ludens-small")
    except (OSError, ValueError, KeyError, TypeError):
        return False
