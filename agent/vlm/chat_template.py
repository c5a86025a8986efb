"""What talking to a model of transformers takes, whatever is said: turns, pictures, devices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from agent.policy import Context
from agent.prompted import mouse_now, speaker
from envs.action import Action


def end_of_turn(processor: Any) -> int:
    """The id that ends a turn of the assistant in the processor's chat template, or the tokenizer's end of text.

    Raises ValueError where the processor has no chat template.
    """
    if not getattr(processor, "chat_template", None):
        raise ValueError("the model's processor has no chat template; take a model that was made for dialogue")
    tokenizer = processor.tokenizer
    mark = "ludens"
    talk = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    answer = {"role": "assistant", "content": [{"type": "text", "text": mark}]}
    rest = processor.apply_chat_template([*talk, answer]).rpartition(mark)[2].strip()
    ids = tokenizer.encode(rest, add_special_tokens=False) if rest else []
    if ids and ids[0] in {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}:
        return int(ids[0])
    if tokenizer.eos_token_id is None:
        raise ValueError("the model's tokenizer has no token that ends a turn")
    return int(tokenizer.eos_token_id)


def picture_part(frame: Any) -> dict[str, Any]:
    """A picture as a part of a message."""
    return {"type": "image", "image": Image.fromarray(frame)}


class Cleaner:
    """Removes the marks of a tokenizer, such as image places and ends of turns, from text."""

    def __init__(self, processor: Any) -> None:
        added = {token.content for token in processor.tokenizer.added_tokens_decoder.values()}
        added |= {t for t in (getattr(processor, "image_token", None), getattr(processor, "boi_token", None)) if t}
        marks = sorted((mark for mark in added if mark.strip()), key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)) or r"(?!)")

    def __call__(self, text: str) -> str:
        while (cleaned := self._marks.sub(" ", text)) != text:  # what is left may form a mark again
            text = cleaned
        return text


def tokenized(processor: Any, chats: Sequence[list[dict[str, Any]]]) -> Mapping[str, torch.Tensor]:
    """The model's inputs for chats that ask for an answer, padded on the left: `input_ids` and `attention_mask` (B, L),
    and whatever the model's processor adds."""
    result: Mapping[str, torch.Tensor] = processor.apply_chat_template(
        list(chats),
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    return result


def to_model(inputs: Mapping[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """`inputs` on the device of `model`, its floats in the model's precision."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def situation(context: Context, lines: list[str], clean: Any = str) -> list[dict[str, Any]]:
    """How the message that asks for a decision begins: `lines`, then the memory, the dialogue, the instruction and the
    picture of what is wanted. `clean`: removes from texts what the tokenizer would read as one of its marks."""
    lines = list(lines)
    if context.memory:
        lines.append(f"What happened so far: {clean(context.memory)}")
    lines += [f"{clean(speaker(who))}: {clean(what)}" for who, what in context.dialogue]
    lines += [*mouse_now(context), f"Instruction: {clean(context.instruction)}"]
    content: list[dict[str, Any]] = [{"type": "text", "text": "\n".join(lines) + "\n"}]
    if context.picture is not None:
        content += [{"type": "text", "text": "Wanted:"}, picture_part(context.picture), {"type": "text", "text": "\n"}]
    return content


def seen_and_done(
    context: Context, history: int, turn: Callable[[Sequence[Action], str], str]
) -> Iterator[dict[str, Any]]:
    """The last `history` frames, and after each but the newest what was done then. `turn`: writes a chunk and the
    thought of its decision, on one line, as the model's turn."""
    frames = context.frames[-history:]
    past = len(frames) - 1
    chunks = context.actions[-past:] if past else ()
    thoughts = context.thoughts[-past:] if past else ()
    for i, frame in enumerate(frames):
        yield picture_part(frame)
        at = i - (past - len(chunks))
        if i < past and at >= 0 and chunks[at]:
            thought = thoughts[i - (past - len(thoughts))] if i >= past - len(thoughts) else ""
            yield {"type": "text", "text": f"\n{turn(chunks[at], ' '.join(thought.split()))}\n"}
