"""Action codec: a chunk of actions to a few tokens and back.

Version "doom4.1": a decision lasts 4 ticks and takes four tokens, in this order:

    turn   17 bins   yaw over the whole decision, degrees (`TURNS`)
    look    5 bins   pitch over the whole decision, degrees (`LOOKS`)
    move    9 bins   W/S (none, forward, back) x A/D (none, left, right), held for all ticks
    hand    4 bins   none, attack (left button), use (KeyE), done

Encoding rounds to the nearest bins, so `encode(decode(tokens)) == tokens` for every token quadruple.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agent.policy import Decision
from envs.action import Action

VERSION = "doom4.1"
CHUNK = 4  # ticks in a decision

TURNS = (-32.0, -23.0, -16.0, -11.0, -7.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 23.0, 32.0)
LOOKS = (-12.0, -4.0, 0.0, 4.0, 12.0)
_FORTH = (None, "KeyW", "KeyS")
_SIDE = (None, "KeyA", "KeyD")
HANDS = ("none", "attack", "use", "done")
SIZES = (len(TURNS), len(LOOKS), len(_FORTH) * len(_SIDE), len(HANDS))

Tokens = tuple[int, int, int, int]
NOOP: Tokens = (TURNS.index(0.0), LOOKS.index(0.0), 0, 0)


def _nearest(values: Sequence[float], x: float) -> int:
    return int(np.argmin([abs(v - x) for v in values]))


def tokens_of(turn: float = 0.0, look: float = 0.0, forth: int = 0, side: int = 0, hand: str = "none") -> Tokens:
    """Tokens of a decision in plain terms: degrees, `forth` and `side` of -1, 0, 1 (forward and right positive)."""
    move = (0, 1, 2)[forth] * 3 + (0, 2, 1)[side]
    return _nearest(TURNS, turn), _nearest(LOOKS, look), move, HANDS.index(hand)


def decode(tokens: Sequence[int]) -> Decision:
    """The decision that four tokens stand for. Raises ValueError where a token is out of its range."""
    if len(tokens) != 4 or not all(0 <= t < n for t, n in zip(tokens, SIZES, strict=True)):
        raise ValueError(f"action tokens: expected four below {SIZES}, got {tuple(tokens)}")
    turn, look, move, hand = (int(t) for t in tokens)
    keys = {key for key in (_FORTH[move // 3], _SIDE[move % 3]) if key}
    action = Action(
        keys=frozenset(keys),
        buttons=frozenset({"left"}) if HANDS[hand] == "attack" else frozenset(),
        look=(TURNS[turn] / CHUNK, LOOKS[look] / CHUNK),
    )
    if HANDS[hand] == "use":  # games act on the press, so the key goes down anew in every decision
        use = replace(action, keys=action.keys | {"KeyE"})
        return Decision((use,) * (CHUNK // 2) + (action,) * (CHUNK // 2))
    return Decision((action,) * CHUNK, done=HANDS[hand] == "done")


def encode(actions: Sequence[Action], done: bool = False) -> Tokens:
    """The tokens nearest to a chunk of actions: summed turns, and what is held for at least half of the ticks."""
    if not actions:
        raise ValueError("cannot encode an empty chunk")

    def held(name: str) -> bool:
        return 2 * sum(name in a.keys or name in a.buttons for a in actions) >= len(actions)

    hand = "done" if done else "attack" if held("left") else "use" if held("KeyE") else "none"
    return tokens_of(
        sum(a.look[0] for a in actions),
        sum(a.look[1] for a in actions),
        held("KeyW") - held("KeyS"),
        held("KeyD") - held("KeyA"),
        hand,
    )
