"""Checkpoints of `small`: write one, read one, and refuse one that is damaged or does not fit."""

from __future__ import annotations

import json
import reprlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from agent import doom_codec as codec
from agent.checkpoint import CheckpointError, written_whole
from agent.lineage import MANIFEST, WEIGHTS, Data, Lineage, commit, parent_of, recipe_hash
from agent.small import word_meaning
from agent.small.model import FRAME_SIZE, SmallConfig, SmallModel

FORMAT = 2
TICK_HZ = 35.0
SHIPPED = Path(__file__).parent / "weights"
_PREFIX = "small."  # of the weights' names, as transformers expects them
_FLOATS = ("F16", "BF16", "F32", "F64")  # number formats of weights, as safetensors names them
_LARGEST_MANIFEST = 2**20  # bytes
# What this version plays; a manifest that says anything else is refused.
_EXPECTED = {
    "format": FORMAT,
    "model": "ludens-small",
    "codec": codec.VERSION,
    "tick_hz": TICK_HZ,
    "frame_size": list(FRAME_SIZE),
    "chunk": codec.CHUNK,
}


def save_small(
    model: SmallModel,
    out: Path,
    *,
    parent: Path | None = None,
    trained: Mapping[str, Any] | None = None,
    nouns: Mapping[str, str] | None = None,
    data: Sequence[Data] = (),
    recipe: Mapping[str, Any] | None = None,
    ask: str = "",
    ways: bool = False,
) -> None:
    """Write a checkpoint folder whole, then give it its name; an older one of that name is replaced.

    `parent`: the checkpoint folder that training started from. `trained`: how long it was trained. `nouns`: see
    SmallPolicy. `data`, `recipe`: what it learned from and by; the manifest keeps the recipe's hash. `ask`: see
    SmallPolicy. `ways`: it learned to follow ways; so did a model whose parent did.
    """
    ways = ways or (parent is not None and (parent / MANIFEST).is_file() and read_manifest(parent)["ways"])
    lineage = Lineage(
        None if parent is None else parent_of(parent),
        tuple(data),
        "" if recipe is None else recipe_hash(recipe),
        commit(),
    )
    # what transformers reads, see agent.small.hf
    hf = {"model_type": "ludens-small", "architectures": ["SmallForImageTextToText"], "dtype": "float16"}
    manifest = {
        **_EXPECTED,
        "config": model.config.to_json(),
        **lineage.to_json(),
        "trained": dict(trained or {}),
        "nouns": dict(nouns or {}),
        **({"ask": ask} if ask else {}),
        **({"ways": True} if ways else {}),
        **({"meanings": word_meaning.digest()} if model.config.meanings else {}),
    }
    with written_whole(out) as part:
        # half precision halves the file; the policy computes in single precision again
        weights = {_PREFIX + k: v.detach().half().contiguous().cpu() for k, v in model.state_dict().items()}
        save_file(weights, part / WEIGHTS, {"format": "pt"})
        (part / "config.json").write_text(json.dumps({**hf, **model.config.to_json()}, indent=2) + "\n")
        (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        if (out / "README.md").exists():
            shutil.copy(out / "README.md", part / "README.md")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that fits this version. Its `nouns` are texts, `trained` is an object, `ask` is a
    text, `ways` is true or false, and `config` and the lineage can be read. Raises CheckpointError, which says what is
    wrong and what to do."""
    file = folder / MANIFEST
    if not file.is_file():
        raise CheckpointError(
            f"{folder}: no checkpoint there ({MANIFEST} is missing); make one with 'agent train small'"
        )
    manifest = _read_json(file)
    for name, value in _EXPECTED.items():
        if (has := manifest.get(name)) != value:
            raise CheckpointError(
                f"{folder}: the checkpoint has {name} {reprlib.repr(has)}, this version plays {value!r}; "
                "train one anew with 'agent train small' or use --policy small"
            )
    nouns, trained = manifest.setdefault("nouns", {}), manifest.setdefault("trained", {})
    if not isinstance(nouns, dict) or not all(isinstance(noun, str) for noun in nouns.values()):
        raise CheckpointError(f"{file}: nouns: expected an object of texts, got {reprlib.repr(nouns)}")
    if not isinstance(trained, dict):
        raise CheckpointError(f"{file}: trained: expected an object, got {reprlib.repr(trained)}")
    if not isinstance(ask := manifest.setdefault("ask", ""), str):
        raise CheckpointError(f"{file}: ask: expected a text, got {reprlib.repr(ask)}")
    if not isinstance(ways := manifest.setdefault("ways", False), bool):
        raise CheckpointError(f"{file}: ways: expected true or false, got {reprlib.repr(ways)}")
    try:
        config = SmallConfig.from_json(manifest.get("config"))
        Lineage.from_json(manifest)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from None
    if config.meanings and manifest.get("meanings") != word_meaning.digest():
        raise CheckpointError(
            f"{folder}: the checkpoint reads words by another table of meanings than this version has; "
            "train one anew with 'agent train worlds' or use --policy small"
        )
    return manifest


def load_model(folder: Path) -> SmallModel:
    """The model of a checkpoint, in single precision. Raises CheckpointError.

    A model of the manifest's sizes is made only where the header of the weights' file tells of the same sizes: a wrong
    manifest can't ask for more memory than the weights take.
    """
    config = SmallConfig.from_json(read_manifest(folder)["config"])
    file = folder / WEIGHTS
    if not file.is_file():
        raise CheckpointError(f"{folder}: the checkpoint has no weights ({WEIGHTS} is missing)")
    try:
        shapes = _shapes(file)
        wrong = _missized(config, shapes)
        if not wrong:
            model = SmallModel(config)
            wrong = _misfit({name: list(value.shape) for name, value in model.state_dict().items()}, shapes)
        if wrong:
            raise CheckpointError(f"{folder}: the weights do not fit the manifest: {wrong}")
        weights = {name.removeprefix(_PREFIX): value.float() for name, value in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"{file}: can't be read as weights; is it cut off? ({said:.200})") from error
    for name, value in weights.items():
        if not value.isfinite().all():
            raise CheckpointError(f"{file}: the weights {name} are not all finite numbers; training diverged")
    model.load_state_dict(weights)
    return model


def _read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a small file. Raises CheckpointError."""
    try:
        size = file.stat().st_size
        if size > _LARGEST_MANIFEST:
            raise CheckpointError(f"{file}: {size:,} bytes; a manifest has at most {_LARGEST_MANIFEST:,}")
        found = json.loads(file.read_bytes().decode())
    except UnicodeDecodeError:
        raise CheckpointError(f"{file}: can't be read: it is not UTF-8") from None
    except RecursionError:
        raise CheckpointError(f"{file}: can't be read: it is nested too deeply") from None
    except OSError as error:
        raise CheckpointError(f"{file}: can't be read: {error.strerror}") from error
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{file}: can't be read: it is no JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: expected a JSON object, got {reprlib.repr(found)}")
    return found


def _shapes(file: Path) -> dict[str, list[int] | str]:
    """The shape of every tensor in a safetensors file, or its number format where that is no float. Reads the header
    alone. Raises OSError or SafetensorError."""
    shapes: dict[str, list[int] | str] = {}
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - no mapping
            tensor = opened.get_slice(name)
            kind = tensor.get_dtype()
            shapes[name.removeprefix(_PREFIX)] = list(tensor.get_shape()) if kind in _FLOATS else kind
    return shapes


def _missized(config: SmallConfig, shapes: Mapping[str, list[int] | str]) -> str:
    """Which size of a config is not that of the weights; "" where all are."""

    def count(part: str) -> int:
        return len({name[len(part) :].partition(".")[0] for name in shapes if name.startswith(part)})

    def outputs(name: str) -> Any:
        return (shapes.get(name) or [0])[0]

    found = {
        "width": (outputs("norm.weight"), config.width),
        "layers": (count("layers."), config.layers),
        "text_layers": (count("text_layers."), config.text_layers),
        "channels": ((outputs("vision.stem.weight"), outputs("vision.down.weight")), config.channels),
        "blocks": (count("vision.blocks."), config.blocks),
        "kinds and colours": (outputs("segment.bias"), 16 * (config.kinds + config.colours)),
    }
    return next((f"{name}: {has}, expected {wants}" for name, (has, wants) in found.items() if has != wants), "")


def _misfit(expected: Mapping[str, list[int]], found: Mapping[str, list[int] | str]) -> str:
    """What is the first wrong thing about the shapes of weights; "" where there is none."""
    for name, shape in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != shape:
            return f"{name} is {found[name]}, expected {shape}"
    return next((f"{reprlib.repr(name)} is not of this model" for name in found if name not in expected), "")


__all__ = ["SHIPPED", "CheckpointError", "load_model", "read_manifest", "save_small"]
