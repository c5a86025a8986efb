"""`EpisodeMemory`: what the player did, saw and said so far in an episode, in a bounded number of words.

The control loop writes it and gives `text` to the policy as `Context.memory`. It holds only what the player itself
could know: the instructions it was given, what its hands did, and its own thoughts and speech. Ground truth and the
verifier's verdict never enter it.

The text has up to three parts, each with a limit of its own, so that a talkative policy does not push out what was
done. In each part the oldest entries are dropped first:

    did: go to the torch (3.2 s: forward 2.9 s, then said done); pick up the key (1.0 s: turn right 40 degrees).
    seen: red torch left; blue torch right. said: ok go to the torch.

In a second attempt the memory of the first one stands behind that: `with_attempt` writes it, and `earlier_attempt`
reads it. Behind all of it stands in which direction the way to what is wanted begins, where that is known: `with_way`
and `way_told`.

`thought` entries count as seen: a thought is what the policy says it sees and plans.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from envs.action import Action
from envs.world import World

DID_WORDS, SEEN_WORDS, SAID_WORDS = 70, 40, 30  # at most, without the heading of a part
MEMORY_WORDS = DID_WORDS + SEEN_WORDS + SAID_WORDS + 3  # at most in the whole text: three headings
ATTEMPT_WORDS = 80  # at most of an earlier attempt, behind that
_ATTEMPT = "attempt before:"
_WAY = "way there:"
_ENTRY_WORDS = 20  # at most in one instruction, thought or line of speech; the rest is cut off
_MOST_ACTIONS = 6  # kinds of action that are named of one instruction, those that took longest

# What keys and buttons mean in the first-person games that agents play; any other key is named by its code.
_HANDS = {
    "KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right", "KeyE": "use", "Space": "jump",
    "left": "attack", "right": "right button", "middle": "middle button",
}  # fmt: skip
_TURNS = (("turn right", "turn left"), ("look up", "look down"))  # for a positive and a negative look, by axis


@dataclass
class _Stretch:
    """What was done under one instruction."""

    instruction: str
    ticks: int = 0
    by_other: int = 0  # ticks in which somebody played in the stead of the player
    held: dict[str, int] = field(default_factory=dict)  # ticks
    turned: dict[str, float] = field(default_factory=dict)  # degrees
    ending: str = ""

    def words(self, tick_hz: float) -> str:
        """The stretch in plain words, such as "go to the torch (3.2 s: forward 2.1 s, then said done)"."""

        def seconds(ticks: int) -> str:
            return f"{ticks / tick_hz:.1f} s"

        longest = sorted(self.held.items(), key=lambda item: -item[1])
        acts = [f"{name} {seconds(ticks)}" for name, ticks in longest]
        acts += [f"{name} {degrees:.0f} degrees" for name, degrees in self.turned.items() if degrees >= 1.0]
        acts = acts[:_MOST_ACTIONS]
        if self.by_other:
            acts.append(f"somebody else played {seconds(self.by_other)}")
        told = f": {', '.join(acts)}" if acts else ""
        ending = f", then {self.ending}" if self.ending else ""
        return f"{self.instruction or 'nothing to do'} ({seconds(self.ticks)}{told}{ending})"


class EpisodeMemory:
    """The memory of one episode; a new episode gets a new one. `tick_hz`: ticks in a second. `controls`: what the
    world says that its keys do. `attempt`: the memory of an earlier attempt at the same."""

    def __init__(
        self, instruction: str, tick_hz: float, controls: Mapping[str, str] | None = None, *, attempt: str = ""
    ) -> None:
        self._hz, self._attempt = tick_hz, attempt
        self._names = _HANDS | {name: said for name, text in (controls or {}).items() if (said := _entry(text))}
        # An entry has at least one word, so that no more entries than words are ever shown.
        self._stretches: deque[_Stretch] = deque([_Stretch(_entry(instruction))], maxlen=DID_WORDS)
        self._seen: deque[str] = deque(maxlen=SEEN_WORDS)
        self._said: deque[str] = deque(maxlen=SAID_WORDS)

    def instructed(self, instruction: str) -> None:
        """Another instruction counts from now on."""
        last = self._stretches[-1]
        if not last.ticks:
            self._stretches.pop()
        elif not last.ending:
            last.ending = "told otherwise"
        self._stretches.append(_Stretch(_entry(instruction)))

    def acted(self, actions: Sequence[Action], *, by_other: bool = False) -> None:
        """These actions were carried out, one a tick; `by_other`: somebody played in the player's stead."""
        now = self._stretches[-1]
        now.ticks += len(actions)
        if by_other:
            now.by_other += len(actions)
            return
        for action in actions:
            for name in (*sorted(action.keys), *sorted(action.buttons)):
                word = self._names.get(name, name)
                now.held[word] = now.held.get(word, 0) + 1
            for degrees, (positive, negative) in zip(action.look, _TURNS, strict=True):
                if degrees:
                    word = positive if degrees > 0 else negative
                    now.turned[word] = now.turned.get(word, 0.0) + abs(degrees)

    def thought(self, text: str) -> None:
        """The player's thought at a decision: what it says it sees and plans."""
        _append(self._seen, text)

    def said(self, text: str) -> None:
        """A line that the player said."""
        _append(self._said, text)

    def claimed_done(self) -> None:
        """The player says that it has done what it was told."""
        self._stretches[-1].ending = "said done"

    @property
    def text(self) -> str:
        """The memory as one line of at most MEMORY_WORDS words; "" while nothing has happened. An earlier attempt
        comes on top."""
        did = (stretch.words(self._hz) for stretch in reversed(self._stretches) if stretch.ticks)
        parts = (
            ("did", _fitting(did, DID_WORDS)),
            ("seen", _fitting(reversed(self._seen), SEEN_WORDS)),
            ("said", _fitting(reversed(self._said), SAID_WORDS)),
        )
        return with_attempt(
            " ".join(f"{name}: {'; '.join(entries)}." for name, entries in parts if entries), self._attempt
        )


