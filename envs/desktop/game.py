"""`Game`: what Ludens has to know of a desktop game to play it, as an object or as a YAML file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from envs.action import BUTTONS, KEYS
from envs.gymnasium.keymap import Strict, hands, meanings
from envs.gymnasium.world import USUAL
from envs.yaml_files import read_settings

# What most games can be played with: a command without a file gets these.
_MOST = (
    "KeyW", "KeyA", "KeyS", "KeyD", "KeyE", "KeyQ", "KeyR", "KeyF", "Space", "ShiftLeft", "ControlLeft", "Enter",
    "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", *(f"Digit{n}" for n in range(1, 10)),
)  # fmt: skip
# A key to press, by its KeyboardEvent.code name, or seconds to wait.
Presses = tuple[str | float, ...]


class Game(Strict):
    """A game, known by its command or its window.

    `command`: what starts it, as a list or as a shell would split it; None attaches to a window that is there. `env`:
    environment variables for it. `title`, `process`: a regular expression for the window's title, and the name of its
    process, where the only window is not enough. `size`: (width, height) of the frames, and of the own screen.

    `keys`: the keys it listens to, or a mapping from the keys of an action to those of the game. `buttons`, `wheel`:
    what else. `ignore`: keys and buttons that a player may hold, but that are never sent. `mouse`:
    "captured" (moving it turns the view), "free" (a pointer), "changes" (captured, and free while the game shows a
    pointer, as in menus) or "none"; a `look` turns nothing where it is not captured.

    `controls`: what a player is told of the keys and buttons, by their names in an action, and of "look", "pointer" and
    "wheel".

    `ready`: when it can be played: seconds since it drew something, or a regular expression that its output has to
    hold. `timeout`: seconds until then at most. `start`: keys to press (numbers are seconds to wait) when it is ready.
    `reset`: "restart" the command for each episode, "keep" on playing, or keys to press.

    `tick_hz`: ticks in a second. `hold`: seconds that a key stays down at least: two frames of the game. `max_look`:
    degrees in a tick at most. `degrees_per_count`: how far the view turns for one count of the mouse, or (yaw, pitch)
    of them: negative if the game turns the other way, 0 if it does not turn; None has it measured. `max_counts`: counts
    of the mouse that the game follows at once; the rest goes to the next ticks. It is any number if the game reads the
    mouse itself; None is less than half of the frame, for games that put the pointer back to the middle. `fov`: the
    frame's width in degrees, if known, which makes measuring easier.
    """

    command: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    title: str | None = None
    process: str | None = None
    size: tuple[int, int] = (320, 240)
    keys: dict[str, str]
    buttons: tuple[str, ...] = ("left", "right")
    ignore: tuple[str, ...] = USUAL
    wheel: bool = False
    controls: dict[str, str] = Field(default_factory=dict)
    mouse: Literal["captured", "free", "changes", "none"] = "captured"
    ready: float | str = 1.0
    timeout: float = Field(default=30.0, gt=0.0)
    start: Presses = ()
    reset: Literal["restart", "keep"] | Presses = "restart"
    tick_hz: float = Field(default=30.0, gt=0.0)
    hold: float = Field(default=0.07, ge=0.0)
    max_look: float = Field(default=45.0, ge=0.0)
    degrees_per_count: tuple[float, float] | None = None
    max_counts: int | None = Field(default=None, gt=0)
    fov: float | None = Field(default=None, gt=0.0, lt=180.0)

    @field_validator("command", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return shlex.split(value) if isinstance(value, str) else value or ()

    @field_validator("keys", mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        pairs = dict(value) if isinstance(value, Mapping) else {name: name for name in hands(value)}
        for name in hands([*pairs, *pairs.values()]):
            if name not in KEYS:
                raise ValueError(f"{name!r} is a mouse button; expected keys here, and buttons under buttons")
        return pairs

    @field_validator("buttons", mode="before")
    @classmethod
    def _buttons(cls, value: Any) -> Any:
        for name in (names := hands(value)):
            if name not in BUTTONS:
                raise ValueError(f"{name!r} is a key; expected mouse buttons ({', '.join(BUTTONS)})")
        return names

    _ignored = field_validator("ignore", mode="before")(hands)
    _said = field_validator("controls", mode="before")(meanings)

    @field_validator("start", "reset", mode="after")
    @classmethod
    def _presses(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            hands([name for name in value if isinstance(name, str)])
        return value

    @field_validator("degrees_per_count", mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _known(self) -> Game:
        if not (self.command or self.title or self.process):
            raise ValueError("expected a command, or the title or process of a window to attach to")
        if not self.command and self.reset == "restart":
            raise ValueError('reset: a window that is attached to can\'t be restarted; expected "keep" or keys')
        if min(self.size) < 16:
            raise ValueError(f"size: expected at least 16 x 16 pixels, got {self.size}")
        if self.degrees_per_count is not None and self.degrees_per_count[0] == 0.0:
            raise ValueError("degrees_per_count: expected a yaw that is not 0")
        return self

    @property
    def turns(self) -> bool:
        """Whether moving the mouse ever turns the view."""
        return self.mouse in ("captured", "changes")

    @property
    def name(self) -> str:
        """What to call it in messages and file names."""
        return Path(self.command[0]).name if self.command else self.process or str(self.title)


def read_game(text: str) -> Game:
    """The game of a YAML file (.yaml), or of a command. Raises UserError for what is wrong in it."""
    if not text.endswith((".yaml", ".yml")):
        return Game(command=tuple(shlex.split(text)), keys={name: name for name in _MOST})
    return read_settings(Game, text)
