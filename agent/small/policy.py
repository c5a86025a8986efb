"""`SmallPolicy`: the shipped model in all its roles, and the checkpoint folder it lives in."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from agent import codec
from agent.policy import Context, Decision, PolicySpec, Think, thought_budget
from agent.runtime import fit
from agent.small.layout import (
    ACT,
    ANSWER,
    CAPTION,
    COLUMNS,
    GO,
    JUDGE,
    NOWHERE,
    PLACE,
    PROPOSE,
    ROWS,
    SAY,
    SCORE_IDS,
    STARTS,
    WORD_ID,
    say,
)  # fmt: skip
from agent.small.model import HISTORY, Memory, SmallConfig, SmallModel
from agent.small.prompt import Asked, pack
from agent.small.turn import SPOKEN, Turn
from agent.small.words import split
from agent.small.writer import Writer, chance

FORMAT = 2
SHIPPED = Path(__file__).parent / "checkpoint"
MANIFEST, WEIGHTS = "manifest.json", "model.safetensors"
_PREFIX = "small."  # of the weights' names, as transformers wants them
FRAME_SIZE = (120, 160)
TICK_HZ = 35.0
PATIENCE = 6  # decisions that lead nowhere before chance may help
STUCK_TEMPERATURE = 1.0  # who is sure of waiting waits on, who is not gets away


class CheckpointError(ValueError):
    """A checkpoint that does not fit this version: the message says what was expected and how to mend it."""


def save_small(
    model: SmallModel,
    out: Path,
    *,
    parent: str | None = None,
    trained: dict[str, Any] | None = None,
    nouns: Mapping[str, str] | None = None,
) -> None:
    """Write a checkpoint folder whole, then give it its name; an old one of that name is replaced. `nouns`: see
    SmallPolicy."""
    part = out.with_name(f".tmp-{out.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # half precision halves the file; the policy computes in single precision again
    weights = {_PREFIX + k: v.detach().half().contiguous().cpu() for k, v in model.state_dict().items()}
    save_file(weights, part / WEIGHTS, {"format": "pt"})
    # what transformers reads, see agent.small.hf
    hf = {"model_type": "ludens-small", "architectures": ["SmallForImageTextToText"], "dtype": "float16"}
    (part / "config.json").write_text(json.dumps({**hf, **model.config.to_json()}, indent=2) + "\n")
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
        "nouns": dict(nouns or {}),
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
        model.load_state_dict({k.removeprefix(_PREFIX): v.float() for k, v in load_file(folder / WEIGHTS).items()})
    except (KeyError, TypeError, RuntimeError, OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the weights do not fit the manifest: {str(error).splitlines()[0]}") from error
    return model


_PLACE = re.compile(r"\((\d+), (\d+)\)$")
_STEPS = 32  # of a draw
_UNSAID = frozenset({"the", "a", "an"})  # in what the instruction is confirmed with
DRAWS = 6  # proposals for a frame, of which one is taken
END_CHANCE = 0.5  # under which a task is not ended
SURE = 0.95  # from so likely a yes on, the thing of a proposal is taken to be there
THINK = 12  # words of a thought, at most, where the user sets no other budget

Frames = npt.NDArray[np.uint8]


class SmallPolicy:
    """Plays, answers, describes, proposes and judges with a SmallModel.

    `think`: the most words of a thought before a decision. `temperature`: 0 takes the likeliest action tokens, above
    it they are drawn with the context's seed, as they are where it `is_stuck`. `guidance`: how far the actions are
    moved away from those that it would take without the instruction (SIMA 1's lambda); twice the work where not 0.
    `nouns`: what it was taught that things are called, with the plain name of each; where it is empty it knows all.
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
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.eval().to(self.device)
        self.writer = Writer(self.model)
        self.think = think
        self.temperature = temperature
        self.guidance = guidance
        self.nouns = dict(nouns or {})
        self.spec = PolicySpec(FRAME_SIZE, history=HISTORY + 1, chunk=codec.CHUNK, tick_hz=TICK_HZ, codec=codec.VERSION)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision of four ticks for each context. The thought ends with where the wanted thing is seen, as
        "(column, row)" of the picture's 80 columns and 24 rows."""
        frames, asked = [c.frames[-1] for c in contexts], [asked_of(c) for c in contexts]
        if self.guidance:
            frames, asked = frames * 2, [*asked, *(replace(one, asked=(), picture=None) for one in asked)]
        memory = self._memory(frames, asked)
        turns = [Turn(ACT, self.think) for _ in contexts]
        warm = [STUCK_TEMPERATURE if is_stuck(c) else self.temperature for c in contexts]
        noise = chance([c.seed for c in contexts], _STEPS) if any(warm) else None
        guess = _expected(asked[0], self.think) if len(contexts) == 1 else ()
        scores = self.writer.write(memory, turns, warm, noise, guidance=self.guidance, guess=guess)
        again = spared(turns, scores)
        if again:
            rows = [*again, *(row + len(turns) for row in again if self.guidance)]
            part = Memory(memory.image[rows], memory.text[rows], memory.pack[rows])
            heat, chances = [warm[row] for row in again], None if noise is None else noise[list(again)]
            self.writer.write(part, list(again.values()), heat, chances, guidance=self.guidance, guess=guess)
        return [decision_of(again.get(row, turn)) for row, turn in enumerate(turns)]

    def answer(
        self, frames: Sequence[Frames], questions: Sequence[str], memories: Sequence[str] | None = None
    ) -> list[str]:
        """An answer to each question about a frame (120, 160, 3), or about what a memory tells."""
        told = memories or [""] * len(questions)
        asked = [Asked(split(q), memory=split(m, "memory")) for q, m in zip(questions, told, strict=True)]
        return [say(turn.tokens) for turn in self._write(ANSWER, frames, asked)]

    def caption(self, frames: Sequence[Frames]) -> list[str]:
        """What is in each frame, from left to right."""
        return [say(turn.tokens) for turn in self._write(CAPTION, frames, [Asked()] * len(frames))]

    def known(self, noun: str) -> str | None:
        """The plain name of what a noun, such as "rusty drum", names: "barrel". None where it was never taught."""
        words = noun.split()
        for count in range(len(words), 0, -1) if self.nouns else ():
            for start in range(len(words) - count, -1, -1):  # what a noun is stands at its end
                plain = self.nouns.get(" ".join(words[start : start + count]))
                if plain is not None:
                    return plain
        return None if self.nouns else noun

    def propose(
        self, frames: Sequence[Frames], seed: int = 0, *, temperature: float = 0.5, draws: int = DRAWS
    ) -> list[str]:
        """An instruction that can be carried out in each frame.

        Of some `draws` it takes the first whose thing is there by both ways of looking: a yes when it is asked, and a
        place in the picture when it is told to do it. Where it is sure of none, one that needs no thing, or the one
        that it is surest of.
        """
        image = self._see(np.stack(frames)).repeat_interleave(draws, 0)
        turns = [Turn(PROPOSE) for _ in range(len(image))]
        noise = chance(range(draws * seed, draws * seed + len(turns)), _STEPS)
        self.writer.write(
            Memory(image, *self._read([Asked()] * len(turns))), turns, [temperature] * len(turns), noise, words=True
        )
        texts = [say(turn.tokens) for turn in turns]
        if draws == 1:
            return texts
        things = [text.rpartition(" the ")[2] if " the " in text else "" for text in texts]
        asked = [Asked(split(f"is there a {thing}?")) for thing in things]
        yes = self._first(Memory(image, *self._read(asked)), ANSWER, [WORD_ID["yes"], WORD_ID["no"]])[:, 0]
        # locks and gates are nothing to the acting role
        told = [Asked(split(text)) for text in texts]
        shut = torch.tensor([thing.endswith(("door", "gate")) for thing in things], device=self.device)
        unseen = self._first(Memory(image, *self._read(told)), ACT, range(STARTS[0], STARTS[0] + COLUMNS + 1))[:, -1]
        chances = torch.minimum(yes, (1.0 - unseen).masked_fill(shut, 1.0)).tolist()
        chosen = []
        for start in range(0, len(texts), draws):
            mine = range(start, start + draws)
            sure = (i for i in mine if things[i] and chances[i] >= SURE)
            bare = (i for i in mine if not things[i])
            chosen.append(texts[next(sure, next(bare, max(mine, key=chances.__getitem__)))])
        return chosen

    def judge(self, instructions: Sequence[str], frames: Frames) -> list[tuple[float, str]]:
        """How well each episode did what it was told, 0 to 100, and why. `frames` (B, CLIP, 120, 160, 3)."""
        image = self._see(frames.reshape(-1, *FRAME_SIZE, 3))
        text, owner = self._read([Asked(split(text)) for text in instructions])
        memory = Memory(self.model.clip(image), text, owner)
        turns = [Turn(JUDGE) for _ in instructions]
        self.writer.write(memory, turns)
        return [(value, say(turn.tokens[1:])) for value, turn in zip(self._values(memory), turns, strict=True)]

    def _values(self, memory: Memory) -> list[float]:
        """The expected score of each row: finer than the likeliest one."""
        steps = torch.linspace(0.0, 100.0, len(SCORE_IDS), device=self.device)
        return (self._first(memory, JUDGE, SCORE_IDS) * steps).sum(-1).tolist()

    @torch.inference_mode()
    def _first(self, memory: Memory, role: int, ids: Sequence[int]) -> torch.Tensor:
        """How likely each of some tokens is to be the first that a role writes, (B, len(ids)), if it is one of them."""
        start = torch.full((memory.text.shape[0], 1), role, device=self.device)
        nought = torch.zeros_like(start)
        return self.model.logits(self.model.write(memory, start, nought, nought))[:, 0, list(ids)].softmax(-1)

    def _write(self, role: int, frames: Sequence[Frames], asked: Sequence[Asked]) -> list[Turn]:
        turns = [Turn(role) for _ in asked]
        self.writer.write(self._memory(frames, asked), turns)
        return turns

    def _memory(self, frames: Sequence[Frames], asked: Sequence[Asked]) -> Memory:
        return Memory(self._see(np.stack(frames)), *self._read(asked))

    @torch.inference_mode()
    def _see(self, frames: Frames) -> torch.Tensor:
        return self.model.see(torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2))

    @torch.inference_mode()
    def _read(self, asked: Sequence[Asked]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.model.read(pack([[one] for one in asked]).to(self.device))


def spared(turns: Sequence[Turn], scores: Sequence[Sequence[float]]) -> dict[int, Turn]:
    """Turns to be written in place of some finished ones, by their number: those that end the task although to go on is
    likelier. There are many ways to go on, of which each may be less likely than the end. `scores`: log-probabilities
    of the tokens of every turn."""
    found = {}
    for number, (turn, of) in enumerate(zip(turns, scores, strict=True)):
        if turn.ends:
            end = math.exp(of[PLACE] + of[-1])  # the first word and the hand; what is between makes no difference
            if math.exp(sum(of[:PLACE])) * end < END_CHANCE:
                found[number] = Turn(ACT, turn.think, spared=max(end, 1e-6))
    return found


def asked_of(context: Context) -> Asked:
    """The prompt of a context."""
    count = min(HISTORY, len(context.actions))
    if context.since is not None:
        count = min(count, context.since)  # what was done before belongs to another instruction
    past = np.zeros((count, PLACE + len(codec.SIZES)), np.int64)
    thoughts = context.thoughts[len(context.thoughts) - count :] if count else ()
    for i, (chunk, thought) in enumerate(zip(context.actions[len(context.actions) - count :], thoughts, strict=True)):
        past[i] = (*read_place(thought)[1], *(codec.encode(chunk) if chunk else codec.NOOP))
    last = read_place(context.thoughts[-1])[0] if context.thoughts else ""
    picture = None if context.picture is None else fit(context.picture, FRAME_SIZE)
    return Asked(split(context.instruction), split(last, "thought"), split(context.memory, "memory"), past, picture)


def _expected(asked: Asked, think: int) -> list[int]:
    """The tokens of a likely decision: the last one, which the next one is often much like; at first one that
    confirms the instruction in its own words."""
    if len(asked.past):
        values = asked.past[-1].tolist()
        words = [WORD_ID[word] for word in asked.thought if word in WORD_ID][:think]
    else:
        values = [*NOWHERE, *codec.NOOP]
        said = ("ok", *(word for word in asked.asked if word not in _UNSAID))
        words = [SAY, *(WORD_ID[word] for word in said if word in WORD_ID)][: 1 + SPOKEN]
    fields = [start + value for start, value in zip(STARTS, values, strict=True)]
    return [*fields[:PLACE], *words, GO, *fields[PLACE:]]


def read_place(thought: str) -> tuple[str, tuple[int, int]]:
    """The words of a thought, and the place in the picture that it ends with."""
    match = _PLACE.search(thought)
    if match is None:
        return thought, NOWHERE
    return thought[: match.start()].strip(), (min(int(match[1]), COLUMNS), min(int(match[2]), ROWS))


def write_place(words: str, place: Sequence[int]) -> str:
    """The inverse of `read_place`; a thing that is not in view is left out."""
    column, row = place
    return words if column >= COLUMNS else f"{words} ({column}, {row})".strip()


def decision_of(turn: Turn) -> Decision:
    """The decision that a finished turn stands for."""
    fields = turn.fields
    decision = codec.decode(fields[PLACE:])
    return Decision(decision.actions, write_place(say(turn.thought), fields[:PLACE]), say(turn.speech), decision.done)


def is_stuck(context: Context) -> bool:
    """Whether the last PATIENCE decisions neither walked nor acted and turned nowhere: one frame, seen again, gets
    the same answer for ever."""
    if len(context.actions) < PATIENCE:
        return False
    recent = [action for chunk in context.actions[-PATIENCE:] for action in chunk]
    if any(action.keys or action.buttons for action in recent):
        return False
    return all(abs(sum(action.look[axis] for action in recent)) < 4.0 for axis in (0, 1))


def load_small(
    folder: str | Path = SHIPPED,
    *,
    think: Think = "auto",
    temperature: float = 0.0,
    guidance: float = 0.0,
    threads: int = 1,
) -> SmallPolicy:
    """The shipped policy, or the one in a checkpoint folder. Raises CheckpointError.

    `think`: "off", "auto", or the most words of a thought. `threads`: of torch, for the whole process. The model's
    passes are too small to be shared: a second thread would mostly spin, on the core that the game needs.
    """
    torch.set_num_threads(threads)
    return SmallPolicy(
        load_model(Path(folder)),
        think=thought_budget(think, THINK),
        temperature=temperature,
        guidance=guidance,
        nouns=read_manifest(Path(folder)).get("nouns"),
    )
