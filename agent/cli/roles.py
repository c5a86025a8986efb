"""`agent eval` of what a model says: the suites doom-answers, doom-proposals, doom-plans and doom-conversation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from agent.capabilities import Answers, Plans, Proposes, require
from agent.cli import console

# what a policy needs
SUITES = {"doom-answers": Answers, "doom-proposals": Proposes, "doom-plans": Plans, "doom-conversation": Answers}


def evaluate(suite: str, policy: str, view: str | None, n: int, seed: int, workers: str, json: Path | None) -> None:
    """Measure one of SUITES on `n` questions, frames, goals or conversations; prints a table, or
    JSON where `json` is "-".

    Raises UserError for a policy that lacks the capability.
    """
    machine = console.for_machines(json)
    screen = console.console(machine=machine)
    with screen.status("starting"):
        from agent.cli import compose
        from training.evaluation import conversations, roles

        load = partial(compose.load_policy, policy, view=view)
        player = require(load(), SUITES[suite], policy, f"--suite {suite}")
    with console.progress(screen) as bars:
        on_progress = console.follow(bars)
        if suite == "doom-answers":
            results, other = (
                roles.evaluate_answers(
                    player.answer, n, seed, phrasing=phrasing, workers=workers,
                    on_progress=on_progress,
                )
                for phrasing in ("training", "held_out")
            )  # fmt: skip
            results["held_out_phrasings"] = other
        elif suite == "doom-plans":
            results, other = (
                roles.evaluate_plans(player.plan, n, seed, phrasing=phrasing, on_progress=on_progress)
                for phrasing in ("training", "held_out")
            )
            results["held_out_phrasings"] = other
        elif suite == "doom-conversation":
            results = conversations.evaluate_conversations(load, n, seed, workers=workers, on_progress=on_progress)
        else:
            results = roles.evaluate_proposals(player.propose, n, seed, workers=workers, on_progress=on_progress)
    report = {"suite": suite, "policy": policy, "seed": seed, **results, **compose.provenance()}
    if machine:
        console.print_json(report)
        return
    screen.print(_TABLES[suite](results))
    for what, count in list((results.get("mistakes") or results.get("failures") or {}).items())[:5]:
        screen.print(f"  {count:4d} x {what}", style="dim", markup=False)
    if json is not None:
        console.save_json(screen, json, report)


def _answers(results: dict[str, Any]) -> Any:
    """A row for the whole and one for each kind of question, beside the most frequent answer's."""
    from training.evaluation.statistics import percent

    other = results["held_out_phrasings"]
    none = {"exact": None, "ci": None, "majority": None, "questions": 0}
    kinds = {"all": (results, other)}
    for kind in sorted({*results["by_kind"], *other["by_kind"]}):
        kinds[kind] = results["by_kind"].get(kind, none), other["by_kind"].get(kind, none)
    lines = [
        [
            kind,
            percent(a["exact"], a["ci"]),
            percent(a["majority"]),
            str(a["questions"]),
            percent(b["exact"], b["ci"]),
        ]
        for kind, (a, b) in kinds.items()
    ]
    return console.table(["exact %", "policy", "majority answer", "questions", "held-out phrasings"], lines)


def _proposals(results: dict[str, Any]) -> Any:
    """A row for the whole and one for each verb."""
    from training.evaluation.statistics import percent

    lines = [
        [verb, percent(r["read"]), percent(r["achievable"], r["ci"]), str(r["proposals"])]
        for verb, r in {"all": results, **results["by_verb"]}.items()
    ]
    return console.table([f"{results['different']} different", "read %", "achievable %", "frames"], lines)


def _conversations(results: dict[str, Any]) -> Any:
    """A row for the whole and one for each kind of conversation."""
    from training.evaluation.statistics import percent

    rows = {"policy": results, **results["baselines"]}
    lines = [
        ["all", *(percent(r["success"], r["ci"]) for r in rows.values()), str(results["episodes"])],
        *(
            [kind, *(percent(r["by_kind"][kind]["success"], r["by_kind"][kind]["ci"]) for r in rows.values()), str(n)]
            for kind, n in ((kind, r["episodes"]) for kind, r in results["by_kind"].items())
        ),
    ]
    return console.table(["handled rightly %", *rows, "conversations"], lines)


def _plans(results: dict[str, Any]) -> Any:
    """A row for the whole and one for each kind of goal."""
    from training.evaluation.statistics import percent

    other = results["held_out_phrasings"]
    rows = {"all": (results, other), **{kind: (r, other["by_kind"][kind]) for kind, r in results["by_kind"].items()}}
    lines = [
        [kind, percent(a["exact"], a["ci"]), str(a["goals"]), percent(b["exact"], b["ci"])]
        for kind, (a, b) in rows.items()
    ]
    return console.table(["exact %", "policy", "goals", "held-out phrasings and words"], lines)


_TABLES = {
    "doom-answers": _answers,
    "doom-proposals": _proposals,
    "doom-plans": _plans,
    "doom-conversation": _conversations,
}
