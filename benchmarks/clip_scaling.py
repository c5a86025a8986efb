"""Does a larger CLIP model make a better reward, and does a better reward make a better agent?

    agent train small --config training/small/recipes/early.yaml --out runs/early
    python benchmarks/clip_scaling.py --start runs/early/small

The scaling trend of "Vision-Language Models as a Source of Rewards" (arXiv 2312.09187), at our size. Four sizes of CLIP
are trained on the same frames, in the same order. Each is measured on episodes of evaluation seeds: levels as in
training, pairs of kind and colour that no caption names, and a theme that was never seen. Then agents learn from
I[p >= beta] alone, beside ground truth, a cosine reward without negatives, other numbers of negatives and another
prompt. Beta is fitted on one half of the episodes. True success is measured on tasks of evaluation seeds and never
learned from. The same command goes on where it was stopped; --agents 0 leaves the agents out. Prints tables, and draws
OUT/scaling.png.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rl_arms import Setup, last_gap, pooled
from safetensors.torch import load_file

from agent.loop.players import ScriptedPlayer
from envs.doom.world import DoomWorld
from envs.yaml_files import load_yaml
from rewards.clip import Clip, ClipSettings
from tasks.doom import suites
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from training.clip.models import SIZES, WEIGHTS
from training.clip.train import ClipRecipe, train_clip
from training.data.episodes import Recorder, read_episode
from training.data.footage import task_of
from training.evaluation.reward_calibration import calibrate, score_cases
from training.evaluation.reward_cases import Case, cases_of
from training.evaluation.statistics import percent
from training.recipe import Progress

HELD_OUT = ("doom-basic", "doom-pairs", "doom-themes")
RECIPE = Path(__file__).parents[1] / "training" / "clip" / "recipes" / "clip.yaml"
VERBS = ("go_to", "face", "look")  # whose outcome one frame shows
EPISODE_SEED = 7000
SHIPPED = "clip-small-3"
# Arms beside the four sizes, with the size that ships: what of its settings differs.
VARIANTS: dict[str, dict[str, Any]] = {
    "cosine, no negatives": {"variant": "cosine"},
    "no contrasts": {"contrasts": False},
    "contrasts alone": {"negatives": 0},
    "8 negatives": {"negatives": 8},
    "128 negatives": {"negatives": 128},
    "prompt of the instruction": {"prompt": "the player has done this: {instruction}"},
}


def trained(out: Path, size: str, recipe_file: Path, frames: Path | None) -> Path:
    """The model of a size; all sizes learn from the same frames."""
    recipe = ClipRecipe.of({**load_yaml(recipe_file), "size": size})
    folder = out / size
    folder.mkdir(parents=True, exist_ok=True)
    shared = frames or out / "frames"
    shared.mkdir(parents=True, exist_ok=True)
    if not (folder / "frames").exists():
        (folder / "frames").symlink_to(shared.resolve())
    return train_clip(recipe, folder, partial(_tell, size))


def held_out(out: Path, count: int) -> dict[str, list[Case]]:
    """Cases of the expert's episodes in each suite, of the verbs that one frame shows."""
    found = {}
    with DoomWorld() as world:
        for suite in HELD_OUT:
            made = suites.evaluation(suite).tasks(EPISODE_SEED, 4 * count)
            tasks = [task for task in made if task.verb in VERBS][:count]
            folders = [out / "episodes" / suite / f"{number}" for number in range(len(tasks))]
            for task, folder in zip(tasks, folders, strict=True):
                if not folder.exists():
                    recorder = Recorder(folder, task=task, policy="expert", durable=False)
                    play_task(
                        world,
                        ScriptedPlayer(ExpertPolicy().start(task)),
                        task,
                        subscribers=[recorder],
                        observe="decision",
                    )
            whole = [read_episode(folder) for folder in folders if folder.exists()]
            found[suite] = [case for one in whole for case in cases_of(one, [task_of(other) for other in whole])]
    return found


