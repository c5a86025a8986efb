"""Tiny vision-language models with random weights: real architectures of transformers, small enough for a test.

They show that the player and the trainer work with an architecture where none of its weights can be had. A tokenizer is
trained on the spot; the processors are those of the family, set to a few image tokens a frame.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from agent import doom_codec as codec

Made = tuple[Any, Any]  # the model and its processor

SPREAD = 0.1  # of the first weights: with the families' 0.02 so narrow a model is long in finding where to look

WORDS = (
    "think: act: say: You see a 3D world and control it with keyboard and mouse. Instruction: go to face pick up shoot "
    "look touch press the red green blue yellow key torch imp armor column lamp map barrel panel Now: I see it done "
    "What happened so far: They said: user: assistant: Wanted: over there and not here step left of right behind "
    "search around door second first 0 1 2 3 4 5 6 7 8 9 10 12 16 23 32"
)


def tiny(name: str, *, width: int = 64, layers: int = 2, seed: int = 0) -> Made:
    """A model of the architecture `name` (one of TINY) and its processor; the same weights for the same seed.

    `width`: of the text model, a multiple of 16. Raises KeyError for an unknown name.
    """
    import torch

    torch.manual_seed(seed)
    model, processor = TINY[name](width, layers)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model.eval(), processor


def _corpus() -> list[str]:
    texts = [codec.to_text(t) for t in itertools.product(range(17), range(5), range(0, 9, 2), range(4))]
    return [WORDS.lower(), WORDS, *texts[::3]]


def _byte_level(special: dict[str, str], extra: list[str]) -> Any:
    """A tokenizer in the manner of GPT-2, Qwen and SmolLM: bytes, merged within words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(_corpus(), trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, **special)
    wrapped.add_special_tokens({"additional_special_tokens": extra})
    return wrapped


def _sentence_pieces(special: dict[str, Any], extra: list[str]) -> Any:
    """A tokenizer in the manner of Gemma: spaces are letters, unknown characters fall back to bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    pieces = ["<unk>", *(f"<0x{i:02X}>" for i in range(256))]
    made.train_from_iterator(_corpus(), trainers.BpeTrainer(vocab_size=900, special_tokens=pieces, show_progress=False))
    # The trainer takes them for marks; the bytes are ordinary pieces.
    learned = json.loads(made.to_str())["model"]
    merges = [tuple(merge) for merge in learned["merges"]]
    fresh = Tokenizer(models.BPE(learned["vocab"], merges, byte_fallback=True, unk_token="<unk>"))
    fresh.normalizer, fresh.pre_tokenizer, fresh.decoder = made.normalizer, made.pre_tokenizer, made.decoder
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fresh, unk_token="<unk>", **special)
    wrapped.add_special_tokens({"additional_special_tokens": extra})
    return wrapped


# The chat templates of the families, without tools and system messages.
_CONTENT = (
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
)
_IM_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n" + _CONTENT + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
).replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
_SMOL_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: " + _CONTENT + "<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
).replace("IMAGE", "<image>")
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n" + _CONTENT + "<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
).replace("IMAGE", "<start_of_image>")
_LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: " + _CONTENT + " {% if message['role'] == 'assistant' "
    "%}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
).replace("IMAGE", "<image>\n")


def _qwen3_vl(width: int, layers: int) -> Made:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    vision = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _byte_level({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, ["<|im_start|>", *vision])
    size = {"shortest_edge": 64 * 96, "longest_edge": 64 * 96}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(patch_size=16, merge_size=2, size=size),
        tokenizer,
        Qwen3VLVideoProcessor(patch_size=16, merge_size=2),
        chat_template=_IM_TEMPLATE,
    )
    ids = dict(
        zip(("vision_start", "vision_end", "image", "video"), tokenizer.convert_tokens_to_ids(vision), strict=True)
    )
    config = Qwen3VLConfig(
        text_config={
            **_text(width, layers, tokenizer),
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
        },
        vision_config={
            "depth": 2, "hidden_size": width, "intermediate_size": 2 * width, "num_heads": 4, "patch_size": 16,
            "out_hidden_size": width, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
            "initializer_range": SPREAD,
        },
        tie_word_embeddings=True,
        **{f"{name}_token_id": value for name, value in ids.items()},
    )  # fmt: skip
    return Qwen3VLForConditionalGeneration(config), processor


def _idefics3(width: int, layers: int) -> Made:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessor, Idefics3Processor

    tokenizer = _byte_level(
        {"eos_token": "<end_of_utterance>", "pad_token": "<|endoftext|>"},
        ["<|im_start|>", "<image>", "<fake_token_around_image>", "<global-img>"],
    )
    images = Idefics3ImageProcessor(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
    )
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=_SMOL_TEMPLATE)
    config = Idefics3Config(
        text_config={"model_type": "llama", **_text(width, layers, tokenizer)},
        vision_config={**_siglip(width, 64), "model_type": "idefics3_vision"},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
    )
    return Idefics3ForConditionalGeneration(config), processor


def _gemma3(width: int, layers: int) -> Made:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessor, Gemma3Processor

    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _sentence_pieces(
        {"eos_token": "<eos>", "bos_token": "<bos>", "pad_token": "<pad>", "extra_special_tokens": named},
        ["<start_of_turn>", "<end_of_turn>"],
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 64, "width": 64}),
        tokenizer,
        chat_template=_GEMMA_TEMPLATE,
        image_seq_length=4,
    )
    boi, eoi, image = tokenizer.convert_tokens_to_ids(list(named.values()))
    config = Gemma3Config(
        text_config={
            **_text(width, layers, tokenizer),
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 32,
            "layer_types": ["sliding_attention", "full_attention"] * (layers // 2) + ["full_attention"] * (layers % 2),
        },
        vision_config=_siglip(width, 64),
        mm_tokens_per_image=4,
        boi_token_index=boi,
        eoi_token_index=eoi,
        image_token_index=image,
    )
    return Gemma3ForConditionalGeneration(config), processor


def _llava(width: int, layers: int) -> Made:
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = _byte_level({"eos_token": "</s>", "pad_token": "<pad>"}, ["<image>"])
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}),
        tokenizer,
        patch_size=32,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_LLAVA_TEMPLATE,
    )
    config = LlavaConfig(
        text_config={"model_type": "llama", **_text(width, layers, tokenizer)},
        vision_config={
            **_siglip(width, 64),
            "model_type": "clip_vision_model",
            "patch_size": 32,
            "projection_dim": width,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return LlavaForConditionalGeneration(config), processor


def _text(width: int, layers: int, tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": width, "intermediate_size": 3 * width,
        "num_hidden_layers": layers, "num_attention_heads": width // 16, "num_key_value_heads": width // 16,
        "max_position_embeddings": 4096, "initializer_range": SPREAD, "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip


def _siglip(width: int, size: int) -> dict[str, Any]:
    return {
        "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": size, "patch_size": 16, "initializer_range": SPREAD,
    }  # fmt: skip


TINY: dict[str, Callable[[int, int], Made]] = {
    "qwen3_vl": _qwen3_vl,
    "idefics3": _idefics3,
    "gemma3": _gemma3,
    "llava": _llava,
}
