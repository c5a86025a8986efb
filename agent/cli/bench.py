"""`agent bench`: what this machine does, beside the figures of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console

if TYPE_CHECKING:
    from training.evaluation.machine import Figure

app = console.verb()


@app.command()
def bench(
    seconds: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="How long to measure, beside the starts.")
    ] = 100.0,
    json: Annotated[Path | None, typer.Option(help="Write the figures there as JSON; - for standard output.")] = None,
) -> None:
    """Say in two minutes what this machine does: decisions and worlds a second, real time, memory.

    \b
    The table stands beside the figures of docs/benchmarks.md, in Markdown, to paste into an issue. Close other programs
    first: all of it is measured while the machine does nothing else.

    \b
    Examples:
      agent bench
      agent bench --seconds 20
      agent bench --json machine.json
    """
    machine = console.for_machines(json)
    screen = console.console(machine=machine)
    with screen.status("starting"):
        from agent.cli.compose import provenance
        from training.evaluation import machine as measuring

        about = measuring.about()
        todo = measuring.measures()
    figures: list[Figure] = []
    with console.progress(screen) as bars:
        bar = bars.add_task("starting", total=len(todo), note="")
        for number, one in enumerate(todo):
            bars.update(bar, completed=number, description=one.name)
            figures += measuring.measure(one, seconds)
        bars.update(bar, completed=len(todo))
    versions = provenance()["versions"]
    report = {"machine": about, "versions": versions, "seconds": seconds, "figures": [asdict(one) for one in figures]}
    if machine:
        console.print_json(report)
        return
    screen.print(markdown(about, versions, figures, measuring.reference()["machine"]), markup=False)
    if about["load"] > 0.5 * about["cores"]:
        screen.print(f"\nOther programs kept the machine busy (load {about['load']:g}).", style="yellow", markup=False)
    if json is not None:
        console.save_json(screen, json, report)


def markdown(about: Mapping[str, Any], versions: Mapping[str, str], figures: Sequence[Figure], there: str) -> str:
    """The figures as a table for an issue."""
    names = ("ludens", "python", "torch", "vizdoom")
    packages = [f"{name} {versions[name]}" for name in names if name in versions]
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}; load {about['load']:g}",
        ", ".join(packages),
        "",
    ]
    head = ["", "here", f"docs/benchmarks.md ({there})", "unit"]
    rows = [
        [one.name, _number(one.value), "" if one.there is None else _number(one.there), one.unit] for one in figures
    ]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    table = [head, ["-" * width for width in widths], *rows]
    lines += [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value < 10 else f"{value:.1f}"
