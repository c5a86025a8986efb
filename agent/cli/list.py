"""`agent list`: every part that is installed, and why a broken one is broken."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agent.cli import console
from envs import plugins
from envs.errors import UserError

app = console.verb()


@app.command()
def list_parts(
    what: Annotated[
        str, typer.Argument(help="all, worlds, policies, models, task-setters, rewards, learners.")
    ] = "all",
    json: console.Json = False,
) -> None:
    """List what is there. A part that can't be loaded is shown with the cause.

    \b
    Examples:
      agent list
      agent list worlds
      agent list policies --json
    """
    kinds: dict[str, plugins.Kind] = {
        group.removeprefix("ludens.").replace("_", "-"): kind for kind, group in plugins.GROUPS.items()
    }
    if what != "all" and what not in kinds:
        raise UserError(plugins.unknown_name("list", what, ["all", *kinds]))
    parts = [row for name, kind in kinds.items() if what in ("all", name) for row in _parts(kind)]
    if json:
        console.print_json(parts)
        return
    rows = [(p["kind"], p["name"], p["from"], p["broken"] or p["object"]) for p in parts]
    console.console().print(console.table(("kind", "name", "from", "what"), rows))


def _parts(kind: plugins.Kind) -> list[dict[str, Any]]:
    broken = plugins.broken(kind)
    return [
        {
            "kind": kind,
            "name": name,
            "from": f"{entry.dist.name} {entry.dist.version}" if entry.dist else "",
            "object": entry.value,
            "broken": broken.get(name, ""),
        }
        for name, entry in plugins.entries(kind).items()
    ]
