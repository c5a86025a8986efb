"""The report of a reward's calibration: one HTML file that contains its pictures."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from envs.files import write_whole
from rewards.score import Score
from training.evaluation.reward_calibration import Scored
from training.evaluation.statistics import percent

_STRIP = 8  # frames of a mistake
_HEIGHT = 120  # pixels of a frame in it
_BLUE, _ORANGE, _GREY = "#2563a8", "#d9772b", "#8a8f98"


def write_report(path: Path, report: Mapping[str, Any], scored: Sequence[Scored], mistakes: Sequence[Scored]) -> None:
    """Write the report: figures, curves, tables by verb and by kind of case, and pictures of the worst mistakes."""
    page = _template().render(
        report=report,
        plot=_encoded(plot(report, scored)),
        mistakes=[_mistake(one) for one in mistakes],
    )
    write_whole(path, page)


def plot(report: Mapping[str, Any], scored: Sequence[Scored]) -> bytes:
    """A PNG: ROC, precision over recall, reliability, and the values of successes and failures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 8.0), dpi=110, layout="constrained")
    (curve, precision), (chance, counts) = figure.subplots(2, 2)
    curve.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    curve.plot(*np.array(report["roc"]).T, color=_BLUE)
    rates = [report[f"false_{side}"]["rate"] for side in ("positive", "negative")]
    curve.plot(rates[0], 1.0 - rates[1], "o", color=_ORANGE, label="threshold")
    low, high = report["auroc_ci"]
    curve.set(
        xlabel="failures that pass", ylabel="successes that pass",
        title=f"ROC: area {report['auroc']:.3f} ({low:.3f} to {high:.3f})",
    )  # fmt: skip
    curve.legend(frameon=False)
    precision.plot(*np.array(report["precision_recall"]).T, color=_BLUE)
    precision.set(
        xlabel="recall", ylabel="precision", ylim=(0, 1.05),
        title=f"precision and recall: average precision {report['average_precision']:.3f}",
    )  # fmt: skip
    chance.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    rows = report["reliability"]
    chance.errorbar(
        [row["chance"] for row in rows], [row["share"] for row in rows], fmt="o-", color=_BLUE, capsize=2,
        yerr=np.abs([[row["share"] - row["low"], row["high"] - row["share"]] for row in rows]).T,
    )  # fmt: skip
    chance.set(
        xlabel="chance of success that it gives", ylabel="share that succeeded",
        title=f"reliability: {100 * report['calibration_error']:.1f} % expected calibration error",
    )  # fmt: skip
    edges = np.linspace(0.0, 100.0, 26)
    known = [(one.result.value, one.case.success) for one in scored if isinstance(one.result, Score)]
    for success, colour, name in ((False, _ORANGE, "failures"), (True, _BLUE, "successes")):
        counts.hist([value for value, truth in known if truth == success], edges, color=colour, alpha=0.6, label=name)
    counts.axvline(report["threshold"], color="black", linewidth=1, linestyle="--", label="threshold")
    counts.set(xlabel="value", ylabel="cases", yscale="log", title="values")
    counts.legend(frameon=False)
    for axes in (curve, precision, chance, counts):
        axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _mistake(one: Scored) -> dict[str, Any]:
    assert isinstance(one.result, Score)
    return {
        "instruction": one.case.task.instruction, "kind": one.case.kind, "success": one.case.success,
        "value": one.result.value, "why": one.result.why, "picture": _encoded(_strip(one.case.frames), "jpeg"),
    }  # fmt: skip


def _strip(frames: Any) -> bytes:
    """Frames of a case beside each other, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _STRIP)).round().astype(int))
    pictures = [Image.fromarray(frames[i]) for i in chosen]
    wide = round(pictures[0].width * _HEIGHT / pictures[0].height)
    sheet = Image.new("RGB", ((wide + 2) * len(pictures) - 2, _HEIGHT), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture.resize((wide, _HEIGHT)), (i * (wide + 2), 0))
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=85)
    return data.getvalue()


def _encoded(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["share"] = lambda row: percent(row["rate"], row["ci"])
    return environment.get_template("reward_report.html")
