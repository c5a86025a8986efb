"""`agent record`: episodes of a policy at play, made in many processes."""

from __future__ import annotations

import json as json_text
import shlex
import sys
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from agent.cli.options import PolicyName, Port, RealDesktop, Resolution, TasksEnv, TimeLimit, ViewText, Workers
from envs.errors import UserError
from envs.files import write_whole

if TYPE_CHECKING:
    from rich.console import Console

    from agent.cli.recording import Plan, Recorded
    from training.workers.workers import Failed

app = console.verb()

_PLAN = "record.json"
_EPISODES = 100
_SUITE = "doom-basic"
_HUMAN = "human"  # the policy of what a person has played


class Quality(StrEnum):
    """lossless: frames decode bit-identical, for training. compact: H.264, smaller."""

    lossless = "lossless"
    compact = "compact"


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="The folder of the episodes; finished ones in it are kept.")],
    instruction: Annotated[str | None, typer.Argument(help="What to do, in words, instead of a suite.")] = None,
    env: TasksEnv = None,
    policy: PolicyName = "expert",
    suite: Annotated[str | None, typer.Option(help="The tasks: agent list suites [default: doom-basic].")] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(help="A YAML file of own tasks instead of a suite; verifiers of yours that it names run code."),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="How many, counted from the first [default: 100, or all of --tasks].")
    ] = None,
    workers: Workers = "2",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tasks.")] = 0,
    noise: Annotated[float, typer.Option(min=0.0, max=0.5, help="Chance that a decision starts a disturbance.")] = 0.0,
    frames: Annotated[Quality, typer.Option(help="How frames are kept.")] = Quality.lossless,
    every_tick: Annotated[bool, typer.Option("--every-tick", help="See every tick, not only decisions.")] = False,
    evaluation: Annotated[bool, typer.Option("--evaluation", help="Levels that training never sees.")] = False,
    view: ViewText = None,
    resolution: Resolution = None,
    time_limit: TimeLimit = None,
    allow_real_desktop: RealDesktop = False,
    human: Annotated[bool, typer.Option("--human", help="A person plays, on the live page.")] = False,
    port: Port = 0,
    json: console.Json = False,
) -> None:
    """Record episodes of a policy on a suite, on tasks of your own or on an instruction, in any world. A second run
    goes on where the first stopped; Ctrl+C loses nothing.

    \b
    Examples:
      agent record --policy expert --episodes 1000 --workers 2 --out data/basic
      agent record --suite doom-room --noise 0.05 --out data/room
      agent record --suite doom-pairs --evaluation --frames compact --out data/pairs
      agent record --human --suite doom-room --episodes 10 --out data/mine
      agent record --tasks examples/tasks.yaml --policy small --out data/own
      agent record --env browser:mine.yaml --policy random "walk around" --time-limit 10 --episodes 5 --out data/walk
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from agent.cli.recording import Plan, Recording
        from training.workers.hire import check, hire

        player = _HUMAN if human else policy
        if sum(given is not None for given in (suite, tasks, instruction)) > 1:
            raise UserError("--suite, --tasks and an instruction say each what is to be done; give one of them")
        env = _world_of(suite, tasks) if env is None else env
        if suite is None and tasks is None and instruction is None:
            suite = _default_suite(env)
        plan = Plan(
            env, player, suite, seed, out, noise, frames.value, every_tick, evaluation, resolution,
            str(tasks) if tasks else None, _words(instruction), time_limit, allow_real_desktop, view,
        )  # fmt: skip
        check(workers)
        _check(plan)
        episodes = min(episodes or plan.most or _EPISODES, plan.most or sys.maxsize)
        todo = [index for index in range(episodes) if not _is_whole(plan.path(index))]
    tally = _Tally()
    interrupted = False
    if human:
        from agent.cli.human import record_by_hand

        try:
            for index, item in record_by_hand(plan, todo, port, screen):
                tally.add(index, item)
        except KeyboardInterrupt:
            interrupted = True
    elif todo:
        try:
            with hire(partial(Recording, plan), workers, most=len(todo)) as crew, console.progress(screen) as progress:
                bar = progress.add_task(plan.name, total=episodes, completed=episodes - len(todo), note="starting")
                for index, item in crew.run(todo):
                    tally.add(index, item)
                    progress.update(bar, advance=1, note=tally.pace())
        except KeyboardInterrupt:
            interrupted = True
    kept = episodes - len(todo) + tally.elsewhere
    summary = {"out": str(out), "kept": kept, "interrupted": interrupted, **tally.summary()}
    if json:
        console.print_json(summary)
    else:
        _tell(screen, summary)
    if interrupted:
        raise typer.Exit(130)
    if tally.errors:
        raise typer.Exit(1)


@dataclass
class _Tally:
    """What was recorded, and how fast. The pace counts from the first episode that was done: worlds take seconds to
    start, and however many episodes there are, they start once."""

    episodes: int = 0
    judged: int = 0
    successes: int = 0
    late: int = 0
    ticks: int = 0
    frames: int = 0
    errors: list[str] = field(default_factory=list)
    elsewhere: int = 0  # episodes of another command that records into the same folder
    warnings: dict[str, int] = field(default_factory=dict)  # and in how many episodes
    _begun: float = field(default_factory=time.perf_counter)
    _first: tuple[float, int, int] | None = None
    _last: float = 0.0

    def add(self, index: int, item: Recorded | Failed) -> None:
        from training.workers.workers import Failed

        if isinstance(item, Failed):
            self.errors.append(f"episode {index}: {item.error}")
            return
        if item.elsewhere:
            self.elsewhere += 1
            return
        self.episodes += 1
        self.judged += item.success is not None
        self.successes += item.success is True
        self.late += item.late
        for warning in item.warnings:
            self.warnings[warning] = self.warnings.get(warning, 0) + 1
        self.ticks += item.ticks
        self.frames += item.frames
        self._last = time.perf_counter()
        if self._first is None:
            self._first = (self._last, self.ticks, self.frames)

    def rates(self) -> tuple[float, float]:
        """Ticks and drawn frames a second."""
        if self._first is None or self.episodes < 2:
            return 0.0, 0.0
        since, ticks, frames = self._first
        seconds = max(1e-9, self._last - since)
        return (self.ticks - ticks) / seconds, (self.frames - frames) / seconds

    def pace(self) -> str:
        ticks, frames = self.rates()
        success = f", {100.0 * self.successes / self.judged:.1f} % success" if self.judged else ""
        return f"{ticks:.0f} ticks/s, {frames:.0f} frames/s{success}"

    def summary(self) -> dict[str, Any]:
        ticks, frames = self.rates()
        return {
            "episodes": self.episodes,
            "success": self.successes / self.judged if self.judged else None,
            "ticks": self.ticks,
            "frames": self.frames,
            "seconds": time.perf_counter() - self._begun,
            "ticks_per_second": ticks,
            "frames_per_second": frames,
            "late": self.late,
            "warnings": self.warnings,
            "errors": self.errors,
        }


def _world_of(suite: str | None, tasks: Path | None) -> str:
    """Where tasks are played: by their suite or file, and otherwise in doom. Raises UserError for an unknown suite and
    for a file that can't be read."""
    from tasks import world_tasks
    from tasks.task_file import load_tasks

    if suite is not None:
        return world_tasks.suite(suite).world
    try:
        return load_tasks(tasks)[0].world if tasks is not None else "doom"
    except ValueError as error:
        raise UserError(str(error)) from error


