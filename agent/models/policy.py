"""`ChatPolicy`: plays with a chat model that is only prompted. The model writes its actions as text (agent/codec.py).

A decision takes as long as the service needs. In a realtime world the loop counts the ticks without an action; with
`--time lockstep` the world waits.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from agent.codec import ActionTextError
from agent.models.base import ChatModel, Message, ModelError, Reply
from agent.models.load import load_model
from agent.models.pictures import within_bytes
from agent.policy import Context, Decision, Sent, Think, thought_budget
from agent.prompted import PROMPTED, THOUGHT_TOKENS, Setting, Turn, mouse_now, repair, speaker
from agent.view import Size, View, read_view
from envs.errors import UserError
from envs.world import World

MAX_TOKENS = 256  # of a turn
AT_ONCE = 8  # requests
_SHOWN = 2000  # characters of an answer that can't be read, which the model is shown again
_LEAST, _TIMES = 0.8, 4.0  # the shortest wait for an answer in seconds, and in multiples of what the last ones took
_MORE = 1.5  # how much longer to wait after each answer that did not come: the service may have become slower


class ChatPolicy:
    """Plays with a chat model that sees pictures, in any world that it is fitted to (`for_world`).

    Where the model gives no answer, the player releases everything for the length of a decision and its thought says
    why; the next decision is a new request. So it is where the answer can't be read, once the model was told what is
    wrong with it; in a world that does not wait it isn't told. An error that would never get better, such as a wrong
    key or an exhausted budget, raises UserError. `think`: "off", "auto" (the model's own) or a number of tokens.
    `deadline`: the most seconds for an answer. The player gives up earlier on an answer that takes far longer than
    those before it: a new request may succeed while the old one hangs. `view`: what the model is shown.
    """

    def __init__(
        self, model: ChatModel, *, think: Think = "auto", deadline: float = 60.0, view: View = PROMPTED
    ) -> None:
        self.model = model
        self.setting = Setting(view=view)
        self.spec = self.setting.spec
        self._deadline = deadline
        self._took: deque[float] = deque(maxlen=8)  # seconds of the last answers
        self._missed = 0  # answers since that did not come
        self._think = None if think == "auto" else thought_budget(think, THOUGHT_TOKENS)

    @property
    def chat_model(self) -> ChatModel:
        """The model, which talks as well (agent.talk.chat_voice)."""
        return self.model

    def for_world(self, world: World) -> ChatPolicy:
        """The policy that plays `world` with its keys, at its tick rate."""
        mine = copy.copy(self)
        mine.setting = Setting.of(world, self.setting.view)
        mine.spec = mine.setting.spec
        return mine

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        if len(contexts) == 1:
            return [self._decide(contexts[0])]
        with ThreadPoolExecutor(min(AT_ONCE, max(1, len(contexts)))) as pool:
            return list(pool.map(self._decide, contexts))

    def _decide(self, context: Context) -> Decision:
        began, patience = time.monotonic(), self._patience
        sent: list[Sent] = []  # of each answer
        try:
            turn = self._turn(context, began + patience, sent)
            actions = self.setting.actions(turn, context)
            return Decision(actions, turn.thought, turn.speech, turn.plan.done, sent=sent[-1])
        except (ModelError, ActionTextError) as error:
            if isinstance(error, ModelError) and not error.retryable:
                raise UserError(str(error)) from error
            self._missed += isinstance(error, ModelError) and time.monotonic() - began >= patience
            return Decision(self.setting.idle(), f"no answer: {str(error)[:300]}", sent=sent[-1] if sent else None)

    def _turn(self, context: Context, end: float, sent: list[Sent]) -> Turn:
        asked = ask(context, self.setting)
        sizes = tuple((image.shape[0], image.shape[1]) for image in asked.images[context.picture is not None :])
        reply = self._chat([asked], context.seed, end)
        sent.append(_sent(reply, sizes))
        try:
            return self.setting.read(reply.text)
        except ActionTextError as error:
            if self.setting.realtime:
                raise
            again = Message("assistant", reply.text[:_SHOWN] or "(nothing)"), Message("user", repair(error))
            reply = self._chat([asked, *again], context.seed, end)
            sent.append(_sent(reply, sizes))
            return self.setting.read(reply.text)

    def _chat(self, messages: Sequence[Message], seed: int, end: float) -> Reply:
        seconds = max(0.1, end - time.monotonic())
        reply = self.model.chat(
            messages, form=self.setting.form, think=self._think, max_tokens=MAX_TOKENS, seed=seed, deadline=seconds
        )
        self._took.append(reply.seconds)
        self._missed = 0
        return reply

    @property
    def _patience(self) -> float:
        """Seconds to wait for an answer."""
        if not self._took:
            return self._deadline
        usual = max(_LEAST, _TIMES * median(self._took))
        return min(self._deadline, usual * _MORE ** min(self._missed, 20))


def _sent(reply: Reply, sizes: tuple[Size, ...]) -> Sent:
    return Sent(sizes, reply.sent, None if reply.told is None else reply.told.prompt)


def ask(context: Context, setting: Setting) -> Message:
    """The prompt: the controls, the instruction in words, and frames with what was done after each of them. Where they
    weigh more than the view's `bytes`, there are fewer."""
    lines = [setting.instructions()]
    if context.memory:
        lines.append(f"What happened so far: {context.memory}")
    lines += [f"{speaker(who)}: {what}" for who, what in context.dialogue]
    frames = within_bytes(context.frames, setting.view.encoding, setting.view.bytes)
    images = frames
    if context.picture is not None:
        lines.append("The first picture shows what is wanted.")
        images = (context.picture, *frames)
    lines += [about] if (about := setting.about(len(images))) else []
    if any(past := setting.past(context, len(frames))):
        lines += ["What you did between them:", *filter(None, past)]
    lines += [*mouse_now(context), f"Instruction: {context.instruction}"]
    return Message("user", "\n".join(lines), tuple(images), setting.view.encoding)


def load_openai_policy(argument: str = "", *, think: Think = "auto", view: str = "") -> ChatPolicy:
    """The policy `openai:MODEL@URL`. `view`: what it sees, where that is not PROMPTED (agent.view.read_view). Raises
    UserError."""
    return _load(f"openai:{argument}", think, view)


def load_gemini_policy(argument: str = "", *, think: Think = "auto", view: str = "") -> ChatPolicy:
    """The policy `gemini:MODEL`; `view` as in `load_openai_policy`. Raises UserError."""
    return _load(f"gemini:{argument}", think, view)


def _load(name: str, think: Think, view: str) -> ChatPolicy:
    seen = read_view(view, PROMPTED)
    # one attempt: until a second one is answered, the game has moved on and the next decision is due
    model = load_model(name, attempts=1)
    return ChatPolicy(model, think=think, deadline=model.deadline, view=seen)
