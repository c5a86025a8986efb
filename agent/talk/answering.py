"""`Answering`: questions are answered in a thread, word by word, so that the game goes on."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from queue import SimpleQueue

from agent.talk.surroundings import Surroundings
from agent.talk.transcript import Dialogue
from agent.talk.voice import Asked, Voice
from envs.world import Chat

_SENTENCE = re.compile(r"[^.!?。！？]*[.!?。！？]+(?=\s|$)\s*")  # what is said in a game at once


def _sentences(text: str) -> list[str]:
    """The sentences of a text; the last one may have no end."""
    whole = list(_SENTENCE.finditer(text))
    rest = text[whole[-1].end() if whole else 0 :].strip()
    return [*(one[0].strip() for one in whole), *[rest] * bool(rest)]


class Gate:
    """Holds back an answer that is being made until it is known whether the message was a question."""

    def __init__(self) -> None:
        self._settled = threading.Event()
        self._wanted = False

    def settle(self, wanted: bool) -> None:
        """Decide; the first decision counts."""
        if self.undecided:
            self._wanted = wanted
            self._settled.set()

    @property
    def undecided(self) -> bool:
        return not self._settled.is_set()

    def wanted(self) -> bool:
        """Whether the answer is wanted, once that is known."""
        self._settled.wait()
        return self._wanted


@dataclass(frozen=True)
class Reply:
    """Work for the thread that answers. `text`: a question of `who`, or, where `said`, a line to be said in the game.
    `told`: the answer is said in the game, too. `gate`: whether the answer is wanted."""

    text: str
    who: str = "user"
    told: bool = False
    said: bool = False
    gate: Gate | None = None


class Answering(Dialogue):
    """A dialogue in which `voice` answers questions; without one there are none but the agent's own answers."""

    def __init__(self, voice: Voice | None) -> None:
        super().__init__()
        self._around = Surroundings(voice)
        self._chat: Chat | None = None  # of the world
        self._unanswered = 0  # questions
        self._replies: SimpleQueue[Reply | None] = SimpleQueue()
        threading.Thread(target=self._answer, name="answers", daemon=True).start()

    def close(self) -> None:
        """Stop answering, once the open questions are answered."""
        self._replies.put(None)

    def _inquire(self, reply: Reply) -> None:
        with self._lock:
            self._unanswered += 1
        self._replies.put(reply)

    def _tell(self, text: str) -> None:
        self._replies.put(Reply(text, said=True))  # a game may take long to say something

    def _asked(self, question: str, who: str) -> Asked:
        """The question with all that it may be answered from. For subclasses."""
        return Asked(question, self._around.latest, who=who)

    def _own_answer(self, question: str) -> str:
        """What can be answered without a voice; "" for any other question. For subclasses."""
        return ""

    def _answer(self) -> None:
        while (reply := self._replies.get()) is not None:
            if reply.said:
                self._send(reply.text)
                continue
            try:
                self._respond(reply)
            except Exception as error:  # a voice may be a remote model; the conversation outlives it
                if reply.gate is None or reply.gate.wanted():
                    self._fail(reply, error)
            with self._lock:
                self._unanswered -= 1

    def _respond(self, reply: Reply) -> None:
        """Say the answer as it comes; while the gate is undecided it is only made."""
        pieces, said, line = self._pieces(reply), "", None
        if isinstance(pieces, list):  # it is there
            pieces, said = [], "".join(pieces)
        sent = 0  # characters that were said in the game
        try:
            for piece in pieces:
                said += piece
                if reply.gate and reply.gate.undecided:
                    continue
                if reply.gate and not reply.gate.wanted():
                    return
                line = self._add("agent", said, again=line, whole=False)
                while reply.told and (sentence := _SENTENCE.match(said[sent:])) and sentence.end() + sent < len(said):
                    self._send(sentence[0].strip())
                    sent += sentence.end()
        finally:
            if isinstance(pieces, Generator):  # let go of the request
                pieces.close()
            if line is not None:
                self._add("agent", said, again=line)
        if reply.gate and not reply.gate.wanted():
            return
        if line is None and said:
            self._add("agent", said)
        for part in _sentences(said[sent:]) if reply.told else ():
            self._send(part)

    def _fail(self, reply: Reply, error: Exception) -> None:
        own = self._own_answer(reply.text)
        if own:
            self._add("agent", own)
            if reply.told:
                self._send(own)
        else:
            self._note(f"no answer: {type(error).__name__}: {error}")

    def _send(self, text: str) -> None:
        try:
            if self._chat is not None:
                self._chat.send(text)
        except Exception as error:  # the game may be gone
            self._note(f"not said in the game: {type(error).__name__}: {error}")

    def _pieces(self, reply: Reply) -> Iterable[str]:
        own = self._own_answer(reply.text)
        if own and not self._understands:
            return [own]
        return self._around.answer(self._asked(reply.text, reply.who))

    @property
    def _understands(self) -> bool:
        """Whether a model understands the user, so that it knows its goals as well. For subclasses."""
        return False
