"""`agent list`: every part that is installed, and why a broken one is broken."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agent.cli import console
from envs import plugins
from envs.errors import UserError

app = console.verb()

_PARTS: dict[str, plugins.Kind] = {
    group.removeprefix("ludens.").replace("_", "-"): kind for kind, group in plugins.GROUPS.items()
}
_EXAMPLES = 3  # tasks shown of each suite


@app.command()
def list_parts(
    what: Annotated[str, typer.Argument(help=f"all, {', '.join(_PARTS)}, suites or tasks.")] = "all",
    json: console.Json = False,
) -> None:
    """List what is there. A part that can't be loaded is shown with the cause; tasks are examples of each suite.

    \b
    Examples:
      agent list
      agent list worlds
      agent list tasks
      agent list policies --json
    """
    known = ["all", *_PARTS, "suites", "tasks"]
    if what not in known:
        raise UserError(plugins.unknown_name("list", what, known))
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
    from tasks import worlds

    return list(worlds.suites().values())
