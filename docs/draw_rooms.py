"""Draws docs/rooms.svg: the rooms of the code with their folders and files, and who imports whom.

    make docs

The picture comes from the files themselves: an arrow stands for at least one import. Dashed arrows are those of
agent/cli, which imports what a verb needs when the verb runs.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "rooms.svg"
# In the order of the imports, each with what it is for.
ROOMS = {
    "envs": "worlds: pixels out, keyboard and mouse in",
    "agent": "the player",
    "tasks": "what to do",
    "rewards": "how well it went",
    "training": "learning from it",
}
WIDTH, GAP, MARGIN = 250, 30, 20  # of a room, between rooms, around all; pixels
TOP = 150  # where the rooms begin, under the arrows
LINE, LETTERS = 13, 44  # height of a line of file names, and how many letters fit into it
COLOURS = {"envs": "#dceefb", "agent": "#e3f5e1", "tasks": "#fdf2d0", "rewards": "#fbe3e4", "training": "#ebe3f7"}


def imports() -> dict[tuple[str, str], str]:
    """For each pair of rooms (importer, imported): "solid", or "dashed" where only agent/cli imports it."""
    found: dict[tuple[str, str], str] = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            style = "dashed" if path.is_relative_to(ROOT / "agent" / "cli") else "solid"
            for name in _imported(path):
                pair = (room, name.partition(".")[0])
                if pair[1] in ROOMS and pair[1] != room and found.get(pair) != "solid":
                    found[pair] = style
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def folders(room: str) -> dict[str, list[str]]:
    """The files of a room by their folder, "" for the room's own; a file is named without its ending."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / room).rglob("*.py")):
        folder = path.parent.relative_to(ROOT / room).as_posix()
        names = found.setdefault("" if folder == "." else folder, [])
        if path.stem != "__init__":
            names.append(path.stem)
    return {folder: names for folder, names in sorted(found.items()) if names or folder}


def draw() -> str:
    """The picture, as SVG."""
    rooms, height = [], 0
    for number, room in enumerate(ROOMS):
        text, end = _room(room, MARGIN + number * (WIDTH + GAP))
        rooms.append(text)
        height = max(height, end)
    width = 2 * MARGIN + len(ROOMS) * WIDTH + (len(ROOMS) - 1) * GAP
    arrows = [_arrow(*pair, style) for pair, style in imports().items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + MARGIN}" '
            'font-family="sans-serif">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 Z" fill="#555"/></marker></defs>',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="{MARGIN}" y="{MARGIN + 4}" font-size="13" fill="#555">An arrow points to the room that is '
            "imported; dashed: by agent/cli alone, when a verb runs.</text>",
            *arrows,
            *rooms,
            "</svg>\n",
        ]
    )


def _middle(room: str) -> int:
    return MARGIN + list(ROOMS).index(room) * (WIDTH + GAP) + WIDTH // 2


def _arrow(importer: str, imported: str, style: str) -> str:
    apart = abs(list(ROOMS).index(importer) - list(ROOMS).index(imported))
    side = 12 * apart * (1 if _middle(importer) < _middle(imported) else -1)
    start, end = _middle(importer) + side, _middle(imported) - side
    peak = TOP - 26 * apart - (14 if style == "dashed" else 0)
    colour, dashes = ("#b5651d", ' stroke-dasharray="5 4"') if style == "dashed" else ("#555", "")
    return (
        f'<path d="M{start} {TOP - 2} C{start} {peak} {end} {peak} {end} {TOP - 2}" fill="none" stroke="{colour}" '
        f'stroke-width="1.5"{dashes} marker-end="url(#tip)"><title>{importer} imports {imported}</title></path>'
    )


def _room(room: str, x: int) -> tuple[str, int]:
    """A room at `x`, and where it ends."""
    parts, y = [], TOP + 44
    for folder, names in folders(room).items():
        lines = textwrap.wrap("  ".join(names), LETTERS, break_long_words=False, break_on_hyphens=False)
        title = f"{room}/{folder}" if folder else f"{room}/*.py"
        box = 22 + LINE * len(lines)
        parts.append(f'<rect x="{x + 8}" y="{y}" width="{WIDTH - 16}" height="{box}" rx="4" fill="white"/>')
        parts.append(f'<text x="{x + 14}" y="{y + 14}" font-size="12" font-weight="bold">{escape(title)}</text>')
        parts += [
            f'<text x="{x + 14}" y="{y + 28 + LINE * n}" font-size="10" fill="#333">{escape(line)}</text>'
            for n, line in enumerate(lines)
        ]
        y += box + 6
    frame = (
        f'<rect x="{x}" y="{TOP}" width="{WIDTH}" height="{y - TOP + 4}" rx="6" fill="{COLOURS[room]}"/>'
        f'<text x="{x + 10}" y="{TOP + 20}" font-size="16" font-weight="bold">{room}/</text>'
        f'<text x="{x + 10}" y="{TOP + 36}" font-size="11" fill="#333">{escape(ROOMS[room])}</text>'
    )
    return "\n".join([frame, *parts]), y + 4


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
