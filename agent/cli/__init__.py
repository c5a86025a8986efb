"""The command line: `agent VERB`. One file a verb; a verb's file is imported when the verb runs, never before.

Each `agent/cli/<verb>.py` holds `app`, a typer.Typer. Heavy packages are imported inside its functions.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from agent.cli.terminal import echo, echo_traceback, own_output, raw_stdout, take_descriptor

VERBS = {
    "play": "Play by instruction; writes a video and a report.",
    "chat": "Talk with the agent while it plays, on a page or in the terminal.",
    "record": "Record episodes of a policy at play, in many processes.",
    "train": "Train a policy from one configuration file.",
    "eval": "Measure a policy on a suite of tasks, with confidence intervals.",
    "rewards": "Rewards: list them, score recorded episodes.",
    "self-improve": "The agent sets itself tasks, tries them, is judged, and learns from it.",
    "tasks": "Tasks that a task setter proposes, and the archive of tasks tried.",
    "replay": "Show an episode again, or play its actions again and compare.",
    "list": "What is there: worlds, policies, suites, tasks, models.",
    "model": "Chat and vision-language models: try one.",
    "env": "Worlds: list them, check one against the contract.",
    "doctor": "What is missing on this machine, and the command that mends it.",
}

# What every wrong use of the command line is made of, whichever copy of click this typer carries.
_ClickException: type[Any] = typer.BadParameter.__mro__[2]


class _LazyGroup(TyperGroup):
    """Lists verbs by name and summary; the file of a verb is imported when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        module = importlib.import_module(f"agent.cli.{str(name).replace('-', '_')}")
        return name, typer.main.get_command(module.app), rest


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="An agent for 3D worlds: it sees pixels, reads your instruction, presses keys and moves the mouse.\n\n"
    'Start with:  agent play --env doom "pick up the red key"',
)
for _verb, _summary in VERBS.items():
    app.command(_verb, help=_summary)(lambda: None)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        echo(f"ludens {version('ludens')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run(args: list[str]) -> int:
    """Run one command; returns its exit status: 0, 1 for a finding, 2 for wrong use, 130 for Ctrl+C."""
    # The text of --help is printed by typer, to whatever standard output is.
    with contextlib.nullcontext() if "--help" in args else own_output():
        return _run(args)


def _run(args: list[str]) -> int:
    from envs import extras
    from envs.errors import UserError

    try:
        status = typer.main.get_command(app).main(args, prog_name="agent", standalone_mode=False)
    except KeyboardInterrupt:
        status = 130
    except _ClickException as error:
        if type(error).__name__.startswith("NoArgsIsHelp"):
            echo(error.format_message(), err=True)
        else:
            context = getattr(error, "ctx", None)
            _complain(error.format_message() + (f" (see {context.command_path} --help)" if context else ""))
        return 2
    except UserError as error:
        _complain(str(error))
        return 2
    except ImportError as error:
        needed = extras.message(f"agent {args[0]}", error)
        if needed is None:
            raise
        _complain(needed)
        return 2
    except SystemExit as error:  # of a plugin: ours return a status
        _complain(f"something that was loaded wanted to end the program: sys.exit({error.code!r})")
        return 1
    except BrokenPipeError:
        # Whoever read us has had enough (agent list | head); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), raw_stdout().fileno())
        return 1
    if status == 130:
        _complain("stopped")
    return status if isinstance(status, int) else 0


def _complain(message: str) -> None:
    echo(f"agent: {' '.join(message.split())}", err=True)


def main() -> NoReturn:
    """The `agent` command."""
    # A person's own module in the working directory is reachable as package.module:Name; nothing is shadowed by it.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    take_descriptor()
    try:
        status = run(sys.argv[1:])
    except Exception as error:
        echo_traceback(error)
        status = 1
    sys.exit(status)
