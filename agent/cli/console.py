"""What the verbs share: how they declare themselves and how they speak to people and to machines."""

from __future__ import annotations

import functools
import inspect
import json
import math
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from typer.models import ArgumentInfo

from agent.cli.terminal import clean as clean
from agent.cli.terminal import echo as echo
from agent.cli.terminal import json_line as json_line
from agent.cli.terminal import raw_stderr
from agent.cli.terminal import raw_stdout as raw_stdout
from envs.errors import UserError
from envs.files import write_whole

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from training.recipe import OnProgress
    from training.recipe import Progress as JobProgress

_Function = TypeVar("_Function", bound=Callable[..., Any])
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else to standard output.")]


def _check(name: str, value: Any) -> None:
    """Raises UserError for what typer lets pass: float() reads inf and nan too, and nan is within any limits; what is
    not UTF-8 comes as lone surrogates, which nothing can write."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"--{name.replace('_', '-')} {value}: expected a finite number")
    if isinstance(value, list):
        for item in value:
            _check(name, item)
    if isinstance(value, str) and not isinstance(value, Enum):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            shown = value.encode(errors="replace").decode()
            raise UserError(f"{name.replace('_', ' ')}: expected text in UTF-8, got {shown!r}") from error


def command_line(verb: str, function: Callable[..., Any], given: Mapping[str, Any], *, without: Collection[str]) -> str:
    """The command that calls the `function` of a verb with what was `given`, quoted for a shell; what has its default
    is left out, and so are the parameters `without`."""
    options: list[str] = []
    words: list[str] = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        value = given[name]
        if name in without or value is None or value == parameter.default:
            continue
        info = hints[name].__metadata__[0]
        texts = [
            str(item.value if isinstance(item, Enum) else item)
            for item in (value if isinstance(value, list) else [value])
        ]
        if isinstance(info, ArgumentInfo):
            words += texts
            continue
        flags = [part for declared in info.param_decls or () for part in declared.split("/")] or [
            f"--{name.replace('_', '-')}"
        ]
        if isinstance(value, bool):
            options.append(flags[0] if value else flags[-1])
        else:
            options += [part for text in texts for part in (flags[0], text)]
    end = ["--"] if any(word.startswith("-") for word in words) else []
    return shlex.join(["agent", verb, *options, *end, *words])


class _Verb(typer.Typer):
    """A verb that refuses numbers and texts that are none."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[_Function], _Function]:
        declare = super().command(*args, **kwargs)

        def declared(function: _Function) -> _Function:
            @functools.wraps(function)
            def checked(**given: Any) -> Any:
                for name, value in given.items():
                    _check(name, value)
                return function(**given)

            declare(checked)
            return function

        return declared


def verb(summary: str = "", group: bool = False) -> typer.Typer:
    """The `app` of a verb's file: plain help, as one verb or (`group`) as several under a name."""
    made = _Verb(help=summary or None, rich_markup_mode=None, add_completion=False, no_args_is_help=group)
    if group:
        made.callback()(lambda: None)
    return made


def console(machine: bool = False) -> Console:
    """A rich console on standard output, or on standard error where a machine reads the output. No control character
    of a text that it prints reaches the terminal."""
    made: Console = _screen()(
        file=raw_stderr() if machine else raw_stdout(), stderr=machine, highlight=False, soft_wrap=True
    )
    return made


@functools.cache
def _screen() -> Any:
    """The class of our consoles, made when rich is first needed."""
    from rich.console import Console
    from rich.segment import Segment

    class Screen(Console):
        """A console that cleans what it is given to print; the styles and controls are rich's own."""

        def _render_buffer(self, buffer: Iterable[Segment]) -> str:
            return super()._render_buffer(
                segment if segment.control else Segment(clean(segment.text), segment.style) for segment in buffer
            )

    return Screen


def print_json(value: Any) -> None:
    echo(json_line(value, indent=2))


def for_machines(path: Path | None) -> bool:
    """Whether --json names standard output. Raises UserError for a file that can't be written, before any work."""
    if path is None or str(path) == "-":
        return path is not None
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"--json {path}: {'it is a folder' if path.is_dir() else 'its folder does not exist'}")
    return False


def save_json(screen: Console, path: Path, value: Any) -> None:
    """Write a value to the file that --json names, and say so. Raises UserError."""
    try:
        write_whole(path, json.dumps(value, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--json {path}: {error.strerror or error}") from error
    screen.print(f"Results: {path}", markup=False)


def tell_lost(screen: Console, lost: Sequence[str]) -> None:
    """Say what of a run could not be written."""
    for what in lost:
        screen.print(f"lost: {what}", style="red", markup=False)


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


def follow(bars: Progress) -> OnProgress:
    """One bar that shows the stage which reported last."""
    bar = bars.add_task("starting", total=None, note="")

    def show(news: JobProgress) -> None:
        bars.update(bar, completed=news.done, total=news.total, description=news.stage)

    return show
