"""An OpenAI-compatible server on the loopback interface that knows ground truth, for benchmarks/talk.py.

It stands in for a model that sees, understands and decides without a mistake. It has nothing but what a request holds
and the truth about the picture: the words of a person that don't arrive whole, a goal that is not in the prompt, a deed
that the memory lost, it does not know. So what is lost in a conversation with it is lost by us.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.prompted import USUAL, Setting, Turn
from envs.doom.level import Level
from envs.doom.world import DoomState
from tasks import world_tasks
from tasks.doom.conversation_scripts import Line, Script
from tasks.doom.language import plain_goal
from tasks.doom.questions import Question
from tasks.expert_policy import ExpertPolicy
from tasks.task import Task, VerifierSpec, thing_name
from tests.support.talk_languages import Language, translated, worded

MARK_HEAR, MARK_ASK, MARK_ACT = "The user says now: ", "user asks: ", "Instruction: "


class Mind:
    """A model in one conversation. `look`: the state of the world as it is now. `script`: in the person's language."""

    def __init__(self, script: Script, language: Language | None, look: Callable[[], DoomState]) -> None:
        self.script = translated(script, language) if language else script
        self._language, self._look = language, look
        self._level = Level.from_json(script.options["level"])
        self._answers: dict[str, str] = {}  # to questions about the picture
        self._meant: dict[str, Line] = {}  # what the instructions mean that it was told, or wrote itself
        self._told = ""
        self._decide: Any = None
        self._verifier: Any = None

    def worded(self, question: Question) -> Question | None:
        """A question about the picture as the person asks it. The model sees the answer in the picture."""
        said = worded(question, self._language) if self._language else question
        if said is not None:
            self._answers[said.text] = said.answer
        return said

    def say(self, prompt: str) -> str:
        """What the model answers to the last message of a request."""
        last = prompt.rstrip().rpartition("\n")[2]
        if last.startswith(MARK_HEAR) or MARK_HEAR in prompt:
            return json.dumps(self._hear(prompt), ensure_ascii=False)
        if last.startswith(MARK_ASK):
            return self._answer(last.removeprefix(MARK_ASK), prompt)
        return self._act(last.removeprefix(MARK_ACT)) if last.startswith(MARK_ACT) else "I do not understand"

    # It listens.

    def _hear(self, prompt: str) -> dict[str, Any]:
        text = prompt.partition(MARK_HEAR)[2].partition("\n")[0]
        number, line = self._line(text)
        if line is None:
            asks = text in self._answers
            return {"kind": "ask" if asks else "stop", "text": [text] if asks else [], "goal": 0}
        plain = {"still": "stop", "wait": "wait", "answer": "ask"}.get(line.expect)
        if plain:
            return {"kind": plain, "text": [text] if plain == "ask" else [], "goal": 0}
        if line.expect == "do" and line.goal is None:
            return {"kind": "go on", "text": [], "goal": 0}
        if number and self.script.kind in ("correction", "clarification"):
            kind = "correct" if self.script.kind == "correction" else "clarify"
            goal = 1 if "Goal 1: " in prompt else 0
            return {"kind": kind, "text": [self._remember(self._words(line.goal), line)], "goal": goal}
        return {"kind": "instruct", "text": [self._remember(text, line)], "goal": 0}

    def _line(self, text: str) -> tuple[int, Line | None]:
        for number, line in enumerate(self.script.lines):
            pattern = re.escape(line.text).replace(re.escape("{n}"), "(?:first|second)")
            if line.text and re.fullmatch(pattern, text):
                return number, line
        return 0, None

    def _remember(self, text: str, line: Line) -> str:
        self._meant[text] = line
        return text

    def _words(self, goal: VerifierSpec | None) -> str:
        assert goal is not None
        thing = self._level.things[goal.args["targets"][0]]
        if self._language is None:
            return plain_goal(goal.name, f"the {thing_name(thing.kind, thing.colour)}")
        return self._language.verbs[goal.name][0].format(x=self._language.thing(thing.kind, thing.colour))

    # It answers.

    def _answer(self, question: str, prompt: str) -> str:
        """From the picture; what it is to do and what it did it knows from the prompt alone."""
        if question in self._answers:
            return self._answers[question]
        number, line = self._line(question)
        if line is None:
            return "?"
        before, goals = self.script.lines[number - 1].text, _told(prompt, "What you are to do: ")
        if line.said and set(_words_of(line.said)) <= set(_words_of(before)):  # what is it doing?
            own = "i am to " if self._language is None else ""
            return own + goals.lower() if _words_of(before) == _words_of(goals) else "?"
        taken = self.script.lines[0].text.lower()
        knows = taken in prompt.lower() and self._meant.get(self.script.lines[0].text) is not None
        unless = {"yes": "no", "ja": "nein", "sí": "no"}.get(line.said, "?")
        return line.said if knows else unless

    # It acts.

    def _act(self, told: str) -> str:
        line = self._meant.get(told)
        if line is None:
            return "act: wait"
        if line.expect == "ask":
            return f"act: wait\nsay: {line.said}"
        if line.goal is None:
            return f"act: done\nsay: {line.said or 'i do not know what that is'}"
        if told != self._told:
            self._told, self._verifier = told, world_tasks.of("doom").verifier(line.goal)
            self._decide = ExpertPolicy().start(Task("", "", "doom", verifier=line.goal))
        state = self._look()
        if self._verifier.update(state) is not None:
            return "act: done"
        setting = Setting(USUAL)
        return setting.write(Turn(USUAL.plan_of(self._decide(state).actions, setting.tick_hz)))


