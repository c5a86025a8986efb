"""`small` as a Learnable: the whole model is trained, or all but its image encoder. And its planning role alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agent import doom_codec as codec
from agent.lineage import Data
from agent.policy import Context, Decision, PolicySpec, Think, thought_budget
from agent.small import sampling
from agent.small.checkpoint import TICK_HZ, load_model, read_manifest, save_small
from agent.small.model import FRAME_SIZE, HISTORY
from agent.small.output_grammar import THINK
from agent.small.prompt import Prompt, asked_for, heard
from agent.small.token_ids import ANSWER
from agent.view import View
from training.rl.learnable import Scores
from training.rl.value import ValueHead

_VALUE = "value."  # of the value head's weights in a state


class SmallScorable:
    """A checkpoint of `small` that learns in one of its roles: what the roles share. `frozen_vision`: the image encoder
    stays as it is, and sees each frame once a round. Raises CheckpointError."""

    tolerance = 1e-4

    def __init__(self, parent: Path, *, frozen_vision: bool = False, ask: str = "") -> None:
        self._parent, self._frozen = parent, frozen_vision
        self._manifest = read_manifest(parent)
        self.ask = ask or str(self._manifest["ask"])
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # too coarse for player and trainer to agree
        self.module = load_model(parent).eval().to(self._device)
        self.module.vision.requires_grad_(not frozen_vision)
        self._reference = copy.deepcopy(self.module).requires_grad_(False)

    def score(self, batch: sampling.SampledBatch, temperature: float) -> Scores:
        found = sampling.score(self.module, batch, temperature)
        return Scores(found.log_probabilities, found.entropies, found.mask)

    @torch.no_grad()
    def reference(self, batch: sampling.SampledBatch, temperature: float) -> Tensor:
        return sampling.score(self._reference, batch, temperature).log_probabilities

    def state(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(state)

    def save(self, out: Path, *, trained: Mapping[str, Any], data: Sequence[Data], recipe: Mapping[str, Any]) -> None:
        save_small(
            self.module, out, parent=self._parent, trained=trained, nouns=self._manifest["nouns"], data=data,
            recipe=recipe, ask=self.ask,
        )  # fmt: skip


class SmallLearnable(SmallScorable):
    """`small` that acts. `think`: see Think. `ask`: see Learnable; by default what the checkpoint is played with."""

    def __init__(
        self,
        parent: Path,
        *,
        think: Think = "auto",
        frozen_vision: bool = False,
        ask: str = "",
    ) -> None:
        super().__init__(parent, frozen_vision=frozen_vision, ask=ask)
        self._think = thought_budget(think, THINK)
        self.value_head = ValueHead(self.module.config.width).to(self._device)
        self.spec = PolicySpec(View.stretched(FRAME_SIZE), HISTORY + 1, codec.CHUNK, TICK_HZ, codec.VERSION)

    def sample(self, contexts: Sequence[Context], *, temperature: float, generator: torch.Generator) -> list[Decision]:
        asked = [asked_for(context, self.ask) for context in self._heard(contexts)]
        return sampling.sample(self.module, asked, temperature=temperature, think=self._think, generator=generator)

    def batch(self, contexts: Sequence[Context], tokens: Sequence[Sequence[int]]) -> sampling.SampledBatch:
        batch = sampling.batch_of(self._heard(contexts), tokens, self._think)
        return sampling.seen(self.module, batch) if self._frozen else batch

    def states(self, contexts: Sequence[Context]) -> Tensor:
        return sampling.states_of(self.module, [asked_for(context, self.ask) for context in self._heard(contexts)])

    def _heard(self, contexts: Sequence[Context]) -> list[Context]:
        return heard(contexts, ways=self._manifest["ways"])

    def state(self) -> dict[str, Tensor]:
        head = {_VALUE + name: value for name, value in self.value_head.state_dict().items()}
        return {**super().state(), **head}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        head = {name.removeprefix(_VALUE): value for name, value in state.items() if name.startswith(_VALUE)}
        self.value_head.load_state_dict(head)
        super().load_state({name: value for name, value in state.items() if not name.startswith(_VALUE)})


class SmallPlanner(SmallScorable):
    """`small` that takes goals apart into steps, see agent.small.prompt.plan_prompt. A plan is the `speech` of a
    decision."""

    def __init__(self, parent: Path) -> None:
        super().__init__(parent, frozen_vision=True)

    def sample(self, contexts: Sequence[Prompt], *, temperature: float, generator: torch.Generator) -> list[Decision]:
        return sampling.sample_text(self.module, ANSWER, contexts, temperature=temperature, generator=generator)

    def batch(self, contexts: Sequence[Prompt], tokens: Sequence[Sequence[int]]) -> sampling.SampledBatch:
        return sampling.seen(self.module, sampling.text_batch_of(ANSWER, contexts, tokens))
