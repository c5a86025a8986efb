"""`told:TEXT;TEXT`: instructions that a person gives, for a world of which no setter knows anything."""

from __future__ import annotations

import numpy as np

from envs.errors import UserError
from tasks.setter import Proposal, Rejected, SetterView

_SECONDS = 30.0  # of a task, at most; a run has a limit of its own


class ToldSetter:
    """Proposes what it was told, in any order. Raises UserError where it was told nothing."""

    def __init__(self, texts: str = "") -> None:
        self._texts = [text.strip() for text in texts.split(";") if text.strip()]
        if not self._texts:
            raise UserError("task setter told: say what to try, such as 'told:go to the red box; find the exit'")

    def propose(self, view: SetterView, n: int) -> list[Proposal | Rejected]:
        """At most `n` of the instructions."""
        order = np.random.default_rng(view.seed).permutation(len(self._texts))[:n]
        return [self._proposal(self._texts[at], view) for at in order]

    def _proposal(self, text: str, view: SetterView) -> Proposal | Rejected:
        try:
            return Proposal(text, round(_SECONDS * view.tick_hz), "a person asked for it")
        except ValueError as error:
            return Rejected(text, str(error))
