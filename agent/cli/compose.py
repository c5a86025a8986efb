"""The verbs make worlds, policies, players and run folders from names here."""

from __future__ import annotations

import contextlib
import inspect
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agent.capabilities import (
    Answers,
    Captions,
    Confirms,
    FitsWorld,
    HasSpec,
    Judges,
    KnowsNouns,
    Proposes,
    Scripted,
    fitted,
    spec_of,
)
from agent.loop.players import Beside, InStep, Player, ScriptedPlayer
from agent.policy import Context
from agent.talk.chat_voice import voice_of
from agent.talk.conversation import Conversation
from agent.view import FOR_PEOPLE, Size, View, is_small, within
from envs import plugins
from envs.errors import UserError
from envs.files import DiskFullError, is_full
from envs.resolution import parse_size
from envs.text import encodable
from envs.world import World
from envs.wrappers import RealTime
from tasks.task import Task

if TYPE_CHECKING:
    from agent.models.base import ChatModel
    from agent.page.double import Double
    from agent.page.server import Page
    from agent.talk.planner import Planner
    from agent.talk.understanding import Reader
    from agent.talk.voice import Voice

Clock = Literal["lockstep", "realtime"]

MOST_FASTER = 1.25  # a world's tick rate may differ from the policy's by this factor
_MOST_TICKS = 10**8  # that an episode may have
# What not every policy takes, and why.
_OPTIONS = {"think": "does not think", "view": "sees what it was made for", "token_file": "is not remote"}
_VERSIONS = ("ludens", "torch", "torchvision", "transformers", "gymnasium", "vizdoom", "numpy", "av")


def world_factory(
    name: str, *, references: bool = True, view: View | None = None, **options: Any
) -> Callable[[], World]:
    """Makes the world called `name`; options that are None are left out. `references`: as in `plugins.load`, False for
    a name that stands in a file. `view`: what the player wants to see, for a world that draws at several sizes, where
    no `resolution` is given. Raises UserError for what the world doesn't take."""
    factory = plugins.load("world", name, references=references)
    if view is not None and options.get("resolution") is None:
        options["resolution"] = drawn_for(view, getattr(getattr(factory, "func", factory), "resolutions", ()))
    given = {key: value for key, value in options.items() if value is not None}
    try:
        inspect.signature(factory).bind(**given)
    except (TypeError, ValueError) as error:  # ValueError: something built in, which does not say what it takes
        raise UserError(f"world {name!r}: {error}") from error

    def make() -> World:
        try:
            world = factory(**given)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"world {name!r}: {error}") from error
        if not isinstance(world, World):
            raise UserError(f"world {name!r} makes {_shown(world)}, which is no world; expected an envs.world.World")
        return world

    return make


def drawn_for(view: View, offered: Sequence[str]) -> str | None:
    """Of the resolutions that a world offers, the one to draw at for a `view`: its exact size, or the largest that is
    not more than it wants; None leaves it to the world."""
    sizes = {parse_size(text)[::-1]: text for text in offered}
    if view.exactly:
        return sizes.get(view.size or (0, 0))
    fitting = [size for size in sizes if view.size is None or within(size, view.size) == size]
    return sizes[max(fitting, key=lambda size: size[0] * size[1])] if fitting else None


def same_world(one: str, other: str) -> bool:
    """Whether two names mean one world, however they are spelled: browser:a.yaml and browser:./a.yaml, doom and
    envs.doom.world:DoomWorld, two spellings of a command."""
    return one == other or _meaning(one) == _meaning(other)


def _meaning(name: str) -> tuple[str, ...]:
    known = plugins.entries("world")
    registered = {entry.value: entry.name for entry in known.values()}
    before, _, argument = registered.get(name, name).partition(":")
    if before not in known or not argument:
        return (before, argument)
    path = Path(argument).expanduser()
    if "://" not in argument and path.exists():
        return (before, str(path.resolve()))
    try:
        return (before, *shlex.split(argument))
    except ValueError:  # an open quote
        return (before, argument)


def load_policy(name: str, think: str = "auto", view: str | None = None, token_file: Path | None = None) -> Any:
    """A policy by name, by `NAME:ARGUMENT` such as hf:FOLDER, by `package.module:Name`, or from a checkpoint folder.

    `think`: "off", "auto" or a number: the most tokens of a thought. `view`: what a prompted model is shown, see
    agent.view.read_view. `token_file`: of a remote one. Returns an agent.policy.Policy or an
    agent.capabilities.Scripted. Raises UserError.
    """
    try:
        if is_path(name):
            load = partial(plugins.load("policy", "small"), Path(name).expanduser())
        else:
            load = plugins.load("policy", name)
        how: dict[str, Any] = {"view": view} if view else {}
        if think != "auto":
            how["think"] = int(think) if think.isdigit() else think
        if token_file is not None:
            how["token_file"] = token_file
        taken = inspect.signature(load).parameters if how else {}
        for option, why in _OPTIONS.items():
            if option in how and option not in taken:
                raise UserError(f"policy {name!r} {why}; leave --{option.replace('_', '-')} out")
        made = load(**how)
    except UserError:
        raise
    except (ValueError, OSError, TypeError) as error:
        raise UserError(f"policy {name!r}: {error}") from error
    acts = callable(getattr(made, "act", None)) and isinstance(made, HasSpec)
    if not acts and not isinstance(made, Scripted | FitsWorld | Answers | Captions | Judges | Proposes):
        raise UserError(
            f"policy {name!r} makes {_shown(made)}, which is no policy; expected an agent.policy.Policy, with `spec` "
            "and act(contexts), a script, or what has a role of agent.capabilities"
        )
    return made


