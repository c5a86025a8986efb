"""`small` as a model of transformers: `AutoModelForImageTextToText.from_pretrained(FOLDER_OR_NAME)` loads it.

Importing this module registers the architecture "ludens-small" and its processor. A folder of `agent push` loads
without the import as well, with `trust_remote_code=True`: its `auto_map` leads here. The model computes in single
precision: `dtype=torch.float32`. agent.small.decoder writes the same tokens, several times faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from agent.forked_torch import survive_forks
from agent.policy import Context, Decision, Think, thought_budget
from agent.small.checkpoint import SHIPPED, load_model
from agent.small.greedy import GreedyOutput, is_stuck, without_unlikely_ends
from agent.small.model import PromptBatch, SmallConfig, SmallModel
from agent.small.output_grammar import ALLOWED_IDS, THINK, Output, choices_of, decision_of
from agent.small.policy import SmallPolicy
from agent.small.processor import SmallProcessor
from agent.small.token_ids import ACT, END, PAD, SIZE

MODEL_TYPE = "ludens-small"
_INPUTS = ("pixel_values", "table", "meanings", "ids", "places", "pack", "past", "ages", "pictures", "holders")


class SmallHfConfig(PreTrainedConfig):
    """The sizes of agent.small.model.SmallConfig."""

    model_type = MODEL_TYPE

    def __init__(self, **sizes: Any) -> None:
        defaults = {**asdict(SmallConfig()), "meanings": 0}  # what does not tell is older than the table of meanings
        for name, value in defaults.items():
            setattr(self, name, sizes.pop(name, list(value) if isinstance(value, tuple) else value))
        sizes.setdefault("vocab_size", SIZE)
        sizes.setdefault("eos_token_id", END)
        sizes.setdefault("pad_token_id", PAD)
        sizes.setdefault("tie_word_embeddings", False)
        super().__init__(**sizes)

    @property
    def num_hidden_layers(self) -> int:
        return int(self.layers)

    def sizes(self) -> SmallConfig:
        return SmallConfig.from_json({name: getattr(self, name) for name in asdict(SmallConfig())})


class SmallForImageTextToText(PreTrainedModel, GenerationMixin):
    """SmallModel with the interface of transformers.

    Beside `input_ids` (B, L), which begin with a role's mark, it takes `pixel_values` uint8 (B, 3, 120, 160) and the
    arrays of agent.small.model.PromptBatch with one prompt a row.
    """

    config_class = SmallHfConfig
    base_model_prefix = "small"
    main_input_name = "input_ids"

    def __init__(self, config: SmallHfConfig) -> None:
        super().__init__(config)
        self.small = SmallModel(config.sizes())
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: torch.nn.Module) -> None:
        """SmallModel sets its own."""

    def generate(self, inputs: Any = None, *args: Any, logits_processor: Any = None, **how: Any) -> Any:
        """`generate` of transformers. Without a `logits_processor` each row is kept to the grammar of its role."""
        if logits_processor is None:
            ids = how.get("input_ids") if inputs is None else inputs
            if ids is None:
                raise ValueError("small needs input_ids; agent.small.processor.SmallProcessor makes them")
            roles = (int(role) for role in ids[:, 0])
            logits_processor = [OutputRules([GreedyOutput(role, THINK * (role == ACT)) for role in roles])]
        return super().generate(inputs, *args, logits_processor=logits_processor, **how)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.small.embed

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.small.head

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        cache: DynamicCache | None = None,
        labels: Tensor | None = None,
        **rest: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, L, SIZE); with `labels` (B, L), -100 where nothing counts, the loss as well."""
        small = self.small
        cache = cache if cache is not None else DynamicCache()
        seen = cache.get_seq_length()
        looks = getattr(cache, "looks", None)
        if looks is None:
            looks = self._look(pixel_values, rest)
            cache.looks = looks  # type: ignore[attr-defined]
        mask, layers = looks
        order = torch.arange(seen, seen + input_ids.shape[1], device=input_ids.device)
        x = small.token(input_ids, order)
        for number, (layer, (text, image)) in enumerate(zip(small.layers, layers, strict=True)):
            own: Any = layer.own
            key, value = own.keys_values(own.norm(x))
            key, value = cache.update(key, value, number)
            earlier = torch.ones(x.shape[1], key.shape[2], dtype=torch.bool, device=x.device).tril(seen)
            x = own(x, (key, value), earlier)
            x = layer.feed(layer.image(layer.text(x, text, mask), image))  # type: ignore[operator]
        logits = small.logits(small.norm(x))
        loss = None
        if labels is not None:
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache)

    def _look(self, pixels: Tensor | None, rest: Mapping[str, Any]) -> tuple[Tensor, list[Any]]:
        """What every layer reads and sees, once for an output."""
        if pixels is None:
            raise ValueError("small needs pixel_values")
        prompt = PromptBatch(**{name: rest.get(name) for name in _INPUTS[1:]})  # type: ignore[arg-type]
        encoded = self.small.encode(pixels, prompt)
        image = self.small.image_norm(encoded.image)
        layers = [
            (layer.text.keys_values(encoded.text), layer.image.keys_values(image))  # type: ignore[union-attr,operator]
            for layer in self.small.layers
        ]
        return (encoded.pack == 0)[:, None, None, :], layers

    def prepare_inputs_for_generation(self, input_ids: Tensor, cache: Any = None, **rest: Any) -> dict[str, Any]:
        if cache is not None and cache.get_seq_length():
            input_ids = input_ids[:, cache.get_seq_length() :]
        inputs = {name: rest[name] for name in _INPUTS if name in rest}
        return {"input_ids": input_ids, "cache": cache, "use_cache": True, **inputs}

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        """The prompt's arrays are named in `_INPUTS`."""


