"""The words that `small` can write, in thoughts, speech, answers, captions, proposals and reasons.

It can read any word (agent.small.word_hashing). A new word goes to the end of WORDS: the weights depend on the order.
"""

from __future__ import annotations

# The plain names of things and colours, as tasks.doom.phrases has them first.
NAMES = (
    "key", "skull", "armor", "map", "orb", "mask", "medikit", "backpack", "suit", "torch", "column", "bush", "barrel",
    "candelabra", "eye", "pylon", "stump", "lamp", "demon", "imp", "zombie", "cacodemon", "door", "gate", "switch",
    "red", "green", "blue", "yellow",
)  # fmt: skip
NUMBERS = tuple(str(n) for n in range(21))
# Scores of the judge in steps of 5. Each is one token, so that one distribution holds the whole score.
SCORES = tuple(f"score{n}" for n in range(0, 101, 5))
WORDS = (
    "a", "the", "i", "you", "it", "is", "are", "no", "yes", "not", "to", "of", "and", "or", "in", "on", "at", "go",
    "pick", "up", "down", "take", "shoot", "face", "touch", "press", "open", "enter", "look", "stand", "still", "room",
    "with", "here", "there", "left", "right", "ahead", "near", "far", "view", "nothing", "see", "then", "unlock",
    "which", "done", "step", "around", "back", "?",
    "did", "was", "picked", "took", "reached", "reach", "went", "faced", "touched", "shot", "looked", "stood",
    "pressed", "opened", "entered", "moved", "wrong", "way", "other",
    "doorway", "rooms", "saw", "unlocked", ".",
    "second", "walk", "ok", "thing", "things", "next", "nearer", "farther",
    # things and actions of other worlds
    "purple", "white", "cube", "ball", "cylinder", "plate", "cup", "bottle", "book", "ring", "cone", "pyramid", "star",
    "duck", "car", "boat", "house", "tree", "mushroom", "snowman", "rocket", "dumbbell", "hat", "cross", "chair",
    "robot", "cactus", "arch", "stairs", "table", "shelf", "bin", "bench", "bed", "rug", "block", "pillar", "wall",
    "chest", "lift", "put", "push", "stack", "dig", "collect", "place",
    "do", "understand",
)  # fmt: skip
VOCABULARY = (*NAMES, *NUMBERS, *SCORES, *WORDS)
PLAN = "plan"  # the word before a goal that is to be taken apart
