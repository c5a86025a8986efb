"""Other ways to look at an episode: a second view of it, and a control that shows no success."""

from __future__ import annotations

from dataclasses import dataclass

from rewards.reward import Footage, Frames


@dataclass(frozen=True)
class _View:
    """Pixels alone: no verdict."""

    footage: Footage

    @property
    def success(self) -> bool | None:
        return None

    @property
    def why(self) -> str:
        return ""


@dataclass(frozen=True)
class Thinned(_View):
    """Every second frame of an episode, the last one among them: a reward that picks some frames sees other ones."""

    def decision_frames(self) -> Frames:
        return self.footage.decision_frames()[::-1][::2][::-1]


@dataclass(frozen=True)
class Backwards(_View):
    """An episode from its end to its beginning: what was opened closes, what was taken lies there again, and who came
    near goes away."""

    def decision_frames(self) -> Frames:
        return self.footage.decision_frames()[::-1]
