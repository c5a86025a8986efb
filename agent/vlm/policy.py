"""`VlmPolicy`: plays with an image-text-to-text model that was trained for it: prompt, generate, parse. It keeps no
state. A model that is only prompted plays as `agent.vlm.prompted.PromptedVlm`.

`encode_prompts` is the only place that builds a prompt. The trainer (training/vlm/train.py) calls it too, so that play
and training show a model the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agent import doom_codec as codec
from agent.checkpoint import CheckpointError
from agent.forked_torch import survive_forks
from agent.lineage import VLM_MANIFEST
from agent.policy import Context, Decision, Policy, PolicySpec, Think, thought_budget
from agent.prompted import PROMPTED
from agent.view import View, read_view
from agent.vlm.chat_template import Cleaner, end_of_turn, picture_part, situation, to_model
from agent.vlm.checkpoint import Manifest
from agent.vlm.foreign_code import refuse_foreign_code
from agent.vlm.turn_grammar import Form, Grammar, Turn, TurnProcessor, form_of, turn_text

HISTORY = 4  # frames in a prompt, unless a model was trained with another number
THOUGHT_TOKENS, SPEECH_TOKENS = 64, 32

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
    frames = context.frames[-history:]
    past = len(frames) - 1
    chunks = context.actions[-past:] if past else ()
    thoughts = context.thoughts[-past:] if past else ()
    for i, frame in enumerate(frames):
        content.append(picture_part(frame))
        at = i - (past - len(chunks))
        if i < past and at >= 0 and chunks[at]:
            thought = thoughts[i - (past - len(thoughts))] if i >= past - len(thoughts) else ""
            turn = Turn(codec.encode(chunks[at]), clean(" ".join(thought.split())))
            content.append({"type": "text", "text": f"\n{turn_text(form, turn)}\n"})
    return [{"role": "user", "content": content}]


def encode_prompts(processor: Any, contexts: Sequence[Context], form: Form, history: int) -> Mapping[str, torch.Tensor]:
    """The model's inputs for contexts, padded on the left: `input_ids` and `attention_mask` (B, L), and whatever the
    model's processor adds."""
    clean = Cleaner(processor)
    result: Mapping[str, torch.Tensor] = processor.apply_chat_template(
        [messages(context, form, history, clean) for context in contexts],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )
    return result


class VlmPolicy:
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
        self.spec = spec or PolicySpec(
            View.stretched((120, 160), HISTORY), history=HISTORY, chunk=codec.CHUNK, codec=codec.VERSION
        )
        self.grammar = Grammar(
            processor.tokenizer, end_of_turn(processor), thought=thought_budget(think, THOUGHT_TOKENS), speech=speech
        )

    @torch.inference_mode()
    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision for each context, all in one batch."""
        from transformers import GenerationConfig

        inputs = self.encode(contexts)
        prompt = inputs["input_ids"].shape[1]
        rules = TurnProcessor(self.grammar, prompt, [c.seed for c in contexts], self.temperature)
        out = self.model.generate(
            **inputs,
            generation_config=GenerationConfig(
                max_new_tokens=self.grammar.longest,
                do_sample=False,
                num_beams=1,
                repetition_penalty=1.0,
                eos_token_id=self.grammar.end,
                pad_token_id=self.grammar.end if (pad := self.processor.tokenizer.pad_token_id) is None else pad,
            ),
            logits_processor=[rules],
        )
        return [self._decision(ids) for ids in out[:, prompt:].tolist()]

    def encode(self, contexts: Sequence[Context]) -> dict[str, torch.Tensor]:
        """`encode_prompts`, on the model's device and in its precision."""
        inputs = encode_prompts(self.processor, contexts, self.grammar.form, self.spec.history)
        return to_model(inputs, self.model)

    def _decision(self, ids: Sequence[int]) -> Decision:
        turn = self.grammar.parse(ids)
        decision = codec.decode(turn.tokens)
        return Decision(decision.actions, turn.thought, turn.speech, decision.done)


def load_model(name: str | Path, *, device: str | None = None, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """A model and its processor: a folder (with LoRA weights too), or a name of the Hugging Face hub.

    `dtype`: by default bf16 where there is a GPU that has it, otherwise single precision. Weights are read from
    safetensors only, and no code that comes with a model is run. Raises OSError or ValueError where that is not
    possible.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging as hf_logging

    survive_forks()
    hf_logging.disable_progress_bar()  # the verbs show their own
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype is None:
        dtype = torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else torch.float32
    folder = Path(name).expanduser()
    adapter = folder / "adapter_config.json"
    source = str(folder.resolve()) if folder.is_dir() else str(name)
    refuse_foreign_code(folder)
    base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.is_file() else source
    refuse_foreign_code(Path(base))
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    if not hasattr(processor, "tokenizer"):
        raise ValueError(f"{name}: it has no processor for images and text")
    model: Any = AutoModelForImageTextToText.from_pretrained(
        base, dtype=dtype, trust_remote_code=False, use_safetensors=True
    )
    grow(model, processor.tokenizer)
    if adapter.is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, source, use_safetensors=True).merge_and_unload()
    return model.to(device).eval(), processor


def grow(model: Any, tokenizer: Any) -> None:
    """Give the model embeddings for all tokens of `tokenizer`; those that it has stay as they are."""
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))


def load_hf(
    name: str | Path = "",
    *,
    think: Think = "auto",
    temperature: float = 0.0,
    device: str | None = None,
    view: str = "",
) -> Policy:
    """The policy `hf:NAME`: a checkpoint folder of `agent train bc`, or any other image-text-to-text model, which is
    only prompted. `view`: what a prompted one is shown, see agent.view.read_view. Raises OSError or ValueError where it
    can't be loaded."""
    if not str(name):
        raise ValueError("say which model: hf:FOLDER, or hf:NAME of the Hugging Face hub")
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file() and json.loads((folder / "config.json").read_text()).get(
        "model_type"
    ) == "ludens-small":
        _as_trained(name, view)
        from agent.small.hf import load_generated

        return load_generated(folder, think=think)
    manifest = Manifest.read(folder) if (folder / VLM_MANIFEST).is_file() else None
    model, processor = load_model(name, device=device)
    if manifest is None and form_of(processor.tokenizer) == "text":
        from agent.vlm.prompted import PromptedVlm

        seen = read_view(view, PROMPTED)
        return PromptedVlm(model, processor, think=think, temperature=temperature, view=seen)
    _as_trained(name, view)
    if manifest and form_of(processor.tokenizer) != manifest.form:
        raise CheckpointError(f"{name}: the tokenizer lacks the action tokens that {VLM_MANIFEST} speaks of")
    return VlmPolicy(model, processor, spec=manifest.spec if manifest else None, think=think, temperature=temperature)


def _as_trained(name: str | Path, view: str) -> None:
    """Raises ValueError where somebody wants a trained model to see something else."""
    if view:
        raise ValueError(f"{name} sees what it was trained on; leave --view out")
