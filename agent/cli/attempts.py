"""`agent play --attempts N`: after an attempt that went wrong the agent says so, and tries again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from agent.cli.session import Session
    from agent.episode import Outcome
    from agent.loop.players import Player
    from envs.wrappers import Standing
    from rewards.reward import Reward
    from tasks.task import Task


class Attempts:
    """Attempts at a task. `critic`: a reward that sees pixels; it says whether an attempt went wrong. None for one
    attempt alone. `most`: attempts, where they go wrong. `tell`: is called with the outcome of each.

    `standing`: the world, where it can't go back to its start: then a further attempt begins where the last one ended.
    A later attempt knows what was done, seen and said in the one before, and what the critic said of it.
    """

    def __init__(
        self, session: Session, screen: Console, tell: Callable[[Console, Outcome], None], *, most: int = 1,
        critic: Reward | None = None, standing: Standing | None = None,
    ) -> None:  # fmt: skip
        self._session, self._screen, self._tell, self._most = session, screen, tell, most
        self._critic, self._standing = critic, standing

    def play(self, task: Task, player: Player, *watchers: Any, **how: Any) -> Outcome:
        """Attempt a task until the critic is content; how the last attempt went."""
        told = ""
        for number in range(1, self._most + 1):
            outcome = self._session.play(task, player, *watchers, attempt=told, **how)
            self._tell(self._screen, outcome)
            if self._critic is None or number == self._most or outcome.interrupted or how["talk"].over:
                break
            right, why = self._judged(task, self._critic)
            told = f"{self._session.memory} judged: {why}"
            if right:
                self._say(f"attempt {number}: done, I think: {why}")
                break
            where = "from where I stand" if self._standing else "from the start"
            self._say(f"attempt {number} went wrong, I think: {why}. I try again, {where}")
            if self._standing:
                self._standing.stand()
        return outcome

    def _judged(self, task: Task, critic: Reward) -> tuple[bool, str]:
        """Whether the last attempt is right, and why, by the critic."""
        from rewards.reward import score_pairs
        from rewards.score import Failure
        from training.data.episodes import read_episode
        from training.data.footage import RecordedFootage

        path = self._session.episodes[-1]["episode"]
        if path is None:
            return False, "it was not recorded"
        (score,) = score_pairs(critic, [(task, RecordedFootage(read_episode(Path(path))))])
        if isinstance(score, Failure):
            return False, f"nobody could judge it ({score.why})"
        return score.success, score.why or "no reason given"

    def _say(self, text: str) -> None:
        self._screen.print(text, style="bold yellow", markup=False)


def critic_of(name: str) -> Reward:
    """A reward that may tell the agent what went wrong. Raises UserError for one that sees ground truth."""
    from rewards.reward import load_reward

    reward = load_reward(name)
    if reward.sees_truth:
        raise UserError(f"--critic {name} sees ground truth, which no player is told; take one that sees pixels: judge")
    return reward
