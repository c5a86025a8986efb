"""`push`: a checkpoint of `small`, of a fine-tuned model or of a clip model becomes a repository of the hub."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from agent.checkpoint import CheckpointError
from agent.hub.card import README, card
from agent.hub_download import DATA, endpoint, hub
from agent.lineage import MANIFEST, VLM_MANIFEST
from agent.small.output_grammar import SPOKEN, THINK
from agent.small.token_ids import END, FIELDS, PAD
from agent.vlm.foreign_code import refuse_foreign_code
from envs.errors import UserError

_CLIP = "open_clip_config.json"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MODULE = "modeling_ludens_small"
_CODE = '''"""`small` of Ludens for transformers: the model itself comes from the package, `pip install ludens`."""

try:
    from agent.small.hf import SmallForImageTextToText, SmallHfConfig
    from agent.small.processor import SmallProcessor
except ImportError as error:
    raise ImportError("this model needs the package ludens: pip install ludens") from error

__all__ = ["SmallForImageTextToText", "SmallHfConfig", "SmallProcessor"]
'''
_MAP = {
    "AutoConfig": f"{_MODULE}.SmallHfConfig",
    "AutoModelForImageTextToText": f"{_MODULE}.SmallForImageTextToText",
    "AutoProcessor": f"{_MODULE}.SmallProcessor",
}


@dataclass(frozen=True)
class Kind:
    """What a checkpoint is. `task`: the hub's word for what it does."""

    name: str
    tags: tuple[str, ...]
    task: str


_ACTS = ("vision-language-action", "game-agent")
SMALL = Kind("small", ("ludens-small", *_ACTS), "image-text-to-text")
VLM = Kind("a fine-tuned vision-language model", _ACTS, "image-text-to-text")
CLIP = Kind("a clip model", ("clip", "reward-model"), "zero-shot-image-classification")


def kind_of(folder: Path) -> Kind:
    """What lies in a folder; it is loaded as far as its manifest. Raises UserError for what is no checkpoint, and for
    what others could not load."""
    if (folder / MANIFEST).is_file():
        from agent.small.checkpoint import load_model

        load_model(folder)  # raises where it is damaged
        return SMALL
    if not list(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{folder}: no checkpoint there: no safetensors; expected a folder of agent train, such as OUT/model"
        )
    if (folder / _CLIP).is_file():
        return CLIP
    if not (folder / VLM_MANIFEST).is_file():
        raise CheckpointError(
            f"{folder}: expected a checkpoint of agent train: {MANIFEST}, {VLM_MANIFEST} or {_CLIP} is missing"
        )
    from agent.vlm.checkpoint import Manifest

    Manifest.read(folder)
    try:
        refuse_foreign_code(folder)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    adapter = folder / "adapter_config.json"
    base = json.loads(adapter.read_text()).get("base_model_name_or_path") if adapter.is_file() else None
    if base is not None and (Path(base).is_absolute() or Path(base).exists()):
        raise CheckpointError(
            f"{folder}: its base model is a folder of this machine ({base}), which nobody else has; push that first "
            "and name it in adapter_config.json, or train the whole model"
        )
    return VLM


def stage(
    folder: Path, into: Path, *, results: Sequence[Mapping[str, Any]] = (), license: str | None = None
) -> tuple[Kind, list[str]]:
    """Lay out in `into` what the repository of a checkpoint will hold. Returns what it is, and the files that are left
    out: only data go, weights as safetensors. Raises UserError."""
    kind = kind_of(folder)
    left = []
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        if any(fnmatch(file.name, pattern) for pattern in DATA):
            shutil.copy(file, into / file.name)
        elif file.name != README:
            left.append(file.name)
    if kind is SMALL:
        _for_transformers(into)
    text = card(folder, tags=kind.tags, task=kind.task, results=results, license=license)
    (into / README).write_text(text, encoding="utf-8")
    return kind, left


def push(staged: Path, repository: str, *, public: bool, message: str) -> str:
    """Upload a staged folder, with the token of `hf auth login` or HF_TOKEN. Returns the address. Raises UserError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(endpoint=endpoint(), library_name="ludens")
    try:
        made = api.create_repo(repository, private=not public, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=staged, commit_message=message)
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        mend = (
            ": log in with 'hf auth login', or set HF_TOKEN to one that may write there" if status in (401, 403) else ""
        )
        raise UserError(f"{hub()} refuses {repository}{mend} ({' '.join(str(error).split())[:300]})") from error
    except (LocalTokenNotFoundError, OSError, ValueError) as error:
        raise UserError(f"{repository} can't be pushed to {hub()}: {' '.join(str(error).split())[:300]}") from error
    return str(made)


def push_checkpoint(
    folder: Path, repository: str, *, public: bool = False, message: str = "", license: str | None = None,
    results: Sequence[Mapping[str, Any]] = (),
) -> tuple[str, Kind, list[str]]:  # fmt: skip
    """Stage and push. Returns the address, what was pushed, and what was left out. Raises UserError."""
    if not _NAME.fullmatch(repository):
        raise UserError(f"{repository!r} is no name of the hub; expected USER/NAME")
    if not folder.is_dir():
        raise UserError(f"{folder}: no folder there; expected a checkpoint, such as OUT/model of agent train")
    with tempfile.TemporaryDirectory() as scratch:
        kind, left = stage(folder, Path(scratch), results=results, license=license)
        return push(Path(scratch), repository, public=public, message=message or f"Push {kind.name}"), kind, left


def _for_transformers(into: Path) -> None:
    """What transformers wants beside the weights of `small`. The content that a checkpoint's hash covers stays."""
    config = into / "config.json"
    data = {**json.loads(config.read_text()), "dtype": "float32", "auto_map": dict(_MAP)}
    config.write_text(json.dumps(data, indent=2) + "\n")
    processor = {"processor_class": "SmallProcessor", "auto_map": {"AutoProcessor": _MAP["AutoProcessor"]}}
    (into / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    longest = THINK + SPOKEN + len(FIELDS) + 2  # of a decision: words, fields, two marks
    generation = {"max_new_tokens": longest, "do_sample": False, "eos_token_id": END, "pad_token_id": PAD}
    (into / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    (into / f"{_MODULE}.py").write_text(_CODE)
