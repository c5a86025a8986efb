"""How people ask: the phrasings of questions. {x} is a noun, {a} one with its article, {xs} its plural."""

from __future__ import annotations

TRAINING: dict[str, tuple[str, ...]] = {
    "colour": (
        "what colour is the {x}", "what color is the {x}", "which colour is the {x}", "what colour has the {x}",
        "tell me the colour of the {x}", "what is the colour of the {x}", "the {x} is what colour",
        "which color does the {x} have", "name the colour of the {x}",
    ),
    "is_there": (
        "is there {a}", "do you see {a}", "can you see {a}", "is {a} in view", "is there {a} here",
        "is {a} in front of you", "do you see {a} here", "is there {a} in view", "are you looking at {a}",
        "can you spot {a}",
    ),
    "count": (
        "how many {xs} are there", "how many {xs} do you see", "how many {xs} can you see", "how many {xs} are in view",
        "count the {xs}", "what is the number of {xs}", "how many {xs} are here", "tell me how many {xs} you see",
    ),
    "count_all": (
        "how many things do you see", "how many things are there", "how many things are in view", "count the things",
        "how many things can you see", "how many objects do you see", "what is the number of things",
        "tell me how many things you see",
    ),
    "where": (
        "where is the {x}", "where do you see the {x}", "on which side is the {x}", "which way is the {x}",
        "tell me where the {x} is", "is the {x} left, right or ahead", "in which direction is the {x}",
        "where can you see the {x}", "where's the {x}",
    ),
    "nearest": (
        "what is nearest", "what is the nearest thing", "which thing is nearest", "what is closest to you",
        "which thing is closest", "what is the closest thing", "what is nearest to you", "name the nearest thing",
    ),
    "left_of": (
        "what is left of the {x}", "what is to the left of the {x}", "what is on the left of the {x}",
        "which thing is left of the {x}", "what do you see left of the {x}", "what stands left of the {x}",
        "name the thing left of the {x}", "what is next to the {x} on the left",
    ),
    "right_of": (
        "what is right of the {x}", "what is to the right of the {x}", "what is on the right of the {x}",
        "which thing is right of the {x}", "what do you see right of the {x}", "what stands right of the {x}",
        "name the thing right of the {x}", "what is next to the {x} on the right",
    ),
    "lock": (
        "what colour is the lock", "what color is the lock", "what colour is the door", "which key opens the door",
        "what colour is the locked door", "which key does the door need", "what colour of key opens the door",
        "which colour has the lock",
    ),
    "memory_picked": (
        "what did you pick up", "what did you take", "which thing did you pick up", "what have you picked up",
        "what have you taken", "what did you collect", "tell me what you picked up",
    ),
    "memory_picked_count": (
        "how many things did you pick up", "how many things did you take", "how many things have you picked up",
        "how many items did you pick up", "how many things have you taken", "count the things you picked up",
        "how many things did you collect",
    ),
    "memory_touch": (
        "did you touch the {x}", "have you touched the {x}", "did you bump into the {x}", "was the {x} touched",
        "have you bumped into the {x}", "tell me if you touched the {x}",
    ),
    "memory_shoot": (
        "did you shoot the {x}", "have you shot the {x}", "did you kill the {x}", "was the {x} shot",
        "have you killed the {x}", "tell me if you shot the {x}",
    ),
    "memory_pick_up": (
        "did you pick up the {x}", "have you picked up the {x}", "did you take the {x}", "have you taken the {x}",
        "did you collect the {x}", "tell me if you picked up the {x}",
    ),
    "memory_see": (
        "did you see the {x}", "have you seen the {x}", "was there {a}", "did you see {a}", "have you seen {a}",
        "tell me if you saw the {x}",
    ),
    "memory_rooms": (
        "how many rooms did you visit", "how many rooms were you in", "how many rooms have you seen",
        "in how many rooms were you", "how many rooms have you visited", "how many rooms did you enter",
        "tell me how many rooms you were in",
    ),
    "memory_first": (
        "what did you do first", "what was the first thing you did", "what did you begin with", "how did you start",
        "what did you start with", "tell me what you did first",
    ),
    "memory_last": (
        "what did you do last", "what was the last thing you did", "what did you just do", "what have you done last",
        "what did you end with", "tell me what you did last",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "colour": ("do you know the colour of the {x}", "of what colour is the {x}"),
    "is_there": ("is {a} visible", "do you notice {a}"),
    "count": ("how many {xs} are visible", "say how many {xs} there are"),
    "count_all": ("how many things are visible", "say how many things there are"),
    "where": ("say where the {x} is", "whereabouts is the {x}"),
    "nearest": ("what is the least far away", "which thing is the closest one"),
    "left_of": ("what can you see on the left side of the {x}", "say what is left of the {x}"),
    "right_of": ("what can you see on the right side of the {x}", "say what is right of the {x}"),
    "lock": ("of what colour is the lock", "which key do you need for the door"),
    "memory_picked": ("what was picked up", "say what you took"),
    "memory_picked_count": ("how many things were picked up", "say how many things you took"),
    "memory_touch": ("is it true that you touched the {x}", "did you make contact with the {x}"),
    "memory_shoot": ("is it true that you shot the {x}", "did you fire at the {x}"),
    "memory_pick_up": ("is it true that you took the {x}", "did you grab the {x}"),
    "memory_see": ("is it true that you saw the {x}", "did you notice the {x}"),
    "memory_rooms": ("what is the number of rooms you visited", "say how many rooms you saw"),
    "memory_first": ("what came first", "say what you did at the start"),
    "memory_last": ("what came last", "say what you did at the end"),
}  # fmt: skip

OPENINGS = ("", "", "", "", "", "hey, ", "ok, ", "now, ")

# Fixtures, with their colours where a lock has one.
PLACE_NOUNS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("door", None): ("door", "wooden door"),
    ("door", "red"): ("red door", "red door", "door with the red lock"),
    ("door", "blue"): ("blue door", "blue door", "door with the blue lock"),
    ("door", "yellow"): ("yellow door", "yellow door", "door with the yellow lock"),
    ("gate", None): ("gate", "metal door", "steel door"),
    ("doorway", None): ("doorway", "open doorway", "passage"),
    ("switch", None): ("switch", "panel", "button", "lever"),
}
