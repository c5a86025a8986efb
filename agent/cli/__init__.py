"""The command line: `agent VERB`. One file a verb; a verb's file is imported when the verb runs, never before.

Each `agent/cli/<verb>.py` holds `app`, a typer.Typer; that of `import` is `import_.py`. Heavy packages are imported
inside its functions.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from keyword import iskeyword
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
    "export": "Recorded episodes in the formats of others: LeRobot.",
    "import": "Data of others as recorded episodes: LeRobot.",
    "replay": "Show an episode again, or play its actions again and compare.",
    "view": "A page of recorded episodes: filter them, compare policies, see training curves.",
    "serve": "Serve a policy: OpenAI-compatible, and to games on other machines.",
    "push": "Push a checkpoint to the Hugging Face hub.",
    "ask": "Ask a recorded run, or any video, what was seen, and when.",
    "list": "What is there: worlds, policies, suites, tasks, models.",
    "model": "Chat and vision-language models: try one.",
    "env": "Worlds: list them, check one against the contract.",
    "bench": "What this machine does, in two minutes, as a table for an issue.",
    "doctor": "What is missing on this machine, and the command that mends it.",
}

# What every wrong use of the command line is made of, whichever copy of click this typer carries.
_ClickException: type[Any] = typer.BadParameter.__mro__[2]


class _LazyGroup(TyperGroup):
    """Lists verbs by name and summary; the file of a verb is imported when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        file = str(name).replace("-", "_") + "_" * iskeyword(str(name))
        module = importlib.import_module(f"agent.cli.{file}")
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
    from envs.files import DiskFullError, is_full

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
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader closed the pipe (agent list | head). Keep Python from complaining at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), raw_stdout().fileno())
            return 1
        if not is_full(error):
            raise
        place = f": {error.filename}" if error.filename else ""
        _complain(str(error) if isinstance(error, DiskFullError) else f"no space left on the disk{place}: free some")
        return 1
    except SystemExit as error:  # of a plugin: ours return a status
        _complain(f"something that was loaded wanted to end the program: sys.exit({error.code!r})")
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
    told = _end_in_order()
    try:
        status = run(sys.argv[1:])
    except Exception as error:
        echo_traceback(error)
        status = 1
    sys.exit(128 + told[0] if told and status == 130 else status)


def _end_in_order() -> list[int]:
    """Have a request to end the program (SIGTERM, SIGHUP) do what Ctrl+C does: the episode is closed, keys go up, files
    are removed. The signals that came."""
    came: list[int] = []
    mine = os.getpid()

    def end(number: int, stack: Any) -> None:
        if os.getpid() != mine:  # a fork that has not chosen its own way
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        came.append(number)
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # started in the background of a script, where Ctrl+C is ignored
            raise KeyboardInterrupt
        handler(signal.SIGINT, stack)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, end)
    return came
