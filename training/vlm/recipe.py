"""`BcRecipe`: how a vision-language model is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.prompted import HISTORY
from agent.vlm.free_text import Form

Quantize = Literal["4bit"]


@dataclass(frozen=True)
class BcRecipe:
    """How to fine-tune. `model`: a folder or a name; `data`: folders of episodes.

    `lora`: train low-rank changes of `rank` instead of the whole model. `batch`: decisions in a step. `micro`: how many
    of them are in memory at a time, all by default. `rate`: the learning rate at its peak, by default 2e-4 with LoRA,
    otherwise 2e-5. `history`: frames in a prompt. `gamma`: an action that comes for the k-th time in a row weighs
    gamma^(k-1). `form`: of actions, see agent.vlm.turn_grammar; "text" (agent.prompted) leaves the tokenizer as it is.
    `failures`: learn from failed episodes too. `workers`: processes that prepare batches. `checkpointing`: of
    activations, by default where there is a GPU.

    `held_out`: the share of the episodes, rounded down, that is not learned but evaluated `evaluations` times in the
    run. `pack`: tokens of a row that several short examples share, see training.vlm.packing; by default each has its
    own. `quantize`: "4bit" holds the weights that LoRA leaves alone in four bits (QLoRA, arXiv:2305.14314).
    """

    model: str
    data: tuple[str, ...]
    lora: bool = False
    rank: int = 16
    epochs: float = 1.0
    batch: int = 8
    micro: int | None = None
    rate: float | None = None
    history: int = HISTORY
    gamma: float = 1.0
    form: Form = "tokens"
    failures: bool = False
    workers: int = 0
    checkpointing: bool | None = None
    seed: int = 0
    held_out: float = 0.05
    evaluations: int = 10
    pack: int | None = None
    quantize: Quantize | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or self.rank < 1 or self.history < 1 or (self.micro is not None and self.micro < 1):
            raise ValueError("batch, micro, rank and history are at least 1")
        if self.epochs <= 0 or not 0.0 <= self.gamma <= 1.0 or (self.rate is not None and self.rate <= 0):
            raise ValueError("epochs and lr are above 0, gamma is from 0 to 1")
        if not 0.0 <= self.held_out < 1.0 or self.evaluations < 1 or (self.pack is not None and self.pack < 1):
            raise ValueError("held_out is from 0 to less than 1, evaluations and pack are at least 1")
        if self.quantize and not self.lora:
            raise ValueError("weights in four bits can't be trained, only low-rank changes of them: add --lora")

    @property
    def peak_rate(self) -> float:
        return self.rate or (2e-4 if self.lora else 2e-5)