def with_attempt(memory: str, attempt: str) -> str:
    """A memory with that of an earlier attempt behind it, of which the last ATTEMPT_WORDS words are kept."""
    words = attempt.replace(_ATTEMPT, "").replace(_WAY, "").split()[-ATTEMPT_WORDS:]
    return f"{memory} {_ATTEMPT} {' '.join(words)}".strip() if words else memory


def earlier_attempt(memory: str) -> str:
    """What a memory says of an earlier attempt; "" where there was none."""
    return without_way(memory).rpartition(_ATTEMPT)[2].strip() if _ATTEMPT in memory else ""


def with_way(memory: str, way: str) -> str:
    """A memory that also tells in which direction, one of agent.sight.DIRECTIONS, the way to what is wanted begins; as
    it is where that is not known."""
    return f"{memory} {_WAY} {way}".strip() if way else memory


def without_way(memory: str) -> str:
    """A memory without the direction that `with_way` wrote."""
    return memory.partition(_WAY)[0].strip()


def way_told(memory: str) -> str:
    """The direction that `with_way` wrote; "" where there is none."""
    return memory.rpartition(_WAY)[2].strip() if _WAY in memory else ""


def memory_of(world: World, instruction: str, attempt: str = "") -> EpisodeMemory:
    """The memory of an episode in a world. `attempt`: that of an earlier attempt at the same.

    Its words are the same whoever plays, so that a model that learns from recordings reads when it plays what it read
    when it learned. The world's controls name the keys; in first-person games the words that `small` knows go first,
    whatever a key does there.
    """
    first_person = "KeyW" in world.action_space.keys
    controls = {**world.controls, **_HANDS} if first_person else world.controls
    return EpisodeMemory(instruction, world.tick_hz, controls, attempt=attempt)


def _entry(text: str) -> str:
    """One line without what separates entries, cut to _ENTRY_WORDS words."""
    words = text.replace(";", ",").replace(_ATTEMPT, "").replace(_WAY, "").strip(" .").split()
    return " ".join(words[:_ENTRY_WORDS]) + (" ..." if len(words) > _ENTRY_WORDS else "")


def _append(entries: deque[str], text: str) -> None:
    entry = _entry(text)
    if entry and (not entries or entries[-1] != entry):
        entries.append(entry)


def _fitting(newest_first: Iterable[str], most: int) -> list[str]:
    """The newest entries that have at most `most` words together, oldest first."""
    kept: deque[str] = deque()
    for entry in newest_first:
        most -= len(entry.split())
        if most < 0:
            break
        kept.appendleft(entry)
    return list(kept)
