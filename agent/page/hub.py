"""`Hub`: what viewers of a run may see. The loop's thread writes it, the server's thread reads it."""

from __future__ import annotations

import base64
import io
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.episode import Frame, Outcome, Start, Step, Subscriber
from agent.key_names import plain
from agent.page.double import Double
from agent.show.overlay import draw, write_video
from agent.talk.conversation import Conversation
from agent.view import fit, within, written
from envs.action import NEUTRAL, Action

CLIP_SECONDS = 30.0
RATE = 30  # frames a second for viewers, at most
_QUALITY = 85
_INSET = (240, 320)  # the most of the picture that shows what the player saw
_WINDOW = 2.0  # seconds over which decisions and frames are counted
_SPANS = 400
_CLIP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Shot:
    """What viewers see of one tick. `frame`: the world's picture. `eyes`: the newest picture that the player decided
    on, as it was shown to it, where that is not the world's own; its `glance` counts."""

    number: int
    tick: int
    frame: Frame
    action: Action
    actor: str
    starved: bool
    instruction: str
    thought: str
    eyes: Frame | None = None
    glance: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    at: float
    jpeg: bytes
    shot: Shot


class Hub(Subscriber):
    """Follows a run as a subscriber. The loop only leaves the newest shot here: it never waits for a viewer and encodes
    nothing. The server takes the newest shot when it is ready for one; viewers don't see the ticks in between.

    `double`: draws what viewers see larger, where the world can.
    """

    def __init__(self, talk: Conversation, double: Double | None = None) -> None:
        self.talk = talk
        self.double = double
        self.shot: Shot | None = None
        self.spans: list[tuple[int, str]] = []  # (first tick, actor): agent, human, idle
        self.outcome: Outcome | None = None
        self._number = self._index = self._ticks = self._starved = self._first_line = self._episode = 0
        self._hz = 1.0
        self._thought = ""
        self._eyes: Frame | None = None
        self._glance = 0
        self._controls: dict[str, str] = {}
        self._decided: deque[float] = deque(maxlen=500)
        self._clip: deque[_Kept] = deque()
        self._clip_bytes = 0

    def on_start(self, start: Start) -> None:
        if self.double is not None:
            self.double.on_start(start)
        self._hz, self._index, self._ticks, self._starved, self._thought = start.tick_hz, -1, 0, 0, ""
        self.spans, self.outcome = [], None
        self._controls = {name: plain(said) for name, said in start.controls.items()}
        self._first_line = self.talk.revision
        self._episode += 1

    def on_step(self, step: Step) -> None:
        if self.double is not None:
            self.double.on_step(step)
        self._ticks, self._starved = step.tick + 1, self._starved + step.starved
        if step.decision is not None and step.index != self._index:
            self._index, self._thought = step.index, step.decision.thought
            self._eyes, self._glance = step.look.picture if step.look else None, self._glance + 1
            self._decided.append(time.monotonic())
        who = "human" if step.actor == "human" else "agent" if step.decision or step.starved else "idle"
        if who != "agent":
            self._thought = ""
        if not self.spans or self.spans[-1][1] != who:
            self.spans = [*self.spans[-_SPANS:], (step.tick, who)]
        frame = step.frame
        if frame is None and self.shot is not None:
            frame = self.shot.frame
        if frame is not None:
            self._number += 1
            eyes = self._eyes if self._eyes is not None and self._eyes.shape != frame.shape else None
            self.shot = Shot(
                self._number, step.tick, frame, step.action, step.actor, step.starved, step.instruction, self._thought,
                eyes, self._glance,
            )  # fmt: skip

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        self.outcome = outcome

    def state(self, since: int) -> dict[str, Any]:
        """What the page shows beside the frame, as JSON values, with the lines of dialogue after revision `since`."""
        talk, shot = self.talk, self.shot
        now = time.monotonic()
        action = shot.action if shot else NEUTRAL
        return {
            "tick": self._ticks,
            "hz": self._hz,
            "controls": self._controls,
            "mode": talk.mode,
            "actor": shot.actor if shot else "",
            "instruction": shot.instruction if shot else "",
            "action": action.to_json(),
            "starved": self._starved,
            "thought": shot.thought if shot else "",
            "goals": [f"{goal.text} (planned)" if goal.planned else goal.text for goal in talk.goals],
            "decisions": sum(now - at < _WINDOW for at in tuple(self._decided)) / _WINDOW,
            "spans": self.spans,
            "episode": self._episode,
            "first": self._first_line,
            "revision": talk.revision,
            "lines": [asdict(line) for line in talk.news(since)],
            "outcome": None if self.outcome is None else {"success": self.outcome.success, "why": self.outcome.why},
        }

    def newest(self) -> Shot | None:
        """The newest shot, as large as the world can draw it."""
        shot = self.shot
        large = self.double.at(shot.tick) if self.double is not None and shot is not None else None
        if shot is None or large is None:
            return shot
        return replace(shot, frame=large, eyes=shot.frame if shot.eyes is None else shot.eyes)

    def sound(self) -> dict[str, Any]:
        """What was heard since the last call, as JSON values: samples a second, and one channel of int16 in base64.
        Empty for nothing."""
        heard = self.double.heard() if self.double is not None else None
        if self.double is None or heard is None:
            return {}
        one = heard.mean(1).astype("<i2")
        return {"hz": self.double.sound_hz, "pcm": base64.b64encode(one.tobytes()).decode()}

    def eyes(self, shot: Shot) -> dict[str, Any]:
        """What the player saw, as JSON values: the size, and a picture, JPEG in base64; empty where it saw the world's
        own picture."""
        if shot.eyes is None:
            return {}
        size = (shot.eyes.shape[0], shot.eyes.shape[1])
        data = base64.b64encode(_jpeg(fit(shot.eyes, within(size, _INSET)))).decode()
        return {"size": written(size), "jpeg": data}

    def picture(self, shot: Shot) -> bytes:
        """A shot as JPEG; keeps it for `clip`."""
        jpeg = _jpeg(shot.frame)
        now = time.monotonic()
        # Keep the frame as JPEG alone: half a minute of large arrays would not fit into memory.
        small = replace(shot, frame=_NO_FRAME, eyes=None)
        self._clip.append(_Kept(now, jpeg, small))
        self._clip_bytes += len(jpeg)
        while self._clip[0].at < now - CLIP_SECONDS or self._clip_bytes > _CLIP_BYTES:
            self._clip_bytes -= len(self._clip.popleft().jpeg)
        return jpeg

    def clip(self, path: Path) -> Path:
        """Write a video of what viewers saw in the last half minute, with keys and thoughts drawn in. Raises ValueError
        if they saw nothing yet."""
        kept = list(self._clip)
        if len(kept) < 2:
            raise ValueError("there is nothing to keep yet")
        hz = (len(kept) - 1) / max(0.1, kept[-1].at - kept[0].at)
        frames = (
            draw(
                np.asarray(Image.open(io.BytesIO(one.jpeg))), one.shot.instruction, one.shot.action,
                tick=one.shot.tick, tick_hz=self._hz, thought=one.shot.thought,
            )
            for one in kept
        )  # fmt: skip
        return write_video(path, frames, max(1.0, hz))


def _jpeg(frame: Frame) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(frame).save(sink, "JPEG", quality=_QUALITY)
    return sink.getvalue()


_NO_FRAME = np.zeros((0, 0, 3), np.uint8)
