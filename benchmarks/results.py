"""The results of `small`: every suite, beside its baselines, and the tables in README, docs and the model card.

    python benchmarks/results.py --episodes 500 --seed 11            plays, fills the tables; goes on where it stopped
    python benchmarks/results.py --tables                            fills the tables from benchmarks/results.json

A table stands between the lines `<!-- results -->` and `<!-- /results -->` of a Markdown file.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
FILES = (ROOT / "README.md", ROOT / "agent" / "small" / "checkpoint" / "README.md")
# Suites that `small` is measured on, and whether its baselines are played too (the controls take most of the time).
SUITES = {
    "doom-basic": True,
    "doom-pairs": True,
    "doom-themes": False,
    "doom-phrasings": False,
    "doom-synonyms": False,
    "doom-room": False,
}
# Suites that nobody but the expert plays yet.
EXPERT_SUITES = ("doom-rooms", "doom-relations", "doom-compounds", "doom-layouts", "doom-vault")
COLUMNS = ("policy", "expert", "random", "no language", "language control")


def play(policy: str, episodes: int, seed: int) -> dict[str, Any]:
    """Run `agent eval` on every suite; what was measured before is kept, so that a stopped run goes on."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found = {name: r for name, r in found.items() if (r["episodes"], r["seed"]) == (episodes, seed)}
    wanted = [(suite, policy, baselines) for suite, baselines in SUITES.items()]
    wanted += [(suite, "expert", False) for suite in EXPERT_SUITES]
    for suite, player, baselines in wanted:
        if suite in found:
            continue
        command = [sys.executable, "-m", "agent", "eval", "--suite", suite, "--policy", player]
        command += ["--episodes", str(episodes), "--seed", str(seed), "--json", "-"]
        if not baselines:
            command.append("--policy-only")
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        found[suite] = json.loads(done.stdout)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    return found


def table(results: dict[str, Any]) -> str:
    """Markdown: success with its interval for every suite, then by verb for doom-basic."""
    first = next(iter(results.values()))
    lines = [
        f"Success in %, 95 % Wilson interval, n = {first['episodes']} a suite, task seed {first['seed']}; "
        "levels never trained on.",
        "",
        "| suite | small | expert | random | no language | language control |",
        "|---|---|---|---|---|---|",
    ]
    for suite in SUITES:
        rows = {"policy": results[suite], **results[suite]["baselines"]}
        lines.append(f"| {suite} | " + " | ".join(cell(rows.get(column)) for column in COLUMNS) + " |")
    basic = results["doom-basic"]["by_verb"]
    lines += ["", "By verb on doom-basic: " + "; ".join(f"{v} {cell(r)}" for v, r in basic.items()) + "."]
    others = "; ".join(f"{suite} {cell(results[suite])}" for suite in EXPERT_SUITES)
    lines += ["", f"The expert on what `small` is not made for: {others}."]
    return "\n".join(lines)


def cell(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    low, high = result["ci"]
    return f"{100 * result['success']:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def fill(file: Path, text: str) -> None:
    """Put the table between its marks in a file."""
    old = file.read_text()
    new, count = re.subn(
        r"<!-- results -->.*?<!-- /results -->",
        lambda _: f"<!-- results -->\n{text}\n<!-- /results -->",
        old,
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{file}: expected one pair of results marks, found {count}")
    file.write_text(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="small")
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--tables", action="store_true", help="only fill the tables")
    args = parser.parse_args()
    if not args.tables:
        play(args.policy, args.episodes, args.seed)
    text = table(json.loads(RESULTS.read_text()))
    for file in FILES:
        fill(file, text)
    print(text)


if __name__ == "__main__":
    main()
