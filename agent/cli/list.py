"""`agent list`: every part that is installed, and why a broken one is broken; checkpoints as a family tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import console
from envs import plugins
from envs.errors import UserError

app = console.verb()

_PARTS: dict[str, plugins.Kind] = {
    group.removeprefix("ludens.").replace("_", "-"): kind for kind, group in plugins.GROUPS.items()
}
_WHAT = list(dict.fromkeys(("all", *_PARTS, "suites", "tasks", "checkpoints")))
_EXAMPLES = 3  # tasks shown of each suite


@app.command()
def list_parts(
    what: Annotated[str, typer.Argument(help=f"{', '.join(_WHAT[:-1])} or {_WHAT[-1]}.")] = "all",
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Where checkpoints are [default: the shipped one and ./runs]."),
    ] = None,
    json: console.Json = False,
) -> None:
    """List what is there. A part that can't be loaded is shown with the cause; tasks are examples of each suite;
    checkpoints are shown under their parents, with what they learned from.

    \b
    Examples:
      agent list
      agent list worlds
      agent list tasks
      agent list policies --json
      agent list checkpoints runs
    """
    if what not in _WHAT:
        raise UserError(plugins.unknown_name("list", what, _WHAT))
    if what == "checkpoints":
        _list_checkpoints(folders, json)
        return
    if folders:
        raise UserError(f"{folders[0]}: folders belong to 'agent list checkpoints', not to 'agent list {what}'")
    rows = [row for name, kind in _PARTS.items() if what in ("all", name) for row in _parts(kind)]
    if what in ("all", "suites"):
        rows += _suites()
    if what == "tasks":
        rows += _tasks()
    if json:
        console.print_json(rows)
        return
    cells = [(row["kind"], row["name"], row["from"], row["broken"] or row["what"]) for row in rows]
    console.console().print(console.table(("kind", "name", "from", "what"), cells))


def _list_checkpoints(folders: list[Path] | None, json: bool) -> None:
    from agent.cli import checkpoints
    from agent.family import family, find_checkpoints
    from agent.small.checkpoint import SHIPPED

    for folder in folders or ():
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
    members = family(find_checkpoints(folders or [SHIPPED, Path("runs")]))
    if json:
        console.print_json([checkpoints.facts(member) for member in members])
    elif not members:
        console.console().print("no checkpoints; make one with: agent train small")
    else:
        console.console().print(checkpoints.tree(members), markup=False)


def _row(kind: str, name: str, origin: str, what: str, broken: str = "") -> dict[str, str]:
    return {"kind": kind, "name": name, "from": origin, "what": what, "broken": broken}


def _parts(kind: plugins.Kind) -> list[dict[str, str]]:
    broken = plugins.broken(kind)
    rows = []
    for name, entry in plugins.entries(kind).items():
        origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
        rows.append(_row(kind, name, origin, entry.value, broken.get(name, "")))
    return rows


def _suites() -> list[dict[str, str]]:
    return [
        _row("suite", suite.name, "held out" if suite.held_out else "training", suite.about) for suite in _all_suites()
    ]


def _tasks() -> list[dict[str, str]]:
    return [
        _row("task", task.verb, suite.name, task.instruction)
        for suite in _all_suites()
        for task in suite.tasks(0, _EXAMPLES * len(suite.verbs))
    ]


def _all_suites() -> list[Any]:
    from tasks import world_tasks

    return list(world_tasks.suites().values())
