"""`small`: the shipped model as a chat model, in the roles that it has beside playing.

It was taught four roles about pictures and nothing else. The text of a message says which role is meant:

    (a picture, no words)           what is in it, from left to right
    describe                        the same
    propose                         an instruction that can be carried out there
    plan: GOAL                      what has to be done for it, the first step first, with "then" between two; this
                                    takes no picture
    judge: INSTRUCTION (pictures)   how well it was followed, 0 to 100, and why
    QUESTION                        the answer
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agent.capabilities import THEN
from agent.models.base import Delta, RefusedError, Reply, Request, Usage
from agent.models.config import Settings

ROLES = "show it a picture and ask about it, or say describe, propose, plan: GOAL, or judge: INSTRUCTION"


class SmallBackend:
    """The roles of agent.small.SmallPolicy. It reads the last message alone, and the last picture in it. For the judge
    the pictures are the frames of an episode, of which it sees those that agent.small.judge_view.view picks."""

    name = "small"
    free = True

    def __init__(self, folder: Path | None = None) -> None:
        from agent.small.checkpoint import SHIPPED
        from agent.small.policy import load_small

        self._policy = load_small(folder or SHIPPED)
        self._lock = threading.Lock()

    def complete(self, request: Request, seconds: float) -> Reply:
        """The reply. It takes a fraction of a second, so that `seconds` is ignored. Raises RefusedError for what none
        of the roles can do."""
        message = request.messages[-1]
        role, mark, rest = message.text.strip().partition(":")
        plans = bool(mark) and role.strip().lower() == "plan"  # by words alone
        if not message.images and not plans:
            raise RefusedError(f"small does not chat without a picture; {ROLES}")
        if request.schema is not None:
            raise RefusedError("small writes plain sentences, no JSON; leave the schema out")
        with self._lock:
            if plans:
                text = THEN.join(self._policy.plan([rest.strip()])[0])
            else:
                text = self._say(message.text.strip(), message.images, request.seed or 0)
        return Reply(text, self.name, Usage(len(message.text.split()), len(text.split())))

    def stream(self, request: Request, seconds: float) -> Iterator[Delta | Reply]:
        reply = self.complete(request, seconds)
        yield Delta(reply.text)
        yield reply

    def close(self) -> None:
        """There is nothing to release."""

    def _say(self, text: str, images: tuple[np.ndarray, ...], seed: int) -> str:
        from agent.small.judge_view import view
        from agent.small.model import FRAME_SIZE
        from agent.view import fit

        frames = [fit(image, FRAME_SIZE) for image in images]
        role, mark, rest = text.partition(":")
        if mark and role.strip().lower() == "judge":
            (score, why), *_ = self._policy.judge([rest.strip()], view(frames)[None])
            return f"{score:.0f}: {why}" if why else f"{score:.0f}"
        if text.lower().rstrip(".") in ("", "describe"):
            return self._policy.caption(frames[-1:])[0]
        if text.lower().rstrip(".") == "propose":
            return self._policy.propose(frames[-1:], seed)[0]
        return self._policy.answer(frames[-1:], [text])[0]


def load_small_chat(argument: str = "", *, settings: Settings) -> SmallBackend:
    """The backend `small`, or `small:FOLDER` of a checkpoint. Raises CheckpointError, a ValueError."""
    return SmallBackend(Path(argument).expanduser() if argument else None)
