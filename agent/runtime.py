"""The control loop: see, decide, act, tell the subscribers."""

from __future__ import annotations

import logging
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from agent.control import Control
from agent.inference import Answer, Player, Question
from agent.policy import Context, Decision, PolicySpec
from envs.action import NEUTRAL, Action
from envs.world import World

logger = logging.getLogger(__name__)

_PAUSE = 0.01  # seconds between two looks at whether a pause is over

Frame = npt.NDArray[np.uint8]


class Verdict(Protocol):
    """How a judge ruled: `success`, and `why` in one short sentence."""

    @property
    def success(self) -> bool: ...
    @property
    def why(self) -> str: ...


Judge = Callable[[Any], Verdict | None]


class Told(NamedTuple):
    """An instruction, what it shows instead of naming it, and how often it has changed; `purpose` leaves out changes
    that are mere steps towards the same end."""

    text: str
    picture: Frame | None
    version: int
    purpose: int = 0


class Goal:
    """What the player is told to do. `set` may be called from any thread; the next decision follows it."""

    def __init__(self, text: str, picture: Frame | None = None) -> None:
        self._now = Told(text, picture, 0)
        self._lock = threading.Lock()

    def set(self, text: str, picture: Frame | None = None, *, step: bool = False) -> None:
        """`step`: it is a step towards the same end."""
        with self._lock:
            self._now = Told(text, picture, self._now.version + 1, self._now.purpose + (not step))

    @property
    def now(self) -> Told:
        """The instruction as it is now, read in one piece."""
        return self._now


@dataclass(frozen=True)
class Start:
    """An episode begins. `tick_hz`: ticks in a second. `frame_size`: (height, width) in pixels."""

    instruction: str
    seed: int | None
    options: Mapping[str, Any]
    tick_hz: float
    frame_size: tuple[int, int]
    actor: str


