"""`Learner`: makes a new checkpoint from a parent checkpoint and recorded episodes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from envs import plugins
from training.recipe import OnProgress


@runtime_checkable
class Learner(Protocol):
    """A way to learn. Learners register in the entry-point group `ludens.learners`: as a class, or another callable
    that makes a Learner of a mapping of options, or of nothing."""

    def update(self, dataset: Path, parent: Path, out: Path, on_progress: OnProgress) -> Path:
        """Learn from the episodes under `dataset`, starting from the checkpoint `parent`; the new checkpoint's folder.

        The learner writes into the folder `out` alone. A second call with the same arguments resumes a
        stopped run, and does nothing if the run is done. Raises EpisodeError if there is nothing to learn from and
        ValueError for a parent that it can't train.
        """
        ...


def load_learner(name: str, options: Mapping[str, Any] | None = None) -> Learner:
    """The learner called `name`, or the one at `package.module:Name`. `options`: what it is made with, if it takes
    options. Raises UnknownNameError and BrokenPluginError."""
    make = plugins.load("learner", name)
    learner = make(options) if options is not None and inspect.signature(make).parameters else make()
    if not isinstance(learner, Learner):
        raise plugins.BrokenPluginError(f"learner {name!r}: expected an object with `update`, got {learner!r}")
    return learner
