"""`SmallThinker`: `small` on a long errand. It writes no plans; rules choose among what its captions name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.long.places import Cell, Landmark, cell_of
from agent.long.thinker import Desk
from agent.models.base import ChatModel
from agent.talk import intents
from agent.talk.planner import MOST_STEPS, Plan, Situation
from agent.view import View

FRESH = 4.0  # seconds for which what was seen is taken to be near
LATE = 2.0  # seconds after which a key that was taken is out of view
MOST_TRIES = 2  # of a part of the goal that the player says it has done and a judge does not see
REST = 12  # turns after which what failed at a place may be tried there again
_KEY = re.compile(r"(\w+) key")
_DOOR = re.compile(r"(\w+) door")
_PRESS = "press the switch"


@dataclass(frozen=True)
class _Tried:
    text: str
    cell: Cell
    turn: int


class SmallThinker:
    """The parts of the user's sentence are the secondary goals, in order; the first one is what the player is told,
    unless something comes before it: a key in view that it does not have, the door that a key of its opens, a switch;
    then such a door out of view, or the key of a lock that was seen. Where the critic says that it does not work, the
    player is sent to a thing in the direction with the fewest visits.
    """

    view = View.stretched((120, 160))

    def __init__(self, model: ChatModel) -> None:
        self.name = model.name
        self._model = model
        self._goal = ""
        self._keys: dict[str, int] = {}  # the colours of the keys that it takes itself to have, since which tick
        self._opened: dict[str, int] = {}  # the colours of the doors that it takes itself to have opened, likewise
        self._tried: list[_Tried] = []
        self._tries: dict[str, int] = {}

    def think(self, now: Situation, desk: Desk) -> Plan:
        if desk.goals.primary is None or self._goal != desk.goals.primary.text:
            self._begin(now.goal, desk)
        for ended in desk.ended:
            self._learn(ended.goal.text, ended.end, desk)
        if desk.looks_again:
            self._doubt(desk)
        parts = tuple(goal.text for goal in desk.goals.secondary)
        if not parts:
            return Plan(done=True)
        steps, lost = now.steps, desk.opinion is not None and not desk.opinion.yes
        seen = self._in_view(desk)
        near = self._near(parts[0], seen, desk)
        under_way = bool(steps) and steps[0] != parts[0] and self._alive(steps[0], desk)
        under_way = under_way and (self._founded(steps[0], desk) or not desk.looks_again)
        if under_way and not lost and (not near or _names(steps[0], seen)):  # a search gives way to what is there
            return Plan(steps, parts=parts)
        wish = (self._aside(desk) if lost else "") or near or self._far(desk)
        key = _KEY.search(wish)
        then = [f"open the {key[1]} door"] if key and key[1] not in self._opened else []
        return Plan(tuple(dict.fromkeys((*([wish] if wish else []), *then, parts[0])))[:MOST_STEPS], parts=parts)

    def close(self) -> None:
        self._model.close()

    def _begin(self, goal: str, desk: Desk) -> None:
        self._goal = goal
        self._keys, self._opened, self._tried, self._tries = {}, {}, [], {}
        for said, name in desk.meant.items():
            goal = goal.lower().replace(said, f"the {name}").replace("go back to", "go to")
        desk.goals.set("secondary", tuple(intents.steps(goal)), desk.turn)

    def _learn(self, text: str, end: str, desk: Desk) -> None:
        """What came of a step."""
        self._tried.append(_Tried(text, cell_of(desk.places.here), desk.turn))
        if end == "done" and (key := _KEY.search(text)):
            self._keys[key[1]] = desk.tick
            desk.places.forget(key[0])
        if end == "done" and (door := _DOOR.search(text)):
            self._opened[door[1]] = desk.tick
        if end == "done" and text == _PRESS:
            desk.places.gates_may_be_open()
        if text in {goal.text for goal in desk.goals.secondary}:
            self._tries[text] = self._tries.get(text, 0) + (end == "refuted")
            if end == "done" or (end == "refuted" and self._tries[text] >= MOST_TRIES):
                desk.goals.end(text, "done", desk.turn, rank="secondary")

    def _doubt(self, desk: Desk) -> None:
        """A key that is seen again was not taken, and a door that is seen shut was not opened, whatever the summary
        says."""
        for mark in desk.places.landmarks:
            for name, had, did, so in (
                (_KEY, self._keys, "pick up", "it is still there"),
                (_DOOR, self._opened, "open", "it is shut"),
            ):
                thing = name.fullmatch(mark.name)
                if thing and mark.tick > had.get(thing[1], mark.tick) + LATE * desk.tick_hz:
                    del had[thing[1]]
                    deed = f"{did} the {mark.name}"
                    desk.summary.correct(f"{deed}: done", f"{deed}: not done, {so}")
                    self._tried = [one for one in self._tried if one.text != deed]

    def _alive(self, step: str, desk: Desk) -> bool:
        """Whether a step has not expired."""
        return step in {goal.text for goal in desk.goals.tertiary}

    def _founded(self, step: str, desk: Desk) -> bool:
        """Whether what a step is for is still believed to be there: a key that is looked for, or its door."""
        key = _KEY.search(step)
        return key is None or any(mark.name in (key[0], f"{key[1]} door") for mark in desk.places.landmarks)

    def _in_view(self, desk: Desk) -> list[str]:
        """What was seen in the last seconds, the newest first."""
        return [m.name for m in reversed(desk.places.landmarks) if desk.tick - m.tick <= FRESH * desk.tick_hz]

    def _near(self, part: str, seen: Sequence[str], desk: Desk) -> str:
        """What in view comes first; "" where nothing does."""
        if _names(part, seen):
            return part
        wishes = (*map(self._key, seen), *map(self._door, seen), *map(self._switch, seen))
        return next((wish for wish in wishes if wish and not self._rests(wish, desk)), "")

    def _far(self, desk: Desk) -> str:
        """What is looked for as well as what the user asks for can be: the door that a key of its opens, the newest one
        first, then the key of a lock that was seen somewhere."""
        doors = [f"open the {colour} door" for colour in reversed(self._keys) if colour not in self._opened]
        locks = (_DOOR.fullmatch(mark.name) for mark in desk.places.landmarks)
        keys = [f"pick up the {lock[1]} key" for lock in locks if lock and lock[1] not in self._keys]
        return next((wish for wish in (*doors, *keys) if not self._rests(wish, desk)), "")

    def _key(self, name: str) -> str:
        key = _KEY.fullmatch(name)
        return f"pick up the {name}" if key and key[1] not in self._keys else ""

    def _door(self, name: str) -> str:
        door = _DOOR.fullmatch(name)
        return f"open the {name}" if door and door[1] in self._keys.keys() - self._opened.keys() else ""

    def _switch(self, name: str) -> str:
        return _PRESS if name == "switch" else ""

    def _rests(self, wish: str, desk: Desk) -> bool:
        """Whether it was tried here not long ago; a switch that was pressed here stays pressed."""
        here = cell_of(desk.places.here)
        near = [
            one
            for one in self._tried
            if one.text == wish and max(abs(a - b) for a, b in zip(one.cell, here, strict=True)) <= 1
        ]
        return any(desk.turn - one.turn < REST or wish.startswith("press") for one in near)

    def _aside(self, desk: Desk) -> str:
        """A thing in view in the direction with the fewest visits."""
        seen = [m for m in desk.places.landmarks if desk.tick - m.tick <= 4 * FRESH * desk.tick_hz]
        things = [m for m in seen if m.name.split()[-1] not in ("door", "doorway", "gate", "switch")]

        def visits(mark: Landmark) -> int:
            return desk.places.count(desk.places.here.bearing(mark.place)[1])

        fresh = [m for m in things if not self._rests(f"go to the {m.name}", desk)]
        return f"go to the {min(fresh, key=visits).name}" if fresh else ""


def _names(step: str, seen: Sequence[str]) -> bool:
    """Whether what a step names is among what is seen."""
    thing = intents.thing_of(step)
    return thing is not None and any(intents.same_thing(thing.words, name) for name in seen)
