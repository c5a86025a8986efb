"""`DoomVlm`: plays with a vision-language model that was trained to speak doom4.1, as checkpoints of earlier versions.

It keeps no state. Models that are trained now play as `agent.vlm.policy.VlmPolicy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from agent import doom_codec as codec
from agent.policy import Context, Decision, PolicySpec, Think, thought_budget
from agent.prompted import HISTORY, THOUGHT_TOKENS, TRAINED
from agent.vlm.chat_template import Cleaner, end_of_turn, seen_and_done, situation, to_model, tokenized
from agent.vlm.doom_grammar import Grammar, Turn, turn_text
from agent.vlm.free_text import Form, generate
from envs.action import Action

SPEECH_TOKENS = 32

ABOUT = f"You see a 3D world and act in it with keyboard and mouse. A decision lasts {codec.CHUNK} ticks."
HOW = """Answer with these lines and nothing else:
think: what you see and plan, if it helps
act: turn DEGREES look DEGREES [forward|back] [left|right] [attack|use|done]
say: something to the one who instructs you, if there is need
Turn is positive to the right, look is positive upwards. "done" says that the instruction is fulfilled.
Example: act: turn -16 look 0 forward"""


def messages(context: Context, form: Form, history: int, clean: Any = str) -> list[dict[str, Any]]:
    """The chat that asks for a decision: one message with text and at most `history` frames, the newest frame last.

    After each past frame come the action and the thought that followed it. `clean`: removes from what people and models
    wrote whatever the tokenizer would read as one of its marks.
    """
    content = situation(context, [ABOUT, *([HOW] if form == "text" else [])], clean)

    def turn(chunk: Sequence[Action], thought: str) -> str:
        return turn_text(form, Turn(codec.encode(chunk), clean(thought)))

    content += seen_and_done(context, history, turn)
    return [{"role": "user", "content": content}]


class DoomVlm:
    """Plays with an image-text-to-text model and its processor.

    `think`: "off", "auto" (the model chooses, up to THOUGHT_TOKENS) or the most tokens of a thought. `temperature`: 0
    takes the likeliest tokens; above 0 they are drawn with the context's seed. `spec.history`: frames in a prompt.
    Raises ValueError where the processor lacks what a dialogue needs.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        spec: PolicySpec | None = None,
        think: Think = "auto",
        speech: int = SPEECH_TOKENS,
        temperature: float = 0.0,
    ) -> None:
        self.model, self.processor, self.temperature = model.eval(), processor, temperature
        self.spec = spec or PolicySpec(TRAINED, history=HISTORY, chunk=codec.CHUNK, codec=codec.VERSION)
        self.grammar = Grammar(
            processor.tokenizer, end_of_turn(processor), thought=thought_budget(think, THOUGHT_TOKENS), speech=speech
        )

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision for each context, all in one batch."""
        seeds = [context.seed for context in contexts]
        inputs = self.encode(contexts)
        written = generate(self.model, self.processor.tokenizer, inputs, self.grammar, seeds, self.temperature)
        return [self._decision(ids) for ids in written]

    def encode(self, contexts: Sequence[Context]) -> dict[str, torch.Tensor]:
        """The model's inputs, padded on the left, on its device and in its precision."""
        clean = Cleaner(self.processor)
        chats = [messages(context, self.grammar.form, self.spec.history, clean) for context in contexts]
        return to_model(tokenized(self.processor, chats), self.model)

    def _decision(self, ids: Sequence[int]) -> Decision:
        turn = self.grammar.parse(ids)
        decision = codec.decode(turn.tokens)
        return Decision(decision.actions, turn.thought, turn.speech, decision.done)
