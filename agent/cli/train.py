"""`agent train`: make a model from one configuration file, or train a policy on episodes or by its own play."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import console, train_recipes
from agent.cli.training_bars import print_checkpoint, training_bars
from envs.errors import UserError

app = console.verb("Train a policy.", group=True)
for _made in (train_recipes.small, train_recipes.worlds, train_recipes.clip, train_recipes.judge):
    app.command()(_made)

_SHIPPED = Path(__file__).resolve().parents[1] / "small" / "weights"


class FormName(StrEnum):
    """How the model writes actions: with dedicated tokens, or as text with its own tokenizer."""

    tokens = "tokens"
    text = "text"


class QuantizeName(StrEnum):
    """How weights that are not trained are held."""

    four_bits = "4bit"


@app.command()
def bc(
    model: Annotated[
        str,
        typer.Option(
            help="`small`, a checkpoint of it, or an image-text-to-text model of transformers: folder or name."
        ),
    ],
    data: Annotated[list[Path], typer.Option(help="A folder of recorded episodes; may be given again.")],
    out: Annotated[Path, typer.Option(help="The run's folder; the checkpoint is OUT/model.")] = Path("runs/bc"),
    epochs: Annotated[float, typer.Option(help="How often each decision is seen.")] = 1.0,
    batch: Annotated[int | None, typer.Option(min=1, help="Decisions in a step [default: 8, of small 32].")] = None,
    lr: Annotated[
        float | None, typer.Option(help="Learning rate [default: 2e-5, with --lora and of small 2e-4].")
    ] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Learn from failed episodes too.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare batches, of small that train [default: 0, 1].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the decisions.")] = 0,
    rehearsal: Annotated[
        list[Path] | None, typer.Option(help="small: a folder of episodes to mix in; may be given again.")
    ] = None,
    rehearsal_share: Annotated[float | None, typer.Option(help="small: their share of a step [default: 0.5].")] = None,
    keep: Annotated[
        float | None, typer.Option(help="small: the share of the old weights in the new ones [default: 0].")
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train low-rank changes, not the whole model.")] = False,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the low-rank changes [default: 16].")] = None,
    micro: Annotated[int | None, typer.Option(min=1, help="Decisions at a time in memory [default: all].")] = None,
    history: Annotated[int | None, typer.Option(min=1, max=64, help="Frames in a prompt [default: 4].")] = None,
    gamma: Annotated[
        float | None, typer.Option(help="An action repeated for the k-th time weighs gamma^(k-1) [default: 1].")
    ] = None,
    form: Annotated[
        FormName | None, typer.Option(help="Actions as tokens of their own, or as text [default: tokens].")
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share of the episodes, rounded down, to evaluate by [default: 0.05].")
    ] = None,
    evaluations: Annotated[int | None, typer.Option(min=1, help="How often in the run [default: 10].")] = None,
    pack: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a row that several short decisions share [default: no].")
    ] = None,
    quantize: Annotated[
        QuantizeName | None, typer.Option(help="With --lora: hold the model in four bits (QLoRA).")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in OUT.")] = False,
    json: console.Json = False,
) -> None:
    """Behaviour cloning: train a policy to repeat the decisions of recorded episodes.

    A folder of episodes may hold weights.json, which says how much each episode counts (docs/data.md). With a GPU a
    model of transformers computes in bf16 and recomputes activations; accelerate launch makes it use several. A killed
    run loses a minute or so: the same command with --resume goes on. TensorBoard logs are in OUT/tensorboard.

    \b
    Examples:
      agent record --policy expert --episodes 1000 --out data/basic
      agent train bc --model Qwen/Qwen3-VL-2B-Instruct --data data/basic --lora --out runs/qwen
      accelerate launch --multi_gpu --num_processes 4 -m agent train bc --model NAME --data data/basic --out runs/four
      agent play "pick up the red key" --policy hf:runs/qwen/model
      agent train bc --model small --data data/mine --rehearsal data/basic --out runs/mine
    """
    shared = {"epochs": epochs, "batch": batch, "rate": lr, "failures": failures, "workers": workers, "seed": seed}
    of_small = {"rehearsal": tuple(rehearsal or ()) or None, "rehearsal_share": rehearsal_share, "keep": keep}
    of_vlm = {
        "lora": lora or None, "rank": rank, "micro": micro, "history": history, "gamma": gamma,
        "form": form.value if form else None, "held_out": held_out, "evaluations": evaluations, "pack": pack,
        "quantize": quantize.value if quantize else None,
    }  # fmt: skip
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.behaviour_cloning import BehaviourCloning, is_small

    parent = _SHIPPED if model == "small" else Path(model)
    small = is_small(parent)
    _refuse(of_vlm if small else of_small, "models of transformers" if small else "checkpoints of small")
    options = {name: value for name, value in (shared | of_small | of_vlm).items() if value is not None}
    with training_bars(screen) as on_progress:
        learner = BehaviourCloning(options, resume=resume)
        checkpoint = learner.clone(data, parent if small else model, out, on_progress)
    if os.environ.get("RANK", "0") == "0":  # of several processes the first one speaks
        print_checkpoint(screen, checkpoint, str(checkpoint) if small else f"hf:{checkpoint}", json)
        if not json and not small:
            from training.vlm.held_out import told

            for line in told(out):
                screen.print(line, markup=False)


def _refuse(options: dict[str, Any], kind: str) -> None:
    """Raise UserError for an option that was given and is not for the model at hand."""
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} is for {kind}; leave it out")


class MethodName(StrEnum):
    """How a policy learns from its own play."""

    ppo = "ppo"
    grpo = "grpo"
    awr = "awr"
    filtered = "filtered"
    conditioned = "conditioned"


@app.command()
def rl(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")],
    suite: Annotated[
        str | None, typer.Option(help="Where it plays; see `agent list suites`. Several: NAME+NAME.")
    ] = None,
    reward: Annotated[str | None, typer.Option(help="What it learns from; `agent rewards list`.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="small, a checkpoint of it, or hf:FOLDER, trained by LoRA [default: small].")
    ] = None,
    method: Annotated[
        MethodName | None,
        typer.Option(
            help="Policy gradient (ppo, grpo), or imitation of its own play (awr, filtered, conditioned). "
            "[default: ppo]"
        ),
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Rounds of play and learning [default: 20].")] = None,
    tasks: Annotated[int | None, typer.Option(min=1, help="Tasks in a round [default: 8].")] = None,
    group: Annotated[int | None, typer.Option(min=1, help="Episodes of each task [default: 4].")] = None,
    worlds: Annotated[int | None, typer.Option(min=1, help="Worlds at once in a process [default: 8].")] = None,
    workers: Annotated[str, typer.Option(help="Processes that play, or NAME:ARGUMENT; 0: this process.")] = "0",
    time_limit: Annotated[int | None, typer.Option(min=1, help="Ticks of an episode, at most.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate [default: 2e-5].")] = None,
    kl: Annotated[float | None, typer.Option(min=0.0, help="Weight of the distance to the parent [default: 0.05].")] = (
        None
    ),
    shaped: Annotated[bool, typer.Option("--shaped", help="Differences of the reward's chances count too.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the levels and of what is drawn [default: 0].")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of the recipe; options go before it.")] = None,
    reward_limit: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="The share of failures that it may call a success.")
    ] = None,
    trust_reward: Annotated[bool, typer.Option("--trust-reward", help="Learn from a reward that is not measured.")] = (
        False
    ),
    ignore_alarms: Annotated[bool, typer.Option("--ignore-alarms", help="Go on after a collapse.")] = False,
    json: console.Json = False,
) -> None:
    """Reinforcement learning: a policy plays a suite, a reward scores it, and it learns from that.

    The reward sees pixels alone. The verifier's verdict is told beside it as "true success", and nothing learns from
    it. `--reward truth` learns from ground truth: an upper bound, and the summary says so. The progress bar tells
    decisions/s, and the shares of the time that go to the world, the policy, the reward, learning and waiting. The same
    command goes on with a run that was stopped. TensorBoard logs are in OUT/tensorboard, and OUT/summary.json has the
    figures of every round.

    \b
    Examples:
      agent train rl --suite doom-room --reward clip --config my.yaml --out runs/rl
      agent train rl --config my-whole-recipe.yaml --out runs/mine
      agent train rl --suite doom-room --reward clip:runs/clip/model --trust-reward --method grpo --out runs/grpo
      torchrun --nproc-per-node 4 -m agent train rl --suite doom-room --reward clip --out runs/four
      agent play "go to the red torch" --policy runs/rl/model
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from envs.yaml_files import load_yaml
        from tasks import world_tasks
        from training.ranks import launched
        from training.rl.alarms import CollapseError
        from training.rl.recipe import RlRecipe
        from training.rl.train import check_reward, checked_reward, train_rl

        options = {
            "suite": suite, "reward": reward, "policy": policy, "method": method and method.value, "seed": seed,
            "iterations": iterations, "tasks": tasks, "group": group, "worlds": worlds, "time_limit": time_limit,
            "rate": lr, "kl": kl, "shaped": shaped or None, "workers": int(workers) if workers.isdecimal() else workers,
        }  # fmt: skip
        try:
            more = load_yaml(config) if config else {}
            if not isinstance(more, dict):
                raise ValueError(f"{config}: expected fields of a recipe, got {type(more).__name__}")
            fields = {**more, **{name: value for name, value in options.items() if value is not None}}
            for name in ("suite", "reward"):
                if name not in fields:
                    raise ValueError(f"say --{name} NAME (agent list {name}s), or have it in --config")
            recipe = RlRecipe.of({**fields, "upper_bound": fields["reward"] == "truth"})
            world = world_tasks.training(recipe.suite.split("+")[0]).world
        except (OSError, ValueError) as error:
            raise UserError(str(error)) from error
        check_reward(checked_reward(recipe), reward_limit, world=world, anyway=trust_reward)
    with launched() as ranks, training_bars(screen) as on_progress:
        try:
            checkpoint = train_rl(recipe, out, on_progress, ignore_alarms=ignore_alarms, ranks=ranks)
        except CollapseError as error:
            raise UserError(f"{error}; --ignore-alarms goes on all the same") from error
    if not ranks.leads:  # of several processes the first one speaks
        return
    if not json and recipe.upper_bound:
        screen.print("The reward saw ground truth: this is an upper bound, not an agent that learned from pixels.")
    print_checkpoint(
        screen, checkpoint, f"hf:{checkpoint}" if recipe.policy.startswith("hf:") else str(checkpoint), json
    )


