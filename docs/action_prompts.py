"""Writes what a prompted model is told in some games into docs/actions.md.

    python docs/action_prompts.py

The world of a marker `<!-- prompt: NAME -->` is asked for its controls; no game is started.
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.codec import Codec
from agent.prompted import Setting

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "actions.md"
_BLOCK = re.compile(r"(<!-- prompt: (.+?) -->\n).*?(<!-- /prompt -->)", re.DOTALL)


def setting(name: str) -> Setting:
    """Where a model plays in the world called `name`."""
    if name.startswith("browser:"):
        from envs.browser.files import read

        file = read(str(ROOT / name.partition(":")[2]))
        return Setting(Codec(file.action_space, file.controls), file.tick_hz)
    from agent.cli.compose import world_factory

    world = world_factory(name)()
    try:
        return Setting.of(world)
    finally:
        world.close()


def filled(text: str) -> str:
    """The page with its prompts."""

    def block(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        return f"{begin}`{name}`:\n\n```text\n{setting(name).instructions()}\n```\n{end}"

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
    print("wrote the prompts of docs/actions.md")
