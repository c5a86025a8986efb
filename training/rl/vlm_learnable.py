"""A vision-language model of transformers as a Learnable: low-rank changes of its linear layers are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agent import codec, doom_codec
from agent.lineage import VLM_MANIFEST, Data, Lineage, commit, parent_of, recipe_hash
from agent.policy import Context, Decision, PolicySpec, Think
from agent.prompted import Setting
from agent.vlm.chat_template import to_model
from agent.vlm.checkpoint import Manifest, save_checkpoint
from agent.vlm.free_text import TurnProcessor
from agent.vlm.policy import VlmPolicy, load_model
from agent.vlm.turn_grammar import State, TurnGrammar, form_of
from envs.world import World
from training.rl.learnable import Scores
from training.rl.value import ValueHead
from training.vlm.examples import IGNORED, Batch, TokenWriter, encode_turns

RANK = 16  # of the low-rank changes
_VALUE = "value."  # of the value head's weights in a state
_FORBIDDEN = -1e9  # as a logit: -inf would make the entropy NaN


class SampledTurns(TurnProcessor[State]):
    """Draws turns and keeps the log-probability of every token under the distribution that it was drawn from.

    `told`: of each step, (B,).
    """

    def __init__(self, grammar: TurnGrammar, prompt: int, seeds: Sequence[int], temperature: float) -> None:
        super().__init__(grammar, prompt, seeds, temperature)
        self._heat = temperature
        self._last: Tensor | None = None
        self.told: list[Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.drew(input_ids)
        out = super().__call__(input_ids, scores)
        allowed = scores.float().div(self._heat).masked_fill(~out.isfinite(), _FORBIDDEN)
        self._last = allowed.log_softmax(-1)
        return out

    def drew(self, input_ids: Tensor) -> None:
        """The last token of each row was drawn in the step before."""
        if self._last is not None:
            self.told.append(self._last.gather(1, input_ids[:, -1:])[:, 0])
            self._last = None


@dataclass(frozen=True)
class TurnBatch:
    """Turns and what they answer. `inputs`: of the model, and `labels`. `mask` bool (B, L): where a turn has a token.
    `allowed` bool (U, V): the tokens that the grammar allows at U of its places; `places` (M,): that of each token."""

    inputs: Batch
    mask: Tensor
    allowed: Tensor
    places: Tensor


class VlmLearnable:
    """A model with action tokens, its processor, and `setting`: where it plays. `parent`: the folder that it comes
    from."""

    ask = ""

    def __init__(
        self, model: Any, processor: Any, parent: Path, setting: Setting | None = None, *, think: Think = "auto",
        rank: int = RANK,
    ) -> None:  # fmt: skip
        from peft import LoraConfig, get_peft_model

        # No dropout: the player and the trainer must compute the same.
        changes = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
        self.module: Any = get_peft_model(model, changes).eval()
        self._policy, self._processor = VlmPolicy(self.module, processor, setting=setting, think=think), processor
        width = int(model.config.get_text_config().hidden_size)
        self.value_head = ValueHead(width).to(self.module.device)
        self.tolerance = 1e-4 if self.module.dtype == torch.float32 else 0.1
        self._parent = parent

    @property
    def spec(self) -> PolicySpec:
        return self._policy.spec

    @property
    def _grammar(self) -> TurnGrammar:
        return self._policy.grammar

    def fit(self, world: World) -> None:
        """Play `world` from now on, with its keys and at its tick rate."""
        self._policy = self._policy.for_world(world)

    @torch.inference_mode()
    def sample(self, contexts: Sequence[Context], *, temperature: float, generator: torch.Generator) -> list[Decision]:
        from transformers import GenerationConfig

        grammar = self._grammar
        inputs = self._policy.encode(contexts)
        start = inputs["input_ids"].shape[1]
        seeds = torch.randint(2**31, (len(contexts),), generator=generator).tolist()
        drawing = SampledTurns(grammar, start, seeds, temperature)
        pad = self._processor.tokenizer.pad_token_id
        out = self.module.generate(
            **inputs,
            generation_config=GenerationConfig(
                max_new_tokens=grammar.longest, do_sample=False, num_beams=1, repetition_penalty=1.0,
                eos_token_id=grammar.end, pad_token_id=grammar.end if pad is None else pad,
            ),
            logits_processor=[drawing],
        )  # fmt: skip
        drawing.drew(out)
        told = torch.stack(drawing.told, 1).tolist()
        drawn = zip(out[:, start:].tolist(), told, contexts, strict=True)
        return [self._decision(*one) for one in drawn]

    def _decision(self, ids: Sequence[int], told: Sequence[float], context: Context) -> Decision:
        turn, count = self._grammar.parse(ids), len(self._places(ids))
        return Decision(
            self._policy.setting.actions(turn, context), turn.thought, turn.speech, turn.plan.done,
            tokens=tuple(ids[:count]), log_probabilities=tuple(told[:count]),
        )  # fmt: skip

    def _places(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """What the grammar allows for each token of a turn, up to its end. Raises ValueError for what is no turn."""
        state, places = self._grammar.begin(), list[tuple[int, ...]]()
        for token in ids:
            if state.place == "over":
                break
            places.append(tuple(self._grammar.allowed(state)))
            state = self._grammar.step(state, token)
        return places

    def batch(self, contexts: Sequence[Context], tokens: Sequence[Sequence[int]]) -> TurnBatch:
        inputs = self._encoded(contexts, tokens)
        numbers: dict[tuple[int, ...], int] = {}
        places = [numbers.setdefault(ids, len(numbers)) for turn in tokens for ids in self._places(turn)]
        allowed = torch.zeros(len(numbers), len(self._processor.tokenizer), dtype=torch.bool)
        for ids, number in numbers.items():
            allowed[number, list(ids)] = True
        lengths = torch.tensor([len(turn) for turn in tokens])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
        return TurnBatch(inputs, mask, allowed, torch.tensor(places))

    def score(self, batch: TurnBatch, temperature: float) -> Scores:
        logp, targets = self._read(batch, temperature)
        mask = batch.mask.to(logp.device)
        empty = logp.new_zeros(mask.shape)
        return Scores(
            empty.masked_scatter(mask, logp.gather(1, targets[:, None])[:, 0]),
            empty.masked_scatter(mask, -(logp.exp() * logp).sum(1)),
            mask,
        )

    @torch.no_grad()
    def reference(self, batch: TurnBatch, temperature: float) -> Tensor:
        with self.module.disable_adapter():
            return self.score(batch, temperature).log_probabilities

    @torch.no_grad()
    def states(self, contexts: Sequence[Context]) -> Tensor:
        ends = [[self._grammar.end]] * len(contexts)  # what the first token is does not matter
        inputs = self._encoded(contexts, ends)
        before = (inputs["labels"] != IGNORED).int().argmax(1) - 1
        hidden = self._run(inputs, logits_to_keep=1, output_hidden_states=True).hidden_states[-1]
        states: Tensor = hidden[torch.arange(len(before)), before.to(hidden.device)]
        return states

    def _encoded(self, contexts: Sequence[Context], turns: Sequence[Sequence[int]]) -> Batch:
        settings = [self._policy.setting] * len(contexts)
        return encode_turns(self._processor, TokenWriter(self._grammar), contexts, settings, turns)

    def _read(self, batch: TurnBatch, temperature: float) -> tuple[Tensor, Tensor]:
        """Of M tokens the distribution (M, V) over what the grammar allows and which was drawn (M,), row by row."""
        logits = self._logits(batch.inputs)
        labels = batch.inputs["labels"].to(logits.device)[:, -logits.shape[1] :]
        tokens = labels != IGNORED
        forbidden = ~batch.allowed.to(logits.device)[batch.places.to(logits.device)]
        chosen = logits[tokens][:, : forbidden.shape[1]].float() / temperature
        return chosen.masked_fill(forbidden, _FORBIDDEN).log_softmax(-1), labels[tokens]

    def _logits(self, batch: Batch) -> Tensor:
        """Logits (B, T, V) of the labels from the first turn on."""
        labels = batch["labels"] != IGNORED
        first = int(labels.any(0).nonzero()[0])
        logits: Tensor = self._run(batch, logits_to_keep=labels.shape[1] - first + 1).logits[:, :-1]
        return logits

    def _run(self, batch: Batch, **options: Any) -> Any:
        inputs = to_model({name: value for name, value in batch.items() if name != "labels"}, self.module)
        return self.module(**inputs, use_cache=False, **options)

    def state(self) -> dict[str, Tensor]:
        learned = {name: p.detach() for name, p in self.module.named_parameters() if p.requires_grad}
        return learned | {_VALUE + name: value for name, value in self.value_head.state_dict().items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        head = {name.removeprefix(_VALUE): value for name, value in state.items() if name.startswith(_VALUE)}
        self.value_head.load_state_dict(head)
        learned = {name: value for name, value in state.items() if not name.startswith(_VALUE)}
        self.module.load_state_dict(learned, strict=False)

    def save(self, out: Path, *, trained: Mapping[str, Any], data: Sequence[Data], recipe: Mapping[str, Any]) -> None:
        lineage = Lineage(parent_of(self._parent), tuple(data), recipe_hash(recipe), commit())
        model: Any = self.module
        if (self._parent / "adapter_config.json").is_file():
            # The changes are of a model that lies nowhere: the parent's with the parent's own changes.
            import copy

            model = copy.deepcopy(self.module).merge_and_unload()
        manifest = Manifest(self.spec, "tokens", trained, lineage)
        save_checkpoint(model, self._processor, out, manifest)


def load_vlm(name: str, *, think: Think = "auto") -> VlmLearnable:
    """A folder or name, as the policy `hf:NAME` has it. Raises OSError, ValueError and CheckpointError."""
    folder = Path(name).expanduser()
    manifest = Manifest.read(folder) if (folder / VLM_MANIFEST).is_file() else None
    if manifest and manifest.spec.codec == doom_codec.VERSION:
        raise ValueError(
            f"{name} speaks {doom_codec.VERSION}; train one that speaks {codec.VERSION} with agent train bc"
        )
    model, processor = load_model(name)
    if form_of(processor.tokenizer) != "tokens":
        raise ValueError(f"{name}: it has no action tokens to draw; agent train bc gives it some")
    setting = Setting(view=manifest.spec.view) if manifest else None
    return VlmLearnable(model, processor, folder, setting, think=think)
