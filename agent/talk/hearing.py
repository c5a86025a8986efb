"""`Hearing`: a thread in which a model understands what the user says, message by message, while the game goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from agent.episode import Frame
from agent.talk.answering import Gate
from agent.talk.intents import Intent
from agent.talk.listener import Heard, Listener, Said


@dataclass(frozen=True)
class Message:
    """What the user says. `by_rules`: as the rules of agent.talk.intents understand it. `picture`: what he means by it.
    `tell`: says in the game what comes of it. `gate`: of an answer that is already being made. `before`: how often the
    user had stopped and paused the agent. `earlier`: (who, what) lines of the user's."""

    text: str
    by_rules: Intent
    picture: Frame | None
    tell: Callable[[str], None] | None
    gate: Gate | None
    before: tuple[int, int]
    earlier: tuple[tuple[str, str], ...] = ()


class Hearing:
    """Has `listener` understand messages, one after the other.

    `situation`: what the listener is told of a message. `obey`: carries out a message as it was understood; with None
    where the listener failed. `note`: tells the user that it failed, and that it is back.
    """

    def __init__(
        self,
        listener: Listener,
        situation: Callable[[Message], Said],
        note: Callable[[str], None],
        obey: Callable[[Message, Heard | None], None],
    ) -> None:
        self._listener, self._situation, self._note, self._obey = listener, situation, note, obey
        self._lock = threading.Lock()
        self._waiting = 0  # messages
        self._out = False
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        threading.Thread(target=self._listen, name="listening", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a message was not carried out yet."""
        return self._waiting > 0

    def put(self, message: Message) -> None:
        with self._lock:
            self._waiting += 1
        self._messages.put(message)

    def close(self) -> None:
        """Stop listening, once all messages were carried out."""
        self._messages.put(None)

    def _listen(self) -> None:
        while (message := self._messages.get()) is not None:
            heard = self._understood(message)
            try:
                self._obey(message, heard)
            except Exception as error:  # the voice that looks may be a remote model
                self._note(f"not understood: {type(error).__name__}: {error}")
            finally:
                if message.gate is not None:
                    asks = message.by_rules.kind == "question" if heard is None else heard.kind == "ask"
                    message.gate.settle(asks)
                with self._lock:
                    self._waiting -= 1

    def _understood(self, message: Message) -> Heard | None:
        gate = message.gate
        try:
            heard = self._listener.understand(
                self._situation(message), lambda kind: gate.settle(True) if gate and kind == "ask" else None
            )
        except Exception as error:  # a listener may be a remote model or foreign code; the conversation outlives it
            if not self._out:
                self._note(f"no model understands you now, plain English words do: {error}")
            self._out = True
            return None
        if self._out:
            self._out = False
            self._note("the model understands you again")
        return heard