def _default_suite(env: str) -> str:
    from agent.cli.compose import same_world

    if not same_world(env, "doom"):
        raise UserError(
            f"say what is to be done in world {env!r}: --suite NAME, --tasks FILE, or an instruction: "
            f'agent record --env {shlex.quote(env)} "..." --out DIR'
        )
    return _SUITE


def _words(instruction: str | None) -> str | None:
    if instruction is not None and not instruction.strip():
        raise UserError('the instruction is empty; for example: agent record "pick up the red key" --out data/key')
    return instruction and instruction.strip()


def _is_whole(path: Path) -> bool:
    """Whether there is an undamaged episode. A damaged one is set aside, and recorded again."""
    from training.data.episodes import DamagedEpisodeError, read_episode
    from training.data.repair import quarantine

    if not path.exists():
        return False
    try:
        read_episode(path).verify()
    except DamagedEpisodeError as error:
        if quarantine(path, str(error)) is None:
            raise UserError(f"{error}; it can't be set aside: remove it, or name another folder") from error
        return False
    return True


def _check(plan: Plan) -> None:
    """Refuse wrong input before any process starts; note the plan in the folder, or compare with what it says."""
    from agent.cli.compose import is_path, load_policy, private_folder, same_world, world_factory
    from envs import plugins
    from tasks import world_tasks

    world_factory(plan.world, resolution=plan.resolution)
    if is_path(plan.policy):
        if not Path(plan.policy).is_dir():
            raise UserError(f"policy {plan.policy!r}: there is no such folder")
    elif plan.policy != _HUMAN and ":" not in plan.policy and plan.policy not in plugins.names("policy"):
        raise UserError(plugins.unknown_name("policy", plan.policy, plugins.names("policy")))
    if plan.view is not None:
        if plan.policy == _HUMAN:
            raise UserError("--view is for a model, and a person sees the live page; leave it out")
        load_policy(plan.policy, view=plan.view)
    if plan.suite is not None:
        world_tasks.suite(plan.suite)
    try:
        chosen = [plan.task(index) for index in range(plan.most or 1)]
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{error}; --evaluation records it all the same") from error
    for task in chosen:
        if not same_world(task.world, plan.world):
            what = f"suite {plan.suite!r}" if plan.suite else f"{plan.tasks}: {task.id}"
            raise UserError(f"{what} is played in world {task.world!r}, not in {plan.world!r}")
    if plan.policy == "expert" and not world_tasks.of(plan.world).has_expert:
        raise UserError(
            f"world {plan.world!r} brings no expert; record another --policy, or play yourself with --human"
        )
    wanted = {key: value for key, value in asdict(plan).items() if key != "out"}
    path = plan.out / _PLAN
    try:
        if not plan.out.exists():
            private_folder(plan.out)
        if path.exists():
            was = json_text.loads(path.read_text())
            other = [key for key in wanted if was.get(key) != wanted[key]]
            if other:
                raise UserError(
                    f"--out {plan.out}: its episodes have {other[0]} {was.get(other[0])!r}, not {wanted[other[0]]!r}; "
                    "name another folder"
                )
        else:
            write_whole(path, json_text.dumps(wanted, indent=2) + "\n")
    except (NotADirectoryError, FileExistsError) as error:
        raise UserError(f"--out {plan.out}: is a file, or lies in one; name a folder") from error
    except (OSError, ValueError) as error:
        raise UserError(f"--out {plan.out}: {error}") from error


def _tell(screen: Console, summary: dict[str, Any]) -> None:
    for error in summary["errors"][:5]:
        screen.print(f"failed: {error}", style="red", markup=False)
    if len(summary["errors"]) > 5:
        screen.print(f"... and {len(summary['errors']) - 5} more", style="red")
    success = "-" if summary["success"] is None else f"{100 * summary['success']:.1f} %"
    screen.print(
        f"{summary['episodes']} episodes ({summary['kept']} were there already), success {success}, "
        f"{summary['ticks']} ticks and {summary['frames']} frames in {summary['seconds']:.1f} s; "
        f"{summary['ticks_per_second']:.0f} ticks/s and {summary['frames_per_second']:.0f} frames/s once they ran",
        markup=False,
    )
    if summary["late"]:
        share = 100.0 * summary["late"] / max(1, summary["ticks"])
        screen.print(f"{summary['late']} ticks came late ({share:.1f} %)", style="yellow")
    for warning, count in summary["warnings"].items():
        screen.print(f"warning: {warning} (in {count} episodes)", style="yellow", markup=False)
    screen.print(f"Episodes: {summary['out']}", markup=False)
    if summary["interrupted"]:
        screen.print("The same command goes on from here.")