class CorrectionMethod(StrEnum):
    """How a model learns to correct itself, and what that is compared with."""

    score = "score"
    single = "single"
    star = "star"
    pair_sft = "pair_sft"


@app.command()
def correct(
    suite: Annotated[
        str,
        typer.Option(
            help="What it attempts: `agent list suites`; doom-plans, goals to be taken apart; sorting, digits in text."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")],
    policy: Annotated[
        str, typer.Option(help="`small`, a checkpoint of it, or hf:FOLDER, trained by LoRA; of sorting also tiny.")
    ] = "small",
    reward: Annotated[
        str, typer.Option(help="What pays: `agent rewards list`; of doom-plans truth, of sorting truth or order.")
    ] = "truth",
    method: Annotated[
        CorrectionMethod, typer.Option(help="SCoRe, or one turn of RL, STaR or Pair-SFT to compare it with.")
    ] = CorrectionMethod.score,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of attempts, with a step of learning each.")] = 40,
    stage_one: Annotated[
        int | None, typer.Option(min=0, help="Rounds that only pay the second attempt [default: half of them].")
    ] = None,
    problems: Annotated[int | None, typer.Option(min=1, help="Problems in a round [default: 8].")] = None,
    group: Annotated[int | None, typer.Option(min=2, help="Pairs of attempts at each [default: 4].")] = None,
    alpha: Annotated[float | None, typer.Option(min=0.0, help="Bonus on r2 - r1 [default: 10].")] = None,
    beta1: Annotated[float | None, typer.Option(min=0.0, help="Distance to the parent [default: 0.01].")] = None,
    beta2: Annotated[
        float | None, typer.Option(min=0.0, help="That of first attempts in stage I [default: 0.1].")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate [default: 1e-4].")] = None,
    time_limit: Annotated[int | None, typer.Option(min=1, help="Ticks of an attempt, at most.")] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="The second attempt is told what the reward said of the first.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the problems and of what is drawn.")] = 0,
    config: Annotated[Path | None, typer.Option(help="A YAML file with any other field of the recipe.")] = None,
    reward_limit: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="The share of failures that it may call a success.")
    ] = None,
    trust_reward: Annotated[bool, typer.Option("--trust-reward", help="Learn from a reward that is not measured.")] = (
        False
    ),
    json: console.Json = False,
) -> None:
    """Self-correction by RL: attempt twice from the same start, and learn to make the second attempt the better one.

    The second attempt knows what was seen and done in the first one, and nobody says whether that was right. The
    progress bar tells what the attempts were paid (r1, r2), how much more often the second one is right (delta, by
    ground truth, which nothing learns from) and how many second attempts repeat the first. The same command goes on
    with a run that was stopped. TensorBoard logs are in OUT/tensorboard, and OUT/summary.json has every round.

    \b
    Examples:
      agent train correct --suite sorting --policy tiny --out runs/sorting
      agent train correct --suite doom-plans --out runs/plans
      agent train correct --suite doom-which --time-limit 200 --out runs/answers
      agent train correct --suite doom-basic --reward judge --trust-reward --out runs/correct
      agent play "pick up the red key" --policy runs/correct/model --attempts 2
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from envs.yaml_files import load_yaml
        from training.rl.correct import TEXTS, checked_recipe, train_correction

        options = {
            "problems": problems, "group": group, "alpha": alpha, "beta1": beta1, "beta2": beta2, "rate": lr,
            "time_limit": time_limit, "reasons": reasons or None,
        }  # fmt: skip
        try:
            more = load_yaml(config) if config else {}
            if not isinstance(more, dict):
                raise ValueError(f"{config}: expected fields of a recipe, got {type(more).__name__}")
            fields = {
                **more, "policy": policy, "suite": suite, "reward": reward, "method": method.value, "rounds": rounds,
                "stage_one": rounds // 2 if stage_one is None else stage_one, "seed": seed,
                **{name: value for name, value in options.items() if value is not None},
            }  # fmt: skip
            recipe = checked_recipe(fields, reward_limit, trust=trust_reward)
        except (OSError, ValueError) as error:
            raise UserError(str(error)) from error
    with training_bars(screen) as on_progress:
        checkpoint = train_correction(recipe, out, on_progress)
    if suite in TEXTS:
        print_checkpoint(screen, checkpoint, None, json)
        return
    if not json and recipe.upper_bound:
        screen.print("The reward saw ground truth: this is an upper bound, not an agent that learned from pixels.")
    name = f"hf:{checkpoint}" if policy.startswith("hf:") else str(checkpoint)
    print_checkpoint(screen, checkpoint, f"{name} --attempts 2", json)


@app.command()
def update(
    parent: Annotated[Path, typer.Option(help="The checkpoint to start from.")],
    data: Annotated[Path, typer.Option(help="A folder of recorded episodes.")],
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    learner: Annotated[str, typer.Option(help="See `agent list learners`, or package.module:Name.")] = "bc",
    json: console.Json = False,
) -> None:
    """Make a new checkpoint from another one and recorded episodes, with any learner and its own defaults.

    The same command goes on with a run that was stopped.

    \b
    Examples:
      agent train update --parent runs/mine/model --data data/more --out runs/next
      agent train update --learner my_package.learner:Mine --parent runs/mine/model --data data/more --out runs/next
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from training.learner import load_learner

        chosen = load_learner(learner)
    with training_bars(screen) as on_progress:
        checkpoint = chosen.update(data, parent, out, on_progress)
    print_checkpoint(screen, checkpoint, None, json)
