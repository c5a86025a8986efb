"""What a checkpoint folder must not ask for: files of a model that have a library import or download code.

Models are loaded with `trust_remote_code=False` and from safetensors alone. Two fields of the configuration files pass
by that: PEFT imports the module that `megatron_core` names, and transformers downloads the kernel, which is code, that
an attention such as "owner/name" names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def refuse_foreign_code(folder: Path) -> None:
    """Raises ValueError, which names file and field, where a configuration in `folder` would have code imported."""
    for name in ("adapter_config.json", "config.json"):
        file = folder / name
        if not file.is_file():
            continue
        for field, value in _fields(json.loads(file.read_text(encoding="utf-8"))):
            if field in ("megatron_config", "megatron_core") and value not in (None, "megatron.core"):
                raise ValueError(f"{file}: {field} has PEFT import a module; expected none")
            if "attn_implementation" in field and isinstance(value, str) and "/" in value:
                raise ValueError(f"{file}: {field} has transformers download code, {value!r}; expected none")


def _fields(data: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a JSON value and of everything in it; those of a field that is an object bear its name too."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield key, value
            for inner, part in _fields(value):
                yield f"{key}.{inner}" if "attn_implementation" in key else inner, part
    elif isinstance(data, list):
        for value in data:
            yield from _fields(value)
