"""The report of a run: a standalone page with curves, tables and clips, and JSON beside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from envs.files import write_whole
from training.improve.clips import side_by_side

REPORT = "report.html"  # in a run's folder
_INK, _GOOD, _SOFT = "#2f6fde", "#1b7f4d", "#8a8f96"


def write_report(out: Path, recipe: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> Path:
    """Write `out`/report.html and `out`/report.json; the page."""
    write_whole(
        out / "report.json", (json.dumps({"recipe": recipe, "generations": summaries}, indent=1) + "\n").encode()
    )
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    templates.filters |= {"percent": percent, "points": _points, "believed": _believed}
    plot = base64.b64encode(draw(summaries)).decode() if summaries else ""
    ends = (summaries[0]["generation"], summaries[-1]["generation"]) if summaries else (0, 0)
    clips = side_by_side(out, str(recipe["env"]), *ends) if summaries else []
    page = templates.get_template("report.html").render(
        recipe=recipe, generations=summaries, plot=plot, clips=clips, ends=ends
    )
    write_whole(out / REPORT, page.encode())
    return out / REPORT


def percent(rate: Mapping[str, Any] | None) -> str:
    """A rate with its 95 % interval, such as "62.0 (51.0-71.9)"; "-" where nothing is known."""
    value = None if rate is None else rate.get("rate", rate.get("success"))
    if rate is None or value is None:
        return "–"
    low, high = rate["ci"]
    return f"{100 * value:.1f} ({100 * low:.0f}–{100 * high:.0f})"


def _believed(belief: Mapping[str, Any] | None) -> str:
    """The precision that is believed, with its interval."""
    if belief is None:
        return "–"
    return f"{100 * belief['precision']:.1f} ({100 * belief['low']:.0f}–{100 * belief['high']:.0f})"


def _points(row: Mapping[str, Any]) -> str:
    if row["candidate"] is None:
        return "–"
    return f"{row['points']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"


def draw(summaries: Sequence[Mapping[str, Any]]) -> bytes:
    """The curves as a PNG: what was tried, judged and true, with the gap between; and the evaluations."""
    from matplotlib.figure import Figure  # pyplot's figures belong to one thread, and the page draws in another

    practice = [row for one in summaries for row in one["practice"] if row["episodes"]]
    panels = 3 if practice else 2
    figure = Figure(figsize=(5.5 * panels, 4), layout="constrained")
    axes = figure.subplots(1, panels)
    left, right = axes[0], axes[-1]
    if practice:
        _draw_practice(axes[1], practice)
    numbers = [one["generation"] for one in summaries]
    for name, colour, label in (("judged", _INK, "judged"), ("true", _GOOD, "true (audit)")):
        known = [(n, one[name]) for n, one in zip(numbers, summaries, strict=True) if one[name]["rate"] is not None]
        if known:
            _curve(left, known, colour, label)
    both = [one for one in summaries if one["true"]["rate"] is not None and one["judged"]["rate"] is not None]
    if both:
        left.fill_between(
            [one["generation"] for one in both], [100 * one["judged"]["rate"] for one in both],
            [100 * one["true"]["rate"] for one in both], color=_SOFT, alpha=0.2, label="gap",
        )  # fmt: skip
    left.set(
        title="Tasks that the agent set itself", ylabel="success, %", xlabel="generation", ylim=(0, 100), xticks=numbers
    )
    for group, style in (("held_out", "-"), ("old", ":")):
        for name in summaries[0][group]:
            if not all(one[group][name]["n"] for one in summaries):
                continue
            first = summaries[0][group][name]["parent"]
            rates = [first, *(one[group][name]["candidate" if one["promoted"] else "parent"] for one in summaries)]
            at = [0, *numbers]
            right.plot(at, [100 * rate["success"] for rate in rates], style, marker="o", label=name)
            for x, rate in zip(at, rates, strict=True):
                right.plot([x, x], [100 * rate["ci"][0], 100 * rate["ci"][1]], color=_SOFT, linewidth=1)
    right.set(title="The player on tasks of evaluation", ylabel="success, %", xlabel="generation", ylim=(0, 100))
    right.set_xticks([0, *numbers])
    for one in axes:
        one.grid(alpha=0.25)
        if one.lines:
            one.legend(frameon=False, fontsize=8)
        one.spines[["top", "right"]].set_visible(False)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=130)
    return sink.getvalue()


def draw_practice(practice: Sequence[Mapping[str, Any]]) -> bytes:
    """The rounds of practice alone as a PNG: "judged", and "true" where it is known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.2), layout="constrained")
    axes = figure.subplots()
    _draw_practice(axes, practice)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=130)
    return sink.getvalue()


def _draw_practice(axes: Any, practice: Sequence[Mapping[str, Any]]) -> None:
    """Success in the rounds of practice of all generations. Tasks that go both ways are practised most, so it need not
    rise while the player gets better; what counts is the distance between the curves."""
    rounds = range(1, len(practice) + 1)
    axes.plot(rounds, [100 * row["judged"] for row in practice], ".-", color=_INK, label="judged")
    known = [(number, row["true"]) for number, row in zip(rounds, practice, strict=True) if "true" in row]
    if known:
        axes.plot([at for at, _ in known], [100 * value for _, value in known], ".-", color=_GOOD, label="true (audit)")
    axes.set(title="Practice", ylabel="success, %", xlabel="round", ylim=(0, 100), xlim=(0.5, len(practice) + 0.5))
    axes.xaxis.get_major_locator().set_params(integer=True)


def _curve(axes: Any, known: Sequence[tuple[int, Mapping[str, Any]]], colour: str, label: str) -> None:
    """Rates by generation, with their intervals."""
    rates = [100 * rate["rate"] for _, rate in known]
    below = [value - 100 * rate["ci"][0] for value, (_, rate) in zip(rates, known, strict=True)]
    above = [100 * rate["ci"][1] - value for value, (_, rate) in zip(rates, known, strict=True)]
    at = [number for number, _ in known]
    axes.errorbar(at, rates, yerr=[below, above], color=colour, marker="o", capsize=3, label=label)
