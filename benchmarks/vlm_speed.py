"""What packed rows and a static cache bring to models of transformers: tiny ones of real architectures, on Doom.

    python benchmarks/vlm_speed.py packing --episodes 20
    python benchmarks/vlm_speed.py cache --worlds 8

`packing`: decisions of the expert as training batches, each in a row of its own or packed (`agent train bc --pack`):
the share of tokens that is padding, and decisions and tokens a second of a forward and a backward pass. `cache`:
decisions a second of the policy `hf:` over so many contexts at once, with keys and values in a cache that grows and in
one of fixed size, and how many of the decisions are the same. All take turns, so that other work slows them alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from overfit import SuiteGame, record

from agent.policy import Context, Decision
from agent.vlm.free_text import Cache
from agent.vlm.policy import VlmPolicy, grow
from agent.vlm.turn_grammar import add_action_tokens
from envs.doom.world import DoomWorld
from tests.support.tiny_vlm import TINY, tiny
from training.data.examples import Example, Examples
from training.vlm.examples import Batch, encode_examples, log_probabilities
from training.vlm.packing import pack
from training.vlm.start import writer_of


def recorded(folder: Path, episodes: int, history: int) -> list[Example]:
    """The decisions of the expert in so many episodes of doom-basic, shuffled."""
    game = SuiteGame(DoomWorld(), "doom-basic", 60)
    record(game, folder, episodes, seed=5)
    game.world.close()
    examples = Examples([folder], history=history)
    return [examples[int(number)] for number in examples.order(0)]


def model_of(args: argparse.Namespace) -> tuple[Any, Any]:
    """A tiny model with action tokens, and its processor."""
    model, processor = tiny(args.model, width=args.width, layers=args.layers)
    add_action_tokens(processor.tokenizer)
    grow(model, processor.tokenizer)
    return model, processor


def in_turns(rounds: int, *jobs: Callable[[], object]) -> list[float]:
    """The median seconds of each job, after one time that does not count."""
    times: list[list[float]] = [[] for _ in jobs]
    for number in range(rounds + 1):
        for job, taken in zip(jobs, times, strict=True):
            start = time.perf_counter()
            job()
            if number:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def packing(args: argparse.Namespace, folder: Path) -> str:
    """The table of packed and padded rows."""
    examples = recorded(folder, args.episodes, args.history)[: args.batch * args.batches]
    model, processor = model_of(args)
    writer = writer_of(processor, "tokens")
    batches = [
        encode_examples(processor, writer, examples[start : start + args.batch])
        for start in range(0, len(examples), args.batch)
    ]
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    longest = max(batch["input_ids"].shape[1] for batch in batches)

    def learn(length: int | None) -> Callable[[], None]:
        def step() -> None:
            for batch in batches:
                found, weights = log_probabilities(model, pack(batch, model, length) if length else batch)
                (found * weights).sum().backward()
                model.zero_grad()

        return step

    lengths = [None, longest, 2 * longest, 4 * longest]
    lines = [
        f"{len(examples)} decisions of {tokens / len(examples):.0f} tokens on average, the longest has {longest}",
        "",
    ]
    lines += ["| rows | padding | decisions/s | tokens/s |", "|---|---|---|---|"]
    for length, seconds in zip(lengths, in_turns(args.rounds, *map(learn, lengths)), strict=True):
        computed = sum(size(pack(batch, model, length) if length else batch) for batch in batches)
        name = f"packed, up to {length} tokens" if length else "one for each decision"
        lines.append(
            f"| {name} | {1 - tokens / computed:.0%} | {len(examples) / seconds:.1f} | {tokens / seconds:.0f} |"
        )
    return "\n".join(lines)


def size(batch: Batch) -> int:
    """How many tokens a batch computes, padding included."""
    return batch["input_ids"].numel()


def cache(args: argparse.Namespace, folder: Path) -> str:
    """The table of caches."""
    contexts = [replace(e.context, seed=i) for i, e in enumerate(recorded(folder, args.episodes, args.history))]
    model, processor = model_of(args)
    kinds: tuple[Cache, ...] = ("dynamic", "static")
    policies = [VlmPolicy(model, processor, think="off", speech=0, temperature=1.0, cache=kind) for kind in kinds]
    lines = ["| worlds | dynamic cache, decisions/s | static, decisions/s | ratio | the same decisions |"]
    lines += ["|---|---|---|---|---|"]
    for worlds in args.worlds:
        here, made = contexts[:worlds], dict[int, list[Decision]]()

        def decide(number: int, here: list[Context] = here, made: dict[int, list[Decision]] = made) -> None:
            made[number] = policies[number].act(here)

        first, second = in_turns(args.rounds, partial(decide, 0), partial(decide, 1))
        same = sum(a == b for a, b in zip(made[0], made[1], strict=True))
        rates = f"{worlds / first:.2f} | {worlds / second:.2f} | {first / second:.2f}"
        lines.append(f"| {worlds} | {rates} | {same} of {worlds} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("packing", "cache"))
    parser.add_argument("--model", choices=TINY, default="idefics3")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--history", type=int, default=4, help="frames in a prompt")
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8, help="decisions in a batch")
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 8])
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        print({"packing": packing, "cache": cache}[args.what](args, Path(folder)))


if __name__ == "__main__":
    main()
