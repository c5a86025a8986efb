"""What the verbs share: how they declare themselves and how they speak to people and to machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else to standard output.")]


def verb(summary: str = "", group: bool = False) -> typer.Typer:
    """The `app` of a verb's file: plain help, as one verb or (`group`) as several under a name."""
    made = typer.Typer(help=summary or None, rich_markup_mode=None, add_completion=False, no_args_is_help=group)
    if group:
        made.callback()(lambda: None)
    return made


def console(machine: bool = False) -> Console:
    """A rich console on standard output, or on standard error where a machine reads the output."""
    from rich.console import Console

    return Console(stderr=machine, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def save_json(screen: Console, path: Path, value: Any) -> None:
    """Write a value to the file that --json names, and say so. Raises UserError."""
    try:
        path.write_text(json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--json {path}: {error.strerror}") from error
    screen.print(f"Results: {path}", markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Any:
    """A rich table of plain strings; what looks like markup in a cell is printed as it is."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def progress(screen: Console) -> Progress:
    """Progress bars with a note at the end; every task needs the field `note`."""
    from rich import progress as bars

    return bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}"),
        console=screen,
    )