def _told(prompt: str, mark: str) -> str:
    return next((line.removeprefix(mark) for line in prompt.splitlines() if line.startswith(mark)), "")


def _words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class TalkServer:
    """Serves `say`, which maps the text of the last message of a request to an answer.

    `latency`: seconds until the first word, `per_word`: seconds for each further one. `asked`: the bodies of the
    requests, where `keep`; `sent`: how many there were.
    """

    def __init__(self, say: Callable[[str], str], latency: float = 0.0, per_word: float = 0.0, keep: bool = False):
        self.say, self.latency, self.per_word = say, latency, per_word
        self.asked: list[Mapping[str, Any]] = []
        self.sent = 0
        mine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                mine.sent += 1
                if keep:
                    mine.asked.append(body)
                with contextlib.suppress(ConnectionError):  # the client wants no more
                    mine._reply(self, body)

            def log_message(self, *what: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _reply(self, handler: BaseHTTPRequestHandler, body: Mapping[str, Any]) -> None:
        text = self.say(text_of(body["messages"][-1]))
        words = re.findall(r"\s*\S+", text)
        time.sleep(self.latency)
        if not body.get("stream"):
            time.sleep(self.per_word * len(words))
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            usage = {"prompt_tokens": 0, "completion_tokens": len(words)}
            data = json.dumps({"choices": [choice], "usage": usage}).encode()
            handler.send_response(200)
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        for word in words:
            self._event(handler, {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            time.sleep(self.per_word)
        self._event(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        handler.wfile.write(b"data: [DONE]\n\n")
        handler.close_connection = True

    def _event(self, handler: BaseHTTPRequestHandler, event: Mapping[str, Any]) -> None:
        handler.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        handler.wfile.flush()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def text_of(message: Mapping[str, Any]) -> str:
    """The words of a message of a request."""
    content = message["content"]
    return content if isinstance(content, str) else "".join(p["text"] for p in content if p["type"] == "text")


@contextlib.contextmanager
def serving(say: Callable[[str], str], **how: Any) -> Iterator[TalkServer]:
    server = TalkServer(say, **how)
    try:
        yield server
    finally:
        server.close()
