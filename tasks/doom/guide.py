"""The guide: an expert that knows only what could have been seen, thinks, speaks and says when it is done.

`tasks.doom.expert` knows where everything is. What it does can't always be learned from pictures: it walks straight to
what no picture has shown. The guide uses ground truth only for what was in view, so that a model that sees the frames,
its own last thought and its last few decisions can come to the same advice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent import doom_codec as codec
from agent.policy import Context, Decision, PolicySpec
from agent.sight import COLUMNS, NOWHERE, ROWS, column_of, direction
from envs.doom.level import joined
from envs.doom.things import CLASSES, KINDS
from envs.doom.world import DoomState
from tasks import speech, world_tasks
from tasks.confirmation import confirmation
from tasks.doom import dialogues
from tasks.doom.expert import SEARCH_TURN, choose, find, walk_to
from tasks.doom.geometry import bearing, distance, view_of
from tasks.doom.language import plain_goal, read
from tasks.doom.navigation import clear
from tasks.doom.planning import next_door, room_of
from tasks.doom.search import Search, behind, exits, turning
from tasks.task import Task, VerifierSpec, thing_name
from tasks.teacher import DONE, Advice
from tasks.verifier import Sequential

EXITS = 20  # bins of the picture's width in which a thought tells an exit
SEEN_PIXELS = 12  # a thing counts as seen from this many pixels on
CLEAR_PIXELS = 40  # and its colour can be told from this many on
SOME_PIXELS = 3  # this many are enough to follow a thing that was seen before
_WRONG = 30.0  # degrees by which a compass may be wrong: a player's own map is no better
_AT_DOOR = 48.0  # map units from a door's middle within which the way goes on behind it


def in_picture(state: DoomState, classes: Sequence[int]) -> tuple[tuple[int, int], int]:
    """Where things of some classes are in the picture, as bins, and how many pixels of them there are."""
    if state.labels is None:
        raise ValueError("the guide needs a world that was made with labels")
    height, width = state.labels.shape
    rows, columns = np.nonzero(np.isin(state.labels, list(classes)))
    if len(rows) < SOME_PIXELS:
        return NOWHERE, len(rows)
    return (int(columns.mean() * COLUMNS / width), int(rows.max() * ROWS / height)), len(rows)


def colours_in_view(state: DoomState, kind: str) -> list[str]:
    """The colours in which a kind of thing is seen."""
    colours = [c for c in KINDS[kind].colours if c is not None]
    return [c for c in colours if in_picture(state, [CLASSES[kind, c]])[1] >= SEEN_PIXELS]


class Guide:
    """Advises in one episode of a task, whoever plays it. Call `advise` with the state at every decision."""

    def __init__(self, task: Task) -> None:
        """Raises ValueError for a task that the guide does not know."""
        self._verifier = world_tasks.verifier_of(task)
        self._spec = task.verifier
        self._meaning = read(task.instruction)
        self._question = dialogues.read_question(task.instruction) if task.answer else None
        if self._spec is None and (not task.answer or (self._question is None and self._meaning is None)):
            raise ValueError(f"the guide does not know how to play {task.instruction!r}")
        if self._spec is not None and self._spec.name == "errand":
            raise ValueError(f"the guide teaches no errands: {task.id}")
        self._careful = task.verb in dialogues.CAREFUL
        self._told = task.compass  # in which direction the way begins
        self._search = Search()
        self._found = False
        self._colours: list[str] = []  # of the kind that is named, in the order in which they were seen
        self._stage = 0
        self._succeeded = False
        self._last_word: str | None = None
        self._confirmation = confirmation(task.instruction) if self._question is None else ""

    def advise(self, state: DoomState, thought: str | None = None) -> Advice:
        """What to do now. Raises ValueError for a state without labels.

        `thought`: the last one of another who plays. Who has not thought "done" has not said the last word either,
        and is advised to. The first advice is to confirm the instruction.
        """
        advice = self._advise(state, thought)
        speech, self._confirmation = self._confirmation, ""
        return advice if advice.speech else replace(advice, speech=speech)

    def _advise(self, state: DoomState, thought: str | None) -> Advice:
        if self._last_word is not None:
            told = thought is None or thought == "done"
            return Advice(DONE, NOWHERE, "done", "" if told else self._last_word, done=True)
        if self._verifier is not None and not self._succeeded:
            verdict = self._verifier.update(state)
            self._succeeded = verdict is not None and verdict.success
        spec, prefix = self._spec, ""
        if self._succeeded and (spec is None or spec.name != "stand_still"):
            return self._finish("done")
        if spec is not None and isinstance(self._verifier, Sequential):
            step = spec.args["steps"][self._verifier.stage]
            spec = VerifierSpec(step["name"], dict(step.get("args", {})))
            if self._stage != self._verifier.stage:
                self._stage, self._found, self._search = self._verifier.stage, False, Search()
            prefix = f"step {self._stage + 1} {goal_words(state, spec)}"
        if spec is not None and spec.name in ("look", "stand_still"):
            return Advice(choose(state, spec), NOWHERE, prefix)
        if not self._told:
            self._search.watch(state)
        wanted = self._named(state) if spec is None or self._careful else self._wanted(state, spec)
        place, pixels = wanted.look(state)
        if self._careful:
            kind = self._named_thing()[0]
            self._colours += [c for c in colours_in_view(state, kind) if c not in self._colours]
            if len(self._colours) > 1:
                return self._finish(dialogues.which(kind, self._colours))
        self._found = self._found or pixels >= SEEN_PIXELS or bool(self._colours)
        if self._question is not None and pixels >= CLEAR_PIXELS:
            return self._finish(dialogues.answer_to(self._question[0], self._named_thing()[0], wanted.pair(state)))
        if self._found and pixels < SOME_PIXELS and (away := wanted.elsewhere(state)) is not None:
            # the thing was seen in another room and is out of view: go through the door to it, and search from there
            self._found = False
            self._search.restart(away if away in [e.door for e in exits(state)] else None)
        if self._found:
            return Advice(choose(state, wanted.spec), place, prefix)
        if self._told:
            return self._follow(state, wanted, prefix)
        move = self._search.advise(state)
        if move.gave_up:
            if self._question is not None:
                return self._finish(dialogues.answer_to(self._question[0], self._named_thing()[0], None))
            if not prefix:
                return self._finish(f"{speech.NOT_THERE} {wanted.name} here")
            self._search.restart()
            move = self._search.advise(state)
        thought = f"{prefix} {move.thought}".strip()
        if move.off is not None and (column := column_of(move.off, state.level.fov)) < COLUMNS:
            thought += f" {column * EXITS // COLUMNS}"  # the point to walk to while the wanted thing is out of view
        return Advice(move.tokens, place, thought)

    def _follow(self, state: DoomState, wanted: Wanted, prefix: str) -> Advice:
        """The way that begins in the direction that the player is told."""
        way = wanted.way(state)
        off = bearing(state, *way.point)
        thought = f"{prefix} door".strip()
        if abs(off) >= view_of(state):
            return Advice(turning(state, math.copysign(SEARCH_TURN, off)), NOWHERE, thought)
        if way.door is not None:
            thought += f" {column_of(off, state.level.fov) * EXITS // COLUMNS}"
        return Advice(walk_to(state, *way.goal, 0.0, state.objects), NOWHERE, thought)

    def _finish(self, speech: str) -> Advice:
        self._last_word = speech
        return Advice(DONE, NOWHERE, "done", speech, done=True)

    def wanted(self, state: DoomState) -> Wanted:
        """What is looked for. Raises ValueError for a task of several steps, or that asks for nothing."""
        if self._spec is None or self._spec.name in ("look", "stand_still", "sequence"):
            raise ValueError("there is no way to what is wanted")
        return self._wanted(state, self._spec)

    def _named_thing(self) -> tuple[str, str | None]:
        """The kind and the colour that the instruction or the question names."""
        if self._question is not None:
            return self._question[1:]
        assert self._meaning is not None
        assert self._meaning.kind is not None
        return self._meaning.kind, self._meaning.colour

    def _named(self, state: DoomState) -> Wanted:
        """What the instruction names, whether or not it is in the level."""
        kind, colour = self._named_thing()
        targets = [i for i, t in enumerate(state.level.things) if t.kind == kind and colour in (None, t.colour)]
        verb = "go_to" if self._question is not None or self._meaning is None else self._meaning.verb
        name = thing_name(kind, colour)
        return Wanted(VerifierSpec(verb, {"targets": targets}), name, things=tuple(targets))

    def _wanted(self, state: DoomState, spec: VerifierSpec) -> Wanted:
        """What the verifier checks."""
        level = state.level
        if spec.name == "press":
            return Wanted(spec, "switch", point=level.panels[spec.args["panel"]].centre)
        if spec.name == "open":
            return Wanted(spec, "door", doors=tuple(spec.args["doors"]))
        if spec.name == "enter":
            inside = level.rooms[spec.args["room"]].rect
            meaning = self._meaning
            named = [
                i
                for i, t in enumerate(level.things)
                if inside.contains(t.x, t.y)
                and (meaning is None or (t.kind == meaning.kind and meaning.colour in (None, t.colour)))
            ]
            if not named:
                raise ValueError("the guide does not know which room is meant")
            spec = VerifierSpec("go_to", {"targets": named})
        return Wanted(spec, goal_words(state, spec, verb=False), things=tuple(spec.args["targets"]))


@dataclass(frozen=True)
class Way:
    """How the way to a thing begins: the `point` that it leads to first, the `goal` to walk to for that, and the `door`
    there, where it leads out of the room."""

    point: tuple[float, float]
    goal: tuple[float, float]
    door: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What is looked for, one of: numbers of things of the level, a point on a wall, numbers of doors. `spec`: what
    to do once it is found."""

    spec: VerifierSpec
    name: str
    things: tuple[int, ...] = ()
    point: tuple[float, float] | None = None
    doors: tuple[int, ...] = ()

    def look(self, state: DoomState) -> tuple[tuple[int, int], int]:
        """Where it is in the picture, and how many pixels of it are seen; panels and doors count as large."""
        if self.doors:
            offs = [e.off for e in exits(state) if e.door in self.doors]
            return ((column_of(offs[0], state.level.fov), ROWS), SEEN_PIXELS) if offs else (NOWHERE, 0)
        if self.point is not None:
            column = column_of(bearing(state, *self.point), state.level.fov)
            if column == COLUMNS or not clear(state, (state.x, state.y), self.point, (), width=0.0):
                return NOWHERE, 0
            return (column, ROWS), SEEN_PIXELS
        things = [state.level.things[t] for t in self.things]
        return in_picture(state, sorted({CLASSES[t.kind, t.colour] for t in things}))

    def pair(self, state: DoomState) -> tuple[str, str | None]:
        """Kind and colour of the thing that covers most pixels."""
        things = [state.level.things[t] for t in self.things]
        best = max(things, key=lambda t: in_picture(state, [CLASSES[t.kind, t.colour]])[1])
        return best.kind, best.colour

    def elsewhere(self, state: DoomState) -> int | None:
        """The door that leads to it where it is in another room; None where it is in this one."""
        level = state.level
        rooms = {room_of(level, o.x, o.y) for t in self.things if (o := find(state, t)) is not None}
        here = room_of(level, state.x, state.y)
        return None if not rooms or here in rooms else next_door(level, here, min(rooms))

    def way(self, state: DoomState) -> Way:
        """How the shortest way to it begins."""
        level = state.level
        here = room_of(level, state.x, state.y)
        if self.doors:
            door = min(self.doors, key=lambda i: distance(state, *level.doors[i].rect.centre))
            point, rooms = level.doors[door].rect.centre, set(joined(level, door))
        else:
            things = [o for t in self.things if (o := find(state, t)) is not None]
            points = [(o.x, o.y) for o in things] or [self.point or (state.x, state.y)]
            point = min(points, key=lambda at: distance(state, *at))
            rooms = {room_of(level, *point)}
        if here in rooms:
            return Way(point, point)
        door = next_door(level, here, min(rooms))
        pair = joined(level, door)
        goal = behind(state, door, pair[0] if pair[1] == here else pair[1])
        middle = level.doors[door].rect.centre
        return Way(goal if distance(state, *middle) < _AT_DOOR else middle, goal, door)


