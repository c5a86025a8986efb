"""Grammars of the action language for constrained decoding, made from a codec: regex, GBNF, JSON schema.

They admit the canonical order of the parts, which `Codec.write` writes and `Codec.read` reads, and only what the world
has. What they can't say, such as keys that may not be held together, is left to `Codec.read`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.codec import Codec
from agent.key_names import mouse

MOST_KEYS = 4  # that are held, or tapped, in a stretch
MOST_STRETCHES = 6
MOST_TYPED = 40  # characters
THINK, SPEECH = 240, 120  # characters of a thought, and of what is said


def regex(codec: Codec) -> str:
    """A regular expression of the actions of `codec` as text. It has neither groups that capture nor lookaround."""
    stretch = _stretch(_parts(codec))
    return f"(?:{stretch}(?: then {stretch}){{0,{MOST_STRETCHES - 1}}}(?: done)?|done)"


def turn_regex(codec: Codec, *, think: int = THINK, speech: int = SPEECH) -> str:
    """A regular expression of a whole turn: thought, action, speech. `think`, `speech`: characters; 0 forbids them."""
    thought = f"(?:think: [^\\n]{{1,{think}}}\\n)?" * bool(think)
    said = f"(?:\\nsay: [^\\n]{{1,{speech}}})?" * bool(speech)
    return f"{thought}act: {regex(codec)}{said}"


def json_schema(codec: Codec) -> dict[str, Any]:
    """A JSON schema of a turn, with the action as text."""
    return {
        "type": "object",
        "properties": {
            "think": {"type": "string", "maxLength": THINK},
            "act": {"type": "string", "pattern": f"^{regex(codec)}$"},
            "say": {"type": "string", "maxLength": SPEECH},
        },
        "required": ["act"],
        "additionalProperties": False,
    }


def gbnf(codec: Codec, *, think: int = THINK, speech: int = SPEECH) -> str:
    """The turns in the notation of llama.cpp and xgrammar (GBNF); see `turn_regex`."""
    parts = [part.gbnf for part in _parts(codec)]
    thought = f'("think: " [^\\n]{{1,{think}}} "\\n")? ' * bool(think)
    said = f' ("\\nsay: " [^\\n]{{1,{speech}}})?' * bool(speech)
    lines = [
        f'root ::= {thought}"act: " action{said}',
        f'action ::= stretch (" then " stretch){{0,{MOST_STRETCHES - 1}}} (" done")? | "done"',
        " | ".join(['stretch ::= "wait" (" " part-time)?', *(f"part-{i} rest-{i + 1}" for i in range(len(parts) - 1))]),
    ]
    for i, part in enumerate(parts):
        lines.append(f"part-{i} ::= {part}")
        after = f" rest-{i + 1}" if i + 1 < len(parts) else ""
        lines.append(f'rest-{i} ::= (" " part-{i})?{after}')
    return "\n".join(lines).replace(f"part-{len(parts) - 1}", "part-time") + "\n"


@dataclass(frozen=True)
class _Part:
    """A part of a stretch in both notations."""

    regex: str
    gbnf: str


def _parts(codec: Codec) -> list[_Part]:
    """The parts that the world has, in their canonical order; the last one is the time."""
    parts = []
    events = []
    if codec.keys:
        parts.append(_list("hold", codec.keys, MOST_KEYS))
        modifiers = [key for key in ("ControlLeft", "ShiftLeft", "AltLeft") if key in codec.keys]
        events.append(_list("tap", (*codec.keys, *map(mouse, codec.buttons)), MOST_KEYS, modifiers))
    if codec.buttons:
        parts.append(_list("press", codec.buttons, len(codec.buttons)))
        events.append(_list("click", codec.buttons, 2))
    if codec.types:
        typed = codec.space.characters.items()
        events.append(_text([character for character, chord in typed if chord <= set(codec.keys)]))
    if events:
        one = _either(events)
        parts.append(_Part(f"{one.regex}(?: {one.regex}){{0,2}}", f'{one.gbnf} (" " {one.gbnf}){{0,2}}'))
    if codec.looks:
        parts.append(_numbers("look", _DEGREES, 2))
    if codec.space.pointer:
        point = _numbers("point", _THOUSANDTHS, 2)
        parts.append(_either([point, _numbers("drag", _THOUSANDTHS, 4)]) if "left" in codec.buttons else point)
    if codec.space.wheel:
        parts.append(_numbers("wheel", _NOTCHES, 1))
    return [*parts, _Part("for [1-9][0-9]{0,3}ms", '"for " [1-9] [0-9]{0,3} "ms"')]


_DEGREES = _Part("-?(?:1[0-7][0-9]|[1-9]?[0-9])", '"-"? ("1" [0-7] [0-9] | [1-9]? [0-9])')
_THOUSANDTHS = _Part("(?:1000|[1-9]?[0-9]{1,2})", '("1000" | [1-9]? [0-9]{1,2})')
_NOTCHES = _Part("-?(?:1[0-9]|[1-9])", '"-"? ("1" [0-9] | [1-9])')


def _stretch(parts: list[_Part]) -> str:
    rest, heads = "", []
    for part in reversed(parts):
        if part is not parts[-1]:
            heads.append(part.regex + rest)
        rest = f"(?: {part.regex})?{rest}"
    return "(?:" + "|".join([f"wait(?: {parts[-1].regex})?", *reversed(heads)]) + ")"


def _list(verb: str, names: Sequence[str], most: int, modifiers: Sequence[str] = ()) -> _Part:
    """A verb and up to `most` names; one of the `modifiers` may go with each."""
    one = f"(?:{'|'.join(names)})"
    quoted = "(" + " | ".join(f'"{name}"' for name in names) + ")"
    if modifiers:
        one = f"(?:(?:{'|'.join(modifiers)})\\+)?{one}"
        quoted = "((" + " | ".join(f'"{name}"' for name in modifiers) + f') "+")? {quoted}'
    return _Part(f"{verb} {one}(?: {one}){{0,{most - 1}}}", f'"{verb} " {quoted} (" " {quoted}){{0,{most - 1}}}')


def _numbers(verb: str, number: _Part, count: int) -> _Part:
    return _Part(verb + f" {number.regex}" * count, f'"{verb}"' + f' " " {number.gbnf}' * count)


def _either(parts: list[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    return _Part(f"(?:{'|'.join(p.regex for p in parts)})", f"({' | '.join(p.gbnf for p in parts)})")


def _text(characters: list[str]) -> _Part:
    """Quoted text of these characters, with the escapes of JSON."""
    plain = "".join(f"\\{c}" if c in "]^-" else c for c in characters if c not in '"\\\n\t')
    escapes = "".join({"\n": "n", "\t": "t"}.get(c, f"\\{c}" if c == "\\" else c) for c in characters if c in '"\\\n\t')
    inner = f"[{plain}]" if not escapes else f"(?:[{plain}]|\\\\[{escapes}])"
    bare = f"[{plain}]" if not escapes else f'([{plain}] | "\\\\" [{escapes}])'
    return _Part(f'type "{inner}{{1,{MOST_TYPED}}}"', f'"type \\"" {bare}{{1,{MOST_TYPED}}} "\\""')
