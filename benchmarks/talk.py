"""Any chat model as a player that talks: what is lost between a person, the model and the game is ours.

    python benchmarks/talk.py --conversations 200 --seed 11 --questions 60

The scripted conversations of tasks/doom (docs/chat.md), in English, German and Spanish. The player is `openai:` with a
server on the loopback interface that knows ground truth (tests/support/talk_server.py): it plays, understands and
answers by the same requests as any model. Then the time from a question to the first word of its answer, beside the
time that the server itself takes to its first word.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.models.base import Delta
from agent.models.load import load_model
from agent.models.policy import ChatPolicy, load_openai_policy
from agent.talk.chat_voice import voice_of
from agent.talk.conversation import Conversation
from agent.talk.transcript import Line
from envs.action import Action
from envs.doom.world import DoomState, DoomWorld
from envs.world import Observation
from envs.wrappers import WorldWrapper
from tasks.doom.conversation_scripts import script
from tasks.doom.converse import Talked, converse
from tests.support.talk_languages import LANGUAGES
from tests.support.talk_server import MARK_ASK, Mind, TalkServer, serving
from training.evaluation.conversations import summary
from training.evaluation.statistics import percent

PATIENCE = 30.0  # seconds for an answer


class Seen(WorldWrapper):
    """A world that remembers its state, for a server that knows ground truth."""

    state: DoomState

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.world.reset(seed=seed, options=options)
        self.state = info["state"]
        return observation, info

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        result = self.world.step(action)
        self.state = result[4]["state"]
        return result


def conversations(language: str, n: int, seed: int, *, heard: bool = True) -> list[Talked]:
    """Have conversations, one after the other. `heard`: whether the player hears what is said after the first line."""
    world = Seen(DoomWorld(labels=True))
    talked = []
    try:
        with serving(lambda prompt: "") as server:
            policy = load_openai_policy(f"truth@{server.url}", think="off").for_world(world)
            voice, listener = voice_of(policy)
            for index in range(n):
                mind = Mind(script(seed, index), LANGUAGES[language], lambda: world.state)
                server.say = mind.say
                talked.append(
                    converse(
                        world, InStep(policy), voice, mind.script,
                        heard=heard, listener=listener, worded=mind.worded,
                    )
                )  # fmt: skip
    finally:
        world.close()
    return talked


class Talking:
    """A player in Doom that goes ahead, with whom one can talk, in a thread."""

    def __init__(self, server: TalkServer) -> None:
        self._world = DoomWorld()
        policy: ChatPolicy = load_openai_policy(f"truth@{server.url}", think="off").for_world(self._world)
        voice, listener = voice_of(policy)
        self.talk = Conversation(voice, listener=listener, keep=True)
        self.first: dict[int, float] = {}  # number of a line of the agent's -> when its first word was there
        self.talk.listeners.append(self._note)
        self.talk.attach(self._world)
        self.talk.begin("go ahead")
        how: dict[str, Any] = {"control": self.talk, "subscribers": [self.talk], "time_limit": 10**9, "seed": 3}
        self._thread = threading.Thread(
            target=lambda: play(self._world, InStep(policy), self.talk.instruction, end_on_done=True, **how)
        )
        self._thread.start()
        self.talk.started.wait()

    def _note(self, line: Line) -> None:
        self.first.setdefault(line.number, time.perf_counter())

    def ask(self, question: str) -> float:
        """Seconds from a question to the first word of its answer."""
        before, start = {line.number for line in self.talk.lines}, time.perf_counter()
        self.talk.user(question)
        while self.talk.answering and time.perf_counter() < start + PATIENCE:
            time.sleep(0.005)
        new = [line.number for line in self.talk.lines if line.who == "agent" and line.number not in before]
        return self.first[new[0]] - start

    def close(self) -> None:
        self.talk.quit()
        self._thread.join()
        self.talk.close()
        self._world.close()


def answering(prompt: str) -> str:
    """A server that takes every message that it listens to for a question, and goes ahead in the game."""
    if "The user says now: " in prompt:
        return json.dumps({"kind": "ask", "text": ["?"], "goal": 0})
    if MARK_ASK in prompt:
        return "a red torch stands there, and a blue key lies left of it"
    return "act: hold KeyW"


def first_words(questions: int, latency: float, per_word: float) -> dict[str, list[float]]:
    """Seconds to the first word: of the agent's answers, and of the bare server's, in turn."""
    found: dict[str, list[float]] = {"agent": [], "server": []}
    with serving(answering, latency=latency, per_word=per_word) as server:
        bare = load_model(f"openai:truth@{server.url}")
        talking = Talking(server)
        try:
            for number in range(-1, questions):  # the first one connects
                start = time.perf_counter()
                stream = bare.stream(f"{MARK_ASK}what do you see?", max_tokens=200)
                next(item for item in stream if isinstance(item, Delta))
                took = time.perf_counter() - start
                for _ in stream:
                    pass
                asked = talking.ask("what do you see?")
                if number >= 0:
                    found["server"].append(took)
                    found["agent"].append(asked)
        finally:
            talking.close()
            bare.close()
    return found


def told(rows: dict[str, Any]) -> str:
    """The shares of the conversations that went right, as a table."""
    kinds = list(next(iter(rows.values()))["by_kind"])
    lines = [f"| language | n | right, % | {' | '.join(kinds)} |", "|---" * (3 + len(kinds)) + "|"]
    for language, row in rows.items():
        by = " | ".join(f"{100 * row['by_kind'][kind]['success']:.0f}" for kind in kinds if kind in row["by_kind"])
        lines.append(f"| {language} | {row['episodes']} | {percent(row['success'], row['ci'], ci_digits=1)} | {by} |")
    return "\n".join(lines)


def quantiles(values: Sequence[float]) -> str:
    p50, p95 = np.percentile(values, (50, 95))
    return f"p50 {1000 * p50:6.1f}  p95 {1000 * p95:6.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=200, help="in each language")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--languages", nargs="*", default=list(LANGUAGES), choices=list(LANGUAGES))
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds of the server until its first word")
    parser.add_argument("--per-word", type=float, default=0.02, help="seconds of the server for each word")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    rows: dict[str, Any] = {}
    for language in args.languages if args.conversations else ():
        talked = conversations(language, args.conversations, args.seed)
        rows[language] = summary(talked)
        for one in talked:
            if not one.right:
                print(f"{language}, {one.script.id}, {one.script.kind}: {one.why}")
    if rows:
        deaf = conversations(args.languages[0], args.conversations, args.seed, heard=False)
        rows[f"{args.languages[0]}, the first line alone"] = summary(deaf)
    if rows:
        print(told(rows))
    if args.questions:
        found = first_words(args.questions, args.latency, args.per_word)
        for who, values in found.items():
            print(f"first word, {who:<7} {quantiles(values)}  (n = {len(values)})")
        ratio = float(np.median(found["agent"]) / np.median(found["server"]))
        print(f"ratio of the medians     {ratio:.2f}")
        rows["first word"] = {**found, "ratio": ratio}
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
