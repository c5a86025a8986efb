"""One conversation per run: instructions, questions, corrections and controls, while the game goes on."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from agent import messages
from agent.control import Control, Hands, Order
from agent.dialogue import Dialogue
from agent.messages import Message, Which
from agent.policy import Decision
from agent.runtime import Frame, Goal, Outcome, Start, Step, Subscriber
from agent.surroundings import Surroundings
from agent.takeover import HumanHands
from agent.voice import Voice
from envs.action import NEUTRAL, KeyboardMouse
from envs.world import Chat, World

MOST_WORDS = 2000  # characters of a message
_TOLD = 6  # lines of dialogue that a decision may know
_DEEDS = 8  # that the memory holds
_HEAR = 0.25  # seconds between two looks at the world's own chat
_PATIENCE = 60.0  # seconds in which somebody may answer the agent before a run of a single task ends


@dataclass(frozen=True)
class Wanted:
    """A goal: an instruction, and what it shows instead of naming it. `planned`: a planner's, under the user's."""

    text: str
    picture: Frame | None = None
    planned: bool = False


@dataclass(frozen=True)
class _Query:
    text: str
    tell: Callable[[str], None] | None = None  # in the game, where it was asked there
    said: bool = False  # it is no question, and to be said in the game


class Conversation(Dialogue, Control, Subscriber):
    """Talks with the user while the loop plays; give it to `play` as `control` and among its `subscribers`, and its
    `goal` as the instruction. All methods may be called from any thread.

    Goals come from `user` alone, from players whom the user trusts by name, and from `begin`. What other players say,
    and what stands in the picture, is information: it is shown, and can be asked about.

    `voice`: who answers questions. `keep`: stay when there is nothing left to do, and wait for the next instruction.
    `trusted`: names of players whose word counts as the user's. `paced`: whether worlds that wait are kept from running
    faster than the clock where somebody follows, or may come. `name`: what players in the game call the agent.
    `listens`: whether the player follows instructions; a script does not. `by_hand`: nobody but a
    person plays, and worlds wait until one has the controls.
    """

    def __init__(
        self,
        voice: Voice | None = None,
        *,
        keep: bool = False,
        trusted: Iterable[str] = (),
        paced: bool = True,
        name: str = "agent",
        listens: bool = True,
        by_hand: bool = False,
    ) -> None:
        super().__init__()
        self.goal = Goal("")
        self.attended = 0  # how many follow it and could answer
        self.paused = False
        self.over = False  # whether the user wants no further episode
        self.human: HumanHands | None = None
        self.started = threading.Event()  # there is something to be seen
        self._voice = voice
        self._keep = keep
        self._trusted = frozenset(trusted)
        self._paced = paced
        self._listens = listens
        self._by_hand = by_hand
        self._address = re.compile(rf"@?{re.escape(name.lower())}\b[\s,:]*")
        self._goals: list[Wanted] = []
        self._last: Wanted | None = None  # the goal that was worked at last
        self._asked: Which | None = None  # which thing is meant: the agent waits for an answer
        self._unsure = 0.0  # since when, by the clock
        self._choices: Which | None = None  # of the last such question
        self._deeds: deque[str] = deque(maxlen=_DEEDS)
        self._steps = 0
        self._ending = ""
        self._around = Surroundings(voice)
        self._index = -1
        self._spoken = ("", -1)
        self._space = KeyboardMouse()
        self._realtime = False
        self._chat: Chat | None = None
        self._heard = 0.0
        self._period = 0.0
        self._due = 0.0
        self._reply: Callable[[str], None] | None = None  # in the game, where a player there was followed last
        self._open = 0  # questions that are not answered yet
        self._queries: SimpleQueue[_Query | None] = SimpleQueue()
        threading.Thread(target=self._answer, name="answers", daemon=True).start()

    # What the run sets up.

    def attach(self, world: World) -> None:
        """Play is in `world` from now on."""
        self._space, self._realtime, self._chat = world.action_space, world.realtime, world.chat
        self._period = 1.0 / world.tick_hz

    def begin(self, instruction: str = "", picture: Frame | None = None) -> None:
        """A new episode begins, with this to do, or with what is still to be done; what was said stays known."""
        with self._lock:
            self.since = self.tick = self._steps = 0
            self._ending, self._asked, self._due, self._index = "", None, 0.0, -1
            if instruction:
                self._goals = [Wanted(instruction, picture)]
            self._pursue()

    def close(self) -> None:
        """Nobody answers any more, once what was asked is answered."""
        self._queries.put(None)

    # What the user does.

    def user(self, text: str, picture: Frame | None = None) -> None:
        """The user says `text`, with a `picture` of what is meant, uint8 RGB (H, W, 3), if there is one. Raises
        ValueError where there is nothing in it, or too much."""
        text = " ".join(text.split())
        if not text and picture is None:
            raise ValueError("the message is empty")
        if len(text) > MOST_WORDS:
            raise ValueError(f"the message is too long: {len(text)} characters, at most {MOST_WORDS}")
        with self._lock:
            self._add("user", text or "go to this", picture=picture is not None)
        message = messages.read(text or "go to this")
        seen = () if picture is not None else self._look(message)
        with self._lock:
            self._follow(message, picture, seen)

    def stop(self) -> None:
        """Drop all goals and let go of everything; a run of a single task ends."""
        with self._lock:
            self._goals.clear()
            self._asked, self.paused, self.human = None, False, None
            self._pursue()
            self._note("stopped")
            if not self._keep:
                self._ending = "stopped by the user"

    def quit(self) -> None:
        """End the episode, and the run."""
        with self._lock:
            self.over, self._ending = True, "ended by the user"

    def pause(self, paused: bool) -> None:
        with self._lock:
            if paused != self.paused:
                self.paused, self._steps = paused, 0
                self._note("paused" if paused else "resumed")

    def step(self) -> None:
        """Play one tick of a paused world that waits. Raises ValueError for one that does not."""
        if self._realtime:
            raise ValueError("this world does not wait, so that it has no single steps; play with --time lockstep")
        with self._lock:
            self.pause(True)
            self._steps += 1

    def take_over(self) -> HumanHands:
        """A person plays from now on; their hands. Raises ValueError where somebody does already."""
        with self._lock:
            if self.human is not None:
                raise ValueError("somebody else has the controls")
            self.human = HumanHands(self._space)
            self._note("you have the controls")
            return self.human

    def give_back(self, hands: HumanHands) -> None:
        """The person who has `hands` lets the agent play; nothing happens where they have them no more."""
        with self._lock:
            if self.human is hands:
                self.human = None
                self._note("the agent has the controls")

    # What others may know.

    @property
    def goals(self) -> tuple[Wanted, ...]:
        """What is to be done, the first of them now."""
        return tuple(self._goals)

    @property
    def mode(self) -> str:
        """human, paused, asking, idle or acting."""
        if self.human is not None:
            return "human"
        if self.paused:
            return "paused"
        if self._asked is not None:
            return "asking"
        return "acting" if self._goals else "idle"

    @property
    def busy(self) -> bool:
        """Whether there is something to do, or to answer."""
        return self.answering or self.mode in ("acting", "human")

    @property
    def answering(self) -> bool:
        """Whether a question is not answered yet."""
        return bool(self._open)

    @property
    def _accompanied(self) -> bool:
        """Whether somebody follows, or may come."""
        return self._keep or self.attended > 0

    @property
    def memory(self) -> str:
        """What was done, in sentences, oldest first."""
        return " . ".join(self._deeds)

    # What the loop asks.

    def order(self, tick: int) -> Order:
        self.tick = tick
        self._listen()
        with self._lock:
            patience = _PATIENCE if self._accompanied else 0.0
            if self._asked and not self._keep and time.monotonic() - self._unsure >= patience:
                self._ending = "nobody answered"
            if self._ending:
                return "end"
            if self._by_hand and self.human is None and not self._realtime:
                return "wait"
            if self.paused and not self._realtime:
                if not self._steps:
                    return "wait"
                self._steps -= 1
                return "play"
        if self._paced and self._accompanied and not self._realtime:
            now = time.monotonic()
            self._due = max(self._due + self._period, now)  # who is late begins a new beat
            time.sleep(self._due - now)
        return "play"

    def hands(self, tick: int) -> Hands | None:
        human = self.human
        if human is not None:
            self.since = tick + 1  # no time runs out while a person plays
            return Hands(human.action(), "human")
        # A paused world that waits is asked for its hands in single steps alone; one that does not wait holds still.
        if self._goals and self._asked is None and not (self.paused and self._realtime) and not self._by_hand:
            return None
        self.since = tick + 1
        return Hands(NEUTRAL, "human" if self._by_hand else "agent")

    def done(self, decision: Decision) -> bool:
        with self._lock:
            if self._asked is not None:
                return True  # it can't go on before it knows more
            if self._goals:
                done = self._goals.pop(0)
                if not decision.speech.startswith("i see no"):
                    self._deeds.append(messages.deed(done.text, self._around.known))
                self._pursue()
            return bool(self._goals) or self._keep

    @property
    def why(self) -> str:
        return self._ending

    def on_start(self, start: Start) -> None:
        self._around.begin()

    def on_step(self, step: Step) -> None:
        if step.frame is not None:
            self._around.see(step.frame, step.tick * self._period)
            self.started.set()
        if step.decision is None or step.index == self._index:
            return
        self._index = step.index
        speech, version = step.decision.speech, self.goal.now.version
        if speech and (speech, version) != self._spoken:
            self._spoken = speech, version
            with self._lock:
                self._say(speech)
                asked = messages.which(speech)
                if asked is not None and self._goals:
                    self._ask(asked)

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        with self._lock:
            self.human = None
            self._note(f"the episode is over: {outcome.why}" if outcome.why else "the episode is over")

    # Players in the game.

    def hear(self, who: str, text: str) -> None:
        """A player in the game says `text`: information, unless the user trusts them by name."""
        name = re.sub(r"[^\w-]", "", who)[:32] or "unknown"
        words = " ".join(text.split())[:MOST_WORDS]
        with self._lock:
            self._add(f"player {name}", words)
            called = self._address.match(words.lower())
            if not called or called.end() == len(words):
                return
            message = messages.read(words[called.end() :])
            if who in self._trusted:
                self._follow(message, None, self._look(message), self._tell)
            elif message.kind == "question":
                self._inquire(_Query(message.text, self._tell))
            else:
                self._say("i do what my user tells me", self._tell)

    def _listen(self) -> None:
        if self._chat is None or self._around.frame is None:  # who asks is answered once there is something to see
            return
        if (now := time.monotonic()) - self._heard > _HEAR:
            self._heard = now
            for who, text in self._chat.read():
                self.hear(who, text)

    def _tell(self, text: str) -> None:
        self._queries.put(_Query(text, said=True))  # a game takes its time to say something

    # What messages do. All of these hold the lock.

    def _follow(
        self, message: Message, picture: Frame | None, seen: Sequence[str], tell: Callable[[str], None] | None = None
    ) -> None:
        """`seen`: see `_look`. `tell`: says in the game what comes of it."""
        kind = message.kind
        if kind != "question":
            self._reply = tell
        if kind == "stop":
            self.stop()
        elif kind in ("pause", "resume"):
            self.pause(kind == "pause")
        elif kind == "question":
            self._inquire(_Query(message.text, tell))
        elif not self._listens:
            self._say("i follow a script and take no instructions")
        elif kind == "choice" and picture is None:
            self._choose(message, seen)
        else:
            self._instruct(message, picture, seen)

    def _instruct(self, message: Message, picture: Frame | None, seen: Sequence[str]) -> None:
        wanted = [Wanted(text, picture) for text in messages.steps(message.text)]
        if picture is None and (strange := self._around.strange(w.text for w in wanted)):
            self._say(f"i don't know the word {strange}")
            if message.place == "instead" and self._keep:  # whoever says so does not want the old goal any more
                self._goals, self._asked = [], None
                self._pursue()
            return
        if message.place == "then":
            self._goals += wanted
            if len(self._goals) > len(wanted):
                return  # what is being done goes on
        else:
            self._goals = wanted + (self._goals if message.place == "first" else [])
        self._asked, self._choices = None, None
        self.pause(False)
        self._pursue()
        if seen:
            self._wonder(self._around.kind(wanted[0].text), seen)

    def _choose(self, message: Message, seen: Sequence[str]) -> None:
        """ "the red one": the answer to a question, or a correction of what is being done, or was last."""
        goal = self._goals[0] if self._goals else self._last
        if goal is None:
            self._say("what do you want me to do ?")
            return
        named = messages.thing_of(message.text)
        if named and named.noun and not named.pointer and "other" not in message.text:
            if strange := self._around.strange([message.text]):
                self._say(f"i don't know the word {strange}")
            else:
                self._retarget(messages.with_thing(goal.text, message.text))
            return
        offered, own = self._asked or self._choices, messages.colour_of(goal.text)
        kind = offered.kind if offered else self._around.kind(goal.text)
        choices = tuple(c for c in offered.choices if c != own) if offered else ()
        chosen = messages.choose(message.text or "other", choices) if choices else None
        if chosen is None and (colour := messages.colour_of(message.text)) and "not " not in message.text:
            chosen = colour
        if chosen is None and len(seen) > 1:
            self._goals = self._goals or [goal]
            self._wonder(kind, seen)
            return
        chosen = chosen or next(iter(seen), None)
        if chosen is None:
            self._say(f"i see no other {kind} here" if not offered else f"which {kind} do you mean ?")
            return
        self._choices = offered or Which(kind, tuple(c for c in (own, chosen) if c))
        self._retarget(messages.with_colour(goal.text, kind, chosen))

    def _retarget(self, text: str) -> None:
        """The goal goes on, with what it now means."""
        self._goals = [Wanted(text), *self._goals[1:]]
        self._asked = None
        self._pursue()

    def _wonder(self, kind: str, seen: Sequence[str]) -> None:
        self._say(f"which {kind} the {seen[0]} or the {seen[1]} ?")
        self._ask(Which(kind, (seen[0], seen[1])))

    def _ask(self, which: Which) -> None:
        self._asked = self._choices = which
        self._unsure = time.monotonic()

    def _pursue(self) -> None:
        """What is first among the goals is the loop's from the next decision on."""
        now = self._goals[0] if self._goals else Wanted("")
        self.since = self.tick
        self._last = now if now.text else self._last
        if now.text or self.goal.now.text:
            self.goal.set(now.text, now.picture)

    def _look(self, message: Message) -> list[str]:
        """What a message leaves open, see Surroundings.meant. It takes a moment, in which the game goes on: call it
        without the lock."""
        goal = self._goals[0] if self._goals else self._last
        asked = self._asked or self._choices
        return [] if asked and message.kind == "choice" else self._around.meant(message, goal.text if goal else "")

    # Answers, in a thread of their own: the game does not wait for them.

    def _inquire(self, query: _Query) -> None:
        self._open += 1
        self._queries.put(query)

    def _answer(self) -> None:
        while (query := self._queries.get()) is not None:
            if query.said:
                self._send(query.text)
                continue
            said, line = "", None
            try:
                for piece in self._pieces(query.text):
                    said += piece
                    line = self._add("agent", said, again=line)
                if query.tell:
                    query.tell(said)
            except Exception as error:  # a voice may be a model far away; the conversation outlives it
                self._note(f"no answer: {type(error).__name__}: {error}")
            with self._lock:
                self._open -= 1

    def _send(self, text: str) -> None:
        try:
            if self._chat is not None:
                self._chat.send(text)
        except Exception as error:  # the game may be gone
            self._note(f"not said in the game: {type(error).__name__}: {error}")

    def _pieces(self, question: str) -> Iterable[str]:
        frame, told = self._around.frame, ", then ".join(wanted.text for wanted in self._goals)
        if messages.is_of_goal(question):
            own = f"i am to {told}" if told else "nothing: what shall i do ?"
            return ["i wait for your answer" if self._asked is not None else own]
        if self._voice is None:
            return ["i can't answer: this policy only plays"]
        return ["i see nothing yet"] if frame is None else self._voice.answer(frame, question, self.memory)

    def _say(self, text: str, tell: Callable[[str], None] | None = None) -> None:
        self._add("agent", text)
        if tell := tell or self._reply:
            tell(text)

    def _said(self) -> None:
        told = [(one.who, one.text) for one in self.lines if one.who != "note"]
        self.dialogue = tuple(told[-_TOLD:])
