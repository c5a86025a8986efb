"""`Reward`: a verifier for worlds that give a reward, such as every Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasks.verdict import Verdict


class Reward:
    """Success once the return of the episode reaches `at_least`; failure where the episode or the time ends before.

    Reads `return` of the world's ground truth: the sum of all rewards since `reset`. A return that is reached before
    anything was done counts as well, so choose `at_least` above 0 where the return begins with 0.
    """

    def __init__(self, at_least: float) -> None:
        if isinstance(at_least, bool) or not isinstance(at_least, int | float) or not math.isfinite(at_least):
            raise ValueError(f"at_least: expected a number, got {at_least!r}")
        self._at_least = at_least

    def update(self, state: Mapping[str, Any]) -> Verdict | None:
        total = state["return"]
        if total >= self._at_least:
            return Verdict(True, f"the return {total:g} reached {self._at_least:g}")
        return None
