"""`VlmPolicy`: plays any world with an image-text-to-text model that was trained for it: prompt, generate, parse.

It keeps no state. A model that is only prompted, or trained to write actions as text, plays as
`agent.vlm.prompted.PromptedVlm`; one that speaks the language of earlier versions as `agent.vlm.doom_policy.DoomVlm`.
The trainer (training/vlm/train.py) takes its prompts from here, so that play and training show a model the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agent import doom_codec
from agent.checkpoint import CheckpointError
from agent.forked_torch import survive_forks
from agent.hub_download import folder_of
from agent.lineage import VLM_MANIFEST
from agent.policy import Context, Decision, Policy, Think, thought_budget
from agent.prompted import PROMPTED, THOUGHT_TOKENS, TRAINED, Setting, Turn
from agent.view import read_view
from agent.vlm import prompted
from agent.vlm.chat_template import Cleaner, end_of_turn, seen_and_done, situation, to_model, tokenized
from agent.vlm.checkpoint import Manifest
from agent.vlm.doom_grammar import form_of as doom_form_of
from agent.vlm.doom_policy import DoomVlm
from agent.vlm.foreign_code import refuse_foreign_code
from agent.vlm.free_text import Cache, Form, generate
from agent.vlm.turn_grammar import TurnGrammar, form_of, turn_text
from envs.action import Action
from envs.world import World

SPEECH_TOKENS = 32
ABOUT = "You see a game and play it with keyboard and mouse."


def messages(context: Context, setting: Setting, clean: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """The chat that asks for a decision in tokens: one message with text and the frames, the newest frame last, and
    after each past frame the thought and the action that followed it. `clean`: removes from what people and models
    wrote whatever the tokenizer would read as one of its marks."""
    content = situation(context, [ABOUT, clean(setting.codec.describe_controls())], clean)

    def turn(chunk: Sequence[Action], thought: str) -> str:
        return turn_text(Turn(setting.plan_of(chunk), clean(thought)))

    content += seen_and_done(context, setting.view.frames, turn)
    return [{"role": "user", "content": content}]


def encode_prompts(
    processor: Any, contexts: Sequence[Context], settings: Sequence[Setting], form: Form
) -> Mapping[str, torch.Tensor]:
    """The model's inputs for contexts, each in its setting, padded on the left: `input_ids` and `attention_mask`
    (B, L), and whatever the model's processor adds."""
    clean = Cleaner(processor)
    chat = messages if form == "tokens" else prompted.messages
    return tokenized(processor, [chat(c, s, clean) for c, s in zip(contexts, settings, strict=True)])


class VlmPolicy:
    """Plays with an image-text-to-text model that has action tokens, and its processor, in the world that it is fitted
    to (`for_world`).

    `think`: "off", "auto" (the model chooses, up to THOUGHT_TOKENS) or the most tokens of a thought. `temperature`: 0
    takes the likeliest tokens; above 0 they are drawn with the context's seed. `cache`: a static one makes the same
    decisions (docs/models.md has what it costs). Raises ValueError where the processor lacks what a dialogue needs.
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
        cache: Cache = "dynamic",
    ) -> None:
        self.model, self.processor, self.temperature = model.eval(), processor, temperature
        self.cache: Cache = cache
        self.grammar = TurnGrammar(
            processor.tokenizer, end_of_turn(processor), thought=thought_budget(think, THOUGHT_TOKENS), speech=speech
        )
        self._fit(setting or Setting(view=TRAINED))

    def for_world(self, world: World) -> VlmPolicy:
        """The policy that plays `world` with its keys, at its tick rate."""
        mine = copy.copy(self)
        mine._fit(self.setting.at(world))
        return mine

    def _fit(self, setting: Setting) -> None:
        self.setting, self.spec = setting, setting.spec
        self.grammar = self.grammar.for_codec(setting.codec)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision for each context, all in one batch."""
        seeds = [context.seed for context in contexts]
        inputs = self.encode(contexts)
        written = generate(
            self.model, self.processor.tokenizer, inputs, self.grammar, seeds, self.temperature, self.cache
        )
        return [self._decision(ids, context) for ids, context in zip(written, contexts, strict=True)]

    def encode(self, contexts: Sequence[Context]) -> dict[str, torch.Tensor]:
        """`encode_prompts`, on the model's device and in its precision."""
        inputs = encode_prompts(self.processor, contexts, [self.setting] * len(contexts), "tokens")
        return to_model(inputs, self.model)

    def _decision(self, ids: Sequence[int], context: Context) -> Decision:
        turn = self.grammar.parse(ids)
        return Decision(self.setting.actions(turn, context), turn.thought, turn.speech, turn.plan.done)


