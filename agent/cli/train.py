"""`agent train`: make `small` from one configuration file, or fine-tune any vision-language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from training.small import Progress, Told

app = console.verb("Train a policy.", group=True)

_ROOT = Path(__file__).resolve().parents[2]
_RECIPE, _JOINT = _ROOT / "training" / "small.yaml", _ROOT / "training" / "worlds.yaml"
_SHIPPED = _ROOT / "agent" / "small" / "checkpoint"


@app.command()
def small(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/small"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _RECIPE,
    json: console.Json = False,
) -> None:
    """Make `small` from nothing: demonstrations, vision, grounding, cloning, corrections, refining.

    With the recipe that comes with the package it takes the better part of an hour on 2 cores. Ctrl+C or a kill loses
    at most half a minute: the same command goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train small
      agent train small --config my.yaml --out runs/mine
      agent play "pick up the red key" --policy runs/mine/small
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.small import SmallRecipe, train_small

        try:
            recipe = SmallRecipe.load(config)
        except ValueError as error:
            raise UserError(str(error)) from error
    with _bars(screen) as told:
        checkpoint = train_small(recipe, out, told)
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
    else:
        screen.print(f"Checkpoint: {checkpoint}", markup=False)
        screen.print(f'Play it:    agent play "pick up the red key" --policy {checkpoint}', markup=False)
        screen.print(f"Measure it: agent eval --policy {checkpoint}", markup=False)


@app.command()
def worlds(
    start: Annotated[Path, typer.Option(help="The checkpoint to start from.")] = _SHIPPED,
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/worlds"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _JOINT,
    json: console.Json = False,
) -> None:
    """Teach `small` several worlds at once: demonstrations of each, and rounds of learning from all together.

    Before a round the model of the last one may play, and is corrected. With the recipe that comes with the package it
    takes two hours on 2 cores. Minetest moves on by itself, so that its demonstrations take as long as they are played.
    Ctrl+C or a kill loses at most half a minute: the same command goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train worlds
      agent train worlds --config my.yaml --out runs/mine
      agent play "go to the red cube" --env playroom --policy runs/mine/model
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from agent.small.policy import CheckpointError, read_manifest
        from training.joint import JointRecipe, train_worlds

        try:
            recipe = JointRecipe.load(config)
            read_manifest(start)
        except (ValueError, CheckpointError) as error:
            raise UserError(str(error)) from error
    with _bars(screen) as told:
        checkpoint = train_worlds(recipe, start, out, told)
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
    else:
        screen.print(f"Checkpoint: {checkpoint}", markup=False)
        screen.print(f'Play it:    agent play --env playroom "go to the red cube" --policy {checkpoint}', markup=False)
        screen.print(
            f"Measure it: agent eval --env playroom --suite playroom-basic --policy {checkpoint}", markup=False
        )


@contextmanager
def _bars(screen: Console) -> Iterator[Told]:
    """Progress bars, one for each stage; what is told to it is shown. A ValueError of the run is the user's."""
    with console.progress(screen) as bars:
        stages: dict[str, TaskID] = {}

        def told(news: Progress) -> None:
            if news.stage not in stages:
                stages[news.stage] = bars.add_task(news.stage, total=news.total, note="")
            note = "  ".join(f"{name} {value:.3g}" for name, value in news.figures.items())
            bars.update(stages[news.stage], completed=news.done, total=news.total, note=note)

        try:
            yield told
        except ValueError as error:
            raise UserError(str(error)) from error


class FormName(StrEnum):
    """How the model writes actions: with tokens of their own, or as text with the tokenizer that it has."""

    tokens = "tokens"
    text = "text"


@app.command()
def bc(
    model: Annotated[str, typer.Option(help="An image-text-to-text model of transformers: a folder, or a hub's name.")],
    data: Annotated[list[Path], typer.Option(help="A folder with recorded episodes; may be given again.")],
    out: Annotated[Path, typer.Option(help="The run's folder; the checkpoint is OUT/model.")] = Path("runs/bc"),
    lora: Annotated[bool, typer.Option("--lora", help="Train low-rank changes, not the whole model.")] = False,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the low-rank changes.")] = 16,
    epochs: Annotated[float, typer.Option(help="How often each decision is seen.")] = 1.0,
    batch: Annotated[int, typer.Option(min=1, help="Decisions in a step.")] = 8,
    micro: Annotated[int | None, typer.Option(min=1, help="Of these, at a time in memory [default: all].")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate [default: 2e-5, with --lora 2e-4].")] = None,
    history: Annotated[int, typer.Option(min=1, max=64, help="Frames that a prompt shows.")] = 4,
    gamma: Annotated[float, typer.Option(help="An action repeated for the k-th time weighs gamma^(k-1).")] = 1.0,
    form: Annotated[FormName, typer.Option(help="Actions as tokens of their own, or as plain text.")] = FormName.tokens,
    failures: Annotated[bool, typer.Option("--failures", help="Learn from failed episodes too.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare batches.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the decisions.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in OUT.")] = False,
    json: console.Json = False,
) -> None:
    """Fine-tune any image-text-to-text model on recorded episodes, so that it plays (docs/models.md).

    With a GPU it computes in bf16 and recomputes activations; torchrun makes it use several. A killed run loses a
    minute or so: the same command with --resume goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent record --policy expert --episodes 1000 --out data/basic
      agent train bc --model Qwen/Qwen3-VL-2B-Instruct --data data/basic --lora --out runs/qwen
      agent play "pick up the red key" --policy hf:runs/qwen/model
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.bc import BcRecipe, train_bc
        from training.episodes import EpisodeError

    with console.progress(screen) as bars:
        bar = bars.add_task("cloning", total=None, note="")

        def told(done: int, total: int, figures: Mapping[str, Any]) -> None:
            note = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
            bars.update(bar, completed=done, total=total, note=note)

        try:
            recipe = BcRecipe(
                model, tuple(map(str, data)), lora=lora, rank=rank, epochs=epochs, batch=batch, micro=micro, rate=lr,
                history=history, gamma=gamma, form=form.value, failures=failures, workers=workers, seed=seed,
            )  # fmt: skip
            checkpoint = train_bc(recipe, out, resume=resume, told=told)
        except (ValueError, OSError, EpisodeError) as error:
            raise UserError(str(error)) from error
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
    else:
        screen.print(f"Checkpoint: {checkpoint}", markup=False)
        screen.print(f'Play it:    agent play "pick up the red key" --policy hf:{checkpoint}', markup=False)
