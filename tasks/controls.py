"""Controls: the same task with other words. Who still succeeds did not listen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.doom.level import Level
from tasks import worlds
from tasks.language import phrase
from tasks.suites import name_of, targets_of
from tasks.task import Task


def without_language(task: Task) -> Task:
    """The task with an empty instruction."""
    return replace(task, instruction="")


def other_name(task: Task) -> Task | None:
    """The language control: the instruction names another thing of the level (or the other direction), while the
    verifier still wants the first. None where the verb has nothing to exchange."""
    rng = np.random.default_rng([task.seed, 4])
    spec = task.verifier
    if spec is None:
        return None
    if task.world in worlds.OTHERS:
        text = worlds.part(task.world, "goals").other_words(rng, task)
        return None if text is None else replace(task, instruction=text)
    if spec.name == "look":
        other = "down" if spec.args["direction"] == "up" else "up"
        return replace(task, instruction=phrase(rng, f"look_{other}"))
    if "targets" not in spec.args or "level" not in task.options:
        return None
    level = Level.from_json(task.options["level"])
    possible = set(targets_of(spec.name))
    wanted = {(level.things[i].kind, level.things[i].colour) for i in spec.args["targets"]}
    others = [i for i, t in enumerate(level.things) if (t.kind, t.colour) in possible - wanted]
    if not others:
        return None
    chosen = others[int(rng.integers(len(others)))]
    return replace(task, instruction=phrase(rng, spec.name, name_of(rng, level, chosen)))
