"""Advantage-conditioned imitation: a policy reads whether a decision was better than expected, and is asked for better.

RECAP of pi*0.6 (arXiv 2511.14759): the policy imitates all its decisions, good and bad, each with a word behind the
instruction that tells which of both it was. It plays with the word of the good ones. Some decisions are imitated
without a word, so that the policy goes on playing when nothing is asked. `small` reads words by their letters, so its
weights need no place for the new ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.rl.advantages import ALIKE

BETTER, WORSE, UNTOLD = "better", "worse", ""  # behind an instruction; no instruction of ours has these words


def conditions(advantages: npt.ArrayLike, better: float, untold: float, rng: np.random.Generator) -> list[str]:
    """The word of each of N decisions: BETTER for the share `better` of the highest advantages, as far as they are
    above the lowest one, WORSE for the others, and UNTOLD in place of either with the chance `untold`. An empty list
    where all advantages are alike: there is nothing to tell."""
    found = np.asarray(advantages, np.float64)
    if not len(found) or np.ptp(found) <= ALIKE:
        return []
    least = max(float(np.quantile(found, 1.0 - better)), float(found.min()) + ALIKE)
    kept_back = rng.random(len(found)) < untold
    return [
        UNTOLD if silent else BETTER if advantage >= least else WORSE
        for advantage, silent in zip(found, kept_back, strict=True)
    ]
