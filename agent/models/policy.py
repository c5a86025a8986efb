"""`ChatPolicy`: plays with a chat model that is only prompted. The model writes the plain-text form of an action.

A decision takes as long as the service needs. In a realtime world the loop counts the ticks without an action; with
`--time lockstep` the world waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from agent import codec
from agent.models.base import BadReplyError, ChatModel, Message, ModelError
from agent.models.load import load_model
from agent.policy import Context, Decision, PolicySpec, Think, thought_budget
from agent.vlm.policy import ABOUT, HISTORY, HOW, THOUGHT_TOKENS
from agent.vlm.turn_grammar import MARKS, Turn, turn_text
from envs.errors import UserError

MAX_TOKENS = 256  # of a turn
AT_ONCE = 8  # requests
_LEAST, _TIMES = 0.8, 4.0  # the shortest wait for an answer in seconds, and in multiples of what the last ones took
_MORE = 1.5  # how much longer to wait after each answer that did not come: the service may have become slower


class ChatPolicy:
    """Plays with a chat model that sees pictures.

    Where the model gives no answer, or none that can be read, the player releases everything for the length of a
    decision and its thought says why; the next decision is a new request. An error that would never get better, such as
    a wrong key or an exhausted budget, raises UserError. `think`: "off", "auto" (the model's own) or a number of
    tokens. `deadline`: the most seconds for an answer. The player gives up earlier on an answer that takes far longer
    than those before it: a new request may succeed while the old one hangs.
    """

    def __init__(self, model: ChatModel, *, think: Think = "auto", deadline: float = 60.0) -> None:
        self.model = model
        self.spec = PolicySpec(history=HISTORY, chunk=codec.CHUNK, codec=codec.VERSION, starved="release")
        self._deadline = deadline
        self._took: deque[float] = deque(maxlen=8)  # seconds of the last answers
        self._missed = 0  # answers since that did not come
        self._think = None if think == "auto" else thought_budget(think, THOUGHT_TOKENS)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        if len(contexts) == 1:
            return [self._decide(contexts[0])]
        with ThreadPoolExecutor(min(AT_ONCE, max(1, len(contexts)))) as pool:
            return list(pool.map(self._decide, contexts))

    def _decide(self, context: Context) -> Decision:
        began, patience = time.monotonic(), self._patience
        try:
            reply = self.model.chat(
                [ask(context)], think=self._think, max_tokens=MAX_TOKENS, seed=context.seed, deadline=patience
            )
            self._took.append(reply.seconds)
            self._missed = 0
            return read(reply.text)
        except ModelError as error:
            if not error.retryable:
                raise UserError(str(error)) from error
            self._missed += time.monotonic() - began >= patience
            return Decision(codec.decode(codec.NOOP).actions, f"no answer: {error}")

    @property
    def _patience(self) -> float:
        """Seconds to wait for an answer."""
        if not self._took:
            return self._deadline
        usual = max(_LEAST, _TIMES * median(self._took))
        return min(self._deadline, usual * _MORE ** min(self._missed, 20))


def ask(context: Context) -> Message:
    """The prompt: the instruction in words, and frames with what was done after each of them."""
    lines = [ABOUT, HOW]
    if context.memory:
        lines.append(f"What happened so far: {context.memory}")
    lines += [f"{who}: {what}" for who, what in context.dialogue]
    frames = context.frames[-HISTORY:]
    images = frames
    if context.picture is not None:
        lines.append("The first picture shows what is wanted; the others are what you saw, the last one is now.")
        images = (context.picture, *frames)
    elif len(frames) > 1:
        lines.append("The pictures are what you saw, the last one is now.")
    past = len(frames) - 1
    chunks = context.actions[-past:] if past else ()
    thoughts = context.thoughts[-past:] if past else ()
    if any(chunks):
        lines.append("What you wrote between them:")
    for i, chunk in enumerate(chunks):
        at = i - (len(chunks) - len(thoughts))
        if chunk:
            lines.append(turn_text("text", Turn(codec.encode(chunk), thoughts[at] if at >= 0 else "")))
    lines.append(f"Instruction: {context.instruction}")
    return Message("user", "\n".join(lines), tuple(images))


def read(text: str) -> Decision:
    """The decision that a model wrote. Raises BadReplyError where there is no action in it that can be read."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        bare = line.strip().strip("`*")
        for mark in MARKS["text"]:
            if bare.lower().startswith(mark):
                found.setdefault(mark, bare[len(mark) :].strip().strip("`*").strip())
    think, act, say = MARKS["text"]
    try:
        decision = codec.decode(codec.from_text(found.get(act, "")))
    except ValueError as error:
        raise BadReplyError(str(error)[:300]) from None
    return Decision(decision.actions, found.get(think, ""), found.get(say, ""), decision.done)


def load_openai_policy(argument: str = "", *, think: Think = "auto") -> ChatPolicy:
    """The policy `openai:MODEL@URL`. Raises UserError."""
    return _load(f"openai:{argument}", think)


def load_gemini_policy(argument: str = "", *, think: Think = "auto") -> ChatPolicy:
    """The policy `gemini:MODEL`. Raises UserError."""
    return _load(f"gemini:{argument}", think)


def _load(name: str, think: Think) -> ChatPolicy:
    # one attempt: until a second one is answered, the game has moved on and the next decision is due
    model = load_model(name, attempts=1)
    return ChatPolicy(model, think=think, deadline=model.deadline)