AutoConfig.register(MODEL_TYPE, SmallHfConfig, exist_ok=True)
AutoModelForImageTextToText.register(SmallHfConfig, SmallForImageTextToText, exist_ok=True)
AutoProcessor.register(SmallHfConfig, SmallProcessor, exist_ok=True)


class OutputRules(LogitsProcessor):
    """Lets each row write only what its output allows next; follows the outputs as they grow."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = outputs

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        masked = torch.full_like(scores, -torch.inf)
        for row, output in enumerate(self._outputs):
            if len(output.tokens) < input_ids.shape[1] - 1 and not output.done:
                output.add(int(input_ids[row, -1]))
            if output.done:
                masked[row, END] = scores[row, END]
                continue
            ids = ALLOWED_IDS[output.choice]
            logits = scores[row, list(ids)]
            logits[output.excluded(ids, logits.log_softmax(-1))] = -torch.inf
            masked[row, list(ids)] = logits
        return masked  # type: ignore[return-value]


class GeneratedSmall(SmallPolicy):
    """`small` played through transformers' `generate`: slower than SmallPolicy, with the same decisions."""

    def __init__(self, hf: SmallForImageTextToText, **how: Any) -> None:
        super().__init__(hf.small, **how)
        self.hf = hf.eval().to(self.device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        if self.temperature or any(map(is_stuck, contexts)):
            return super().act(contexts)  # only the decoder draws
        outputs = [GreedyOutput(ACT, self.think) for _ in contexts]
        scores = self._generate(contexts, outputs)
        again = without_unlikely_ends(outputs, scores)
        if again:
            self._generate([contexts[row] for row in again], list(again.values()))
        return [decision_of(again.get(row, output)) for row, output in enumerate(outputs)]

    def _generate(self, contexts: Sequence[Context], outputs: Sequence[Output]) -> list[list[float]]:
        """Write outputs to their ends; the log-probability of each token among those that the grammar allows."""
        out = self.hf.generate(
            **SmallProcessor().of_contexts(contexts).to(self.device),
            generation_config=GenerationConfig(
                max_new_tokens=32, do_sample=False, eos_token_id=END, pad_token_id=PAD, use_cache=True,
                return_dict_in_generate=True, output_logits=True,
            ),
            logits_processor=[OutputRules(outputs)],
        )  # fmt: skip
        scores = []
        for row, (ids, output) in enumerate(zip(out.sequences.tolist(), outputs, strict=True)):
            if not output.done:
                output.add(ids[len(output.tokens) + 1])
            found = []
            for kind, token, logits in zip(
                choices_of(output.tokens, output.think), output.tokens, out.logits, strict=False
            ):
                allowed = ALLOWED_IDS[kind]
                found.append(float(logits[row, list(allowed)].log_softmax(-1)[allowed.index(token)]))
            scores.append(found)
        return scores


def load_generated(folder: str | Path = SHIPPED, *, think: Think = "auto", threads: int = 1) -> GeneratedSmall:
    """`small` from a checkpoint folder, as transformers loads and runs it. Raises CheckpointError."""
    load_model(Path(folder))  # the check of a checkpoint: transformers itself takes weights that are NaN
    torch.set_num_threads(threads)
    survive_forks()
    hf = AutoModelForImageTextToText.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True)
    return GeneratedSmall(hf, think=thought_budget(think, THINK))  # type: ignore[arg-type]
