"""`Level`: a Doom level as data, and its UDMF text.

A level is made of rectangles on the map grid: rooms, doorways between them, and pillars cut out of rooms. Lines and
sectors follow from which rectangle owns each cell of the grid that all their edges span.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from envs.doom.things import MARKER_NUMBER, NUMBERS

LOCKS = {"red": 1, "blue": 2, "yellow": 3}
DOOR_TEXTURES = {"red": "DOORRED", "blue": "DOORBLU", "yellow": "DOORYEL"}
PLAIN_DOOR = "BIGDOOR6"  # of wood
REMOTE_DOOR = "SPCDOOR3"  # of steel
FOV = 90.0  # degrees across
FOVS = (60.0, 120.0)  # the narrowest and the widest view of a level
SCALES = (0.1, 10.0)  # the smallest and the largest picture of a thing
_SKILLS = "skill1=true;skill2=true;skill3=true;skill4=true;skill5=true;single=true;"
_OPEN_SPEED = 64


@dataclass(frozen=True)
class Theme:
    """Textures of a room."""

    name: str
    wall: str
    floor: str
    ceiling: str


@dataclass(frozen=True)
class Rect:
    """Axis-aligned, in map units, x0 < x1 and y0 < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    def contains(self, x: float, y: float, margin: float = 0.0) -> bool:
        return self.x0 + margin <= x <= self.x1 - margin and self.y0 + margin <= y <= self.y1 - margin

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True)
class Room:
    rect: Rect
    theme: Theme
    ceiling: int = 128
    light: int = 200
    name: str = ""


DoorKind = Literal["open", "door", "locked", "remote"]


@dataclass(frozen=True)
class Door:
    """A passage between two rooms. "open": a doorway; "door": opens with use; "locked": needs the key of `colour`;
    "remote": opened by the panel whose `door` is this door's index."""

    rect: Rect
    kind: DoorKind = "open"
    colour: str | None = None


@dataclass(frozen=True)
class Panel:
    """A switch on a wall: the segment from (x0, y0) to (x1, y1) of a room's outline. `door`: index of the remote
    door that it opens, or None for a panel that only counts as pressed."""

    x0: int
    y0: int
    x1: int
    y1: int
    door: int | None = None
    texture: str = "SW1BRCOM"

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str | None
    x: int
    y: int


@dataclass(frozen=True)
class Look:
    """How a level looks beyond the textures and the light of its rooms.

    `doors`: a texture for each door. `tints`: the colour of the light in each room, as hexadecimal RGB. `scales`: the
    size of each thing's picture, 1 as usual. `fov`: the field of view, degrees across. `weapon`: whether it is shown.
    """

    doors: tuple[str, ...] = ()
    tints: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    fov: float = FOV
    weapon: bool = True

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Look:
        """The look that a JSON object describes. Raises KeyError, TypeError and ValueError where it is none."""
        fov, scales = float(data["fov"]), tuple(map(float, data["scales"]))
        if not FOVS[0] <= fov <= FOVS[1]:
            raise ValueError(f"not a level: a field of view of {fov} degrees; expected {FOVS[0]} to {FOVS[1]}")
        if not all(SCALES[0] <= scale <= SCALES[1] for scale in scales):
            raise ValueError(f"not a level: scales of {scales}; expected {SCALES[0]} to {SCALES[1]}")
        return cls(
            doors=tuple(map(str, data["doors"])),
            tints=tuple(f"{int(tint, 16) & 0xFFFFFF:06x}" for tint in data["tints"]),
            scales=scales,
            fov=fov,
            weapon=bool(data["weapon"]),
        )


