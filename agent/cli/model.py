"""`agent model ask`: try a chat model by its name."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from agent.models import Message, Reply
    from agent.models.model import Model

app = console.verb("Chat and vision-language models: try one.", group=True)


@app.command()
def ask(
    name: Annotated[str, typer.Argument(help="A model's name (agent list models), NAME:ARGUMENT or module:Name.")],
    text: Annotated[str, typer.Argument(help="What to ask.")] = "",
    image: Annotated[list[Path] | None, typer.Option(help="A picture to show; may be repeated.")] = None,
    schema: Annotated[Path | None, typer.Option(help="A file with the JSON schema that the answer must fit.")] = None,
    system: Annotated[str, typer.Option(help="What the model is told before.")] = "",
    think: Annotated[int | None, typer.Option(min=0, help="The most tokens of thoughts.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The most tokens of the answer.")] = 512,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Of the sampling [default: the model's].")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the sampling.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds for all of it, retries included.")] = None,
    config: Annotated[Path | None, typer.Option(help="A configuration file of models.")] = None,
    cap: Annotated[int | None, typer.Option(min=0, help="The most tokens, read and written, of this run.")] = None,
    dollars: Annotated[float | None, typer.Option(min=0.0, help="The most dollars of this run.")] = None,
    json: console.Json = False,
) -> None:
    """Ask a model one thing. Keys come from the environment or the configuration file, never from the command line.

    Exit status 1 if there is no answer that can be used.

    \b
    Examples:
      agent model ask smol "Name three animals"
      agent model ask small "what do you see?" --image frame.png
      agent model ask openai:llama3@http://127.0.0.1:11434/v1 "Name a colour" --schema colour.json --json
    """
    from agent.models import Message, ModelError, load_model
    from agent.models.config import load_config

    shape = _schema(schema)
    pictures = tuple(_picture(path) for path in image or ())
    talk = [*([Message("system", system)] if system else []), Message("user", text, pictures)]
    limits = load_config(config, tokens=cap, dollars=dollars)
    screen = console.console(machine=True)
    with screen.status(f"loading {name}"):
        model = load_model(name, config=limits, deadline=deadline)
    options: dict[str, Any] = {
        "schema": shape, "think": think, "max_tokens": max_tokens, "seed": seed, "temperature": temperature,
    }  # fmt: skip
    with model:
        try:
            if json or shape is not None:
                with screen.status(f"{name} answers"):
                    reply = model.chat(talk, **options)
                if json:
                    console.print_json(asdict(reply))
                    return
                console.print_json(reply.data)
            else:
                reply = _spoken(model, talk, options)
        except ModelError as error:
            screen.print(f"agent: {error}", markup=False)
            raise typer.Exit(1) from None
    screen.print(_account(reply), style="dim", markup=False)


def _spoken(model: Model, talk: list[Message], options: Mapping[str, Any]) -> Reply:
    """Print the answer as it is written; thoughts are not part of it."""
    from agent.models import Reply

    for item in model.stream(talk, **options):
        if isinstance(item, Reply):
            console.echo()
            return item
        if not item.thought:
            console.echo(item.text, nl=False)
    raise AssertionError("a stream ends with the reply")


def _account(reply: Reply) -> str:
    usage = reply.usage
    assert usage is not None  # the owner of retries has counted
    parts = [reply.model, f"{usage.prompt} tokens read, {usage.completion} written"]
    if usage.thinking:
        parts.append(f"{usage.thinking} of them thoughts")
    if usage.dollars:
        parts.append(f"{usage.dollars:.4f} dollars")
    parts.append(f"{reply.seconds:.1f} s" + (f", {reply.attempts} attempts" if reply.attempts > 1 else ""))
    if reply.finish == "length":
        parts.append("cut off: --max-tokens")
    return "; ".join(parts)


def _schema(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found = json_module.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--schema {path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(found, dict):
        raise UserError(f"--schema {path}: expected a JSON object")
    return found


def _picture(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"--image {path}: {getattr(error, 'strerror', None) or error}") from error
