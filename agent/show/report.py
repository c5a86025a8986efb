"""The report of a run: one HTML file that contains its pictures."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from agent.episode import Frame, Outcome, Start, Step, Subscriber
from agent.policy import Decision
from envs.action import Action
from envs.files import write_whole

_PICTURES = 12  # in a filmstrip; while an episode runs, up to twice as many are kept
_MAX_DECISIONS = 400  # rows of the table; the report says if it leaves some out


@dataclass(frozen=True)
class Span:
    """Ticks [`start`, `end`) in which something was held."""

    start: int
    end: int


class Storyboard(Subscriber):
    """Follows one episode and keeps what its report shows, in bounded memory.

    `pictures`: (tick, frame), evenly spaced, with the last frame. `tracks`: when each key, button and direction of
    looking was held. `decisions`: (tick, decision, action of that tick).
    """

    def __init__(self) -> None:
        self.start: Start | None = None
        self.outcome: Outcome | None = None
        self.pictures: list[tuple[int, Frame]] = []
        self.decisions: list[tuple[int, Decision, Action]] = []
        self.tracks: dict[str, list[Span]] = {}
        self.starved: list[Span] = []
        self.instructions: list[tuple[int, str]] = []
        self.ticks = 0
        self._every = 8
        self._index = -1

    def on_start(self, start: Start) -> None:
        self.start = start

    def on_step(self, step: Step) -> None:
        self.ticks = step.tick + 1
        if step.frame is not None and step.tick % self._every == 0:
            self.pictures.append((step.tick, step.frame))
            if len(self.pictures) >= 2 * _PICTURES:
                self._every *= 2
                self.pictures = [(tick, frame) for tick, frame in self.pictures if tick % self._every == 0]
        if step.decision is not None and step.index != self._index:
            self._index = step.index
            self.decisions.append((step.tick, step.decision, step.action))
        if not self.instructions or self.instructions[-1][1] != step.instruction:
            self.instructions.append((step.tick, step.instruction))
        for name in held(step.action):
            _extend(self.tracks.setdefault(name, []), step.tick)
        if step.starved:
            _extend(self.starved, step.tick)

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        self.outcome = outcome
        step = max(1, len(self.pictures) // _PICTURES)
        self.pictures = self.pictures[::step][: _PICTURES - 1]
        if frame is not None:
            self.pictures.append((self.ticks, frame))


def held(action: Action) -> list[str]:
    """An action in words: keys, buttons and the directions in which the mouse moves."""
    words = [key.removeprefix("Key") for key in sorted(action.keys)]
    words += [f"{button} button" for button in sorted(action.buttons)]
    yaw, pitch = action.look
    words += ["turn right"] * (yaw > 0) + ["turn left"] * (yaw < 0)
    words += ["look up"] * (pitch > 0) + ["look down"] * (pitch < 0)
    words += ["wheel"] * (action.wheel != 0)
    return words


def write_report(
    path: Path, *, title: str, config: Mapping[str, Any], boards: Sequence[Storyboard], video_note: str = ""
) -> None:
    """Write the report of the episodes that `boards` followed.

    It shows the `video.mp4` beside it, if there is one, with `video_note` below. Raises OSError if it can't be
    written; then there is no part of it.
    """
    episodes = [_episode(board) for board in boards if board.start is not None and board.outcome is not None]
    page = _template().render(
        title=title,
        config=config,
        episodes=episodes,
        video=(path.parent / "video.mp4").exists(),
        video_note=video_note,
    )
    write_whole(path, page)


def _episode(board: Storyboard) -> dict[str, Any]:
    assert board.start is not None
    assert board.outcome is not None
    decisions = [
        {"tick": tick, "hands": ", ".join(held(action)) or "nothing", "ticks": len(decision.actions),
         "thought": decision.thought, "speech": decision.speech, "done": decision.done}
        for tick, decision, action in board.decisions
    ]  # fmt: skip
    return {
        "start": board.start,
        "outcome": board.outcome,
        "pictures": [{"tick": tick, "source": _picture(frame)} for tick, frame in board.pictures],
        "tracks": sorted(board.tracks.items(), key=lambda item: -sum(s.end - s.start for s in item[1])),
        "starved": board.starved,
        "instructions": board.instructions,
        "ticks": max(1, board.ticks),
        "decisions": decisions[:_MAX_DECISIONS],
        "cut": max(0, len(decisions) - _MAX_DECISIONS),
    }


def _picture(frame: Frame) -> str:
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _extend(spans: list[Span], tick: int) -> None:
    if spans and spans[-1].end == tick:
        spans[-1] = Span(spans[-1].start, tick + 1)
    else:
        spans.append(Span(tick, tick + 1))


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(
        "report.html"
    )
