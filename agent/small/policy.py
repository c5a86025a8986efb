"""`SmallPolicy`: the shipped model as a policy, and the checkpoint folder it lives in."""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from agent import codec
from agent.policy import Context, Decision, PolicySpec
from agent.small import words
from agent.small.model import COLUMNS, FIELDS, PLACE, SmallConfig, SmallModel

FORMAT = 1
SHIPPED = Path(__file__).parent / "checkpoint"
MANIFEST, WEIGHTS = "manifest.json", "model.safetensors"
FRAME_SIZE = (120, 160)
TICK_HZ = 35.0
PATIENCE = 6  # decisions that lead nowhere before chance may help
STUCK_TEMPERATURE = 1.0  # who is sure of waiting waits on, who is not gets away


class CheckpointError(ValueError):
    """A checkpoint that does not fit this version: the message says what was expected and how to mend it."""


def save_small(
    model: SmallModel, out: Path, *, parent: str | None = None, trained: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint folder whole, then give it its name; an old one of that name is replaced."""
    part = out.with_name(f".tmp-{out.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # half precision halves the file; the policy computes in single precision again
    save_file({k: v.detach().half().contiguous().cpu() for k, v in model.state_dict().items()}, part / WEIGHTS)
    manifest = {
        "format": FORMAT,
        "model": "ludens-small",
        "config": model.config.to_json(),
        "codec": codec.VERSION,
        "frame_size": list(FRAME_SIZE),
        "tick_hz": TICK_HZ,
        "chunk": codec.CHUNK,
        "parent": parent,
        "trained": trained or {},
    }
    (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    if (out / "README.md").exists():
        shutil.copy(out / "README.md", part / "README.md")
    shutil.rmtree(out, ignore_errors=True)
    os.rename(part, out)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that fits this version. Raises CheckpointError with what to do where it does not."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: no checkpoint there ({MANIFEST} is missing); make one with 'agent train small'"
        ) from None
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder / MANIFEST}: can't be read: {error}") from error
    expected = {"format": FORMAT, "model": "ludens-small", "codec": codec.VERSION, "tick_hz": TICK_HZ}
    for name, value in expected.items():
        if manifest.get(name) != value:
            raise CheckpointError(
                f"{folder}: the checkpoint has {name} {manifest.get(name)!r}, this version plays {value!r}; "
                "train one anew with 'agent train small' or use --policy small"
            )
    return manifest


def load_model(folder: Path) -> SmallModel:
    """The model of a checkpoint, in single precision. Raises CheckpointError."""
    manifest = read_manifest(folder)
    try:
        model = SmallModel(SmallConfig.from_json(manifest["config"]))
        model.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
    except (KeyError, TypeError, RuntimeError, OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the weights do not fit the manifest: {str(error).splitlines()[0]}") from error
    return model


class SmallPolicy:
    """Plays with a SmallModel. `temperature`: 0 takes the likeliest action tokens, above it they are drawn with the
    context's seed, as they are where it `is_stuck`; the place is always the likeliest."""

    def __init__(self, model: SmallModel, *, temperature: float = 0.0, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.eval().to(self.device)
        self.temperature = temperature
        self.spec = PolicySpec(
            FRAME_SIZE, history=PATIENCE + 1, chunk=codec.CHUNK, tick_hz=TICK_HZ, codec=codec.VERSION
        )
        self._read = functools.lru_cache(maxsize=256)(self._read_text)

    @torch.inference_mode()
    def _read_text(self, instruction: str) -> tuple[torch.Tensor, torch.Tensor]:
        table, ids = words.encode([instruction])
        return self.model.read(torch.from_numpy(table).to(self.device), torch.from_numpy(ids).to(self.device))

    @torch.inference_mode()
    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision of four ticks for each context; the thought says where the wanted thing is seen."""
        frames = np.stack([c.frames[-1] for c in contexts])
        image = self.model.see(torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2))
        read = [self._read(c.instruction) for c in contexts]
        text, mask = torch.cat([t for t, _ in read]), torch.cat([m for _, m in read])
        temperature = noise = None
        warm = [STUCK_TEMPERATURE if is_stuck(c) else self.temperature for c in contexts]
        if any(warm):
            temperature = torch.tensor(warm, device=self.device)
            draws = [np.random.default_rng(c.seed).random((len(FIELDS), max(FIELDS))) for c in contexts]
            noise = torch.from_numpy(np.stack(draws).astype(np.float32)).to(self.device)
        tokens = self.model.decide(image, text, mask, temperature, noise).tolist()
        return [self._decision(row) for row in tokens]

    @staticmethod
    def _decision(row: list[int]) -> Decision:
        decision = codec.decode(row[PLACE:])
        return Decision(decision.actions, thought=_thought(row[0]), done=decision.done)


def is_stuck(context: Context) -> bool:
    """Whether the last PATIENCE decisions neither walked nor acted and turned nowhere: one frame, seen again, gets
    the same answer for ever."""
    if len(context.actions) < PATIENCE:
        return False
    recent = [action for chunk in context.actions[-PATIENCE:] for action in chunk]
    if any(action.keys or action.buttons for action in recent):
        return False
    return all(abs(sum(action.look[axis] for action in recent)) < 4.0 for axis in (0, 1))


def _thought(column: int) -> str:
    if column >= COLUMNS:
        return ""
    # bins are even on the picture's plane, which is 90 degrees wide
    off = math.degrees(math.atan((column + 0.5) / COLUMNS * 2 - 1))
    side = "ahead" if abs(off) < 4 else f"{abs(off):.0f}° {'right' if off > 0 else 'left'}"
    return f"I see it: {side}"


def load_small(folder: str | Path = SHIPPED, *, temperature: float = 0.0, threads: int = 1) -> SmallPolicy:
    """The shipped policy, or the one in a checkpoint folder. Raises CheckpointError.

    `threads`: of torch, for the whole process. The model's passes are too small to be shared: a second thread would
    mostly spin, on the core that the game needs.
    """
    torch.set_num_threads(threads)
    return SmallPolicy(load_model(Path(folder)), temperature=temperature)
