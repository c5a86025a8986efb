"""Phrasings and words: what people say for every verb, relation, thing and colour.

`TRAINING` and the plain tables are what demonstrations use; the `HELD_OUT` ones are only for evaluation. In a verb's
phrasings {x} stands for the thing, with its article but for "press".
"""

from __future__ import annotations

from tasks import templates

TRAINING: dict[str, tuple[str, ...]] = {
    "go_to": templates.COMMON["go_to"],
    "face": templates.COMMON["face"],
    "pick_up": (
        "pick up {x}", "take {x}", "grab {x}", "get {x}", "collect {x}", "fetch {x}", "pick {x} up",
        "go and get {x}", "go take {x}", "go grab {x}", "i want you to have {x}", "walk over {x} to take it",
        "find and collect {x}", "bring me {x}",
        "take {x} with you", "go fetch {x}", "find and grab {x}", "pick {x} up for me", "go to {x} and take it",
        "get me {x}", "i need {x}", "take hold of {x}", "snatch {x}", "walk onto {x}",
        "pick {x} up from the floor", "gather {x}", "acquire {x}", "go and collect {x}", "run and get {x}",
    ),
    "touch": (
        "touch {x}", "bump into {x}", "run into {x}", "walk into {x}", "push against {x}", "go right up against {x}",
        "make contact with {x}", "press yourself against {x}", "go until you hit {x}", "nudge {x}", "rub against {x}",
        "lean on {x}",
        "put a hand on {x}", "make sure that you touch {x}", "walk up to {x} and touch it", "feel {x}", "tap {x}",
        "go bump into {x}", "run right into {x}", "find {x} and touch it", "get in contact with {x}",
        "collide with {x}",
    ),
    "shoot": (
        "shoot {x}", "shoot at {x}", "fire at {x}", "kill {x}", "attack {x}", "open fire on {x}", "take down {x}",
        "gun down {x}", "destroy {x}", "put a bullet in {x}", "shoot {x} dead", "finish off {x}", "hit {x} with a shot",
        "get rid of {x}", "take a shot at {x}",
        "go shoot {x}", "find and shoot {x}", "kill {x} with your gun", "fire your gun at {x}", "fire on {x}",
        "go and kill {x}", "turn to {x} and shoot it", "slay {x}", "shoot at {x} until it falls", "let {x} have it",
        "terminate {x}", "execute {x}", "neutralize {x}", "find {x} and shoot it", "defeat {x}",
        "aim at {x} and shoot", "take {x} out", "use your gun on {x}", "blast {x}", "wipe out {x}",
    ),
    "look_up": (
        "look up", "look upwards", "raise your head", "tilt your view up", "look at the ceiling", "eyes up",
        "move your view up", "turn your head up", "look above you", "lift your eyes", "aim your view at the ceiling",
        "face the ceiling",
        "turn your eyes up", "look up high", "look to the ceiling", "move your eyes up", "tip your head back",
        "raise your view", "turn your view upwards", "view the ceiling", "look straight up", "lift your head",
    ),
    "look_down": (
        "look down", "look downwards", "lower your head", "tilt your view down", "look at the floor", "eyes down",
        "move your view down", "turn your head down", "look below you", "drop your eyes", "aim your view at the floor",
        "face the floor",
        "turn your eyes down", "look down low", "look to the floor", "move your eyes down", "bow your head",
        "lower your view", "turn your view downwards", "view the floor", "look straight down", "look at your feet",
    ),
    "stand_still": (
        "stand still", "stay where you are", "do not move", "don't move", "wait here", "stay put", "hold still",
        "freeze", "remain where you are", "do nothing", "just wait", "stop right there", "keep still",
        "wait", "stop", "do not do anything at all", "stay here", "stand there", "wait where you are", "stay still",
        "take a break", "rest here", "keep your place", "do not go anywhere",
    ),
    "press": (
        "press the {x}", "push the {x}", "use the {x}", "press the {x} on the wall", "hit the {x}", "go press the {x}",
        "go and push the {x}", "activate the {x}", "walk to the {x} and press it", "find the {x} and use it",
        "trigger the {x}", "operate the {x}", "flip the {x}",
        "go to the {x} and press it", "press that one {x}", "get the {x} pressed", "turn on the {x}",
        "walk to the {x} and use it", "go use that {x}", "pull the {x}", "throw the {x}",
        "look for the {x} and push it",
    ),
    "open": templates.COMMON["open"],
    "enter": (
        "enter the room with {x}", "go into the room with {x}", "go to the room with {x}",
        "walk into the room with {x}", "enter the room that has {x}", "go into the room where {x} is",
        "step into the room with {x}",
        "find the room with {x} and go in", "move into the room with {x}", "go inside the room with {x}",
        "get into the room with {x}", "go to the room where {x} is", "walk to the room where {x} is",
    ),
    "unlock": (
        "unlock {x}", "unlock {x} with its key", "find the key and unlock {x}", "get the key for {x} and open it",
        "fetch the key and unlock {x}", "go unlock {x}", "get {x} unlocked", "use its key on {x}",
        "find the key to {x} and open it", "open the lock of {x}", "take the key that fits and open {x}",
        "look for the key and unlock {x}", "open {x} with its key",
    ),
    "switch": (
        "press the switch to open {x}", "open {x} with the switch", "use the switch to open {x}",
        "push the switch so that {x} opens", "find the switch that opens {x}", "hit the switch to open {x}",
        "press the button that opens {x}", "operate the switch of {x}", "use the panel to open {x}",
        "flip the switch to open {x}", "get {x} open with the switch", "activate the switch that opens {x}",
        "press the switch that opens {x}",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "go_to": templates.COMMON_HELD_OUT["go_to"],
    "face": templates.COMMON_HELD_OUT["face"],
    "pick_up": ("go pick up {x}", "find {x} and take it", "get hold of {x}", "walk to {x} and pick it up"),
    "touch": ("go touch {x}", "walk up against {x}", "bump {x}", "go and make contact with {x}"),
    "shoot": ("eliminate {x}", "fire a shot at {x}", "shoot down {x}", "find {x} and kill it"),
    "look_up": ("look up at the ceiling", "tilt your head up", "point your view upwards", "raise your eyes"),
    "look_down": ("look down at the floor", "tilt your head down", "point your view downwards", "lower your eyes"),
    "stand_still": ("stay here and wait", "stand where you are", "don't do anything", "hold your position"),
    "press": ("go use the {x}", "push the {x} on the wall", "press that {x}", "find and press the {x}"),
    "open": templates.COMMON_HELD_OUT["open"],
    "enter": (
        "head into the room with {x}", "walk to the room that has {x}", "enter the room containing {x}",
        "visit the room with {x}",
    ),
    "unlock": (
        "undo the lock of {x}", "unlock {x} and open it", "bring the key to {x} and unlock it",
        "release {x} with the right key",
    ),
    "switch": (
        "trigger the switch that opens {x}", "make {x} open with the switch", "go to the switch and open {x} with it",
        "throw the switch for {x}",
    ),
}  # fmt: skip

# What stands between two steps, and what goes before the first of them.
THEN: tuple[tuple[str, str], ...] = (
    ("", ", then "),
    ("", " and then "),
    ("", ", and then "),
    ("", ". then "),
    ("", "; then "),
    ("", " then "),
    ("", ", after that "),
    ("", " and after that "),
    ("", ", and after that "),
    ("first ", ", then "),
    ("first ", " and then "),
    ("first ", ", after that "),
)
HELD_OUT_THEN: tuple[tuple[str, str], ...] = (
    ("", " and afterwards "),
    ("", ", and finally "),
    ("first ", ", and afterwards "),
    ("to begin with, ", ", and then "),
)

AVOID = (
    " without touching {y}",
    " but don't touch {y}",
    " but stay away from {y}",
    " and keep away from {y}",
    " while avoiding {y}",
    " but avoid {y}",
    " without bumping into {y}",
    " and don't touch {y}",
    " but do not touch {y}",
    " but keep clear of {y}",
    " and stay clear of {y}",
    " without running into {y}",
)
HELD_OUT_AVOID = (
    " but leave {y} alone",
    " without coming into contact with {y}",
    " and steer clear of {y}",
    " but never touch {y}",
)

# "{x} left of {y}", as seen from where one starts; "the nearer {x}".
RELATIONS: dict[str, tuple[str, ...]] = {
    "left_of": ("left of", "to the left of", "on the left of", "that is left of"),
    "right_of": ("right of", "to the right of", "on the right of", "that is right of"),
    "next_to": ("next to", "beside", "by", "close to", "near", "that is next to"),
    "nearer": ("nearer", "closer", "nearest", "closest"),
    "farther": ("farther", "further", "more distant", "far"),
}
HELD_OUT_RELATIONS: dict[str, tuple[str, ...]] = {
    "left_of": ("on the left side of", "standing left of"),
    "right_of": ("on the right side of", "standing right of"),
    "next_to": ("right beside", "standing next to"),
    "nearer": ("near",),
    "farther": ("farthest", "distant"),
}


NOUNS: dict[str, tuple[str, ...]] = {
    "key": ("key", "keycard", "key card"),
    "skull": ("skull",),
    "armor": ("armor", "armour", "body armor"),
    "map": ("map", "computer map"),
    "orb": ("orb", "sphere", "ball"),
    "mask": ("mask", "face mask"),
    "medikit": ("medikit", "medkit", "first aid kit"),
    "backpack": ("backpack", "rucksack"),
    "suit": ("suit", "radiation suit", "hazmat suit"),
    "torch": ("torch", "flame torch", "burning torch"),
    "column": ("column", "stone column"),
    "bush": ("bush", "small tree"),
    "barrel": ("barrel", "drum"),
    "candelabra": ("candelabra", "candle stand"),
    "eye": ("eye", "evil eye"),
    "pylon": ("pylon", "tech pillar"),
    "stump": ("stump", "dead tree", "tree stump"),
    "lamp": ("lamp", "light", "floor lamp"),
    "demon": ("demon", "serpent", "worm"),
    "imp": ("imp",),
    "zombie": ("zombie", "zombie man"),
    "cacodemon": ("cacodemon", "flying head"),
    "door": ("door", "wooden door"),
    "gate": ("gate", "metal door", "steel door"),
    "panel": ("switch", "panel", "button", "lever"),
}
HELD_OUT_NOUNS: dict[str, tuple[str, ...]] = {
    "key": ("access card", "card"),
    "armor": ("vest", "breastplate"),
    "orb": ("globe",),
    "medikit": ("health kit",),
    "torch": ("fire torch",),
    "column": ("marble column",),
    "bush": ("little tree",),
    "demon": ("snake",),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "yellow": ("yellow", "golden"),
}
HELD_OUT_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("scarlet",),
    "green": ("emerald",),
    "blue": ("azure",),
    "yellow": ("amber",),
}
