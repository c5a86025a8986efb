"""`agent push`: a checkpoint becomes a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli import console

app = console.verb()


@app.command()
def push(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint's folder, such as OUT/model of agent train.")],
    repository: Annotated[str, typer.Argument(help="USER/NAME on the hub; it is made where it is missing.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A file of agent eval --json, for the metadata of the card; may be repeated."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it. [default: only you]")] = False,
    license: Annotated[str | None, typer.Option(help="As the hub spells it, such as apache-2.0.")] = None,
    message: Annotated[str, typer.Option(help="Of the commit.")] = "",
    json: console.Json = False,
) -> None:
    """Push a checkpoint of small, of agent train bc or of agent train clip: weights as safetensors, a model card with
    results, a processor. Log in first, with hf auth login or HF_TOKEN.

    \b
    Examples:
      agent push runs/mine/small USER/my-small --results basic.json
      agent push runs/qwen/model USER/qwen-doom --public --license apache-2.0
      agent play --policy hf:USER/my-small
    """
    screen = console.console(machine=json)
    with screen.status("pushing"):
        from agent.hub.card import results_in
        from agent.hub.push import push_checkpoint

        address, kind, left = push_checkpoint(
            checkpoint, repository, public=public, message=message, license=license,
            results=results_in(results or [], checkpoint),
        )  # fmt: skip
    if json:
        console.print_json({"url": address, "kind": kind.name, "left_out": left})
        return
    screen.print(f"Pushed:   {kind.name}, {address}", markup=False)
    if left:
        screen.print(f"Left out: {', '.join(left)}: only data go, weights as safetensors", markup=False)
    if "clip" in kind.tags:
        screen.print(f"Use it:   --reward clip:hf:{repository}", markup=False)
    else:
        screen.print(f"Play it:  agent play --policy hf:{repository}", markup=False)
