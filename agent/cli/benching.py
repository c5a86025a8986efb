"""`agent eval --bench`: a policy on a frozen reference suite, with all that a reader needs to compare and repeat it."""

from __future__ import annotations

import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from training.evaluation.reference_suite import Difference, ReferenceSuite


def evaluate(
    name: str, policy: str, think: str, view: str | None, workers: str, json: Path | None, allow_differences: bool
) -> None:
    """Play a reference suite; prints a table, or JSON where `json` is "-".

    Raises UserError where versions or hashes differ from those that the suite has frozen, unless `allow_differences`:
    then the result is labelled as unofficial and names them.
    """
    machine = console.for_machines(json)
    screen = console.console(machine=machine)
    with screen.status("comparing versions, tasks and frames with the frozen ones"):
        from agent.capabilities import reads_labels, spec_of
        from agent.cli import compose
        from training.evaluation import reference_suite as reference
        from training.evaluation import success as evaluation

        suite = reference.load_reference(name)
        loaded = compose.load_policy(policy, think, view)
        differences = _differences(suite)
        if differences and not allow_differences:
            raise UserError(_refusal(suite, differences))
        tasks = [task for part in suite.parts for task in reference.tasks_of(part)]
    began = time.monotonic()
    with console.progress(screen) as bars:
        tally = evaluation.evaluate(
            tasks,
            partial(compose.load_policy, policy, think, view),
            partial(_open_world, suite.world, reads_labels(loaded), spec_of(loaded).view),
            workers=workers,
            group=reference.part_of,
            on_progress=console.follow(bars),
        )["policy"].to_json()
    settings = {"policy": policy, "think": think, "view": view, "workers": workers}
    report = {
        "bench": suite.name,
        "sha256": suite.sha256,
        "official": not differences,
        "differences": [str(one) for one in differences],
        **settings,
        "weights": _weights(policy),
        "command": _command(name, settings),
        "seconds": round(time.monotonic() - began, 1),
        "total": {key: tally[key] for key in ("success", "ci", "episodes")},
        "parts": tally["by_verb"],
        **{key: tally[key] for key in ("failures", "false_claims", "done_signalled", "confirmed", "late", "played")},
        **compose.provenance(),
    }
    if machine:
        console.print_json(report)
        return
    screen.print(_table(policy, report))
    for one in report["differences"]:
        screen.print(f"differs: {one}", style="yellow", markup=False)
    if differences:
        screen.print(f"This is no official result of {suite.name}.", style="yellow", markup=False)
    if json is not None:
        console.save_json(screen, json, report)


def _open_world(name: str, labels: bool, view: Any) -> Any:
    from agent.cli import compose

    return compose.world_factory(name, view=view, labels=labels or None)()


def _differences(suite: ReferenceSuite) -> list[Difference]:
    from agent.cli import compose
    from training.evaluation.reference_suite import differences

    world = compose.world_factory(suite.world)()
    try:
        return differences(suite, world)
    finally:
        world.close()


def _refusal(suite: ReferenceSuite, differences: list[Difference]) -> str:
    wanted = " ".join(f"{name}=={version}" for name, version in suite.versions.items())
    return (
        f"--bench {suite.name}: {'; '.join(map(str, differences))}. Its results compare only where nothing differs: "
        f"pip install {wanted}, with a version of ludens that has these tasks; or play it with --allow-differences, "
        "and the result says that it is none of the suite's"
    )


def _weights(policy: str) -> str | None:
    """The SHA-256 of a checkpoint's manifest and weights; None for a policy that is no checkpoint of ours."""
    from agent.lineage import content_hash
    from agent.small.checkpoint import SHIPPED

    try:
        return content_hash(SHIPPED if policy == "small" else Path(policy).expanduser())
    except OSError:
        return None


def _command(name: str, settings: dict[str, Any]) -> str:
    given = {"bench": name, **settings}
    kept = {key: value for key, value in given.items() if value is not None and (key, value) != ("think", "auto")}
    return shlex.join(["agent", "eval", *(part for key, value in kept.items() for part in (f"--{key}", str(value)))])


def _table(policy: str, report: dict[str, Any]) -> Any:
    from training.evaluation.statistics import percent

    rows = {"all": report["total"], **report["parts"]}
    cells = [[name, percent(one["success"], one["ci"]), str(one["episodes"])] for name, one in rows.items()]
    return console.table(["success %", policy, "n"], cells, title=report["bench"])
