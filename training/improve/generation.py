"""`Generation`: the folder of one generation, and which of its stages are done.

A stage writes its files and then its manifest, `STAGE.json`, so that a run that was killed goes on with the first stage
that has none. Stages know each other by these files alone.

    generation-001/
        curriculum.jsonl    the archive of tasks before this generation
        collect.json        the tries: task, episode, outcome
        audit.jsonl         ground truth of the tries; nothing learns from it
        episodes/           what was played
        score.json          what the reward says of each try
        build.json          how much is learned from; the weights are in episodes/weights.json
        learn.json, learned/  the candidate
        evaluate.json       candidate and parent on the same tasks
        promote.json        whether the candidate becomes the next player, and why
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

from envs.errors import UserError
from envs.files import write_whole

Stage = Literal["propose", "collect", "score", "build", "learn", "evaluate", "promote"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Generation:
    """One generation of a run, number 1 for the first that learns."""

    def __init__(self, run: Path, number: int) -> None:
        self.run, self.number = run, number
        self.folder = run / f"generation-{number:03d}"

    def file(self, name: str) -> Path:
        """A file of this generation."""
        return self.folder / name

    def done(self, stage: Stage) -> bool:
        """Whether a stage is finished."""
        return self._manifest(stage).exists()

    def finish(self, stage: Stage, result: dict[str, Any]) -> dict[str, Any]:
        """Note that a stage is finished, and its result, JSON values."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._manifest(stage), (json.dumps(result, indent=1) + "\n").encode())
        return result

    def result(self, stage: Stage) -> dict[str, Any]:
        """The result of a finished stage. Raises UserError if its manifest can't be read."""
        path = self._manifest(stage)
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: can't be read: {error}; remove it, and the stage is done again") from error
        if not isinstance(found, dict):
            raise UserError(f"{path}: expected an object; remove it, and the stage is done again")
        return found

    def _manifest(self, stage: Stage) -> Path:
        return self.folder / f"{stage}.json"
