"""The classes of the segmentation head: what a cell of a frame shows, split into a kind and a colour.

The head's list of names is part of every checkpoint: new names come last.
"""

from __future__ import annotations

import numpy as np

from envs.doom.things import CLASSES, COLOURS, KINDS
from envs.playroom import things as playroom
from tasks.doom.scene import FIXTURES, PANEL, PRESSED

CELL = 4  # pixels along a side of a cell
UNKNOWN = 247  # the class of cells of which nobody says what they show

PLAYROOM = 256  # added to the playroom's classes, which stand behind doom's
FIXTURE_NAMES = ("doorway", "door", "gate")
_PLAYROOM_KINDS = list(dict.fromkeys(kind for kind, _ in playroom.CLASSES))
SWITCHES = {PANEL: "switch", PRESSED: "pressed switch"}  # classes of cells that show a switch
KIND_NAMES = (
    "none", *KINDS, *FIXTURE_NAMES, *(f"playroom {kind}" for kind in _PLAYROOM_KINDS), *SWITCHES.values(),
)  # fmt: skip
COLOUR_NAMES = ("none", *dict.fromkeys((*COLOURS, *playroom.COLOURS)))
# The kind and the colour of every class, as an index into the names; 0 is "none".
KIND_OF = np.zeros(2 * PLAYROOM, np.uint8)
COLOUR_OF = np.zeros(2 * PLAYROOM, np.uint8)
for (_kind, _colour), _class in CLASSES.items():
    KIND_OF[_class] = KIND_NAMES.index(_kind)
    COLOUR_OF[_class] = COLOUR_NAMES.index(_colour) if _colour else 0
for _class, (_kind, _colour) in FIXTURES.items():
    if _kind in FIXTURE_NAMES:
        KIND_OF[_class] = KIND_NAMES.index(_kind)
        COLOUR_OF[_class] = COLOUR_NAMES.index(_colour) if _colour else 0
for _class, _kind in SWITCHES.items():
    KIND_OF[_class] = KIND_NAMES.index(_kind)
for (_kind, _colour), _class in playroom.CLASSES.items():
    KIND_OF[PLAYROOM + _class] = KIND_NAMES.index(f"playroom {_kind}")
    COLOUR_OF[PLAYROOM + _class] = COLOUR_NAMES.index(_colour) if _colour else 0