@dataclass(frozen=True, slots=True)
class Step:
    """One tick that was played.

    `frame`: what was seen before the action, uint8 (H, W, 3), or None where the tick was not drawn. `decision`: the
    one that the action belongs to, None on a starved tick and where the player was not asked; `index` counts decisions
    and `asked` is the tick at which this one was asked for (both -1 without one). `info`: the world's, without ground
    truth. `notes`: what `annotate` made of the frame, at the ticks where a decision was asked for.
    """

    tick: int
    frame: Frame | None
    action: Action
    reward: float
    instruction: str
    actor: str
    starved: bool
    decision: Decision | None
    index: int
    asked: int
    info: Mapping[str, Any]
    notes: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Outcome:
    """How an episode went.

    `success` is None where nobody judged or the player was interrupted. `seconds`: wall time. `chunk_age_*`: ticks
    between the frame an action was chosen from and the tick it was played. `latency_*_ms`: from question to answer.
    `stale`: chunks dropped because the instruction changed meanwhile. `decided`: tick of the verdict. `said`: (tick,
    what the player said). `done`: whether it said, by its decision, that it is done. `problems`: what subscribers
    raised.
    """

    success: bool | None
    why: str
    ticks: int
    seconds: float
    clock: str
    decisions: int
    decisions_per_second: float
    starved: int
    stale: int
    chunk_age_mean: float
    chunk_age_p99: float
    latency_p50_ms: float
    latency_p99_ms: float
    reward: float = 0.0
    interrupted: bool = False
    decided: int | None = None
    said: tuple[tuple[int, str], ...] = ()
    done: bool = False
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the same names."""
        return {**asdict(self), "said": [list(line) for line in self.said], "problems": list(self.problems)}


class Subscriber:
    """Is told what happens; recorders, pages and statistics are subscribers. What it raises never stops the game."""

    def on_start(self, start: Start) -> None:
        """An episode begins."""

    def on_step(self, step: Step) -> None:
        """A tick was played."""

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        """The episode is over; `frame` is the last one seen."""


def hold(last: Action) -> Action:
    """The fallback of a starved tick: keep what is held, do not turn."""
    return Action(keys=last.keys, buttons=last.buttons, pointer=last.pointer)


def release(last: Action) -> Action:
    """The fallback of a starved tick that lets go of everything."""
    return NEUTRAL


def play(
    world: World,
    player: Player,
    instruction: str | Goal,
    *,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    picture: Frame | None = None,
    time_limit: int = 700,
    judge: Judge | None = None,
    annotate: Callable[[Any], Mapping[str, Any]] | None = None,
    subscribers: Sequence[Subscriber] = (),
    observe: Literal["tick", "decision"] = "tick",
    end_on_done: bool = False,
    linger: int = 0,
    fallback: Callable[[Action], Action] | None = None,
    control: Control | None = None,
) -> Outcome:
    """Play one episode of at most `time_limit` ticks and say how it went.

    `picture`: what an instruction that is a text shows instead of naming it. `judge` sees ground truth after the reset
    and after every step and ends the episode with its verdict; pass a fresh `verifier.update`. It rules on the first
    instruction: once that changes, other than by a step towards it, nobody judges. `annotate` sees ground truth where a
    decision is asked for; what it returns goes to the subscribers, for training data. `observe`: look at every tick, or
    only where a decision is due, which is faster in lockstep. `end_on_done`: whether the player may end the episode.
    `linger`: ticks to play on after success, to see whether the player says that it is done. `control`: who may pause
    and end the episode, and act in the player's stead. Ctrl+C ends it cleanly, a second one at once.
    The world stays open; it is its owner's to close. Raises what the world or the player raises.
    """
    goal = instruction if isinstance(instruction, Goal) else Goal(instruction, picture)
    control = control or Control()
    crowd, count, eyes = _Crowd(subscribers), _Count(), _Eyes(player.spec, seed)
    fallback = fallback or {"hold": hold, "release": release}[player.spec.starved]
    told = goal.now
    replaced = False  # whether somebody acts in the player's stead
    action, tick, verdict, ended, why = NEUTRAL, 0, None, False, ""
    said: list[tuple[int, str]] = []
    spoken, done = -1, False  # the decision that spoke last; whether the player says that it is done
    ending = -1  # the decision that says so and is being played
    decided = 0  # when the verdict fell
    frame: Frame | None = None
    failure: Exception | None = None

    with _interrupt() as interrupted:
        try:
            player.begin()
            observation, info = world.reset(seed=seed, options=dict(options or {}))
            frame = observation["pixels"]
            crowd.start(Start(told.text, seed, dict(options or {}), world.tick_hz, frame.shape[:2], player.actor))
            verdict = judge(info.get("state")) if judge else None
            count.start()
            while not ended and not why and not interrupted.is_set():
                if tick >= (control.since + time_limit if verdict is None else decided + linger * verdict.success):
                    break
                while (order := control.order(tick)) == "wait" and not interrupted.wait(_PAUSE):
                    pass
                if order == "end":
                    why = control.why
                if order != "play":
                    continue
                hands = control.hands(tick)
                if (hands is not None) != replaced:  # what the player saw and planned before is of another time
                    replaced = hands is not None
                    player.begin(tick)
                    eyes.forget()
                if (now := goal.now).version != told.version:  # what was planned for the old one counts no more
                    judge = judge if now.purpose == told.purpose else None
                    told = now
                    player.begin(tick)
                    eyes.forget_thoughts()

                # The frame of this tick goes to inference, which works while the tick is not yet due.
                notes = None
                if hands is None and player.due(tick):
                    state = info.get("state")
                    notes = annotate(state) if annotate else None
                    context = eyes.context(frame, told, control.dialogue, tick)
                    player.ask(Question(tick, player.queue.epoch, context, state if player.sees_state else None))
                world.pace()

                # The actions of this tick, or of this decision, move the world.
                most = 1 if observe == "tick" else max(1, min(player.spec.chunk, time_limit - tick))
                actions, answer = ((hands.action,), None) if hands else player.queue.take(tick, most)
                starved = not actions
                actions = actions or (fallback(action),)
                seen = frame
                if len(actions) == 1:
                    observation, reward, terminated, truncated, info = world.step(actions[0])
                else:
                    observation, reward, terminated, truncated, info = world.step_chunk(actions)
                    actions = actions[: info.get("ticks", len(actions))]
                frame, ended, action = observation["pixels"], terminated or truncated, actions[-1]

                # Those who follow the game are told; the judge looks.
                actor = hands.actor if hands else player.actor
                source = None if starved else answer
                turn = _Turn(tick, seen, notes, actions, float(reward), told.text, actor, starved, source, info)
                tick += len(actions)
                eyes.acted(actions, answer.decision.thought if answer and not starved else "")
                if answer and answer.decision.speech and answer.index != spoken:
                    spoken = answer.index
                    said.append((tick, answer.decision.speech))
                count.add(turn)
                crowd.steps(turn)
                if judge and verdict is None:
                    verdict, decided = judge(info.get("state")), tick
                # Who is asked early answers before his last chunk ends: then it counts that he says it again.
                again = ending not in (-1, answer.index) if answer and answer.decision.done else False
                ending = answer.index if answer and answer.decision.done else -1
                if answer and answer.decision.done and (again or not player.queue.remaining(tick)):
                    done, ending = True, -1
                    if end_on_done and not control.done(answer.decision):
                        why = "the player says that it is done"
        except KeyboardInterrupt:
            interrupted.set()
        except Exception as error:
            failure = error  # raised below, when the subscribers have been told that it is over

        if verdict:
            success, why = verdict.success, verdict.why
        elif failure:
            success, why = None, f"{type(failure).__name__}: {failure}"
        elif interrupted.is_set():
            success, why = None, "interrupted"
        else:
            success = False if judge else None
            why = why or ("the world ended the episode" if ended else "the time is up")
        outcome = count.outcome(success, why, "realtime" if world.realtime else "lockstep", player)
        outcome = replace(
            outcome, interrupted=interrupted.is_set(), said=tuple(said), done=done, decided=decided if verdict else None
        )
        crowd.end(outcome, frame)
        if world.realtime and not ended and not failure:
            world.step(NEUTRAL)  # it moves on without us: let go of the keys
    if failure:
        raise failure
    # Ctrl+C may have come while the subscribers finished: the caller must hear of it too.
    return replace(outcome, interrupted=interrupted.is_set(), problems=tuple(crowd.problems))


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one pass of the loop played: one tick, or the ticks of one decision."""

    tick: int
    frame: Frame
    notes: Mapping[str, Any] | None
    actions: Sequence[Action]
    reward: float
    instruction: str
    actor: str
    starved: bool
    answer: Answer | None
    info: Mapping[str, Any]

    def steps(self) -> Iterator[Step]:
        """A Step for each tick; the frame belongs to the first, the reward and the info to the last."""
        answer = self.answer
        decision, index, asked = (answer.decision, answer.index, answer.tick) if answer else (None, -1, -1)
        public = {key: value for key, value in self.info.items() if key != "state"}
        final = len(self.actions) - 1
        for i, action in enumerate(self.actions):
            yield Step(
                tick=self.tick + i,
                frame=None if i else self.frame,
                action=action,
                reward=self.reward if i == final else 0.0,
                instruction=self.instruction,
                actor=self.actor,
                starved=self.starved,
                decision=decision,
                index=index,
                asked=asked,
                info=public if i == final else {},
                notes=None if i else self.notes,
            )


