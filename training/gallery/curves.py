"""The training curves in a folder: the scalars of its TensorBoard logs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs import extras

_POINTS = 300  # of a curve
_EVENTS = "events.out.tfevents.*"


@dataclass(frozen=True)
class Curve:
    """A figure of a run. `run`: the folder of its log. `points`: (step, value), at most _POINTS, each the mean of its
    stretch."""

    run: str
    tag: str
    points: tuple[tuple[float, float], ...]


def find_curves(root: Path) -> tuple[list[Curve], str]:
    """The curves of all logs under `root`, and a note where logs can't be read for want of a package."""
    logs = sorted({path.parent for path in root.rglob(_EVENTS)})
    if not logs:
        return [], ""
    if not extras.installed("train"):
        return [], f"{len(logs)} TensorBoard logs are not shown: {extras.command('train')}"
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    curves = []
    for log in logs:
        events = EventAccumulator(str(log), size_guidance={SCALARS: 0})
        events.Reload()
        name = log.relative_to(root).as_posix() if log != root else log.resolve().name
        for tag in sorted(events.Tags()[SCALARS]):
            points = thinned([(event.step, event.value) for event in events.Scalars(tag)])
            if points:
                curves.append(Curve(name.removesuffix("/tensorboard") or name, tag, points))
    return curves, ""


def thinned(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """At most _POINTS points: the mean step and value of each stretch, without what is not finite."""
    finite = [(float(step), float(value)) for step, value in points if math.isfinite(value)]
    size = max(1, math.ceil(len(finite) / _POINTS))
    stretches = [finite[at : at + size] for at in range(0, len(finite), size)]
    return tuple(
        (sum(step for step, _ in part) / len(part), sum(value for _, value in part) / len(part)) for part in stretches
    )