def reward_of(out: Path, model: Path, name: str, changed: Mapping[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    """A reward with its own settings: its folder, and how good it is on one half of the cases. The other half fits
    beta."""
    folder = out / "rewards" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if not (folder / file.name).exists():
            os.link(file, folder / file.name)
    clip = Clip.load(str(folder))
    clip.settings = replace(ClipSettings(), **changed)
    measured, report = calibrate(name, score_cases(clip, cases))
    replace(clip.settings, threshold=measured.calibration.threshold / 100.0).save(folder)
    kept = ("average_precision", "auroc", "auroc_ci", "false_positive", "false_negative", "threshold")
    return {"folder": str(folder), **{key: report[key] for key in kept}}


def measured(out: Path, model: Path, name: str, changed: Mapping[str, Any], cases: Mapping[str, list[Case]]) -> Any:
    """`reward_of` in the levels of training, and the average precision on what was held out; kept in a file."""
    file = out / "rewards" / f"{name}.json"
    if not file.exists():
        found = reward_of(out, model, name, changed, cases[HELD_OUT[0]])
        clip = Clip.load(found["folder"])
        others = {}
        for suite in HELD_OUT[1:]:
            _, report = calibrate(name, score_cases(clip, cases[suite]))
            others[suite] = {key: report[key] for key in ("average_precision", "auroc", "auroc_ci")}
        file.write_text(json.dumps({**found, "held out": others}) + "\n")
    return json.loads(file.read_text())


def draw(path: Path, sizes: Mapping[str, Any], agents: Mapping[str, Any], before: float | None) -> None:
    """One figure: size to average precision, to true success, and the gap between reward and truth over rounds."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 3.8), dpi=130, layout="constrained")
    quality, success, gap = figure.subplots(1, 3)
    millions = [sizes[size]["parameters"] / 1e6 for size in sizes]
    quality.plot(millions, [sizes[size]["average_precision"] for size in sizes], "o-", label="levels as in training")
    for suite in HELD_OUT[1:]:
        values = [sizes[size]["held out"][suite]["average_precision"] for size in sizes]
        quality.plot(millions, values, "o--", label=suite)
    quality.set(xscale="log", xlabel="million parameters", ylabel="average precision", title="the reward")
    quality.legend(frameon=False)
    for name, one in agents.items():
        if name in sizes:
            x = sizes[name]["parameters"] / 1e6
            low, high = one["ci"]
            success.errorbar(
                x, one["rate"], [[one["rate"] - low], [high - one["rate"]]], fmt="o", color="C0", capsize=3
            )
            gap.plot(np.nanmean([r["rounds"]["gap"] for r in one["results"]], axis=0) * 100, label=name)
    for name, style in (("ground truth", "-"), ("cosine, no negatives", ":")):
        if name in agents:
            success.axhline(agents[name]["rate"], color="C2", linestyle=style, label=name)
    if before is not None:
        success.axhline(before, color="grey", linestyle="--", label="before")
    success.set(xscale="log", xlabel="million parameters", ylabel="true success", ylim=(0, 1), title="the agent")
    gap.axhline(0, color="grey", linewidth=1)
    gap.set(xlabel="round", ylabel="points", title="judged minus true success")
    for axes in (success, gap):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    figure.savefig(path)


def parameters(model: Path) -> int:
    return sum(value.numel() for value in load_file(model / WEIGHTS).values())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, help="a checkpoint of small that is far from perfect")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="how the CLIP models are trained")
    parser.add_argument("--frames", type=Path, help="captioned frames that are there already")
    parser.add_argument("--episodes", type=int, default=200, help="of each suite that rewards are measured on")
    parser.add_argument("--agents", type=int, default=3, help="seeds of each arm of agents")
    parser.add_argument("--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--group", type=int, default=6)
    parser.add_argument("--played", type=int, default=200, help="tasks that each agent is measured on")
    parser.add_argument("--out", type=Path, default=Path("runs/clip-scaling"))
    args = parser.parse_args(argv)
    if args.agents and args.start is None:
        parser.error("agents need a --start; --agents 0 leaves them out")
    out = args.out.resolve()
    cases = held_out(out, args.episodes)
    sizes: dict[str, Any] = {}
    for size in args.sizes:
        model = trained(out, size, args.recipe, args.frames)
        sizes[size] = {"parameters": parameters(model), **measured(out, model, size, {}, cases)}
    print("| reward | parameters | average precision | AUROC | FPR % | FNR % | " + " | ".join(HELD_OUT[1:]) + " |")
    print("|---" * (6 + len(HELD_OUT[1:])) + "|")
    variants = {}
    shipped = SHIPPED if SHIPPED in args.sizes else args.sizes[-1]
    for name in args.variants:
        found = measured(out, out / shipped / "model", name.replace(" ", "-"), VARIANTS[name], cases)
        variants[name] = {"parameters": sizes[shipped]["parameters"], **found}
    for name, one in {**sizes, **variants}.items():
        print(line(name, one))
    agents: dict[str, Any] = {}
    before = None
    if args.agents:
        setup = Setup(
            out, args.start.resolve(), VERBS, args.rounds, args.tasks, args.group, episodes=args.played
        )  # fmt: skip
        start = setup.before()
        before = start["rate"]
        arms: dict[str, dict[str, Any]] = {size: {"reward": f"clip:{one['folder']}"} for size, one in sizes.items()}
        arms["ground truth"] = {"reward": "truth", "upper_bound": True}
        arms |= {name: {"reward": f"clip:{one['folder']}"} for name, one in variants.items()}
        print("\n| agent learns from | true success % | seeds | gap at the end, points |\n|---|---|---|---|")
        print(f"| nothing | {percent(before, start['ci'])} | | |")
        for name, fields in arms.items():
            results = [setup.run(name.replace(" ", "-"), seed, **fields) for seed in range(args.agents)]
            agents[name] = one = {**pooled(results), "results": results}
            seeds = ", ".join(f"{100 * rate:.0f}" for rate in one["seeds"])
            print(f"| {name} | {percent(one['rate'], one['ci'])} | {seeds} | {last_gap(results):+.1f} |", flush=True)
    draw(out / "scaling.png", sizes, agents, before)


def line(name: str, one: Mapping[str, Any]) -> str:
    """A row of the table of rewards."""
    rates = [percent(one[f"false_{side}"]["rate"], one[f"false_{side}"]["ci"]) for side in ("positive", "negative")]
    others = [f"{one['held out'][suite]['average_precision']:.3f}" for suite in HELD_OUT[1:]]
    low, high = one["auroc_ci"]
    area = f"{one['auroc']:.3f} ({low:.3f}–{high:.3f})"
    cells = [name, f"{one['parameters'] / 1e6:.2f} M", f"{one['average_precision']:.3f}", area, *rates, *others]
    return "| " + " | ".join(cells) + " |"


def _tell(stage: str, news: Progress) -> None:
    if news.done % 100 == 0:
        print(f"  {stage}: {news.done} of {news.total}", flush=True)


if __name__ == "__main__":
    main()