def compass(task: Task) -> Callable[[DoomState], str]:
    """In which direction the way begins, about as wrong as a player's own map is, but the same whenever it is asked in
    the same tick. Raises ValueError for a task of several steps, or without a thing that is looked for."""
    guide = Guide(task)

    def tell(state: DoomState) -> str:
        way = guide.wanted(state).way(state)
        wrong = np.random.default_rng([task.seed, state.tick // codec.CHUNK, 3]).uniform(-_WRONG, _WRONG)
        return direction(bearing(state, *way.point) + wrong)

    return tell


def goal_words(state: DoomState, spec: VerifierSpec, verb: bool = True) -> str:
    """A goal in plain words: "go to green torch"; without its verb "green torch"."""
    if spec.name == "press":
        name = "switch"
    elif spec.args.get("targets"):
        thing = state.level.things[spec.args["targets"][0]]
        name = thing_name(thing.kind, thing.colour)
    else:
        name = ""
    return plain_goal(spec.name, name) if verb else name


class GuidePolicy:
    """The guide as a player: `start(task)` gives the function that decides from ground truth with labels."""

    spec = PolicySpec(chunk=codec.CHUNK, codec=codec.VERSION)
    labels = True  # it needs a world with labels

    def start(self, task: Task) -> Callable[[DoomState], Decision]:
        """Raises ValueError for a task that the guide does not know."""
        guide = Guide(task)

        def decide(state: DoomState) -> Decision:
            advice = guide.advise(state)
            decision = codec.decode(advice.tokens)
            return Decision(decision.actions, advice.thought, advice.speech, advice.done)

        return decide

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        raise TypeError("the guide plays from ground truth; drive it through start(task)")
