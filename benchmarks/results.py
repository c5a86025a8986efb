"""The results of `small`: every suite, beside its baselines, and the tables in README, docs and the model card.

    python benchmarks/results.py --episodes 500 --seed 11            plays, fills the tables; goes on where it stopped
    python benchmarks/results.py --tables                            fills the tables from benchmarks/results.json
    python benchmarks/results.py --policy DIR --results FILE         plays another checkpoint, and prints its table

benchmarks/results-before.json, where there is one, has the figures of the weights that shipped before, which the tables
show beside.

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
BEFORE = RESULTS.with_name("results-before.json")  # of the weights that shipped before
FILES = (ROOT / "README.md", ROOT / "agent" / "small" / "weights" / "README.md")
# Suites that `small` is measured on, and the one that its baselines are played on too, which takes most of the time.
SUITES = (
    "doom-basic", "doom-pairs", "doom-themes", "doom-phrasings", "doom-synonyms", "doom-room", "doom-pictures",
    "doom-rooms", "doom-told", "doom-layouts", "doom-compounds", "doom-relations", "doom-missing", "doom-which",
    "doom-ask", "doom-sentences", "doom-unknown", "doom-vault-steps", "doom-vault",
)  # fmt: skip
COMPARED = "doom-basic"
BASELINES = f"{COMPARED}, baselines"
# Other worlds, of which there are fewer episodes where the suites above have 500; Minetest is played in real time.
WORLDS = {"playroom-basic": 60, "minetest-basic": 40}
# In this order: what tells most comes first, then budgets of thoughts, and last what takes long or tells less.
ORDER = (
    "doom-basic", "doom-rooms", "doom-told", "doom-ask", "doom-missing", "doom-synonyms", "doom-sentences",
    "doom-unknown", "doom-plans", "doom-vault-steps", "doom-judge", "doom-compounds", "doom-phrasings",
    "doom-proposals", "doom-judge-vault", "doom-pairs", "doom-themes", "doom-answers", "doom-conversation", BASELINES,
    "playroom-basic", "minetest-basic", "doom-relations", "doom-room", "doom-pictures", "doom-which",
    "doom-judge-themes", "thoughts", "doom-layouts", "doom-vault",
)  # fmt: skip
JUDGES = {"doom-judge-themes": "textures never trained on", "doom-judge-vault": "vaults"}
# Episodes, frames or conversations of each where the other suites have 500.
ROLES = {
    "doom-answers": 1000, "doom-proposals": 500, "doom-plans": 500, "doom-judge": 1000, "doom-conversation": 200,
    **dict.fromkeys(JUDGES, 1000),
}  # fmt: skip
BUDGETS = ("off", "2", "4", "8", "auto")  # of thoughts, on these suites:
THOUGHTFUL = ("doom-rooms", "doom-compounds")
COLUMNS = ("policy", "expert", "random", "no language", "language control")


def play(policy: str, episodes: int, seed: int, kept: Path | None = None) -> dict[str, Any]:
    """Run `agent eval` on everything; what was measured before is `kept`, so that a stopped run goes on."""
    kept = kept or RESULTS
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    wanted: dict[str, list[str]] = {}
    for suite in SUITES:
        wanted[suite] = ["--suite", suite, "--episodes", str(episodes), "--policy-only"]
    wanted[BASELINES] = ["--suite", COMPARED, "--episodes", str(episodes)]
    for suite, count in ROLES.items():
        wanted[suite] = ["--suite", suite, "--episodes", str(max(1, count * episodes // 500))]
    for suite, count in WORLDS.items():
        wanted[suite] = ["--suite", suite, "--env", suite.partition("-")[0], "--policy-only"]
        wanted[suite] += ["--episodes", str(max(1, count * episodes // 500))]
    wanted["minetest-basic"] += ["--workers", "1"]  # two games at once would take each other's time
    plot = ROOT / "docs" / "judge.png" if kept == RESULTS else kept.with_suffix(".judge.png").resolve()
    wanted["doom-judge"] += ["--calibrate", "--plot", str(plot)]
    for suite in THOUGHTFUL:
        for budget in BUDGETS[:-1]:
            key = f"{suite}, think {budget}"
            wanted[key] = ["--suite", suite, "--think", budget, "--episodes", str(episodes // 4), "--policy-only"]
    for name in sorted(wanted, key=lambda name: ORDER.index(name if name in ORDER else "thoughts")):
        if name in found:
            continue
        command = [sys.executable, "-m", "agent", "eval", "--policy", policy, "--seed", str(seed), "--json", "-"]
        done = subprocess.run([*command, *wanted[name]], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        found[name] = json.loads(done.stdout)
        kept.write_text(json.dumps(found, indent=2) + "\n")
    return found


def table(results: dict[str, Any]) -> str:
    """Markdown: success with its interval for every suite, what else is said and judged, thoughts and their worth."""
    first = results["doom-basic"]
    before = json.loads(BEFORE.read_text()) if BEFORE.exists() else {}
    lines = [
        f"Success in %, 95 % Wilson interval, n = {first['episodes']} a suite, task seed {first['seed']}; levels never "
        "trained on. An episode ends when the agent says that it is done: who says so too early has failed.",
        "",
        f"| suite | small |{' before |' * bool(before)} expert | random | no language | language control |",
        f"|---|---|---|---|---|---|{'---|' * bool(before)}",
    ]
    for suite in (s for s in SUITES if s in results):
        beside = results.get(BASELINES, {}).get("baselines", {}) if suite == COMPARED else {}
        rows = {"policy": results[suite], **beside}
        cells = [cell(rows.get(column)) for column in COLUMNS]
        if before:
            cells.insert(1, cell(before.get(suite), of=first["episodes"]))
        lines.append(f"| {suite} | " + " | ".join(cells) + " |")
    for suite in (s for s in ("doom-basic", "doom-rooms", "doom-compounds") if s in results):
        verbs = results[suite]["by_verb"].items()
        lines += ["", f"By verb on {suite}: " + "; ".join(f"{verb} {cell(r)}" for verb, r in verbs) + "."]
    played = {suite: results[suite] for suite in WORLDS if suite in results}
    if played:
        found = (
            f"{suite} {cell(result)}, n = {result['episodes']}" + f" (before {cell(before.get(suite))})" * bool(before)
            for suite, result in played.items()
        )
        lines += ["", f"In other worlds: {'; '.join(found)}."]
    lines += ["", *_said(results)]
    if all(f"{suite}, think {budget}" in results for suite in THOUGHTFUL for budget in BUDGETS[:-1]):
        lines += ["", *_thoughts(results)]
    return "\n".join(lines)


def _said(results: dict[str, Any]) -> list[str]:
    """What is said, proposed, planned and judged: a row for all that is measured."""
    lines = ["| what | measured | beside it |", "|---|---|---|"]
    basic, missing = results["doom-basic"], results.get("doom-missing")
    if answers := results.get("doom-answers"):
        held = answers["held_out_phrasings"]
        lines.append(
            f"| answers, exact % of {answers['questions']} | {part(answers['exact'], answers['ci'])} | most frequent "
            f"answer of each kind {100 * answers['majority']:.1f}; phrasings never trained on "
            f"{part(held['exact'], held['ci'])} |"
        )
    if missing:
        says = missing["by_verb"]["missing"]
        lines.append(
            f'| "not there", said rightly, % of {says["episodes"]} | {cell(says)} | said wrongly '
            f"{share(missing['false_claims'])} of {missing['false_claims']['episodes']} on doom-missing, "
            f"{share(basic['false_claims'])} of {basic['false_claims']['episodes']} on doom-basic |"
        )
    for name, what in (("done_signalled", "done said within a second of success"),
                       ("confirmed", "instructions confirmed rightly")):  # fmt: skip
        first, *others = (
            f"{share(results[suite][name])} of {results[suite][name]['episodes']} on {suite}"
            for suite in ("doom-basic", "doom-rooms", "doom-compounds", "doom-phrasings")
            if suite in results
        )
        lines.append(f"| {what}, % | {first} | {'; '.join(others)} |")
    if proposals := results.get("doom-proposals"):
        lines.append(
            f"| proposals that can be done, % of {proposals['proposals']} | "
            f"{part(proposals['achievable'], proposals['ci'])} | read by the grammar "
            f"{100 * proposals['read']:.1f}; {proposals['different']} different |"
        )
    if plans := results.get("doom-plans"):
        other = plans["held_out_phrasings"]
        lines.append(
            f"| goals of locks and gates taken apart, exact % of {plans['goals']} | "
            f"{part(plans['exact'], plans['ci'])} | phrasings and words never trained on "
            f"{part(other['exact'], other['ci'])} |"
        )
    if judge := results.get("doom-judge"):
        lines += [
            f"| judge, AUROC over {judge['episodes']} episodes, {judge['failures']} of them failures | "
            f"{area(judge)} | without the instruction "
            f"{judge['no_language']['auroc']:.3f} |",
            f"| judge, false positives at its threshold, % | {rate(judge['false_positive'])} | true positives "
            f"{rate(judge['true_positive'])}; calibration error {100 * judge['calibration_error']:.1f} |",
        ]
    for suite, where in JUDGES.items():
        if judge := results.get(suite):
            lines.append(
                f"| judge in {where}, AUROC over {judge['episodes']} episodes, {judge['failures']} of them failures | "
                f"{area(judge)} | false positives "
                f"{rate(judge['false_positive'])}, true positives {rate(judge['true_positive'])} |"
            )
    talks = results.get("doom-conversation")
    if talks:
        (deaf,) = talks["baselines"].values()
        lines.append(
            f"| conversations handled rightly, % of {talks['episodes']} | {cell(talks)} | one who hears the first line "
            f"alone {cell(deaf)} |"
        )
    return lines


def _thoughts(results: dict[str, Any]) -> list[str]:
    count = results[f"{THOUGHTFUL[0]}, think {BUDGETS[0]}"]["episodes"]
    lines = [
        f"Success in % against the budget of thoughts (words before a decision); n = {count}, auto as above.",
        "",
        "| suite | " + " | ".join(BUDGETS) + " |",
        "|---" * (1 + len(BUDGETS)) + "|",
    ]
    for suite in THOUGHTFUL:
        cells = [cell(results[suite if budget == "auto" else f"{suite}, think {budget}"]) for budget in BUDGETS]
        lines.append(f"| {suite} | " + " | ".join(cells) + " |")
    return lines


def part(value: float, ci: list[float]) -> str:
    return f"{100 * value:.1f} ({100 * ci[0]:.1f}–{100 * ci[1]:.1f})"


def area(judge: dict[str, Any]) -> str:
    low, high = judge["auroc_ci"]
    return f"{judge['auroc']:.3f} ({low:.3f}–{high:.3f})"


def share(result: dict[str, Any]) -> str:
    return "-" if result["share"] is None else part(result["share"], result["ci"])


def rate(result: dict[str, Any]) -> str:
    return "-" if result["rate"] is None else part(result["rate"], result["ci"])


def cell(result: dict[str, Any] | None, of: int = 0) -> str:
    """A share of success; where it is not of `of` episodes, with their number."""
    if result is None:
        return ""
    counted = f", n = {result['episodes']}" if of not in (0, result["episodes"]) else ""
    return part(result["success"], result["ci"]) + counted


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
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures are kept")
    parser.add_argument("--tables", action="store_true", help="only fill the tables")
    args = parser.parse_args()
    if not args.tables:
        play(args.policy, args.episodes, args.seed, args.results)
    text = table(json.loads(args.results.read_text()))
    for file in FILES if args.results == RESULTS else ():
        fill(file, text)
    print(text)


if __name__ == "__main__":
    main()