@dataclass(frozen=True)
class Level:
    """Rooms, doors, pillars, panels and things, and where the player starts (angle in degrees, 0 is east). `look`: None
    where doors, light, things and view look as usual."""

    rooms: tuple[Room, ...]
    start: tuple[int, int, int]
    things: tuple[Thing, ...] = ()
    doors: tuple[Door, ...] = ()
    pillars: tuple[Rect, ...] = ()
    panels: tuple[Panel, ...] = ()
    seed: int = field(default=0, compare=False)
    look: Look | None = None

    @property
    def fov(self) -> float:
        """Degrees across."""
        return self.look.fov if self.look else FOV

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        if self.look is None:  # not written, so that tasks keep the hash that they had before there were looks
            del data["look"]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Level:
        """The level that a JSON object describes. Raises ValueError where the object is not a level."""
        try:
            level = cls(
                rooms=tuple(
                    Room(Rect(**r["rect"]), Theme(**r["theme"]), int(r["ceiling"]), int(r["light"]), str(r["name"]))
                    for r in data["rooms"]
                ),
                start=tuple(data["start"]),
                things=tuple(Thing(**t) for t in data["things"]),
                doors=tuple(Door(Rect(**d["rect"]), d["kind"], d["colour"]) for d in data["doors"]),
                pillars=tuple(Rect(**p) for p in data["pillars"]),
                panels=tuple(Panel(**p) for p in data["panels"]),
                seed=int(data.get("seed", 0)),
                look=Look.from_json(data["look"]) if data.get("look") else None,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a level: {error}") from error
        if level.look:
            _check_counts(level, level.look)
        return level


def _check_counts(level: Level, look: Look) -> None:
    for name, given, there in (
        ("doors", look.doors, level.doors), ("tints", look.tints, level.rooms), ("scales", look.scales, level.things),
    ):  # fmt: skip
        if given and len(given) != len(there):
            raise ValueError(f"not a level: its look has {len(given)} {name}; expected {len(there)}")


def joined(level: Level, door: int) -> tuple[int, int]:
    """The two rooms that door number `door` joins. Raises ValueError where it does not touch two rooms."""
    d = level.doors[door].rect
    found = [
        i
        for i, room in enumerate(level.rooms)
        if d.x0 <= room.rect.x1 and room.rect.x0 <= d.x1 and d.y0 <= room.rect.y1 and room.rect.y0 <= d.y1
    ]
    if len(found) != 2:
        raise ValueError(f"door {door} touches {len(found)} rooms, not two")
    return found[0], found[1]


def _marker_tid(panel: int) -> int:
    return 900 + panel


def door_tag(door: int) -> int:
    """The sector tag of door number `door`."""
    return 100 + door


def textmap(level: Level) -> str:
    """The level as UDMF text (namespace zdoom)."""
    return _Writer(level).text()


class _Writer:
    def __init__(self, level: Level) -> None:
        self.level = level
        self.vertices: dict[tuple[int, int], int] = {}
        self.lines: list[str] = []
        self.sides: list[str] = []
        areas = [*(room.rect for room in level.rooms), *(door.rect for door in level.doors)]
        cuts = [*areas, *level.pillars]
        self.xs = sorted({x for r in cuts for x in (r.x0, r.x1)} | {x for p in level.panels for x in (p.x0, p.x1)})
        self.ys = sorted({y for r in cuts for y in (r.y0, r.y1)} | {y for p in level.panels for y in (p.y0, p.y1)})
        column = {x: i for i, x in enumerate(self.xs)}
        row = {y: i for i, y in enumerate(self.ys)}
        self.owner = [[-1] * (len(self.ys) - 1) for _ in range(len(self.xs) - 1)]
        for index, rect in [*enumerate(areas), *((-1, pillar) for pillar in level.pillars)]:
            for i in range(column[rect.x0], column[rect.x1]):
                for j in range(row[rect.y0], row[rect.y1]):
                    self.owner[i][j] = index

    def _own(self, i: int, j: int) -> int:
        if 0 <= i < len(self.xs) - 1 and 0 <= j < len(self.ys) - 1:
            return self.owner[i][j]
        return -1

    def text(self) -> str:
        for i in range(len(self.xs)):
            for j in range(len(self.ys)):
                if i + 1 < len(self.xs):
                    # an edge to the east: its right-hand side is the south
                    self._edge((i, j), (i + 1, j), self._own(i, j - 1), self._own(i, j))
                if j + 1 < len(self.ys):
                    # an edge to the north: its right-hand side is the east
                    self._edge((i, j), (i, j + 1), self._own(i, j), self._own(i - 1, j))
        level = self.level
        vertices = [f"vertex{{x={x}.0;y={y}.0;}}" for x, y in self.vertices]
        sectors = [
            f'sector{{heightfloor=0;heightceiling={r.ceiling};texturefloor="{r.theme.floor}";'
            f'textureceiling="{r.theme.ceiling}";lightlevel={r.light};{self._tint(i)}}}'
            for i, r in enumerate(level.rooms)
        ] + [self._door_sector(i, door) for i, door in enumerate(level.doors)]
        x, y, angle = level.start
        things = [f"thing{{x={x}.0;y={y}.0;angle={angle};type=1;{_SKILLS}}}"]
        things += [
            f"thing{{x={t.x}.0;y={t.y}.0;angle=270;type={NUMBERS[t.kind, t.colour]};{self._scale(i)}{_SKILLS}}}"
            for i, t in enumerate(level.things)
        ]
        things += [
            f"thing{{id={_marker_tid(i)};x={x}.0;y={y}.0;angle={i};type={MARKER_NUMBER};{_SKILLS}}}"
            for i in range(len(level.panels))
        ]
        return "\n".join(['namespace = "zdoom";', *vertices, *self.lines, *self.sides, *sectors, *things])

    def _tint(self, room: int) -> str:
        look = self.level.look
        return f"lightcolor=0x{look.tints[room]};" if look and look.tints else ""

    def _scale(self, thing: int) -> str:
        look = self.level.look
        return f"scalex={look.scales[thing]:.3f};scaley={look.scales[thing]:.3f};" if look and look.scales else ""

    def _door_sector(self, index: int, door: Door) -> str:
        first = joined(self.level, index)[0]
        room = self.level.rooms[first]
        ceiling = 0 if door.kind != "open" else 96
        return (
            f'sector{{id={door_tag(index)};heightfloor=0;heightceiling={ceiling};texturefloor="{room.theme.floor}";'
            f'textureceiling="{room.theme.ceiling}";lightlevel={room.light};{self._tint(first)}}}'
        )

    def _vertex(self, i: int, j: int) -> int:
        return self.vertices.setdefault((self.xs[i], self.ys[j]), len(self.vertices))

    def _edge(self, a: tuple[int, int], b: tuple[int, int], right: int, left: int) -> None:
        """A line from a to b where the sectors on its two sides differ; the front is the right-hand side."""
        if right == left:
            return
        # The front must be a room: one-sided lines need a front, and doors are used from the room's side.
        if right == -1 or (left != -1 and left < right):
            a, b, right, left = b, a, left, right
        v1, v2 = self._vertex(*a), self._vertex(*b)
        if left == -1:
            self.lines.append(
                f"linedef{{v1={v1};v2={v2};sidefront={len(self.sides)};blocking=true;{self._wall(a, b, right)}"
            )
            return
        special = self._door_special(left - len(self.level.rooms))
        self.lines.append(
            f"linedef{{v1={v1};v2={v2};sidefront={len(self.sides)};sideback={len(self.sides) + 1};twosided=true;"
            f"{special}}}"
        )
        texture = self._door_texture(left - len(self.level.rooms), right)
        self.sides.append(f'sidedef{{sector={right};texturetop="{texture}";texturebottom="{texture}";}}')
        self.sides.append(f'sidedef{{sector={left};texturetop="{texture}";texturebottom="{texture}";}}')

    def _wall(self, a: tuple[int, int], b: tuple[int, int], sector: int) -> str:
        """The rest of a one-sided line: its panel if it is one, and its side."""
        level = self.level
        if sector >= len(level.rooms):
            door = sector - len(level.rooms)
            shut = level.doors[door].kind != "open"
            texture = "DOORTRAK" if shut else level.rooms[joined(level, door)[0]].theme.wall
            self.sides.append(f'sidedef{{sector={sector};texturemiddle="{texture}";}}')
            return "dontpegbottom=true;}"
        ax, ay, bx, by = self.xs[a[0]], self.ys[a[1]], self.xs[b[0]], self.ys[b[1]]
        for index, panel in enumerate(level.panels):
            # a grid line of something else may cut a panel into several lines: all of them are the panel
            if not (panel.x0 <= min(ax, bx) and max(ax, bx) <= panel.x1):
                continue
            if panel.y0 <= min(ay, by) and max(ay, by) <= panel.y1:
                first = (panel.x0 if bx > ax else panel.x1) if ay == by else (panel.y0 if by > ay else panel.y1)
                offset = abs((ax if ay == by else ay) - first)
                self.sides.append(f'sidedef{{sector={sector};texturemiddle="{panel.texture}";offsetx={offset};}}')
                if panel.door is None:  # 132: Thing_Remove(tid), the marker goes
                    special = f"special=132;arg0={_marker_tid(index)};"
                else:  # 11: Door_Open(tag, speed)
                    special = f"special=11;arg0={door_tag(panel.door)};arg1={_OPEN_SPEED};"
                return f"{special}playeruse=true;dontpegbottom=true;}}"
        # walls start their texture at a fixed place of the map, so that split walls look whole
        offset = (ax if ay == by else ay) % 128
        self.sides.append(
            f'sidedef{{sector={sector};texturemiddle="{level.rooms[sector].theme.wall}";offsetx={offset};}}'
        )
        return "}"

    def _door_texture(self, door: int, room: int) -> str:
        wall = self.level.rooms[room].theme.wall if room < len(self.level.rooms) else "-"
        if door < 0:
            return wall
        kind, colour = self.level.doors[door].kind, self.level.doors[door].colour
        if kind == "open":
            return wall
        look = self.level.look
        if look and look.doors:
            return look.doors[door]
        if kind == "locked":
            return DOOR_TEXTURES[colour or "red"]
        return PLAIN_DOOR if kind == "door" else REMOTE_DOOR

    def _door_special(self, door: int) -> str:
        if door < 0:
            return ""
        kind, colour = self.level.doors[door].kind, self.level.doors[door].colour
        if kind == "door":  # 11: Door_Open(tag, speed): it stays open
            return f"special=11;arg0={door_tag(door)};arg1={_OPEN_SPEED};playeruse=true;repeatspecial=true;"
        if kind == "locked":  # 13: Door_LockedRaise(tag, speed, delay, lock)
            args = f"arg0={door_tag(door)};arg1={_OPEN_SPEED};arg2=0;arg3={LOCKS[colour or 'red']}"
            return f"special=13;{args};playeruse=true;repeatspecial=true;"
        return ""