def _shown(thing: Any) -> str:
    """What a thing is, in few words."""
    text = " ".join(repr(thing).split())
    return text if len(text) <= 80 else f"a {type(thing).__name__}"


def is_path(name: str) -> bool:
    """Whether a policy's name means a folder: it is written like a path, or it is a folder's name and no policy's. With
    `--policy expert --out expert` there soon is a folder of that name, and the policy is meant all the same."""
    if ":" in name:
        return False
    written = os.sep in name or name.startswith((".", "~"))
    return written or (Path(name).is_dir() and name not in plugins.names("policy"))


def instructed(text: str, world: str, seed: int) -> Task:
    """The task that an instruction means in a world; without a verifier if the world knows none for it."""
    from tasks import world_tasks

    text = encodable(text)  # bytes of the command line that are no UTF-8 are half pairs
    task = world_tasks.of(world).task_from_instruction(text, seed)
    if task is not None:
        return task
    return Task(id=f"{world}/{slug(text)}/{seed}", instruction=text, world=world, seed=seed)


def pictured(task: Task, image: Path) -> Task:
    """The task with a picture of what its instruction means. Raises UserError if the picture can't be read."""
    from tasks import pictures

    try:
        pictures.load(str(image))
    except ValueError as error:
        raise UserError(f"--image: {error}") from error
    return replace(task, picture=str(image.resolve()))


def limited(task: Task, seconds: float | None, world: World) -> Task:
    """The task with a limit of so many seconds of game time; None leaves its own."""
    if seconds is None:
        return task
    return replace(task, time_limit=min(max(1, round(seconds * world.tick_hz)), _MOST_TICKS))


def make_player(policy: Any, task: Task, world: World, clock: Clock) -> Player:
    """A player that acts by `policy` in `world`: in step with it in lockstep, beside it in real time.

    Raises UserError if the policy was made for a tick rate that is far from the world's, or can use nothing of it.
    """
    if isinstance(policy, Scripted):
        if task.verifier is None:
            raise UserError(f"{task.instruction!r} is nothing that the scripted player knows; say it in simpler words")
        return ScriptedPlayer(policy.start(task), spec=spec_of(policy))
    policy = fitted(policy, world, task.world)
    faster = max(policy.spec.tick_hz, world.tick_hz) / min(policy.spec.tick_hz, world.tick_hz)
    if faster > MOST_FASTER:
        made, has = policy.spec.tick_hz, world.tick_hz
        raise UserError(f"the policy was made for {made:g} ticks a second, world {task.world!r} has {has:g}")
    if clock == "lockstep":
        return InStep(policy)
    # The first decision is slow because caches are empty: make it before the clock runs.
    sizes = policy.spec.view.sizes(size_of(world))
    policy.act([Context(tuple(np.zeros((*size, 3), np.uint8) for size in sizes), task.instruction)])
    return Beside(policy)


def views(policy: Any, thinker: Planner | None, world: World) -> dict[str, str]:
    """What the models of a run see of the world, in words, by who they are."""
    seen = {} if isinstance(policy, Scripted) else {"player": spec_of(policy).view}
    if thinker is not None:
        seen["planner"] = thinker.view
    return {who: view.told(size_of(world)) for who, view in seen.items()}


def size_of(world: World) -> Size:
    """(height, width) of the world's pictures."""
    height, width, _ = world.observation_space["pixels"].shape or (120, 160, 3)
    return height, width


def clock_of(world: World, wanted: Clock | None) -> Clock:
    """The clock that was asked for; by default lockstep, or real time for a world that can't wait."""
    return wanted or ("realtime" if world.realtime else "lockstep")


def keep_clock(world: World, clock: Clock) -> World:
    """`world` in lockstep or in real time. Raises UserError for a world in real time that can't wait."""
    if clock == "realtime":
        return world if world.realtime else RealTime(world)
    if world.realtime:
        raise UserError(
            "this world runs in real time and can't wait for decisions: leave --time out or say --time realtime"
        )
    return world


