"""`Following`: what the user says becomes goals, as a model understands it or by rules on words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.episode import Frame
from agent.loop.instruction import LiveInstruction
from agent.policy import Decision
from agent.talk import brakes, intents
from agent.talk.answering import Answering, Gate, Reply
from agent.talk.hearing import Hearing, Message
from agent.talk.intents import Intent, OpenQuestion
from agent.talk.listener import TELLS, Heard, Listener, Said
from agent.talk.understanding import Reader, Understanding
from agent.talk.voice import Voice
from envs.action import NEUTRAL

_EARLIER = 4  # lines of the user's that a model is told with the new one
ASKS = ("?", "？", "؟")
_SCRIPTED = "i follow a script and take no instructions"


@dataclass(frozen=True)
class Place:
    """Where goals go among the user's: after so many of them, in the stead of the next `drops`."""

    after: int
    drops: int = 0


INSTEAD = Place(0, drops=10**6)  # of all of them


@dataclass(frozen=True)
class Goal:
    """What the player is to do: an instruction, and what it shows instead of naming it. `planned`: it is a step of the
    planner's, towards a goal of the user's."""

    text: str
    picture: Frame | None = None
    planned: bool = False


class Following(Answering):
    """A dialogue in which the user sets goals, corrects them, stops and pauses; see `Conversation`."""

    def __init__(self, voice: Voice | None, listener: Listener | None, reader: Reader | None, listens: bool) -> None:
        super().__init__(voice)
        self.instruction = LiveInstruction("")
        self._keep = self.paused = False
        self._listens = listens
        self._goals: list[Goal] = []
        self._last: Goal | None = None  # the goal that was pursued last
        self._open_question: OpenQuestion | None = None  # the agent asked it and waits for an answer
        self._question = ""  # in its words
        self._unsure = 0.0  # since when it waits, by the clock
        self._choices: OpenQuestion | None = None  # the last question of that kind
        self._stops = self._pauses = 0  # so far: what was said before them does not undo them
        self._controls = ""  # what the keys of the world do
        self._understanding = Understanding(self._around.known, reader)
        self._hearing = Hearing(listener, self._situation, self._note, self._obey) if listener else None
        self._reply: Callable[[str], None] | None = None  # says a line in the game, if a player there was obeyed last

    def close(self) -> None:
        """Stop listening and answering, once the open questions are answered."""
        super().close()
        if self._hearing is not None:
            self._hearing.close()

    def stop(self) -> None:
        """Drop all goals. For subclasses."""
        raise NotImplementedError

    def pause(self, paused: bool) -> None:
        """Pause the game, or end its pause. For subclasses."""
        raise NotImplementedError

    def _give_up(self, why: str) -> None:
        """Nothing can be done of what the run was to do. For subclasses."""

    @property
    def hearing(self) -> bool:
        """Whether a message of the user's is not understood yet."""
        return self._hearing is not None and self._hearing.busy

    def _say(self, text: str, tell: Callable[[str], None] | None = None) -> None:
        self._add("agent", text)
        if tell := tell or self._reply:
            tell(text)

    # Understand messages.

    @property
    def _understands(self) -> bool:
        return self._hearing is not None

    def _take(self, text: str, picture: Frame | None, tell: Callable[[str], None] | None = None) -> None:
        """Follow what the user says: once the model has understood it, or by rules, without a model and to stop, to
        pause and to go on. What looks like a question is answered while the model still listens."""
        message = (brakes.read(text) if self._hearing else None) or intents.read(text)
        if self._hearing is None or message.kind in ("stop", "pause", "resume"):
            seen = () if picture is not None else self._look(message)
            with self._lock:
                self._follow(message, picture, seen, tell)
            return
        with self._lock:
            lines = [(line.who, line.text) for line in self.lines if line.who == "user"]
        earlier, gate = lines[:-1] if lines and tell is None else lines, None
        if picture is None and (message.kind == "question" or text.endswith(ASKS)):
            gate = Gate()
            self._inquire(Reply(text, told=tell is not None, gate=gate))
        self._hearing.put(
            Message(text, message, picture, tell, gate, (self._stops, self._pauses), tuple(earlier[-_EARLIER:]))
        )

    def _situation(self, message: Message) -> Said:
        """What the model is told of a message."""
        with self._lock:
            goals = tuple(goal.text for goal in self._user_goals)
            question = self._question if self._open_question is not None else ""
        view = self._around.view if message.picture is None else ""
        return Said(
            message.text, goals, question, message.earlier, view, self._controls,
            message.picture is not None, self._understanding.english,
        )  # fmt: skip

    def _obey(self, message: Message, heard: Heard | None) -> None:
        """Do what a message asks for; `heard`: as the model understands it, None where it failed. What was said before
        the user stopped everything has no effect any more."""
        intent = message.by_rules
        if heard is not None and heard.kind in TELLS:
            intent = Intent("instruction", heard.text[0])
        seen = () if message.picture is not None else self._look(intent)
        with self._lock:
            if message.before[0] != self._stops:
                return
            if heard is None:
                if message.gate is None or intent.kind != "question":
                    self._follow(intent, message.picture, seen, message.tell)
                return
            if heard.kind == "ask":
                if message.gate is None:
                    self._inquire(Reply(message.text, told=message.tell is not None))
                return
            self._reply = message.tell
            may_go_on = message.before[1] == self._pauses
            if heard.kind == "stop":
                self.stop()
            elif heard.kind == "wait":
                self.pause(True)
            elif heard.kind == "go on":
                self.pause(self.paused and not may_go_on)
            elif not self._listens:
                self._say(_SCRIPTED)
            else:
                self._instruct(heard.text, _place(heard), message.picture, seen, may_go_on)

    # Carry out messages. The caller holds the lock.

    def _follow(
        self, message: Intent, picture: Frame | None, seen: Sequence[str], tell: Callable[[str], None] | None = None
    ) -> None:
        """Do what the user's message asks for. `seen`: see `_look`. `tell`: says in the game what comes of it."""
        kind = message.kind
        if kind != "question":
            self._reply = tell
        if kind == "stop":
            self.stop()
        elif kind in ("pause", "resume"):
            self.pause(kind == "pause")
        elif kind == "question":
            self._question_of(message.text, tell)
        elif not self._listens:
            self._say(_SCRIPTED)
        elif kind == "choice" and picture is None:
            self._choose(message, seen)
        else:
            places = {"instead": INSTEAD, "first": Place(0), "then": Place(len(self._user_goals))}
            self._instruct(intents.steps(message.text), places[message.place], picture, seen)

    def _question_of(self, text: str, tell: Callable[[str], None] | None) -> None:
        if foreign := self._understanding.foreign(text):
            self._say(foreign, tell)
        else:
            self._inquire(Reply(text, told=tell is not None))

    def _instruct(
        self, texts: Sequence[str], place: Place, picture: Frame | None, seen: Sequence[str], go_on: bool = True
    ) -> None:
        """Put goals among those of the user's that are not reached yet. `go_on`: a pause ends."""
        wanted = [Goal(self._understanding.followed(text), picture) for text in texts]
        if picture is None and (doubt := self._doubt([goal.text for goal in wanted])):
            if place == INSTEAD and self._keep:  # the user does not want the old goal any more
                self._goals, self._open_question = [], None
                self._pursue()
            elif not self._goals:
                self._give_up(doubt)
            return
        own = self._user_goals
        if own and place.after:  # the player goes on with its goal
            before = own[min(place.after, len(own)) - 1]
            at = next(at for at, goal in enumerate(self._goals, 1) if goal is before)
            self._goals[at : at + place.drops] = wanted
            return
        self._goals = wanted + own[place.drops :]
        self._open_question, self._choices = None, None
        if go_on:
            self.pause(False)
        self._pursue()
        if seen:
            self._wonder(self._around.kind(wanted[0].text), seen)

    @property
    def _user_goals(self) -> list[Goal]:
        return [goal for goal in self._goals if not goal.planned]

    def _doubt(self, texts: Sequence[str]) -> str:
        """Say what can't be followed of some instructions; "" where all can."""
        if doubt := self._doubt_of(texts):
            self._say(doubt)
        return doubt

    def _doubt_of(self, texts: Sequence[str]) -> str:
        goal = self._last.text if self._last else ""
        return next(filter(None, (self._understanding.doubt(text, goal) for text in texts if self._listens)), "")

    def _choose(self, message: Intent, seen: Sequence[str]) -> None:
        """The user says something like "the red one": an answer to the agent's question, or a correction of the goal
        that it pursues, or pursued last."""
        goal = self._goals[0] if self._goals else self._last
        if goal is None:
            self._say("what do you want me to do ?")
            return
        named = intents.thing_of(message.text)
        if named and named.noun and not named.pointer and "other" not in message.text:
            if strange := self._understanding.strange_noun(message.text):
                self._say(strange)
            else:
                self._retarget(intents.with_thing(goal.text, message.text))
            return
        offered, own = self._open_question or self._choices, intents.colour_of(goal.text)
        offered = offered if offered and offered.kind else None
        kind = offered.kind if offered else self._around.kind(goal.text)
        choices = tuple(c for c in offered.choices if c != own) if offered else ()
        chosen = intents.choose(message.text or "other", choices) if choices else None
        if chosen is None and (colour := intents.colour_of(message.text)) and "not " not in message.text:
            chosen = colour
        if chosen is None and len(seen) > 1:
            self._goals = self._goals or [goal]
            self._wonder(kind, seen)
            return
        chosen = chosen or next(iter(seen), None)
        if chosen is None:
            self._say(f"i see no other {kind} here" if not offered else f"which {kind} do you mean ?")
            return
        self._choices = offered or OpenQuestion(kind, tuple(c for c in (own, chosen) if c))
        self._retarget(intents.with_colour(goal.text, kind, chosen))

    def _retarget(self, text: str) -> None:
        """Correct the first goal's instruction."""
        self._goals = [Goal(text), *self._goals[1:]]
        self._open_question = None
        self._pursue()

    def _wonder(self, kind: str, seen: Sequence[str]) -> None:
        words = f"which {kind} the {seen[0]} or the {seen[1]} ?"
        self._say(words)
        self._ask(OpenQuestion(kind, (seen[0], seen[1])), words)

    def _ask(self, which: OpenQuestion, words: str) -> None:
        self._open_question = self._choices = which
        self._question = words
        self._unsure = time.monotonic()

    def _pursue(self) -> None:
        """Instruct the player with the first goal, from its next decision on."""
        now = self._goals[0] if self._goals else Goal("")
        self.since = self.tick
        self._last = now if now.text else self._last
        if now.text or self.instruction.now.text:
            self.instruction.set(now.text, now.picture)

    def _look(self, message: Intent) -> list[str]:
        """The colours of the things that a message may mean, see Surroundings.meant. The model takes a moment for it:
        call this without the lock, so that the game goes on."""
        self._understanding.foreign(message.text)  # known from now on
        goal, asked = self._goals[0] if self._goals else self._last, self._open_question or self._choices
        return [] if asked and message.kind == "choice" else self._around.meant(message, goal.text if goal else "")


def _place(heard: Heard) -> Place:
    """Where the goals go that a model heard."""
    if heard.kind == "instruct":
        return INSTEAD
    if heard.kind == "add":
        return Place(heard.goal)
    return Place(max(0, heard.goal - 1), drops=1)


def waits_for_answer(decision: Decision) -> bool:
    """Whether a decision asks the user something and does nothing meanwhile."""
    still = all(action == NEUTRAL for action in decision.actions)
    return decision.speech.rstrip().endswith(ASKS) and (decision.done or still)
