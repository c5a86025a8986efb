"""Does a run of self-improvement that is killed again and again end with what it should?

    python benchmarks/improvement_kills.py --kills 20 --out runs/kills

`agent self-improve` is started in the real game, killed with SIGKILL after a random time with all of its workers, and
started again by the same command, until it was killed often enough; then it ends in peace. If it ends before, another
run with the next seed begins. Then the files are checked: every task counts once, every try is scored once and has a
whole episode, every stage is finished, nothing half-written is left, and every candidate names the player that it was
made of. Prints what was found; the exit status is 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.lineage import content_hash
from agent.small.checkpoint import read_manifest
from envs.yaml_files import load_yaml
from tasks import json_lines
from tasks.curriculum import Curriculum
from training.data.episodes import DamagedEpisodeError, read_episode
from training.improve.generation import STAGES, Generation
from training.improve.loop import SelfImprovement
from training.improve.recipe import ImproveRecipe

TINY = {
    "generations": 2, "levels": 4, "tries": 2, "proposals": 3, "time_limit": 60, "episodes": 2, "rounds": 2,
    "practised": 2, "group": 2, "least": 1, "controls": 2, "rehearsal_episodes": 1, "held_out": ["doom-vault-steps"],
    "old": ["doom-basic"],
}  # fmt: skip


def play(recipe: Path, out: Path, seconds: float | None) -> bool:
    """Run or go on for some seconds, or to the end; whether the run ended by itself."""
    code = "from agent.cli import main; main()"
    command = [sys.executable, "-c", code, "self-improve", "--config", str(recipe), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise RuntimeError(f"self-improve failed: {said[-2000:]}")
    return True


def problems(recipe: ImproveRecipe, out: Path) -> Iterator[str]:
    """What is wrong in the folder of a run that ended."""
    run = SelfImprovement(recipe, out)
    played: list[str] = []
    for number in range(1, recipe.generations + 1):
        generation = Generation(out, number)
        yield from (f"generation {number}: {stage} is not finished" for stage in STAGES if not generation.done(stage))
        tries = [one["id"] for one in generation.result("collect")["tries"]]
        played += tries
        if set(generation.result("score")["scores"]) != set(tries):
            yield f"generation {number}: scores are not those of the tries"
        if [row["id"] for row in json_lines.read(generation.file("audit.jsonl"))] != tries:
            yield f"generation {number}: the audit is not of the tries"
        for one in generation.result("collect")["tries"]:
            try:
                read_episode(generation.file("episodes") / one["episode"]).verify()
            except (OSError, DamagedEpisodeError) as error:
                yield f"generation {number}: {one['id']}: {error}"
        archived = [one.id for one in Curriculum.load(generation.file("archive.jsonl")).tried]
        if archived != played:
            yield f"generation {number}: the archive has {len(archived)} tries, and {len(played)} were played"
        yield from _lineage(run, generation)
    yield from (f"{task} was played {count} times" for task, count in Counter(played).items() if count > 1)
    yield from (f"{path} was left" for path in out.rglob("*.part"))


def _lineage(run: SelfImprovement, generation: Generation) -> Iterator[str]:
    model = generation.result("learn")["model"]
    if model is None:
        return
    parent = read_manifest(run.out / model)["parent"]["hash"]
    if parent != content_hash(run.player(generation.number)):
        yield f"generation {generation.number}: the candidate does not name its parent"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--least", type=float, default=5.0, help="seconds before a kill, at least")
    parser.add_argument("--most", type=float, default=40.0, help="seconds before a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, help="a recipe of self-improvement, in place of a tiny one")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"))
    args = parser.parse_args(argv)
    fields = load_yaml(args.config) if args.config else TINY
    rng, killed, wrong, seed = random.Random(args.seed), 0, 0, args.seed
    while killed < args.kills:
        out = args.out / f"{seed}"
        out.mkdir(parents=True, exist_ok=True)
        recipe = ImproveRecipe.of({**fields, "seed": seed})
        file = args.out / f"{seed}.yaml"
        file.write_text(json.dumps(recipe.model_dump(mode="json")))
        began, here, ended = time.monotonic(), 0, False
        while not ended:
            ended = play(file, out, rng.uniform(args.least, args.most) if killed < args.kills else None)
            killed, here = killed + (not ended), here + (not ended)
        found = list(problems(recipe, out))
        wrong += len(found)
        tries = len(Curriculum.load(Generation(out, recipe.generations).file("archive.jsonl")).tried)
        print(
            f"seed {seed}: killed {here} times in {time.monotonic() - began:.0f} s, {recipe.generations} generations, "
            f"{tries} tries, {len(found)} problems", flush=True,
        )  # fmt: skip
        for problem in found:
            print(f"  {problem}")
        seed += 1
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
