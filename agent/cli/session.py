"""`Session`: the run folder of `agent play` and `agent chat`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.cli.compose import slug
from agent.cli.film import film, for_people
from agent.episode import Outcome, Step, Subscriber
from agent.loop.players import Player
from agent.show.report import Storyboard, write_report
from agent.talk.conversation import Conversation
from envs.errors import UserError
from envs.files import write_whole
from envs.world import World
from tasks import pictures
from tasks.play import play_task
from tasks.task import Task
from training.data.episodes import EpisodeError, Recorder, read_episode


class _Memory(Subscriber):
    """Keeps the newest memory of the player in an episode."""

    text = ""

    def on_step(self, step: Step) -> None:
        self.text = step.memory or self.text


class Session:
    """Plays tasks one after the other and writes into `folder`: config.json, an episode for each task, video.mp4 and
    report.html.

    `config`: JSON values that say how the run came about; the session adds the tasks and their outcomes. `lost`: what
    could not be written, and why; each file is there whole or not at all.
    """

    def __init__(self, folder: Path, world: World, *, policy: str, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self._world = world
        self._policy = policy
        self._config = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **config}
        self._boards: list[Storyboard] = []
        self.episodes: list[dict[str, Any]] = []
        self.lost: list[str] = []
        self.memory = ""  # of the last episode
        self._write_config()

    def play(
        self, task: Task, player: Player, *subscribers: Subscriber, talk: Conversation | None = None, attempt: str = ""
    ) -> Outcome:
        """Play one task and record it; `talk`: the conversation that controls it. `attempt`: the memory of an earlier
        attempt at it. After Ctrl+C the outcome says that it was interrupted."""
        path = self.folder / f"episode-{len(self.episodes) + 1}-{slug(task.instruction)}"
        board, recorder = Storyboard(), Recorder(path, task=task, policy=self._policy)
        noted = _Memory()
        watchers: tuple[Subscriber, ...] = (recorder, board, noted, *subscribers)
        how: dict[str, Any] = {}
        if talk is not None:
            talk.attach(self._world)
            talk.begin(task.instruction, pictures.load(task.picture, task.world))
            talk.looks.listeners = [recorder.on_look]
            watchers, how = (talk, *watchers), {"control": talk, "instruction": talk.instruction}
        second = round(self._world.tick_hz)  # after success, for the agent to say that it is done
        outcome = play_task(
            self._world, player, task, subscribers=watchers, end_on_done=True, linger=second, attempt=attempt, **how
        )
        self.memory = noted.text
        self._boards.append(board)
        if recorder.episode is None:
            self.lost.append(f"{path}: {'; '.join(outcome.problems) or 'it was not recorded'}")
        self.episodes.append(
            {
                "instruction": task.instruction,
                "seed": task.seed,
                "episode": str(recorder.episode) if recorder.episode else None,
                "task": asdict(task),
                "outcome": outcome.to_json(),
            }
        )
        with self._noting("config.json"):
            self._write_config()
        return outcome

    def finish(self, title: str, *, filmed: bool = True) -> tuple[Path | None, Path | None]:
        """Write the video and the report. Returns their paths; None for what was not or could not be made, see `lost`.
        The run was played: that nothing can be written of it is no reason to raise."""
        video: Path | None = self.folder / "video.mp4"
        drawn = None
        try:
            recorded = [read_episode(path) for item in self.episodes if (path := item["episode"]) is not None]
            if filmed and recorded and video is not None:
                world = self.episodes[0]["task"]["world"]
                drawn = film(video, recorded, resolution=for_people(recorded), env=world)
            else:
                video = None
        except (EpisodeError, UserError) as error:
            self._config["video"] = f"not written: {error}"
            if isinstance(error.__cause__ or error, OSError | EpisodeError):
                self.lost.append(str(error))
            video = None
        finally:  # also if Ctrl+C ends the filming
            report: Path | None = self.folder / "report.html"
            note = f"Drawn anew at {drawn} from the recorded actions; below is what the agent saw." if drawn else ""
            with self._noting("config.json"):
                self._write_config()
            if not self._report(title, note):
                report = None
        return report, video

    def _report(self, title: str, note: str) -> bool:
        with self._noting("report.html"):
            path = self.folder / "report.html"
            write_report(path, title=title, config=self._config, boards=self._boards, video_note=note)
            return True
        return False

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """That a file can't be written is noted, once."""
        try:
            yield
        except OSError as error:
            text = f"{self.folder / name}: {error.strerror or error}"
            if text not in self.lost:
                self.lost.append(text)

    def _write_config(self) -> None:
        text = json.dumps({**self._config, "episodes": self.episodes}, indent=2, ensure_ascii=False)
        write_whole(self.folder / "config.json", text + "\n")
