"""`keep`: the picture and the console of a page that can't be played, kept for the person who has to fix it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import platformdirs
from PIL import Image

from envs.browser.chromium import BrowserError, Chromium


def keep(name: str, browser: Chromium) -> list[str]:
    """Keep the newest picture and the console of the world `name` in the cache folder, in place of what was kept of it
    before; what there is, as parts of a message."""
    safe = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-60:]
    path = platformdirs.user_cache_path("ludens", appauthor=False) / "browser" / safe
    told = []
    with contextlib.suppress(OSError):  # a full disk must not hide what is wrong with the page
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        console = Path(f"{path}.txt")
        console.write_text("".join(f"{line}\n" for line in browser.console) or "(nothing)\n")
        told.append(f"its console: {console}")
        with contextlib.suppress(BrowserError):
            picture = Path(f"{path}.png")
            Image.fromarray(browser.newest()).save(picture)
            told.append(f"its picture: {picture}")
    return told