class _Eyes:
    """What the player has seen and done at its decisions, as the context of the next one."""

    def __init__(self, spec: PolicySpec, seed: int | None) -> None:
        self._size = spec.frame_size
        self._seed = seed or 0
        self._frames: deque[Frame] = deque(maxlen=max(1, spec.history))
        self._chunks: deque[tuple[Action, ...]] = deque(maxlen=max(1, spec.history) - 1)
        self._thoughts: deque[str] = deque(maxlen=max(1, spec.history) - 1)
        self._since: list[Action] = []
        self._thought = ""
        self._told: int | None = None  # decisions since another instruction was given

    def forget_thoughts(self) -> None:
        """What was thought for another instruction misleads."""
        self._thoughts.extend([""] * len(self._thoughts))
        self._thought, self._told = "", -1

    def forget(self) -> None:
        for kept in (self._frames, self._chunks, self._thoughts, self._since):
            kept.clear()
        self._thought, self._told = "", None

    def context(self, frame: Frame, told: Told, dialogue: tuple[tuple[str, str], ...], tick: int) -> Context:
        if self._frames:
            self._chunks.append(tuple(self._since))
            self._thoughts.append(self._thought)
        self._since.clear()
        self._thought = ""
        self._told = None if self._told is None else self._told + 1
        self._frames.append(fit(frame, self._size))
        # Own random numbers for every decision, the same in every run.
        seed = zlib.crc32(f"{self._seed}/{tick}".encode())
        return Context(
            frames=tuple(self._frames),
            instruction=told.text,
            actions=tuple(self._chunks),
            thoughts=tuple(self._thoughts),
            picture=told.picture,
            since=self._told,
            dialogue=dialogue,
            seed=seed,
        )

    def acted(self, actions: Sequence[Action], thought: str) -> None:
        self._since.extend(actions)
        self._thought = thought or self._thought


