"""How the verbs put a world, a policy and a player together from names, and where a run is written."""

from __future__ import annotations

import inspect
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agent.chat import Conversation
from agent.inference import Beside, InStep, Player, Scripted
from agent.policy import Context, PolicySpec, RandomPolicy
from agent.voice import PolicyVoice
from envs import plugins
from envs.errors import UserError
from envs.world import World
from envs.wrappers import RealTime
from tasks.task import Task

if TYPE_CHECKING:
    from agent.page.server import Page
    from agent.planner import Planner

Clock = Literal["lockstep", "realtime"]

MOST_FASTER = 1.25  # a decision lasts a number of ticks: so much longer or shorter it may be than it was made for
_VERSIONS = ("ludens", "torch", "torchvision", "transformers", "gymnasium", "vizdoom", "numpy", "av")


def world_factory(name: str, **options: Any) -> Callable[[], World]:
    """Makes the world called `name`; options that are None are left out. Raises UserError for what it doesn't take."""
    factory = plugins.load("world", name)
    given = {key: value for key, value in options.items() if value is not None}
    try:
        inspect.signature(factory).bind(**given)
    except TypeError as error:
        raise UserError(f"world {name!r}: {error}") from error

    def make() -> World:
        try:
            return factory(**given)
        except ValueError as error:
            raise UserError(f"world {name!r}: {error}") from error

    return make


def load_policy(name: str, think: str = "auto") -> Any:
    """A policy by name, by `NAME:ARGUMENT` such as hf:FOLDER, by `package.module:Name`, or from a checkpoint folder.

    `think`: "off", "auto" or a number: the most tokens of a thought. Returns an agent.policy.Policy, or a script:
    something with `start(task)` that sees ground truth.
    """
    try:
        if is_path(name):
            load = partial(plugins.load("policy", "small"), Path(name).expanduser())
        else:
            load = plugins.load("policy", name)
        if think == "auto":
            return load()
        if "think" not in inspect.signature(load).parameters:
            raise UserError(f"policy {name!r} does not think; leave --think out")
        return load(think=int(think) if think.isdigit() else think)
    except (ValueError, OSError) as error:
        raise UserError(f"policy {name!r}: {error}") from error


def is_path(name: str) -> bool:
    """Whether a policy's name is meant as a folder: it exists, or it is written like one."""
    return ":" not in name and (os.sep in name or name.startswith((".", "~")) or Path(name).is_dir())


def instructed(text: str, world: str, seed: int) -> Task:
    """The task that an instruction is in a world; one that nobody can judge has no verifier."""
    from tasks import worlds

    task = worlds.instructed(text, world, seed)
    if task is not None:
        return task
    return Task(id=f"{world}/{slug(text)}/{seed}", instruction=text, world=world, seed=seed)


def pictured(task: Task, image: Path) -> Task:
    """The task with a picture of what is meant. Raises UserError where the picture can't be read."""
    from tasks import pictures

    try:
        pictures.load(str(image))
    except ValueError as error:
        raise UserError(f"--image: {error}") from error
    return replace(task, picture=str(image.resolve()))


def make_player(policy: Any, task: Task, world: World, clock: Clock) -> Player:
    """The player that `policy` is in `world`: in step with it, or beside it when the clock runs.

    Raises UserError where the policy was made for a tick rate that is far from the world's.
    """
    if hasattr(policy, "start"):
        if task.verifier is None:
            raise UserError(f"{task.instruction!r} is nothing that the scripted player knows; say it in simpler words")
        return Scripted(policy.start(task), spec=getattr(policy, "spec", PolicySpec()))
    faster = max(policy.spec.tick_hz, world.tick_hz) / min(policy.spec.tick_hz, world.tick_hz)
    if faster > MOST_FASTER and not isinstance(policy, RandomPolicy):
        made, has = policy.spec.tick_hz, world.tick_hz
        raise UserError(f"the policy was made for {made:g} ticks a second, world {task.world!r} has {has:g}")
    if clock == "lockstep":
        return InStep(policy)
    # The first decision is slow while caches fill: have it before the clock runs.
    blank = np.zeros((*policy.spec.frame_size, 3), np.uint8)
    policy.act([Context(frames=(blank,) * max(1, policy.spec.history), instruction=task.instruction)])
    return Beside(policy)


def clock_of(world: World, wanted: Clock | None) -> Clock:
    """The clock that was asked for, else lockstep where the world can wait."""
    return wanted or ("realtime" if world.realtime else "lockstep")


def keep_clock(world: World, clock: Clock) -> World:
    """`world` at its own pace (lockstep) or paced by the wall clock."""
    if clock == "realtime":
        return world if world.realtime else RealTime(world)
    if world.realtime:
        raise UserError("this world moves on by itself: --time realtime")
    return world


def conversation(policy: Any, planner: Planner | None = None, every: float = 0.0, **how: Any) -> Conversation:
    """The conversation that a run with `policy` has; `how` goes to it. A policy that can answers for itself. A
    `planner`, where there is one, looks again after `every` seconds."""
    voice = PolicyVoice(policy) if hasattr(policy, "answer") and hasattr(policy, "caption") else None
    if planner is None:
        return Conversation(voice, listens=not hasattr(policy, "start"), **how)
    from agent.planned import PlannedConversation

    return PlannedConversation(planner, voice, every=every, **how)


def planner(name: str | None, policy: Any) -> Planner | None:
    """The planner called `name`, if any. Raises UserError, also for a policy that takes no instructions."""
    if name is None:
        return None
    if hasattr(policy, "start"):
        raise UserError("--planner instructs the player, and this one follows a script; take --policy small")
    from agent.planner import load_planner

    return load_planner(name)


def serve(talk: Conversation, folder: Path, port: int) -> Page:
    """The live page of a run."""
    from agent.page.server import Page  # the web server's packages load when they are wanted

    return Page(talk, folder, port=port)


def run_folder(out: Path | None, name: str) -> Path:
    """Make the folder of a run: `out`, or runs/TIME-NAME. Raises UserError where it holds something already."""
    folder = out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(name)}"
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"--out {folder}: it is not empty; name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: {error.strerror}") from error
    return folder


def slug(text: str) -> str:
    """`text` as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48] or "run"


def provenance() -> dict[str, Any]:
    """What a run depends on beside its options: versions, the machine, the commit where there is one."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[2]
    commit = ""
    if (root / ".git").exists():
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
        commit = done.stdout.strip()
    return {
        "versions": versions,
        "commit": commit,
        "machine": {
            "system": platform.platform(),
            "cores": sorted(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else os.cpu_count(),
        },
    }
