"""What the commands of `agent train` show: progress bars, one for each stage, and where the checkpoint is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli import console
from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from training.recipe import OnProgress, Progress


@contextmanager
def training_bars(screen: Console) -> Iterator[OnProgress]:
    """Progress bars, one for each stage. A mistake in the run's settings or data becomes a UserError."""
    from training.data.episodes import EpisodeError

    with console.progress(screen) as bars:
        stages: dict[str, TaskID] = {}

        def show(news: Progress) -> None:
            if news.stage not in stages:
                stages[news.stage] = bars.add_task(news.stage, total=news.total, note="")
            note = "  ".join(f"{name} {value:.3g}" for name, value in news.figures.items())
            bars.update(stages[news.stage], completed=news.done, total=news.total, note=note)

        try:
            yield show
        except (ValueError, OSError, EpisodeError) as error:
            raise UserError(str(error)) from error


def print_checkpoint(screen: Console, checkpoint: Path, policy: str | None, json: bool) -> None:
    """Say where a checkpoint is and, if it is known as a policy, how to play it."""
    if json:
        console.print_json({"checkpoint": str(checkpoint)})
        return
    screen.print(f"Checkpoint: {checkpoint}", markup=False)
    if policy is not None:
        screen.print(f'Play it:    agent play "pick up the red key" --policy {policy}', markup=False)