def reader(policy: Any, name: str, world: str) -> Reader | None:
    """The sentences that the policy called `name` was taught, if they are known. The shipped policy knows the languages
    of the worlds. So does a policy that was trained from it in a world with a language. None for any other policy: it
    may understand anything."""
    if not isinstance(policy, KnowsNouns):
        return None
    from tasks import world_tasks
    from tasks.reader import WorldReader

    if name != "small" and world_tasks.of(world).language is None:
        return None
    confirm = (lambda text: policy.confirm([text])[0]) if isinstance(policy, Confirms) else None
    return WorldReader(world, confirm)


def conversation(
    policy: Any,
    planner: Planner | None = None,
    every: float = 0.0,
    *,
    voice: ChatModel | None = None,
    remember: Callable[[Voice], Voice] | None = None,
    **how: Any,
) -> Conversation:
    """The conversation of a run with `policy`; `how` goes to it. A policy that answers and describes is its own voice,
    and so is one that asks a chat model; `voice` lends one to any policy. A `planner`, if there is one, is asked again
    after `every` seconds, and reads what the policy can't. `remember`: gives the voice the memory of earlier runs."""
    speaks, listener = voice_of(policy, voice)
    if remember is not None and speaks is not None:
        speaks = remember(speaks)
    if planner is None:
        return Conversation(speaks, listener=listener, listens=not isinstance(policy, Scripted), **how)
    from agent.talk.planned_conversation import PlannedConversation

    return PlannedConversation(planner, speaks, listener=listener, every=every, **how)


def lent_voice(name: str | None) -> ChatModel | None:
    """The chat model called `name`, as a voice; None without a name. Raises UserError, also for a model that does not
    chat."""
    if name is None:
        return None
    from agent.models.load import load_model
    from agent.models.small import SmallBackend

    model = load_model(name, attempts=1)
    if isinstance(model.backend, SmallBackend):
        model.close()
        raise UserError("--voice small: it answers about pictures and does not chat; take openai:MODEL@URL or smol")
    return model


def planner(name: str | None, policy: Any, view: str | None = None, *, long: bool = False) -> Planner | None:
    """The planner called `name`, or None without a name. `view`: what it is shown, see agent.view.read_view. `long`: it
    is made for long errands, see agent/long/. Raises UserError, also for a scripted policy."""
    if name is None:
        if long:
            raise UserError("--long is for a planner; name one with --planner, such as --planner small")
        if view:
            raise UserError("--planner-view is for a planner; name one with --planner")
        return None
    if isinstance(policy, Scripted):
        raise UserError("--planner instructs the player, and this one follows a script; take --policy small")
    if long:
        from agent.long.load import load_long

        return load_long(name, policy, view=view or "")
    from agent.talk.planner import load_planner

    return load_planner(name, view=view or "")


def serve(talk: Conversation, folder: Path, port: int, env: str = "", world: World | None = None) -> Page:
    """The live page of a run in `world`, which `env` names. Viewers see it larger and hear it, where it can do that."""
    from agent.page.server import Page  # loads the web server's packages

    return Page(talk, folder, port=port, double=None if world is None else double_of(env, world))


def double_of(env: str, world: World) -> Double | None:
    """Draws a world larger for viewers; None for one that draws large enough, at one size or never twice the same."""
    from agent.page.double import Double

    height, width = world.observation_space["pixels"].shape[:2]  # type: ignore[index]
    if not (world.deterministic and FOR_PEOPLE in world.resolutions and is_small((height, width))):
        return None
    for more in ({"sound": True, "state": False}, {}):  # as far as the world takes it
        with suppress(UserError):
            options: dict[str, Any] = {"resolution": FOR_PEOPLE, **more}
            return Double(world_factory(env, **options))
    return None


def run_folder(out: Path | None, name: str) -> Path:
    """Make the folder of a run: `out`, or runs/TIME-NAME, for its owner alone: it holds what people said and showed.

    Runs that begin in the same second get a number. Raises UserError if `out` is not empty.
    """
    folder = out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(name)}"
    try:
        if out is None:
            if not folder.parent.exists():
                private_folder(folder.parent)
            return _fresh(folder)
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"--out {folder}: it is not empty; name a new folder")
        private_folder(folder)
    except OSError as error:
        if is_full(error):
            raise DiskFullError(folder, error) from error
        raise UserError(f"--out {folder}: {error.strerror}") from error
    return folder


def _fresh(folder: Path) -> Path:
    """Make a new folder of this name, or with a number appended if the name is taken."""
    for number in count(1):
        made = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            made.mkdir(mode=0o700)
            return made
    raise AssertionError


def private_folder(folder: Path) -> None:
    """Make a folder and its missing parents, for their owner alone (0700). An existing folder becomes private too.
    Raises OSError."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)


def slug(text: str) -> str:
    """`text` as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48] or "run"


def provenance() -> dict[str, Any]:
    """What a run depends on beside its options: versions, the machine, and the commit if the code is a checkout."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[2]
    commit = ""
    if (root / ".git").exists():
        with contextlib.suppress(OSError):  # no git here
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
