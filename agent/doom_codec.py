"""The action codec of `small` and of trained vision-language models; agent/codec.py has that of every world.

Version "doom4.1": a decision lasts 4 ticks and takes four tokens, in this order:

    turn   17 bins   yaw over the whole decision, degrees (`TURNS`)
    look    5 bins   pitch over the whole decision, degrees (`LOOKS`)
    move    9 bins   W/S (none, forward, back) x A/D (none, left, right), held for all ticks
    hand    4 bins   none, attack (left button), use (KeyE), done

Encoding rounds to the nearest bins, so `encode(decode(tokens)) == tokens` for every token quadruple.

Models that are prompted write the same decision as plain text, see `to_text` and `from_text`:

    turn 16 look 0 forward left attack     turn right by 16 degrees, walk forward and left, hold the left button
    turn -4 look 12                        turn left by 4 degrees and look up by 12, standing
    turn 0 look 0 back use                 step back, press KeyE
    turn 0 look 0 done                     do nothing: the task is done
"""

from __future__ import annotations

import math
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
KEYS, BUTTONS = ("KeyW", "KeyA", "KeyS", "KeyD", "KeyE"), ("left",)  # all that it uses, with look
HANDS = ("none", "attack", "use", "done")
_FORTH_WORDS = ("", "forward", "back")
_SIDE_WORDS = ("", "left", "right")
SIZES = (len(TURNS), len(LOOKS), len(_FORTH) * len(_SIDE), len(HANDS))

Tokens = tuple[int, int, int, int]
NOOP: Tokens = (TURNS.index(0.0), LOOKS.index(0.0), 0, 0)


def _nearest(values: Sequence[float], x: float) -> int:
    return int(np.argmin([abs(v - x) for v in values]))


def _check(tokens: Sequence[int]) -> None:
    if len(tokens) != 4 or not all(0 <= t < n for t, n in zip(tokens, SIZES, strict=True)):
        raise ValueError(f"action tokens: expected four below {SIZES}, got {tuple(tokens)}")


def tokens_of(turn: float = 0.0, look: float = 0.0, forth: int = 0, side: int = 0, hand: str = "none") -> Tokens:
    """The tokens of a decision. `turn`, `look`: degrees, right and up positive. `forth`, `side`: -1, 0 or 1, forward
    and right positive. `hand`: one of HANDS."""
    move = (0, 1, 2)[forth] * 3 + (0, 2, 1)[side]
    return _nearest(TURNS, turn), _nearest(LOOKS, look), move, HANDS.index(hand)


def decode(tokens: Sequence[int]) -> Decision:
    """The decision that four tokens stand for. Raises ValueError if a token is out of its range."""
    _check(tokens)
    turn, look, move, hand = (int(t) for t in tokens)
    keys = {key for key in (_FORTH[move // 3], _SIDE[move % 3]) if key}
    action = Action(
        keys=frozenset(keys),
        buttons=frozenset({"left"}) if HANDS[hand] == "attack" else frozenset(),
        look=(TURNS[turn] / CHUNK, LOOKS[look] / CHUNK),
    )
    if HANDS[hand] == "use":  # games act on the press, so every decision presses the key anew
        use = replace(action, keys=action.keys | {"KeyE"})
        return Decision((use,) * (CHUNK // 2) + (action,) * (CHUNK // 2))
    return Decision((action,) * CHUNK, done=HANDS[hand] == "done")


def encode(actions: Sequence[Action], done: bool = False) -> Tokens:
    """The tokens nearest to a chunk of actions: the sum of its turns, and what it holds for at least half of its ticks.
    Raises ValueError for an empty chunk."""
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


TEXT_FORM = (
    "'turn DEGREES look DEGREES [forward|back] [left|right] [attack|use|done]', such as 'turn 16 look 0 forward'"
)


def to_text(tokens: Sequence[int]) -> str:
    """The plain-text form of four tokens. Raises ValueError if a token is out of its range."""
    _check(tokens)
    turn, look, move, hand = (int(t) for t in tokens)
    words = [f"turn {TURNS[turn]:g} look {LOOKS[look]:g}", _FORTH_WORDS[move // 3], _SIDE_WORDS[move % 3]]
    return " ".join(word for word in (*words, HANDS[hand] if hand else "") if word)


def from_text(text: str) -> Tokens:
    """The tokens of a plain-text action; `from_text(to_text(tokens)) == tokens`.

    The parts may come in any order and case. A part that is left out is neutral; degrees go to the nearest bin. Raises
    ValueError that says what was wrong and what was expected.
    """
    words = iter(text.lower().split())
    found: dict[str, str] = {}
    fields = {"forward": "forth", "back": "forth", "left": "side", "right": "side"}
    fields |= dict.fromkeys(HANDS, "hand")
    for word in words:
        field = fields.get(word, word)
        if field in found:
            raise ValueError(f"action text {text!r}: {word!r} beside another {field!r}; expected {TEXT_FORM}")
        if word in fields:
            found[field] = word
        elif word in ("turn", "look"):
            found[word] = next(words, "")
        else:
            raise ValueError(f"action text {text!r}: unknown word {word!r}; expected {TEXT_FORM}")
    if not found:
        raise ValueError(f"action text {text!r} is empty; expected {TEXT_FORM}")
    degrees = {}
    for field in ("turn", "look"):
        try:
            degrees[field] = float(found.get(field, "0"))
        except ValueError:
            degrees[field] = math.nan
        if not math.isfinite(degrees[field]):
            raise ValueError(f"action text {text!r}: {field} takes degrees, not {found[field]!r}; expected {TEXT_FORM}")
    return (
        _nearest(TURNS, degrees["turn"]),
        _nearest(LOOKS, degrees["look"]),
        _FORTH_WORDS.index(found.get("forth", "")) * 3 + _SIDE_WORDS.index(found.get("side", "")),
        HANDS.index(found.get("hand", "none")),
    )
