"""`hire`: Workers by name, as `--workers` has them.

    with hire(partial(Evaluator, load), "2") as workers:
        for job, result in workers.run(jobs): ...

A number N means N processes on this machine. `NAME:ARGUMENT` means the entry point NAME of the group `ludens.workers`,
such as a cluster with its address. `package.module:Name` is an object that is called as an entry point is, without an
argument.
"""

from __future__ import annotations

from envs import plugins
from envs.errors import UserError
from training.workers.crew import MOST, make_crew
from training.workers.workers import MakeWorker, MakeWorkers, Workers


def hire(make: MakeWorker, spec: str | int, most: int | None = None) -> Workers:
    """The workers that `spec` names: a number of processes, NAME, or NAME:ARGUMENT. `make` is called in each process
    and makes its Worker. `most`: no more workers than this are of use.

    Raises UserError for a spec that names nothing, and BrokenPluginError.
    """
    make_workers, argument = _parsed(spec)
    workers = make_workers(argument, make, most)
    if not isinstance(workers, Workers):
        raise plugins.BrokenPluginError(
            f"--workers {spec}: expected a training.workers.workers.Workers, got {workers!r}"
        )
    return workers


def check(spec: str | int) -> None:
    """Raises UserError for a spec that names no workers, and BrokenPluginError; nothing is started."""
    _parsed(spec)


def _parsed(spec: str | int) -> tuple[MakeWorkers, str]:
    """What makes the workers, and its argument."""
    text = str(spec).strip()
    name, _, argument = text.partition(":")
    if text.lstrip("+-").isdecimal():
        if not 1 <= int(text) <= MOST:
            raise UserError(f"--workers {text}: expected 1 to {MOST} processes")
        return make_crew, text
    known = plugins.names("workers")
    if name not in known and "." in name and argument:
        return plugins.load("workers", text), ""
    if name not in known:
        raise UserError(
            f"--workers {text!r}: expected a number of processes, 1 to {MOST}, or NAME:ARGUMENT with NAME an entry "
            f"point of {plugins.GROUPS['workers']}; known: {', '.join(known) or 'none'}"
        )
    make: MakeWorkers = plugins.load("workers", name)
    return make, argument
