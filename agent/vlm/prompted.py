"""`PromptedVlm`: plays any world with an image-text-to-text model of transformers that is only prompted.

Where the package xgrammar is installed (the extra `schema`), the model can write nothing but turns of the world's
action language. Elsewhere it writes freely, and a turn that can't be read does nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

from agent.action_grammar import gbnf
from agent.codec import ActionTextError
from agent.policy import Context, Decision, Sent, Think, thought_budget
from agent.prompted import THOUGHT_TOKENS, Setting
from agent.vlm.chat_template import Cleaner, end_of_turn, picture_part, situation, to_model, tokenized
from envs.world import World

SPEECH_TOKENS, ACTION_TOKENS = 32, 160
_CHARACTERS = 4  # of a token of free text


class PromptedVlm:
    """Plays with an image-text-to-text model and its processor, in the world that it is fitted to (`for_world`).

    `think`: "off", "auto" (the model chooses, up to THOUGHT_TOKENS) or the most tokens of a thought. `temperature`: 0
    takes the likeliest tokens; above 0 they are drawn with the context's seed. `setting`: its view is what the model is
    shown. Raises ValueError where the processor lacks what a dialogue needs.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        setting: Setting | None = None,
        think: Think = "auto",
        speech: int = SPEECH_TOKENS,
        temperature: float = 0.0,
    ) -> None:
        self.model, self.processor, self.temperature = model.eval(), processor, temperature
        self._end = end_of_turn(processor)
        self._clean = Cleaner(processor)
        self._budget = thought_budget(think, THOUGHT_TOKENS), speech
        self._compiler: Any = None
        self._fit(setting or Setting())

    @property
    def dialogue_model(self) -> tuple[Any, Any]:
        """The model and its processor, which talk as well (agent.talk.chat_voice)."""
        return self.model, self.processor

    def for_world(self, world: World) -> PromptedVlm:
        """The policy that plays `world` with its keys, at its tick rate."""
        mine = copy.copy(self)
        mine._fit(self.setting.at(world))
        return mine

    def _fit(self, setting: Setting) -> None:
        self.setting, self.spec = setting, setting.spec
        self._compiled: Any = None

    @torch.inference_mode()
    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision for each context, all in one batch."""
        from transformers import GenerationConfig

        inputs = self.encode(contexts)
        prompt = inputs["input_ids"].shape[1]
        pad = self.processor.tokenizer.pad_token_id
        out = self.model.generate(
            **inputs,
            generation_config=GenerationConfig(
                max_new_tokens=sum(self._budget) + ACTION_TOKENS,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                eos_token_id=self._end,
                pad_token_id=self._end if pad is None else pad,
            ),
            logits_processor=self._rules(prompt, [context.seed for context in contexts]),
        )
        texts = self.processor.tokenizer.batch_decode(out[:, prompt:], skip_special_tokens=True)
        lengths = inputs["attention_mask"].sum(1).tolist()
        return [self._decision(*row) for row in zip(texts, contexts, lengths, strict=True)]

    def encode(self, contexts: Sequence[Context]) -> dict[str, torch.Tensor]:
        """The model's inputs, padded on the left, on its device and in its precision."""
        chats = [messages(context, self.setting, self._clean) for context in contexts]
        return to_model(tokenized(self.processor, chats), self.model)

    def _decision(self, text: str, context: Context, length: int) -> Decision:
        sent = Sent(tuple((frame.shape[0], frame.shape[1]) for frame in context.frames), tokens=length)
        try:
            turn = self.setting.read(text)
            actions = self.setting.actions(turn, context)
            return Decision(actions, turn.thought, turn.speech, turn.plan.done, sent=sent)
        except ActionTextError as error:
            return Decision(self.setting.idle(), f"no action: {str(error)[:300]}", sent=sent)

    def _rules(self, prompt: int, seeds: Sequence[int]) -> list[LogitsProcessor]:
        rules: list[LogitsProcessor] = []
        if find_spec("xgrammar") is not None:
            rules.append(_GrammarProcessor(self._grammar(), prompt, self._end))
        if self.temperature > 0.0:
            rules.append(_Draws(prompt, seeds, self.temperature))
        return rules

    def _grammar(self) -> Any:
        if self._compiled is None:
            import xgrammar

            if self._compiler is None:
                size = self.model.get_output_embeddings().weight.shape[0]
                info = xgrammar.TokenizerInfo.from_huggingface(
                    self.processor.tokenizer, vocab_size=size, stop_token_ids=[self._end]
                )
                self._compiler = xgrammar.GrammarCompiler(info)
            thought, speech = (_CHARACTERS * tokens for tokens in self._budget)
            self._compiled = self._compiler.compile_grammar(gbnf(self.setting.codec, think=thought, speech=speech))
        return self._compiled


def messages(context: Context, setting: Setting, clean: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """The chat that asks for a decision: one message with text and the frames, the newest frame last, and after each
    past frame what was done then. `clean`: removes from texts what the tokenizer would read as one of its marks."""
    frames = context.frames
    told = [setting.instructions(), *filter(None, [setting.about(len(frames))])]
    content = situation(context, [clean(line) for line in told], clean)
    for frame, turn in zip(frames, [*setting.past(context, len(frames)), ""], strict=True):
        content.append(picture_part(frame))
        if turn:
            content.append({"type": "text", "text": f"\n{clean(turn)}\n"})
    return [{"role": "user", "content": content}]


class _GrammarProcessor(LogitsProcessor):
    """Lets `generate` write what a compiled grammar of xgrammar allows; each row is at a place of its own. `prompt`:
    the length of the prompts. After a whole turn only `end` is left."""

    def __init__(self, compiled: Any, prompt: int, end: int) -> None:
        self._compiled, self._prompt, self._end = compiled, prompt, end
        self._matchers: list[Any] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        import xgrammar

        if not self._matchers:
            self._matchers = [xgrammar.GrammarMatcher(self._compiled) for _ in input_ids]
        mask = xgrammar.allocate_token_bitmask(len(self._matchers), scores.shape[1])
        for row, matcher in enumerate(self._matchers):
            if input_ids.shape[1] > self._prompt and not matcher.is_terminated():
                matcher.accept_token(int(input_ids[row, -1]))
            if not matcher.is_terminated():
                matcher.fill_next_token_bitmask(mask, row)
        allowed = mask.to(scores.device)
        xgrammar.apply_token_bitmask_inplace(scores, allowed)
        for row, matcher in enumerate(self._matchers):
            if matcher.is_terminated():
                scores[row] = -torch.inf
                scores[row, self._end] = 0.0
        return scores


class _Draws(LogitsProcessor):
    """Draws tokens, for greedy search: Gumbel noise that depends on the row's seed and the step alone."""

    def __init__(self, prompt: int, seeds: Sequence[int], temperature: float) -> None:
        self._prompt, self._seeds, self._temperature = prompt, seeds, temperature

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        step = input_ids.shape[1] - self._prompt
        noise = np.stack([np.random.default_rng([seed, step]).gumbel(size=scores.shape[1]) for seed in self._seeds])
        return scores / self._temperature + torch.from_numpy(noise).to(scores)  # type: ignore[return-value]
