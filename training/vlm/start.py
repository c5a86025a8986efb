"""What fine-tuning starts from: the model, whole or with low-rank changes, its processor, and what writes its turns."""

from __future__ import annotations

from typing import Any

import torch

from agent.prompted import THOUGHT_TOKENS
from agent.vlm.chat_template import end_of_turn
from agent.vlm.free_text import Form
from agent.vlm.policy import grow, load_model
from agent.vlm.turn_grammar import TOKENS, TurnGrammar, add_action_tokens, form_of
from envs.extras import require
from training.vlm.examples import TextWriter, TokenWriter, Writer
from training.vlm.recipe import BcRecipe

SPEECH_TOKENS = 64


def load(recipe: BcRecipe, device: str, bf16: bool) -> tuple[Any, Any, Writer]:
    """The model to train, its processor, and what writes its turns. Raises ValueError and OSError."""
    precision = torch.bfloat16 if bf16 and recipe.lora else torch.float32
    if recipe.quantize:
        require("--quantize 4bit", "quantize")
    model, processor = load_model(recipe.model, device=device, dtype=precision, four_bits=bool(recipe.quantize))
    if recipe.form == "tokens":
        add_action_tokens(processor.tokenizer)
        grow(model, processor.tokenizer)
    if form_of(processor.tokenizer) != recipe.form:
        raise ValueError("the model has action tokens already: --form tokens")
    writer = writer_of(processor, recipe.form)
    if recipe.checkpointing or (recipe.checkpointing is None and torch.cuda.is_available()):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.lora:
        model = _with_lora(model, processor, recipe)
    model.train()
    return model, processor, writer


def writer_of(processor: Any, form: Form) -> Writer:
    tokenizer, end = processor.tokenizer, end_of_turn(processor)
    if form == "text":
        return TextWriter(tokenizer, end)
    return TokenWriter(TurnGrammar(tokenizer, end, thought=THOUGHT_TOKENS, speech=SPEECH_TOKENS))


def _with_lora(model: Any, processor: Any, recipe: BcRecipe) -> Any:
    """`model` with low-rank changes of its linear layers; the action tokens get embeddings that are trained."""
    from peft import LoraConfig, get_peft_model

    new = None
    if recipe.form == "tokens":
        ids = processor.tokenizer.convert_tokens_to_ids(list(TOKENS))
        layers = [model.get_input_embeddings()]
        if not model.config.get_text_config().tie_word_embeddings and model.get_output_embeddings() is not None:
            layers.append(model.get_output_embeddings())
        new = {name: ids for name, module in model.named_modules() if any(module is layer for layer in layers)}
    return get_peft_model(
        model,
        LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            lora_dropout=0.05,
            target_modules="all-linear",
            trainable_token_indices=new,
        ),
    )
