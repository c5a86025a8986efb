"""The things of our Minetest levels: kinds built of nodes, told apart by kind and colour, and the nodes themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MOD = "ludens"
COLOURS: dict[str, str] = {
    "red": "#c81414",
    "green": "#1e961e",
    "blue": "#1e46d2",
    "yellow": "#f0c814",
    "purple": "#8c28b4",
    "white": "#f2f2f2",
}

Node = tuple[int, int, int, str, int]  # where, from the thing's foot (east, up, north), the node's name and its param2


@dataclass(frozen=True)
class Kind:
    """A kind of thing.

    `half`: half of its width and depth, nodes; `height`: nodes. `diggable`: one node of it that is dug takes all of it.
    `opens`: it has a door or a lid, which the right button moves.
    """

    name: str
    half: tuple[float, float]
    height: float
    diggable: bool = True
    opens: bool = False


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("block", (0.5, 0.5), 1.0),
        Kind("pillar", (0.5, 0.5), 3.0),
        Kind("pyramid", (0.5, 0.5), 1.0),
        Kind("cross", (0.5, 0.5), 1.8),
        Kind("wall", (1.5, 0.5), 2.0),
        Kind("chest", (0.5, 0.5), 0.9, diggable=False, opens=True),
        Kind("house", (2.5, 2.5), 4.0, diggable=False, opens=True),
    )
}
THEMES: dict[str, tuple[str, str]] = {  # textures of floor and walls
    "meadow": ("default_grass.png", "default_stone_brick.png"),
    "desert": ("default_sand.png", "default_desert_stone_brick.png"),
    "yard": ("default_cobble.png", "default_wood.png"),
    "hall": ("default_stone_block.png", "default_sandstone_brick.png"),
    "cabin": ("default_pine_wood.png", "default_acacia_wood.png"),
    "snow": ("default_snow.png", "default_ice.png"),
    "moor": ("default_dirt.png", "default_mossycobble.png"),
    "barn": ("default_junglewood.png", "default_brick.png"),
}
HELD_OUT_THEMES = ("snow", "moor", "barn")
TRAINING_THEMES = tuple(name for name in THEMES if name not in HELD_OUT_THEMES)

DOOR = "doors:door_wood_a"
# What a thing faces when it is turned: north, east, south, west.
FRONTS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def footprint(kind: str, turn: int) -> tuple[float, float]:
    """Half of the width (east) and of the depth (north) of a thing that is turned so, nodes."""
    x, z = KINDS[kind].half
    return (x, z) if turn % 2 == 0 else (z, x)


def nodes_of(kind: str, colour: str, turn: int) -> list[Node]:
    """The nodes that a thing is built of."""
    name = f"{MOD}:{kind}_{colour}"
    if kind == "pillar":
        return [(0, y, 0, name, 0) for y in range(3)]
    if kind == "wall":
        return [(*((i, y, 0) if turn % 2 == 0 else (0, y, i)), name, 0) for i in (-1, 0, 1) for y in (0, 1)]
    if kind == "chest":
        return [(0, 0, 0, name, (turn + 2) % 4)]  # facing: a node's front looks south when param2 is 0
    if kind == "house":
        return _house(name, turn)
    return [(0, 0, 0, name, 0)]


def watched(kind: str, turn: int) -> tuple[int, int, int] | None:
    """The node of a thing that changes when it is opened, or None where nothing can be opened."""
    x, z = FRONTS[turn]
    return (2 * x, 0, 2 * z) if kind == "house" else (0, 0, 0) if kind == "chest" else None


def _house(name: str, turn: int) -> list[Node]:
    (x, _, z), door = watched("house", turn) or (0, 0, 0), (turn + 2) % 4
    nodes: list[Node] = []
    for i in range(-2, 3):
        for j in range(-2, 3):
            edge = max(abs(i), abs(j)) == 2
            nodes += [(i, y, j, name, 0) for y in range(3) if edge and ((i, j) != (x, z) or y == 2)]
            nodes.append((i, 3, j, f"{MOD}:roof", 0))
    nodes.append((0, 2, 0, f"{MOD}:light", 0))
    nodes += [(x, 0, z, DOOR, door), (x, 1, z, "doors:hidden", door)]
    return nodes


def definitions() -> dict[str, dict[str, Any]]:
    """The definitions of all our nodes by name, as the mod hands them to `minetest.register_node`."""
    nodes: dict[str, dict[str, Any]] = {}

    def add(name: str, tiles: list[str], **more: Any) -> None:
        nodes[f"{MOD}:{name}"] = {"description": name.replace("_", " "), "tiles": tiles, "groups": {"node": 1}, **more}

    def boxes(*parts: tuple[float, ...]) -> dict[str, Any]:
        box = {"type": "fixed", "fixed": [list(part) for part in parts]}
        return {"drawtype": "nodebox", "paramtype": "light", "node_box": box}

    dig = {"groups": {"node": 1, "dig_immediate": 2}}  # half a second with the bare hand
    for colour, tint in COLOURS.items():
        tinted = f"^[colorize:{tint}:200"
        add(f"block_{colour}", [f"wool_white.png^[multiply:{tint}"], **dig)
        add(f"pillar_{colour}", [f"default_stone_block.png{tinted}"], **boxes((-0.3, -0.5, -0.3, 0.3, 0.5, 0.3)), **dig)
        steps = [(-0.5 + i / 8, -0.5 + i / 4, -0.5 + i / 8, 0.5 - i / 8, -0.25 + i / 4, 0.5 - i / 8) for i in range(4)]
        add(f"pyramid_{colour}", [f"default_sandstone_block.png{tinted}"], **boxes(*steps), **dig)
        bars = [(-0.15, -0.5, -0.15, 0.15, 1.3, 0.15), (-0.5, 0.4, -0.15, 0.5, 0.7, 0.15)]
        add(f"cross_{colour}", [f"default_wood.png{tinted}"], **boxes(*bars), **dig)
        add(f"wall_{colour}", [f"default_brick.png{tinted}"], **dig)
        add(f"house_{colour}", [f"default_cobble.png^[colorize:{tint}:170"])
        side, top, front = (f"default_chest_{part}.png^[colorize:{tint}:150" for part in ("side", "top", "front"))
        shut, lid = (-0.5, -0.5, -0.45, 0.5, 0.4, 0.45), (-0.5, -0.1, 0.35, 0.5, 0.9, 0.5)
        turned = {"paramtype2": "facedir"}
        add(
            f"chest_{colour}", [top, top, side, side, side, front],
            **boxes(shut), **turned, _opens=f"{MOD}:chest_{colour}_open",
        )  # fmt: skip
        add(
            f"chest_{colour}_open", ["default_chest_inside.png", top, side, side, side, front],
            **boxes((-0.5, -0.5, -0.45, 0.5, -0.1, 0.45), lid), **turned,
        )  # fmt: skip
    for theme, (floor, wall) in THEMES.items():
        add(f"floor_{theme}", [floor])
        add(f"wall_of_{theme}", [wall])
    add("roof", ["default_junglewood.png"], paramtype="light")
    add(
        "light", [], drawtype="airlike", paramtype="light", light_source=12, walkable=False, pointable=False,
        buildable_to=False, sunlight_propagates=True,
    )  # fmt: skip
    return nodes
