"""A draft of the next decision, which the decoder checks in one pass (speculative decoding, Leviathan et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

from agent import doom_codec as codec
from agent.sight import NOWHERE
from agent.small.output_grammar import SPOKEN, Output
from agent.small.prompt import Prompt
from agent.small.token_ids import GO, PLACE, SAY, STARTS, WORD_ID

_UNSAID = frozenset({"the", "a", "an"})  # words of the instruction that its confirmation leaves out


def draft(prompt: Prompt, think: int) -> list[int]:
    """The tokens of a likely decision: the last one again, since the next decision is often much like it. The first
    decision of an instruction is one that confirms the instruction in its own words."""
    if len(prompt.past):
        values = prompt.past[-1].tolist()
        words = [WORD_ID[word] for word in prompt.thought if word in WORD_ID][:think]
    else:
        values = [*NOWHERE, *codec.NOOP]
        said = ("ok", *(word for word in prompt.request if word not in _UNSAID))
        words = [SAY, *(WORD_ID[word] for word in said if word in WORD_ID)][: 1 + SPOKEN]
    fields = [start + value for start, value in zip(STARTS, values, strict=True)]
    return [*fields[:PLACE], *words, GO, *fields[PLACE:]]


def rest_of(drafted: Sequence[int], output: Output) -> list[int]:
    """What comes next in an output if it goes on as drafted, without its last token, which nothing follows."""
    go = drafted.index(GO)
    say = drafted.index(SAY) if SAY in drafted else go
    if output.went >= 0:
        at = go + len(output.tokens) - output.went
    elif output.said >= 0:
        spoken = list(drafted[say:go])
        last = output.tokens[-1]
        same = spoken.index(last) + 1 if last in spoken else len(output.tokens) - output.said
        at = min(say + same, go)
    else:
        at = min(len(output.tokens), say)
    return list(drafted[at:-1])