def load_model(
    name: str | Path, *, device: str | None = None, dtype: torch.dtype | None = None, four_bits: bool = False
) -> tuple[Any, Any]:
    """A model and its processor: a folder (with LoRA weights too), or a name of the Hugging Face hub.

    `dtype`: by default bf16 where there is a GPU that has it, otherwise single precision. `four_bits`: bitsandbytes
    holds linear layers, all but that of the output, in four bits each weight; they compute in `dtype`. Weights are read
    from safetensors only, and no code that comes with a model is run. Raises OSError or ValueError where that is not
    possible.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging as hf_logging

    survive_forks()
    hf_logging.disable_progress_bar()  # the verbs show their own
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype is None:
        dtype = torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else torch.float32
    folder = folder_of(name)
    adapter = folder / "adapter_config.json"
    source = str(folder.resolve())
    refuse_foreign_code(folder)
    base = source
    if adapter.is_file():
        base = str(folder_of(json.loads(adapter.read_text())["base_model_name_or_path"]))
        refuse_foreign_code(Path(base))
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    if not hasattr(processor, "tokenizer"):
        raise ValueError(f"{name}: it has no processor for images and text")
    if four_bits and adapter.is_file():
        raise ValueError(f"{name}: low-rank changes can't be merged into four bits; take the model that they are of")
    packed = {"quantization_config": _four_bits(dtype), "device_map": {"": device}} if four_bits else {}
    model: Any = AutoModelForImageTextToText.from_pretrained(
        base, dtype=dtype, trust_remote_code=False, use_safetensors=True, **packed
    )
    grow(model, processor.tokenizer)
    if adapter.is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, source, use_safetensors=True).merge_and_unload()
    return (model if four_bits else model.to(device)).eval(), processor


def _four_bits(dtype: torch.dtype) -> Any:
    """How QLoRA holds weights: arXiv:2305.14314."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


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
        raise ValueError("say which model: hf:FOLDER, or hf:USER/NAME of the Hugging Face hub")
    folder = folder_of(name)
    if (folder / "config.json").is_file() and json.loads((folder / "config.json").read_text()).get(
        "model_type"
    ) == "ludens-small":
        _as_trained(name, view)
        from agent.small.policy import load_small

        return load_small(folder, think=think, temperature=temperature)
    manifest = Manifest.read(folder) if (folder / VLM_MANIFEST).is_file() else None
    model, processor = load_model(folder, device=device)
    old = manifest is not None and manifest.spec.codec == doom_codec.VERSION
    form = (doom_form_of if old else form_of)(processor.tokenizer)
    if manifest is None and form == "text":
        seen = Setting(view=read_view(view, PROMPTED))
        return prompted.PromptedVlm(model, processor, setting=seen, think=think, temperature=temperature)
    _as_trained(name, view)
    if manifest and form != manifest.form:
        raise CheckpointError(f"{name}: the tokenizer lacks the action tokens that {VLM_MANIFEST} speaks of")
    if manifest and old:
        return DoomVlm(model, processor, spec=manifest.spec, think=think, temperature=temperature)
    setting = Setting(view=manifest.spec.view) if manifest else None
    if form == "tokens":
        return VlmPolicy(model, processor, setting=setting, think=think, temperature=temperature)
    return prompted.PromptedVlm(model, processor, setting=setting, think=think, temperature=temperature)


def _as_trained(name: str | Path, view: str) -> None:
    """Raises ValueError where somebody wants a trained model to see something else."""
    if view:
        raise ValueError(f"{name} sees what it was trained on; leave --view out")
