"""What is done in a page before a game begins: `begin` of a world file, a list of steps through menus and titles."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from pydantic import Discriminator, Tag, field_validator, model_validator

from envs.browser.chromium import BrowserError
from envs.gymnasium.keymap import Strict, hands

_TAP = 0.15  # seconds that a key or a button is held, and the pause after it
_POLL = 0.05  # seconds

# The middle of an element that can be clicked, in the unit square of the view; null if there is none yet.
_MIDDLE = """((selector) => {
  const element = document.querySelector(selector);
  if (element === null) return null;
  element.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
  const box = element.getBoundingClientRect();
  if (!box.width || !box.height || element.disabled) return null;
  return [(box.left + box.width / 2) / innerWidth, (box.top + box.height / 2) / innerHeight];
})"""


class Deed(Strict):
    """One step, one of the three. `click`: a place as [x, y] in the unit square of the view, or the CSS selector of an
    element, which is waited for. `run`: JavaScript statements, which may `await`. `wait`: a JavaScript expression that
    has to hold."""

    click: tuple[float, float] | str | None = None
    run: str | None = None
    wait: str | None = None

    @field_validator("click", mode="before")
    @classmethod
    def _inside(cls, value: Any) -> Any:
        numbers = isinstance(value, list | tuple) and all(isinstance(part, int | float) for part in value)
        if not isinstance(value, str) and not (numbers and len(value) == 2 and all(0 <= part <= 1 for part in value)):
            raise ValueError(f"expected [x, y] from 0 to 1, or a CSS selector, got {value!r}")
        return value

    @model_validator(mode="after")
    def _one(self) -> Deed:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("expected one of click, run and wait in each step")
        return self


def _sort(step: Any) -> str:
    return "press" if isinstance(step, str) else "deed" if isinstance(step, dict | Deed) else "seconds"


# A key or a button to press, seconds to wait, or a deed.
Step = Annotated[
    Annotated[str, Tag("press")] | Annotated[float, Tag("seconds")] | Annotated[Deed, Tag("deed")],
    Discriminator(_sort),
]
Steps = tuple[Step, ...]


def checked(steps: Steps) -> Steps:
    """`steps`. Raises ValueError for an unknown key and for a wait that is no time."""
    hands([step for step in steps if isinstance(step, str)])
    for step in steps:
        if isinstance(step, float) and not 0.0 <= step <= 3600.0:
            raise ValueError(f"expected seconds to wait, got {step}")
    return steps


class Page(Protocol):
    """What the steps are done with."""

    def evaluate(self, expression: str) -> Any: ...

    def hold_down(self, name: str, seconds: float) -> None:
        """Press a key or a button for some time."""

    def point(self, x: float, y: float) -> None:
        """Put the pointer at a place of the unit square."""


def play(page: Page, steps: Sequence[str | float | Deed], timeout: float, hold: float) -> None:
    """Do the `steps` one after the other. `timeout`: seconds that one may take; `hold`: that a key stays down at least.

    Raises BrowserError that names the step.
    """
    for number, step in enumerate(steps):
        try:
            if isinstance(step, str):
                _tap(page, step, hold)
            elif isinstance(step, float):
                time.sleep(step)
            elif step.click is not None:
                place = step.click if isinstance(step.click, tuple) else _place(page, step.click, timeout)
                page.point(*place)
                _tap(page, "left", hold)
            elif step.run is not None:
                page.evaluate(f"(async () => {{ {step.run}\n}})()")
            elif step.wait is not None and not _until(page, f"Boolean({step.wait}\n)", timeout):
                raise BrowserError(f"{step.wait} does not hold after {timeout:g} s")
        except BrowserError as error:
            raise BrowserError(f"begin[{number}]: {error}") from error


def _tap(page: Page, name: str, hold: float) -> None:
    page.hold_down(name, max(_TAP, hold))
    time.sleep(_TAP)


def _place(page: Page, selector: str, timeout: float) -> tuple[float, float]:
    place = _until(page, f"{_MIDDLE}({json.dumps(selector)})", timeout)
    if not place:
        raise BrowserError(f"nothing to click after {timeout:g} s: no element {selector!r} is to be seen")
    return float(place[0]), float(place[1])


def _until(page: Page, expression: str, timeout: float) -> Any:
    """The value of the expression once it is true, or what it is when the time is up."""
    deadline = time.monotonic() + timeout
    while not (value := page.evaluate(expression)) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return value
