"""`SmallPolicy`: the shipped model in all its roles."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from agent import doom_codec as codec
from agent.capabilities import THEN
from agent.forked_torch import survive_forks
from agent.policy import Context, Decision, PolicySpec, Think, thought_budget
from agent.sight import COLUMNS
from agent.small import sampling
from agent.small.checkpoint import SHIPPED, TICK_HZ, load_model, read_manifest
from agent.small.decoder import Decoder, uniform_noise
from agent.small.draft import draft
from agent.small.greedy import STUCK_TEMPERATURE, GreedyOutput, is_stuck, without_unlikely_ends
from agent.small.judge_view import HOW_FAR
from agent.small.model import FRAME_SIZE, HISTORY, Encoded, SmallModel
from agent.small.output_grammar import THINK, Output, decision_of
from agent.small.prompt import Prompt, asked_for, heard, pack, plan_prompt, prompt_of
from agent.small.token_ids import ACT, ANSWER, CAPTION, JUDGE, PROPOSE, SCORE_IDS, STARTS, WORD_ID, say
from agent.small.word_hashing import split
from agent.view import View

_STEPS = 32  # tokens of an output that can be drawn at random
BATCH_ROWS = 8  # of every batch-invariant pass
_WORDS = 32  # rows of a batch-invariant pass are as long as a multiple of this
DRAWS = 6  # proposals for a frame, of which one is taken
_GREY = 110  # of a frame that shows nothing
SURE = 0.95  # how likely a thing must be for a proposal that names it to be taken at once

Frames = npt.NDArray[np.uint8]


class SmallPolicy:
    """Plays, answers, describes, proposes and judges with a SmallModel.

    `think`: the most words of a thought before a decision. `temperature`: 0 takes the likeliest action tokens. Above 0,
    and where the player `is_stuck`, they are drawn with the context's seed. `guidance`: how far the actions are moved
    away from those that the model would take without the instruction (SIMA 1's lambda); any guidance doubles the work.
    `nouns`: what the model was taught that things are called, with the plain name of each; an empty one knows all.
    `ask`: a word that it reads behind every instruction that it acts by, see agent.small.prompt.asked_for. `ways`:
    whether it was taught to follow a way that its memory tells; else it does not read of one.
    """

    def __init__(
        self,
        model: SmallModel,
        *,
        think: int = THINK,
        temperature: float = 0.0,
        guidance: float = 0.0,
        device: str | None = None,
        nouns: Mapping[str, str] | None = None,
        ask: str = "",
        ways: bool = False,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.eval().to(self.device)
        self.decoder = Decoder(self.model)
        self.think = think
        self.temperature = temperature
        self.guidance = guidance
        self.nouns = dict(nouns or {})
        self.ask, self.ways = ask, ways
        self.spec = PolicySpec(
            View.stretched(FRAME_SIZE), history=HISTORY + 1, chunk=codec.CHUNK, tick_hz=TICK_HZ, codec=codec.VERSION
        )

    def thinking(self, tokens: int) -> SmallPolicy:
        """The same policy, over the same weights, with at most so many words of thought before a decision."""
        other = copy.copy(self)
        other.think = min(self.think, tokens)
        return other

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision of four ticks for each context, by the rules of agent.small.greedy. The thought ends with where
        the wanted thing is seen, as "(column, row)" of the picture's 80 columns and 24 rows."""
        prompts = self._prompts(contexts)
        return self._act(contexts, prompts, drafted=draft(prompts[0], self.think) if len(contexts) == 1 else ())

    def act_invariant(self, contexts: Sequence[Context]) -> list[Decision]:
        """Like `act`, but batch-invariant: a decision depends on its own context alone, bit for bit, and neither on the
        other contexts nor on how many there are.

        Sums are rounded in an order that depends on the shapes of the tensors. So every pass has BATCH_ROWS rows of one
        length, which follows from the row itself; rows that are missing are repetitions of the others.
        """
        prompts = self._prompts(contexts)
        alike: dict[tuple[int, bool], list[int]] = {}
        for row, prompt in enumerate(prompts):
            alike.setdefault((_padded_words(prompt), prompt.picture is not None), []).append(row)
        decided: dict[int, Decision] = {}
        for (words, _), rows in alike.items():
            for start in range(0, len(rows), BATCH_ROWS):
                mine = rows[start : start + BATCH_ROWS]
                full = _repeated(mine)
                found = self._act([contexts[row] for row in full], [prompts[row] for row in full], words)
                decided.update(zip(mine, found, strict=False))
        return [decided[row] for row in range(len(contexts))]

    def _prompts(self, contexts: Sequence[Context]) -> list[Prompt]:
        return [prompt_of(context) for context in self._heard(contexts)]

    def _heard(self, contexts: Sequence[Context]) -> list[Context]:
        """Some contexts as this model reads them."""
        return [asked_for(context, self.ask) for context in heard(contexts, ways=self.ways)]

    def _act(
        self, contexts: Sequence[Context], prompts: Sequence[Prompt], words: int = 0, drafted: Sequence[int] = ()
    ) -> list[Decision]:
        """The decisions for prompts. `words`: 0, or how many words every row of a pass of BATCH_ROWS rows has."""
        frames = [c.frames[-1] for c in contexts]
        if self.guidance:
            blind = [replace(prompt, request=(), picture=None) for prompt in prompts]
            frames, prompts = frames * 2, [*prompts, *blind]
        encoded = self._encode(frames, prompts, words)
        outputs = [GreedyOutput(ACT, self.think) for _ in contexts]
        temperatures = [STUCK_TEMPERATURE if is_stuck(c) else self.temperature for c in contexts]
        noise = uniform_noise([c.seed for c in contexts], _STEPS) if any(temperatures) else None
        scores = self.decoder.write(encoded, outputs, temperatures, noise, guidance=self.guidance, draft=drafted)
        again = without_unlikely_ends(outputs, scores)
        if again:
            redone = _repeated(list(again)) if words else list(again)
            rows = [*redone, *(row + len(outputs) for row in redone if self.guidance)]
            part = Encoded(encoded.image[rows], encoded.text[rows], encoded.pack[rows])
            warm, numbers = [temperatures[row] for row in redone], None if noise is None else noise[redone]
            copies = [*again.values(), *(replace(again[row], tokens=[]) for row in redone[len(again) :])]
            self.decoder.write(part, copies, warm, numbers, guidance=self.guidance, draft=drafted)
        return [decision_of(again.get(row, output)) for row, output in enumerate(outputs)]

    def sample(
        self,
        contexts: Sequence[Context],
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Decision]:
        """A decision for each context, drawn from the model's distribution: see `agent.small.sampling.sample`."""
        asked = self._heard(contexts)
        return sampling.sample(
            self.model, asked, temperature=temperature, think=self.think, generator=generator, seeds=seeds
        )

    def answer(
        self, frames: Sequence[Frames], questions: Sequence[str], memories: Sequence[str] | None = None
    ) -> list[str]:
        """An answer to each question about a frame, uint8 (120, 160, 3), or about what a memory tells."""
        told = memories or [""] * len(questions)
        prompts = [Prompt(split(q), memory=split(m, "memory")) for q, m in zip(questions, told, strict=True)]
        return self._say(ANSWER, frames, prompts)

    def plan(self, goals: Sequence[str], memories: Sequence[str] | None = None) -> list[tuple[str, ...]]:
        """What has to be done for each goal, in order: "unlock the blue door" takes "pick up blue key" and "open blue
        door". What a memory tells is left out: see `answer`."""
        told = memories or [""] * len(goals)
        prompts = [plan_prompt(goal, memory) for goal, memory in zip(goals, told, strict=True)]
        unseen = np.zeros((*FRAME_SIZE, 3), np.uint8)
        return [tuple(text.split(THEN)) for text in self._say(ANSWER, [unseen] * len(goals), prompts)]

    def caption(self, frames: Sequence[Frames]) -> list[str]:
        """What is in each frame, from left to right."""
        return self._say(CAPTION, frames, [Prompt()] * len(frames))

    def known(self, noun: str) -> str | None:
        """The plain name of what a noun, such as "rusty drum", names: "barrel". None where it was never taught."""
        words = noun.split()
        for count in range(len(words), 0, -1) if self.nouns else ():
            for start in range(len(words) - count, -1, -1):  # the last words say what a thing is
                plain = self.nouns.get(" ".join(words[start : start + count]))
                if plain is not None:
                    return plain
        return None if self.nouns else noun

    def propose(
        self, frames: Sequence[Frames], seed: int = 0, *, temperature: float = 0.5, draws: int = DRAWS
    ) -> list[str]:
        """An instruction that can be carried out in each frame.

        Of some `draws` it takes the first whose thing is there by both ways of looking: the model answers yes when it
        is asked, and finds a place in the picture when it is told to do it. Where it is sure of no thing, it takes a
        proposal that needs none, or the one that it is surest of.
        """
        image = self._see(np.stack(frames)).repeat_interleave(draws, 0)
        outputs = [Output(PROPOSE) for _ in range(len(image))]
        noise = uniform_noise(range(draws * seed, draws * seed + len(outputs)), _STEPS)
        encoded = Encoded(image, *self._read([Prompt()] * len(outputs)))
        self.decoder.write(encoded, outputs, [temperature] * len(outputs), noise, words=True)
        texts = [say(output.tokens) for output in outputs]
        if draws == 1:
            return texts
        things = [text.rpartition(" the ")[2] if " the " in text else "" for text in texts]
        chances = self._are_there(image, texts, things)
        chosen = []
        for start in range(0, len(texts), draws):
            mine = range(start, start + draws)
            sure = (i for i in mine if things[i] and chances[i] >= SURE)
            bare = (i for i in mine if not things[i])
            chosen.append(texts[next(sure, next(bare, max(mine, key=chances.__getitem__)))])
        return chosen

    def _are_there(self, image: torch.Tensor, texts: Sequence[str], things: Sequence[str]) -> list[float]:
        """How likely the thing of each proposal is there, by the less sure of the two ways of looking."""
        questions = [Prompt(split(f"is there a {thing}?")) for thing in things]
        yes = self._first(Encoded(image, *self._read(questions)), ANSWER, [WORD_ID["yes"], WORD_ID["no"]])[:, 0]
        instructions = [Prompt(split(text)) for text in texts]
        columns = range(STARTS[0], STARTS[0] + COLUMNS + 1)
        unseen = self._first(Encoded(image, *self._read(instructions)), ACT, columns)[:, -1]
        # the acting role was never taught to see doors and gates
        shut = torch.tensor([thing.endswith(("door", "gate")) for thing in things], device=self.device)
        return torch.minimum(yes, (1.0 - unseen).masked_fill(shut, 1.0)).tolist()

    def confirm(self, instructions: Sequence[str]) -> list[str]:
        """What it would say first to each instruction, such as "ok go to red torch" or "i do not understand". Only a
        model that reads meanings was taught to refuse; another one says nothing."""
        if not self.model.config.meanings:
            return [""] * len(instructions)
        nothing = np.full((*FRAME_SIZE, 3), _GREY, np.uint8)
        return [decision.speech for decision in self.act([Context((nothing,), text) for text in instructions])]

    def judge(self, instructions: Sequence[str], frames: Frames) -> list[tuple[float, str]]:
        """How well each of B episodes did what it was told, 0 to 100, and why. `frames`: uint8 (B, JUDGE_FRAMES, 120,
        160, 3), as agent.small.judge_view.view picks them."""
        return self._judged(self._clips(frames), instructions)

    def judge_progress(self, instructions: Sequence[str], frames: Frames) -> list[tuple[float, str, float]]:
        """As `judge`, and how far each episode came, from 0 to 1. The frames are looked at once."""
        clips = self._clips(frames)
        far = self._values(Encoded(clips, *self._read([Prompt([*HOW_FAR, *split(text)]) for text in instructions])))
        return [(*said, value / 100.0) for said, value in zip(self._judged(clips, instructions), far, strict=True)]

    @torch.inference_mode()
    def _clips(self, frames: Frames) -> torch.Tensor:
        return self.model.clip(self._see(frames.reshape(-1, *FRAME_SIZE, 3)))

    def _judged(self, clips: torch.Tensor, instructions: Sequence[str]) -> list[tuple[float, str]]:
        encoded = Encoded(clips, *self._read([Prompt(split(text)) for text in instructions]))
        outputs = [Output(JUDGE) for _ in instructions]
        self.decoder.write(encoded, outputs)
        return [(value, say(output.tokens[1:])) for value, output in zip(self._values(encoded), outputs, strict=True)]

    def _values(self, encoded: Encoded) -> list[float]:
        """The expected score of each row, from 0 to 100, which is finer than the likeliest one."""
        steps = torch.linspace(0.0, 100.0, len(SCORE_IDS), device=self.device)
        return (self._first(encoded, JUDGE, SCORE_IDS) * steps).sum(-1).tolist()

    @torch.inference_mode()
    def _first(self, encoded: Encoded, role: int, ids: Sequence[int]) -> torch.Tensor:
        """How likely each of some tokens is to be the first that a role writes, (B, len(ids)), if it is one of them."""
        start = torch.full((len(encoded.text), 1), role, device=self.device)
        nought = torch.zeros_like(start)
        return self.model.logits(self.model.write(encoded, start, nought, nought))[:, 0, list(ids)].softmax(-1)

    def _say(self, role: int, frames: Sequence[Frames], prompts: Sequence[Prompt]) -> list[str]:
        """What a role says to each frame and prompt."""
        outputs = [Output(role) for _ in prompts]
        self.decoder.write(self._encode(frames, prompts), outputs)
        return [say(output.tokens) for output in outputs]

    def _encode(self, frames: Sequence[Frames], prompts: Sequence[Prompt], words: int = 0) -> Encoded:
        return Encoded(self._see(np.stack(frames)), *self._read(prompts, words))

    @torch.inference_mode()
    def _see(self, frames: Frames) -> torch.Tensor:
        return self.model.see(torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def _read(self, prompts: Sequence[Prompt], words: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        packed = pack([[prompt] for prompt in prompts], words, HISTORY if words else 0)
        return self.model.read(packed.to(self.device))


def _repeated(rows: Sequence[int]) -> list[int]:
    """BATCH_ROWS numbers: those of `rows`, and the same again until there are enough."""
    return [rows[i % len(rows)] for i in range(BATCH_ROWS)]


def _padded_words(prompt: Prompt) -> int:
    """How many words the row of a prompt has in a batch-invariant pass."""
    count = len(prompt.request) + len(prompt.thought) + len(prompt.memory)
    return _WORDS * max(1, math.ceil(count / _WORDS))


def load_small(
    folder: str | Path = SHIPPED,
    *,
    think: Think = "auto",
    temperature: float = 0.0,
    guidance: float = 0.0,
    threads: int = 1,
    ask: str | None = None,
) -> SmallPolicy:
    """The shipped policy, or the one in a checkpoint folder. Raises CheckpointError.

    `think`: "off", "auto", or the most words of a thought. `threads`: of torch, for the whole process. The model's
    passes are too small to be split: a second thread would mostly spin, on the core that the game needs. `ask`: see
    SmallPolicy, in place of what the checkpoint's manifest says.
    """
    torch.set_num_threads(threads)
    survive_forks()
    manifest = read_manifest(Path(folder))
    return SmallPolicy(
        load_model(Path(folder)),
        think=thought_budget(think, THINK),
        temperature=temperature,
        guidance=guidance,
        nouns=manifest["nouns"],
        ask=manifest["ask"] if ask is None else ask,
        ways=manifest["ways"],
    )