def fit(frame: Frame, size: tuple[int, int]) -> Frame:
    """`frame` at (height, width) `size`, averaged over areas; itself where it has that size already."""
    if frame.shape[:2] == size:
        return frame
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BOX))


class _Crowd:
    """The subscribers. One that raises is noted once and told on: the game does not stop for it."""

    def __init__(self, subscribers: Sequence[Subscriber]) -> None:
        self._subscribers = tuple(subscribers)
        self.problems: dict[str, None] = {}

    def start(self, start: Start) -> None:
        for subscriber in self._subscribers:
            self._tell(subscriber, subscriber.on_start, start)

    def steps(self, turn: _Turn) -> None:
        if self._subscribers:
            for step in turn.steps():
                for subscriber in self._subscribers:
                    self._tell(subscriber, subscriber.on_step, step)

    def end(self, outcome: Outcome, frame: Frame | None) -> None:
        for subscriber in self._subscribers:
            self._tell(subscriber, subscriber.on_end, replace(outcome, problems=tuple(self.problems)), frame)

    def _tell(self, subscriber: Subscriber, tell: Callable[..., None], *what: Any) -> None:
        try:
            tell(*what)
        except Exception as error:
            problem = f"{type(subscriber).__name__}: {type(error).__name__}: {error}"
            if problem not in self.problems:
                self.problems[problem] = None
                logger.warning("a subscriber failed, the game goes on: %s", problem, exc_info=error)


class _Count:
    """The numbers of an episode."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._ages: list[int] = []
        self._ticks = self._starved = 0
        self._reward = 0.0

    def start(self) -> None:
        """The world is up: play begins."""
        self._since = time.perf_counter()

    def add(self, turn: _Turn) -> None:
        self._ticks += len(turn.actions)
        self._reward += turn.reward
        if turn.starved:
            self._starved += len(turn.actions)
        elif turn.answer:
            first = turn.tick - turn.answer.tick
            self._ages.extend(range(first, first + len(turn.actions)))

    def outcome(self, success: bool | None, why: str, clock: str, player: Player) -> Outcome:
        seconds = time.perf_counter() - self._since
        ages, latencies = self._ages or [0], [1000.0 * s for s in player.queue.latencies] or [0.0]
        decisions = len(player.queue.latencies)
        p50, p99 = np.percentile(latencies, (50, 99))
        return Outcome(
            success=success,
            why=why,
            ticks=self._ticks,
            seconds=seconds,
            clock=clock,
            decisions=decisions,
            decisions_per_second=decisions / seconds if seconds > 0 else 0.0,
            starved=self._starved,
            stale=player.queue.stale,
            chunk_age_mean=float(np.mean(ages)),
            chunk_age_p99=float(np.percentile(ages, 99)),
            latency_p50_ms=float(p50),
            latency_p99_ms=float(p99),
            reward=self._reward,
        )


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """The first Ctrl+C sets the event, so that no step is cut in half; the second raises as ever.

    Off the main thread, where Python takes no signals, the event stays unset.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def on_signal(signum: int, stack: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
