"""The worlds that bring tasks of their own, and where: suites, verifiers, an expert, tasks for typed sentences.

A world NAME of `OTHERS` has a package tasks.NAME with the modules
    suites   SUITES and task_from_instruction(text, seed)
    verify   FAMILIES, whose names begin with "NAME."
    expert   start(spec), which gives what decides from ground truth
    goals    what else can be asked for in a state, and where things are in its picture
Doom's are in tasks itself. Only what is asked for is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from tasks.task import Task

OTHERS = ("playroom", "minetest")


def part(world: str, what: Literal["suites", "verify", "expert", "goals", "language"]) -> Any:
    """A module of a world's tasks; None for a world that brings no tasks."""
    if world in OTHERS:
        return import_module(f"tasks.{world}.{what}")
    return import_module(f"tasks.{what}") if world == "doom" else None


def suites() -> dict[str, Any]:
    """The suites of all worlds by name."""
    return {name: suite for world in ("doom", *OTHERS) for name, suite in part(world, "suites").SUITES.items()}


def world_of(suite: str) -> str:
    """The world that a suite is played in. Raises ValueError for an unknown suite."""
    for world in ("doom", *OTHERS):
        if suite in part(world, "suites").SUITES:
            return world
    raise ValueError(f"unknown suite {suite!r}; known: {', '.join(sorted(suites()))}")


def training(name: str) -> Any:
    """The suite of that name, which demonstrations may use. Raises ValueError for one that is unknown or held out."""
    suite = part(world_of(name), "suites").SUITES[name]
    if suite.held_out:
        raise ValueError(f"suite {name!r} is held out from training")
    return suite


def instructed(text: str, world: str, seed: int) -> Task | None:
    """The task that a typed sentence is in a world; None for a world that brings no tasks."""
    module = import_module("tasks.parse") if world == "doom" else part(world, "suites")
    return None if module is None else module.task_from_instruction(text, seed)
