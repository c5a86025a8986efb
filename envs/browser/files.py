"""`WorldFile`: what a page does not say about itself; `read` makes one of a name (docs/browser.md has the keys)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from envs.action import BUTTONS, KEYS, KeyboardMouse
from envs.browser.begin import Steps, checked
from envs.errors import UserError
from envs.gymnasium.keymap import Strict, hands, meanings
from envs.resolution import parse_size
from envs.yaml_files import read_settings

# A hand that is used to many games rests on these: they may be held, and reach no page that does not name them.
USUAL = ("KeyW", "KeyA", "KeyS", "KeyD", "KeyE", "Space", "ShiftLeft", "left")
DEFAULT_DEGREES = 0.1146  # a count of the mouse in three.js' own PointerLockControls: 0.002 radians


class WorldFile(Strict):
    """A page and how it is played. The expressions are JavaScript, evaluated in the page."""

    page: str
    size: str = "320x240"
    tick_hz: float = Field(default=30.0, gt=0.0, le=1000.0)
    keys: tuple[str, ...] = USUAL
    ignore: tuple[str, ...] = USUAL
    controls: dict[str, str] = Field(default_factory=dict)
    pointer_lock: bool = True
    pointer: bool = False
    wheel: bool = False
    degrees_per_count: float = Field(default=DEFAULT_DEGREES, gt=0.0)
    max_look: float = Field(default=45.0, gt=0.0, le=180.0)
    lockstep: bool | None = None
    ready: str = "true"
    begin: Steps = ()
    hold: float = Field(default=0.05, ge=0.0, le=10.0)
    state: str = 'typeof __state === "function" ? __state() : null'
    over: str = "false"
    options: dict[str, Any] = Field(default_factory=dict)
    timeout: float = Field(default=30.0, gt=0.0)

    _names = field_validator("keys", "ignore", mode="before")(hands)
    _said = field_validator("controls", mode="before")(meanings)

    @property
    def action_space(self) -> KeyboardMouse:
        """What may be done in the page. Without the pointer lock a look only moves the pointer, and counts as ignored
        unless `controls` says what it does."""
        names, looks = {*self.keys, *self.ignore}, self.pointer_lock or "look" in self.controls
        return KeyboardMouse(
            names & set(KEYS), names & set(BUTTONS), max_look=self.max_look, pointer=self.pointer, wheel=self.wheel,
            ignored=(names - set(self.keys)) | (set() if looks else {"look"}),
        )  # fmt: skip

    _begin = field_validator("begin")(checked)

    @field_validator("size")
    @classmethod
    def _size(cls, value: str) -> str:
        parse_size(value, where="")
        return value


def read(name: str) -> WorldFile:
    """What `name` stands for: a world file (.yaml), an HTML file, a folder with an index.html, or an http(s) URL.

    A page that is a file has its absolute path. Raises UserError that says what is wrong and where.
    """
    if not name.endswith((".yaml", ".yml")) or _is_url(name):
        return WorldFile(page=_page(name, Path(), f"browser:{name}"))
    path = Path(name).expanduser()
    file = read_settings(WorldFile, name)
    return file.model_copy(update={"page": _page(file.page, path.parent, f"{name}: page")})


def _is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def _page(page: str, folder: Path, where: str) -> str:
    if _is_url(page):
        try:
            whole = bool(urlsplit(page).hostname) and urlsplit(page).port != 0
        except ValueError:  # a port that is no number
            whole = False
        if not whole:
            raise UserError(f"{where}: {page!r} is no whole URL")
        return page
    path = (folder / Path(page).expanduser()).resolve()
    if path.is_dir():
        path /= "index.html"
    if not path.is_file():
        raise UserError(f"{where}: there is no file {path}; expected an HTML file, a folder with index.html, or a URL")
    return str(path)
