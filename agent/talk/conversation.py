"""`Conversation`: the user instructs, asks, corrects, pauses and stops the agent while the game goes on."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from agent.episode import Frame, Outcome, Start, Step, Subscriber
from agent.loop.control import Control, Hands, Order
from agent.loop.human_hands import HumanHands
from agent.loop.instruction import LiveInstruction
from agent.policy import Decision
from agent.talk import intents
from agent.talk.intents import Intent, OpenQuestion
from agent.talk.surroundings import Surroundings
from agent.talk.transcript import Dialogue
from agent.talk.understanding import Reader, Understanding
from agent.talk.voice import Voice
from envs.action import NEUTRAL, KeyboardMouse
from envs.text import encodable
from envs.world import Chat, World

MOST_WORDS = 2000  # characters of a message
_DIALOGUE = 6  # lines of dialogue that a decision may know
_DEEDS = 8  # deeds that are kept
_HEAR = 0.25  # seconds between two looks at the world's own chat
_PATIENCE = 60.0  # seconds that a run of a single task waits for an answer to the agent


@dataclass(frozen=True)
class Goal:
    """What the player is to do: an instruction, and what it shows instead of naming it. `planned`: it is a step of the
    planner's, towards a goal of the user's."""

    text: str
    picture: Frame | None = None
    planned: bool = False


@dataclass(frozen=True)
class _Reply:
    """Work for the thread that answers. `text`: a question, or, where `said`, a line to be said in the game. `tell`:
    says the answer in the game, if the question came from there."""

    text: str
    tell: Callable[[str], None] | None = None
    said: bool = False


class Conversation(Dialogue, Control, Subscriber):
    """Talks with the user while the loop plays. Give it to `play` as `control` and among the `subscribers`, and its
    `instruction` as the instruction. Any thread may call any method.

    Goals come from `begin`, from `user`, and from players whom the user trusts by name. What other players say, and
    what is written in the picture, is information: the user sees it and can ask about it, and the agent never obeys it.

    `voice`: answers questions. `keep`: when nothing is left to do, the run goes on and waits for an instruction.
    `trusted`: names of players whose words count as the user's. `paced`: a lockstep world runs no faster than the
    clock while a person follows the run or may join it. `name`: what players in the game call the agent. `listens`:
    the player follows instructions; a scripted player does not. `by_hand`: only a person plays, and a lockstep world
    waits until a person has the controls. `reader`: the sentences that the player was taught; it is told no others.
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
        reader: Reader | None = None,
    ) -> None:
        super().__init__()
        self.instruction = LiveInstruction("")
        self.attended = 0  # how many people follow the run and could answer
        self.paused = False
        self.over = False  # the user wants no further episode
        self.human: HumanHands | None = None
        self.started = threading.Event()  # there is something to be seen
        self._keep = keep
        self._trusted = frozenset(trusted)
        self._paced = paced
        self._listens = listens
        self._by_hand = by_hand
        self._address = re.compile(rf"@?{re.escape(name.lower())}\b[\s,:]*")
        self._goals: list[Goal] = []
        self._last: Goal | None = None  # the goal that was pursued last
        self._open_question: OpenQuestion | None = None  # the agent asked it and waits for an answer
        self._unsure = 0.0  # since when it waits, by the clock
        self._choices: OpenQuestion | None = None  # the last question of that kind
        self._deeds: deque[str] = deque(maxlen=_DEEDS)
        self._steps = 0
        self._ending = ""
        self._around = Surroundings(voice)
        self.looks = self._around.looks  # what models beside the player are shown
        self._understanding = Understanding(self._around.known, reader)
        self._index = -1
        self._spoken = ("", -1)
        self._space = KeyboardMouse()
        self._realtime = False
        self._chat: Chat | None = None
        self._heard = 0.0
        self._period = 0.0
        self._due = 0.0
        self._reply: Callable[[str], None] | None = None  # says a line in the game, if a player there was obeyed last
        self._unanswered = 0  # questions
        self._replies: SimpleQueue[_Reply | None] = SimpleQueue()
        threading.Thread(target=self._answer, name="answers", daemon=True).start()

    # The run calls these.

    def attach(self, world: World) -> None:
        """The agent plays in `world` from now on."""
        self._space, self._realtime, self._chat = world.action_space, world.realtime, world.chat
        self._period = 1.0 / world.tick_hz

    def begin(self, instruction: str = "", picture: Frame | None = None) -> None:
        """A new episode begins, with this instruction or the goals that are left. The dialogue goes on."""
        with self._lock:
            self.since = self.tick = self._steps = 0
            self._ending, self._open_question, self._due, self._index = "", None, 0.0, -1
            if instruction:
                self._goals = [Goal(instruction, picture)]
                if picture is None and (doubt := self._doubt([instruction])):
                    self._goals, self._ending = [], "" if self._keep else doubt
            self._pursue()

    def close(self) -> None:
        """Stop answering, once the open questions are answered."""
        self._replies.put(None)

    # The user calls these.

    def user(self, text: str, picture: Frame | None = None) -> None:
        """The user says `text`, perhaps with a `picture` of what is meant, uint8 RGB (H, W, 3). Raises ValueError if
        the message is empty or too long."""
        text = " ".join(encodable(text).split())
        if not text and picture is None:
            raise ValueError("the message is empty")
        if len(text) > MOST_WORDS:
            raise ValueError(f"the message is too long: {len(text)} characters, at most {MOST_WORDS}")
        with self._lock:
            self._add("user", text or "go to this", picture=picture is not None)
        message = intents.read(text or "go to this")
        seen = () if picture is not None else self._look(message)
        with self._lock:
            self._follow(message, picture, seen)

    def stop(self) -> None:
        """Drop all goals and release everything. A run of a single task ends."""
        with self._lock:
            self._goals.clear()
            self._open_question, self.paused, self.human = None, False, None
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
        """Play one tick of a paused lockstep world. Raises ValueError for a world in real time."""
        if self._realtime:
            raise ValueError("this world does not wait, so that it has no single steps; play with --time lockstep")
        with self._lock:
            self.pause(True)
            self._steps += 1

    def take_over(self) -> HumanHands:
        """A person plays from now on, with the hands that this returns. Raises ValueError if another person already
        does."""
        with self._lock:
            if self.human is not None:
                raise ValueError("somebody else has the controls")
            self.human = HumanHands(self._space)
            self._note("you have the controls")
            return self.human

    def give_back(self, hands: HumanHands) -> None:
        """The person with these `hands` lets the agent play. Does nothing if they don't have the controls any more."""
        with self._lock:
            if self.human is hands:
                self.human = None
                self._note("the agent has the controls")

    # Anybody may read these.

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The goals in order; the player pursues the first one."""
        return tuple(self._goals)

    @property
    def mode(self) -> str:
        """human, paused, asking, idle or acting."""
        if self.human is not None or self.paused:
            return "paused" if self.human is None else "human"
        if self._open_question is not None:
            return "asking"
        return "acting" if self._goals else "idle"

    @property
    def busy(self) -> bool:
        """Whether there is a goal to pursue or a question to answer."""
        return self.answering or self.mode in ("acting", "human")

    @property
    def answering(self) -> bool:
        """Whether a question is still open."""
        return bool(self._unanswered)

    @property
    def _accompanied(self) -> bool:
        """Whether a person follows the run, or may join it."""
        return self._keep or self.attended > 0

    @property
    def deeds(self) -> str:
        """The goals that were reached, as sentences such as "i picked up the key", oldest first."""
        return " . ".join(self._deeds)

    # The loop calls these.

    def order(self, tick: int) -> Order:
        self.tick = tick
        self._listen()
        with self._lock:
            patience = _PATIENCE if self._accompanied else 0.0
            if self._open_question and not self._keep and time.monotonic() - self._unsure >= patience:
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
            self._due = max(self._due + self._period, now)  # after a late tick the beat starts anew
            time.sleep(self._due - now)
        return "play"

    def hands(self, tick: int) -> Hands | None:
        human = self.human
        if human is not None:
            self.since = tick + 1  # a person's ticks don't count against the time limit
            return Hands(human.action(), "human")
        # In a paused lockstep world this is asked for single steps alone; in a paused real-time world we hold still.
        if self._goals and self._open_question is None and not (self.paused and self._realtime) and not self._by_hand:
            return None
        self.since = tick + 1
        return Hands(NEUTRAL, "human" if self._by_hand else "agent")

    def done(self, decision: Decision) -> bool:
        with self._lock:
            if self._open_question is not None:
                return True  # the player waits for the user's answer
            if self._goals:
                done = self._goals.pop(0)
                if not decision.speech.startswith("i see no"):
                    self._deeds.append(intents.deed(done.text, self._around.known))
                self._pursue()
            return bool(self._goals) or self._keep

    @property
    def why(self) -> str:
        return self._ending

    def on_start(self, start: Start) -> None:
        self._around.begin()

    def on_step(self, step: Step) -> None:
        self._around.see(step, step.tick * self._period)
        if step.frame is not None:
            self.started.set()
        if step.decision is None or step.index == self._index:
            return
        self._index = step.index
        speech, version = step.decision.speech, self.instruction.now.version
        if speech and (speech, version) != self._spoken:
            self._spoken = speech, version
            with self._lock:
                self._say(speech)
                asked = intents.which(speech)
                if asked is not None and self._goals:
                    self._ask(asked)

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        with self._lock:
            self.human = None
            self._note(f"the episode is over: {outcome.why}" if outcome.why else "the episode is over")

    # Players in the game.

    def hear(self, who: str, text: str) -> None:
        """The player `who` in the game says `text`. It is information, unless the user trusts that player by name."""
        name = re.sub(r"[^\w-]", "", who)[:32] or "unknown"
        words = " ".join(encodable(text).split())[:MOST_WORDS]
        with self._lock:
            self._add(f"player {name}", words)
            called = self._address.match(words.lower())
            if not called or called.end() == len(words):
                return
            message = intents.read(words[called.end() :])
            if who in self._trusted:
                self._follow(message, None, self._look(message), self._tell)
            elif message.kind == "question":
                self._inquire(_Reply(message.text, self._tell))
            else:
                self._say("i do what my user tells me", self._tell)

    def _listen(self) -> None:
        if self._chat is None or self._around.frame is None:  # questions wait until there is a frame
            return
        if (now := time.monotonic()) - self._heard > _HEAR:
            self._heard = now
            for who, text in self._chat.read():
                self.hear(who, text)

    def _tell(self, text: str) -> None:
        self._replies.put(_Reply(text, said=True))  # a game may take long to say something

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
            self._inquire(_Reply(message.text, tell))
        elif not self._listens:
            self._say("i follow a script and take no instructions")
        elif kind == "choice" and picture is None:
            self._choose(message, seen)
        else:
            self._instruct(message, picture, seen)

    def _instruct(self, message: Intent, picture: Frame | None, seen: Sequence[str]) -> None:
        wanted = [Goal(self._understanding.followed(text), picture) for text in intents.steps(message.text)]
        if picture is None and self._doubt([goal.text for goal in wanted]):
            if message.place == "instead" and self._keep:  # the user does not want the old goal any more
                self._goals, self._open_question = [], None
                self._pursue()
            return
        if message.place == "then":
            self._goals += wanted
            if len(self._goals) > len(wanted):
                return  # the player goes on with its goal
        else:
            self._goals = wanted + (self._goals if message.place == "first" else [])
        self._open_question, self._choices = None, None
        self.pause(False)
        self._pursue()
        if seen:
            self._wonder(self._around.kind(wanted[0].text), seen)

    def _doubt(self, texts: Sequence[str]) -> str:
        """Say what can't be followed of some instructions; "" where all can."""
        goal = self._last.text if self._last else ""
        if doubt := next(filter(None, (self._understanding.doubt(text, goal) for text in texts if self._listens)), ""):
            self._say(doubt)
        return doubt

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
        self._say(f"which {kind} the {seen[0]} or the {seen[1]} ?")
        self._ask(OpenQuestion(kind, (seen[0], seen[1])))

    def _ask(self, which: OpenQuestion) -> None:
        self._open_question = self._choices = which
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

    # Answer in a thread, so that the game goes on.

    def _inquire(self, reply: _Reply) -> None:
        if foreign := self._understanding.foreign(reply.text):
            self._say(foreign, reply.tell)
            return
        self._unanswered += 1
        self._replies.put(reply)

    def _answer(self) -> None:
        while (reply := self._replies.get()) is not None:
            if reply.said:
                self._send(reply.text)
                continue
            said, line = "", None
            try:
                for piece in self._pieces(reply.text):
                    said += piece
                    line = self._add("agent", said, again=line)
                if reply.tell:
                    reply.tell(said)
            except Exception as error:  # a voice may be a remote model; the conversation outlives it
                self._note(f"no answer: {type(error).__name__}: {error}")
            with self._lock:
                self._unanswered -= 1

    def _send(self, text: str) -> None:
        try:
            if self._chat is not None:
                self._chat.send(text)
        except Exception as error:  # the game may be gone
            self._note(f"not said in the game: {type(error).__name__}: {error}")

    def _pieces(self, question: str) -> Iterable[str]:
        goals = ", then ".join(goal.text for goal in self._goals)
        if intents.is_of_goal(question):
            own = f"i am to {goals}" if goals else "nothing: what shall i do ?"
            return ["i wait for your answer" if self._open_question is not None else own]
        return self._around.answer(question, self.deeds)

    def _say(self, text: str, tell: Callable[[str], None] | None = None) -> None:
        self._add("agent", text)
        if tell := tell or self._reply:
            tell(text)

    def _said(self) -> None:
        dialogue = [(one.who, one.text) for one in self.lines if one.who != "note"]
        self.dialogue = tuple(dialogue[-_DIALOGUE:])
