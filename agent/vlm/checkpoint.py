"""Checkpoint folders of fine-tuned vision-language models: the model's own files and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from agent import codec, doom_codec
from agent.checkpoint import CheckpointError, written_whole
from agent.lineage import UNKNOWN, VLM_MANIFEST, Lineage
from agent.policy import PolicySpec
from agent.view import View
from agent.vlm.free_text import Form

FORMAT = 1
CODECS = (codec.VERSION, doom_codec.VERSION)  # the second one is that of earlier versions


@dataclass(frozen=True)
class Manifest:
    """The file ludens.json of a checkpoint folder, beside the model's own files: how the model plays, and where it
    comes from."""

    spec: PolicySpec
    form: Form
    trained: Mapping[str, Any]
    lineage: Lineage = UNKNOWN

    def write(self, folder: Path) -> None:
        data = {
            "format": FORMAT,
            "codec": self.spec.codec,
            "form": self.form,
            "frame_size": list(self.spec.view.size or ()),
            "history": self.spec.history,
            "chunk": self.spec.chunk,
            "tick_hz": self.spec.tick_hz,
            **self.lineage.to_json(),
            "trained": dict(self.trained),
        }
        (folder / VLM_MANIFEST).write_text(json.dumps(data, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in `folder`. Raises CheckpointError where it can't be read or does not fit."""
        file = folder / VLM_MANIFEST
        try:
            data = json.loads(file.read_text())
            size, history = (int(data["frame_size"][0]), int(data["frame_size"][1])), int(data["history"])
            view = View.stretched(size, history)
            spec = PolicySpec(view, history, int(data["chunk"]), float(data["tick_hz"]), str(data["codec"]))
            form, number, trained = data["form"], data["format"], data["trained"]
            lineage = Lineage.from_json(data)
        except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{file}: can't be read: {type(error).__name__}: {error}") from error
        for name, has, plays in (("format", number, (FORMAT,)), ("codec", spec.codec, CODECS)):
            if has not in plays:
                known = " and ".join(map(repr, plays))
                raise CheckpointError(
                    f"{folder}: the checkpoint has {name} {has!r}, this version plays {known}; train one anew with "
                    "'agent train bc'"
                )
        if form not in get_args(Form):
            raise CheckpointError(f"{file}: unknown form {form!r}")
        return cls(spec, form, trained, lineage)


def save_checkpoint(model: Any, processor: Any, out: Path, manifest: Manifest) -> None:
    """Write a checkpoint folder whole, then give it its name; an old one of that name is replaced."""
    with written_whole(out) as part:
        # of LoRA, only the low-rank changes and the embeddings of the action tokens
        model.save_pretrained(part, **({"save_embedding_layers": False} if hasattr(model, "peft_config") else {}))
        processor.save_pretrained(part)
        manifest.write(part)
