"""A checkpoint that somebody else made has no library import code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agent.cli.compose import load_policy
from agent.vlm.foreign_code import refuse_foreign_code
from envs.errors import UserError

KERNEL = "somebody/flash-attention"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_config.json", {"base_model_name_or_path": ".", "megatron_config": {"a": 1}, "megatron_core": "trap"}),
        ("adapter_config.json", {"base_model_name_or_path": ".", "megatron_core": "trap"}),
        ("config.json", {"model_type": "qwen3_vl", "attn_implementation": KERNEL}),
        ("config.json", {"model_type": "qwen3_vl", "text_config": {"_attn_implementation": KERNEL}}),
        ("config.json", {"model_type": "qwen3_vl", "attn_implementation": {"vision_config": KERNEL}}),
    ],
)
def test_a_checkpoint_imports_nothing(
    name: str, content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"policy 'hf:.*{name}: .*(PEFT import|download code)"):
        load_policy(f"hf:{tmp_path}")
    assert "trap" not in sys.modules


def test_what_peft_and_transformers_write_themselves_is_taken(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"megatron_config": None, "megatron_core": "megatron.core", "r": 8})
    )
    (tmp_path / "config.json").write_text(json.dumps({"attn_implementation": "sdpa", "_attn_implementation": None}))
    refuse_foreign_code(tmp_path)
