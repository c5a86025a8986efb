"""The commands of `agent train` that make a model from one configuration file: `small`, and the rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli import console
from agent.cli.training_bars import training_bars
from envs.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]
_RECIPES = _ROOT / "training" / "small" / "recipes"
_RECIPE, _JOINT = _RECIPES / "small.yaml", _RECIPES / "worlds.yaml"
_JUDGE = _ROOT / "training" / "judge" / "recipes" / "judge.yaml"
_CLIP = _ROOT / "training" / "clip" / "recipes" / "clip.yaml"
_SHIPPED = _ROOT / "agent" / "small" / "weights"


def small(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/small"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _RECIPE,
    json: console.Json = False,
) -> None:
    """Make `small` from nothing: demonstrations, vision, grounding, cloning, corrections, refining.

    The recipe that comes with the package learns from 770,000 frames. The progress bar shows the speed in frames/s:
    at 33 frames/s that takes six and a half hours, and recording the demonstrations comes on top. Ctrl+C or a kill
    loses half a minute or so: the same command goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train small
      agent train small --config my.yaml --out runs/mine
      agent play "pick up the red key" --policy runs/mine/small
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.small.recipe import SmallRecipe, train_small

        try:
            recipe = SmallRecipe.load(config)
        except ValueError as error:
            raise UserError(str(error)) from error
    with training_bars(screen) as on_progress:
        checkpoint = train_small(recipe, out, on_progress)
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
    else:
        screen.print(f"Checkpoint: {checkpoint}", markup=False)
        screen.print(f'Play it:    agent play "pick up the red key" --policy {checkpoint}', markup=False)
        screen.print(f"Measure it: agent eval --policy {checkpoint}", markup=False)


def worlds(
    start: Annotated[Path, typer.Option(help="The checkpoint to start from.")] = _SHIPPED,
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/worlds"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _JOINT,
    json: console.Json = False,
) -> None:
    """Teach `small` several worlds at once: demonstrations of each, and rounds of learning from all together.

    Before a round the model of the last round may play and be corrected. The recipe that comes with the package learns
    from 86,000 frames. The progress bar shows the speed in frames/s: at 33 frames/s that takes 43 minutes, and
    recording the demonstrations comes on top. Those of Minetest are recorded in real time. Ctrl+C or a kill loses half
    a minute or so: the same command goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train worlds
      agent train worlds --config my.yaml --out runs/mine
      agent play "go to the red cube" --env playroom --policy runs/mine/model
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from agent.small.checkpoint import CheckpointError, read_manifest
        from training.small.worlds_recipe import JointRecipe, train_worlds

        try:
            recipe = JointRecipe.load(config)
            read_manifest(start)
        except (ValueError, CheckpointError) as error:
            raise UserError(str(error)) from error
    with training_bars(screen) as on_progress:
        checkpoint = train_worlds(recipe, start, out, on_progress)
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
    else:
        screen.print(f"Checkpoint: {checkpoint}", markup=False)
        screen.print(f'Play it:    agent play --env playroom "go to the red cube" --policy {checkpoint}', markup=False)
        screen.print(f"Measure it: agent eval --suite playroom-basic --policy {checkpoint}", markup=False)


def clip(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/clip"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _CLIP,
    size: Annotated[str, typer.Option(help="Another size than the recipe's: clip-small-1 to clip-small-4.")] = "",
    json: console.Json = False,
) -> None:
    """Train a CLIP model that tells from single frames whether a goal is reached, for the reward clip.

    Frames of training levels are recorded with captions from ground truth: what holds in the frame, and what is easily
    taken to. The model is in open_clip's format: open_clip.create_model("local-dir:OUT/model") loads it. Ctrl+C or a
    kill loses half a minute or so: the same command goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train clip
      agent train clip --size clip-small-1 --out runs/clip-1
      agent rewards calibrate --reward clip:runs/clip/model --episodes data/room
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.clip.train import ClipRecipe, train_clip

        try:
            recipe = ClipRecipe.load(config)
        except ValueError as error:
            raise UserError(str(error)) from error
        if size:
            recipe = recipe.model_copy(update={"size": size})
    with training_bars(screen) as on_progress:
        model = train_clip(recipe, out, on_progress)
    if json:
        console.print_json({"model": str(model)})
    else:
        screen.print(f"Model:      {model}", markup=False)
        screen.print(f"Measure it: agent rewards calibrate --reward clip:{model} --episodes DIR", markup=False)


def judge(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")] = Path("runs/judge"),
    config: Annotated[Path, typer.Option(help="The recipe, a YAML file.")] = _JUDGE,
    json: console.Json = False,
) -> None:
    """Train a judge of its own, the reward judge:OUT/model: `small` learns to judge alone.

    It learns from the expert's episodes and from the player's own tries, which are sampled in training levels, and is
    calibrated by tries that it did not learn from. Ctrl+C or a kill loses half a minute or so: the same command goes
    on; the expert's episodes are recorded anew if they were not whole. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent train judge
      agent eval --suite doom-judge --policy runs/judge/model
      agent rewards calibrate --reward judge:runs/judge/model --episodes data/room
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from agent.small.checkpoint import CheckpointError, read_manifest
        from training.judge.train import JudgeRecipe, train_judge

        try:
            recipe = JudgeRecipe.load(config)
            if recipe.parent is not None:
                read_manifest(recipe.parent)
        except (ValueError, CheckpointError) as error:
            raise UserError(str(error)) from error
    with training_bars(screen) as on_progress:
        model = train_judge(recipe, out, on_progress)
    if json:
        console.print_json({"model": str(model)})
    else:
        screen.print(f"Model:      {model}", markup=False)
        screen.print(f"Measure it: agent eval --suite doom-judge --policy {model}", markup=False)
