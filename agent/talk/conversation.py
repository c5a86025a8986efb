"""`Conversation`: the user instructs, asks, corrects, pauses and stops the agent while the game goes on."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterable

from agent.codec import Codec
from agent.episode import Frame, Outcome, Start, Step, Subscriber
from agent.loop.control import Control, Hands, Order
from agent.loop.human_hands import HumanHands
from agent.policy import Decision
from agent.talk import intents
from agent.talk.answering import Reply
from agent.talk.following import ASKS, Following, Goal, waits_for_answer
from agent.talk.intents import OpenQuestion
from agent.talk.listener import Listener
from agent.talk.understanding import Reader
from agent.talk.voice import Asked, Voice
from envs.action import NEUTRAL, KeyboardMouse
from envs.text import encodable
from envs.world import World

MOST_WORDS = 2000  # characters of a message
_DIALOGUE = 6  # lines of dialogue that a decision may know
_DEEDS = 8  # deeds that are kept
_HEAR = 0.25  # seconds between two looks at the world's own chat
_PATIENCE = 60.0  # seconds that a run of a single task waits for an answer to the agent


class Conversation(Following, Control, Subscriber):
    """Talks with the user while the loop plays. Give it to `play` as `control` and among the `subscribers`, and its
    `instruction` as the instruction. Any thread may call any method.

    Goals come from `begin`, from `user`, and from players whom the user trusts by name. What other players say, and
    what is written in the picture, is information: the user sees it and can ask about it, and the agent never obeys it.

    `voice`: answers questions. `listener`: understands what the user says; without one, or where it fails, the rules of
    agent.talk.intents do. Stop and pause never wait for it. `keep`: when nothing is left to do, the run goes on and
    waits for an instruction. `trusted`: names of players whose words count as the user's. `paced`: a lockstep world
    runs no faster than the clock while a person follows the run or may join it. `name`: what players in the game call
    the agent. `listens`: the player follows instructions; a scripted player does not. `by_hand`: only a person plays,
    and a lockstep world waits until a person has the controls. `reader`: the sentences that the player was taught; it
    is told no others.
    """

    def __init__(
        self,
        voice: Voice | None = None,
        *,
        listener: Listener | None = None,
        keep: bool = False,
        trusted: Iterable[str] = (),
        paced: bool = True,
        name: str = "agent",
        listens: bool = True,
        by_hand: bool = False,
        reader: Reader | None = None,
    ) -> None:
        super().__init__(voice, listener, reader, listens)
        self.looks = self._around.looks  # what models beside the player are shown
        self.attended = 0  # how many people follow the run and could answer
        self.over = False  # the user wants no further episode
        self.human: HumanHands | None = None
        self.started = threading.Event()  # there is something to be seen
        self._keep = keep
        self._trusted = frozenset(trusted)
        self._paced = paced
        self._by_hand = by_hand
        self._address = re.compile(rf"@?{re.escape(name.lower())}\b[\s,:]*")
        self._deeds: deque[str] = deque(maxlen=_DEEDS)
        self._steps = 0
        self._ending = ""
        self._memory = ""
        self._index = -1
        self._spoken = ("", -1)
        self._space = KeyboardMouse()
        self._realtime = False
        self._heard = 0.0
        self._period = 0.0
        self._due = 0.0

    # The run calls these.

    def attach(self, world: World) -> None:
        """The agent plays in `world` from now on."""
        self._space, self._realtime, self._chat = world.action_space, world.realtime, world.chat
        self._period = 1.0 / world.tick_hz
        self._controls = "; ".join(Codec(world.action_space, world.controls).told_controls)

    def begin(self, instruction: str = "", picture: Frame | None = None) -> None:
        """A new episode begins, with this instruction, or with the goals that are left. The dialogue goes on."""
        with self._lock:
            self.since = self.tick = self._steps = 0
            self._ending, self._open_question, self._due, self._index = "", None, 0.0, -1
            self._memory = ""
            if instruction:
                self._stops += 1  # what was said of the last episode
                self._goals = [Goal(instruction, picture)]
                if picture is None and self._hearing is not None and self._doubt_of([instruction]):
                    self._goals = []
                    self._take(instruction, None)  # the model says it in words that the player knows
                elif picture is None and (doubt := self._doubt([instruction])):
                    self._goals, self._ending = [], "" if self._keep else doubt
            self._pursue()

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
        self._take(text or "go to this", picture)

    def stop(self) -> None:
        """Drop all goals and release everything. A run of a single task ends."""
        with self._lock:
            self._stops += 1
            self._goals.clear()
            self._open_question, self.paused, self.human = None, False, None
            self._pursue()
            self._note("stopped")
            if not self._keep:
                self._ending = "stopped by the user"

    def _give_up(self, why: str) -> None:
        self._ending = "" if self._keep else why

    def quit(self) -> None:
        """End the episode, and the run."""
        with self._lock:
            self.over, self._ending = True, "ended by the user"

    def pause(self, paused: bool) -> None:
        with self._lock:
            self._pauses += paused
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
        """Whether a question is still open, or a message not understood yet."""
        return bool(self._unanswered) or self.hearing

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
        self._index, self._memory = step.index, step.memory
        speech, version = step.decision.speech, self.instruction.now.version
        if speech and (speech, version) != self._spoken:
            self._spoken = speech, version
            with self._lock:
                self._say(speech)
                asked = intents.which(speech)
                if asked is None and self._hearing is not None and waits_for_answer(step.decision):
                    asked = OpenQuestion("", ())
                if asked is not None and self._goals:
                    self._ask(asked, speech)

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
        said = words[called.end() :]
        if who in self._trusted:
            self._take(said, None, self._tell)
            return
        message = intents.read(said)
        if message.kind != "question" and not (self._understands and said.endswith(ASKS)):
            self._say("i do what my user tells me", self._tell)
        elif self._understands:
            self._inquire(Reply(said, f"player {name}", told=True))
        else:
            self._question_of(message.text, self._tell)

    def _listen(self) -> None:
        if self._chat is None or self._around.frame is None:  # questions wait until there is a frame
            return
        if (now := time.monotonic()) - self._heard > _HEAR:
            self._heard = now
            for who, text in self._chat.read():
                self.hear(who, text)

    # The questions of others.

    def _asked(self, question: str, who: str) -> Asked:
        goals = tuple(goal.text for goal in self._user_goals)
        dialogue = self.dialogue if who == "user" else ()
        return Asked(question, self._around.latest, self.deeds, self._memory, goals, dialogue, who, self._controls)

    def _own_answer(self, question: str) -> str:
        if not intents.is_of_goal(question):
            return ""
        if self._open_question is not None:
            return "i wait for your answer"
        goals = ", then ".join(goal.text for goal in self._goals)
        return f"i am to {goals}" if goals else "nothing: what shall i do ?"

    def _said(self) -> None:
        dialogue = [(one.who, one.text) for one in self.lines if one.who != "note"]
        self.dialogue = tuple(dialogue[-_DIALOGUE:])
