"""The leaderboard: docs/leaderboard.md from the results in benchmarks/reference/.

agent eval --bench ludens-bench-1 --policy small --json benchmarks/reference/ludens-bench-1/small.json
python benchmarks/leaderboard.py               writes docs/leaderboard.md
python benchmarks/leaderboard.py --freeze NAME fills in the hashes of a new suite; a suite that has some is refused
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envs import plugins
from training.evaluation import reference_suite as reference
from training.evaluation.statistics import percent

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "reference"
PAGE = ROOT / "docs" / "leaderboard.md"
HEAD = """# Leaderboard

Reference suites are frozen: seeds, tasks, versions of the game engine, and hashes of what the expert sees and what
verifiers say. `agent eval --bench` compares all of it before it plays. Where something differs it refuses, or with
`--allow-differences` labels the result as unofficial. Success is that of ground truth, in %, with 95 % Wilson
intervals.

To add your agent, run the command with your policy and send the file as a pull request, in
`benchmarks/reference/SUITE/NAME.json`; `python benchmarks/leaderboard.py` writes this page. A policy is a name, a
checkpoint folder or `package.module:Name`; [CONTRIBUTING.md](../CONTRIBUTING.md) shows how to write one.

    agent eval --bench ludens-bench-1 --policy NAME --json benchmarks/reference/ludens-bench-1/NAME.json

A policy that knows nothing of Ludens plays too, as `remote:HOST:PORT` ([serving.md](serving.md)). Of those below,
[remote_policy.py](../examples/remote_policy.py) serves `colours`, a script that walks to the colour that an instruction
names, and `sb3-ppo`, which [stable_baselines3_ppo.py](../examples/stable_baselines3_ppo.py) trained: PPO of
Stable-Baselines3, 50,000 steps for the reward `clip` of one instruction, from pixels alone. It reads no instructions.
"""


def results(name: str) -> list[dict[str, Any]]:
    """The results of a suite, the best first. Raises ValueError for one of another suite or of another freeze."""
    suite, found = reference.load_reference(name), []
    for path in sorted((RESULTS / name).glob("*.json")):
        one = json.loads(path.read_text(encoding="utf-8"))
        if (one["bench"], one["sha256"]) != (name, suite.sha256):
            raise ValueError(f"{path}: it is a result of {one['bench']} {one['sha256'][:12]}, which is not this suite")
        found.append({**one, "file": path.relative_to(ROOT).as_posix()})
    return sorted(found, key=lambda one: -one["total"]["success"])


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for name in reference.names():
        suite, found = reference.load_reference(name), results(name)
        count = sum(part.count for part in suite.parts)
        parts += [f"## {name}\n", suite.about.strip() + "\n"]
        parts += [f"{count} tasks, {len(suite.parts)} suites. SHA-256 `{suite.sha256}`; versions and hashes are in "
                  f"[{name}.yaml](../training/evaluation/{name}.yaml).\n"]  # fmt: skip
        parts += [_table(suite, [one for one in found if one["official"]])]
        if others := [one for one in found if not one["official"]]:
            parts += ["Unofficial: versions or hashes differ.\n", _table(suite, others)]
            parts += [f"- {one['policy']}: {'; '.join(one['differences'])}" for one in others]
        parts += ["### The commands\n", *(_how(one) for one in found), ""]
    return "\n".join(parts)


def _table(suite: reference.ReferenceSuite, found: Sequence[dict[str, Any]]) -> str:
    names = [part.suite for part in suite.parts]
    counts = [f"{part.suite}, n = {part.count}" for part in suite.parts]
    total = sum(part.count for part in suite.parts)
    lines = [f"| policy | all, n = {total} | {' | '.join(counts)} |", "|---" * (2 + len(names)) + "|"]
    for one in found:
        cells = [
            percent(row["success"], row["ci"], digits=0) for row in (one["total"], *(one["parts"][n] for n in names))
        ]
        lines.append(f"| [{Path(one['file']).stem}](../{one['file']}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _how(one: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {one['versions'][name]}" for name in ("ludens", "vizdoom", "torch"))
    weights = f"weights `{one['weights'][:12]}`, " if one["weights"] else ""
    made = f"{weights}{versions}, {one['seconds']:.0f} s; decisions `{one['played']}`"
    return f"- {Path(one['file']).stem}: `{one['command']}`: {made}"


def freeze(name: str) -> None:
    """Fill in the hashes of a suite that has none yet."""
    suite = reference.load_reference(name)
    if any(part.tasks for part in suite.parts):
        raise SystemExit(f"{name} is frozen; copy it under a new name instead")
    world = plugins.load("world", suite.world)()
    try:
        reference.write_frozen(reference.FOLDER / f"{name}.yaml", reference.frozen(suite, world))
    finally:
        world.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freeze", metavar="NAME")
    args = parser.parse_args()
    if args.freeze:
        freeze(args.freeze)
        return
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
