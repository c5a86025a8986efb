"""`MineDojoWorld`: Minecraft, through MineDojo 0.1 in its own Python (`agent env setup minedojo`).

MineDojo takes one MultiDiscrete of eight numbers a tick and looks in steps of 15 degrees; here it is played with keys
and a mouse like Minecraft itself. The game is lockstep: it waits for `step`. Starting it takes minutes, Java 8, and the
internet for the first time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.action import Action, KeyboardMouse
from envs.bridge.client import Remote, RemoteError
from envs.bridge.setup import guest_python
from envs.bridge.world import BridgeWorld, Step
from envs.errors import UserError
from envs.world import Observation, World

_DIGITS = tuple(f"Digit{n}" for n in range(1, 10))
_MOVES = ("Space", "ShiftLeft", "ControlLeft")  # in MineDojo's order; the first that is down counts
KEYS = ("KeyW", "KeyA", "KeyS", "KeyD", "KeyQ", *_MOVES, *_DIGITS)
META = ("open-ended", "harvest", "combat", "techtree", "survival")
MAX_LOOK = 45.0  # degrees in a tick
NVEC = (3, 3, 4, 25, 25, 8, 244, 36)  # at camera steps of 15 degrees; the places of the eight numbers:
_WALK, _STRAFE, _MOVE, _PITCH, _YAW, _DO, _CRAFT, _SLOT = range(8)
_USE, _DROP, _ATTACK, _MAKE, _EQUIP, _PLACE, _DESTROY = range(1, 8)  # what _DO does
_COMMANDS = {"craft": _MAKE, "equip": _EQUIP, "place": _PLACE, "destroy": _DESTROY}
_SLOT_MASKS = {_EQUIP: "equip", _PLACE: "place", _DESTROY: "destroy"}


class MineDojoWorld(BridgeWorld):
    """Minecraft.

    `task`: one of `tasks()`, or "open-ended", "harvest", "combat", "techtree", "survival" with the `options` that
    these need. `image_size`: (height, width). `cam_interval`: degrees in a step of the camera, of which whole ones are
    turned and the rest is carried over. `options`: further arguments of `minedojo.make`. `connect`: makes the Remote
    that serves a task; by default MineDojo itself.

    Keys: W A S D walk, Space jumps, left Shift sneaks, left Control sprints, Q drops, 1 to 9 take that slot of the
    hotbar into the hand. Left button attacks, right button uses. Everything else is a `command`.

    `info["instruction"]` is MineDojo's prompt for the task, `info["refused"]` lists what the game's masks forbade in
    this tick, and `info["state"]` holds all that MineDojo observes besides the picture.
    `reset(options={"task": ID})` goes over to another task, with a fresh game.
    """

    controls = MappingProxyType({
        "KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right", "Space": "jump", "ShiftLeft": "sneak",
        "ControlLeft": "sprint", "KeyQ": "drop", "left": "attack", "right": "use",
        **{digit: f"take what is in slot {n} of the hotbar" for n, digit in enumerate(_DIGITS, 1)},
    })  # fmt: skip

    def __init__(
        self,
        task: str = "open-ended",
        *,
        image_size: Sequence[int] = (160, 256),
        cam_interval: float = 15.0,
        connect: Callable[[str], Remote] | None = None,
        **options: Any,
    ) -> None:
        if cam_interval <= 0 or 180 % cam_interval:  # else none of the game's steps is "do not turn"
            raise ValueError(f"minedojo: cam_interval is {cam_interval}; expected a divisor of 180 degrees")
        height, width = image_size
        make = {"image_size": [height, width], "cam_interval": cam_interval, **options}
        self._connect = connect or (lambda task: serve("minedojo:make", {"task_id": task, **make}))
        self._interval = cam_interval
        self._task = task
        self._open(self._connect(task))

    def _open(self, remote: Remote) -> None:
        super().__init__(
            remote,
            pixels="rgb",
            action_space=KeyboardMouse(KEYS, ("left", "right"), max_look=MAX_LOOK),
            encode=self._numbers,
            tick_hz=20.0,
            reset_timeout=900.0,  # the first one builds and starts the game
        )
        self._nvec = [int(n) for n in (remote.description["action_space"] or {}).get("nvec", ())]
        if len(self._nvec) != len(NVEC):
            remote.close()
            raise UserError(
                f"minedojo: the guest's actions are {self._nvec}; expected eight numbers, as MineDojo 0.1 has"
            )
        self._centre = (self._nvec[_PITCH] - 1) // 2
        self._prompt = str(_asked(remote, "task_prompt", ""))
        self._crafts: list[str] | None = None
        self._frame: npt.NDArray[np.uint8] = np.zeros(self.observation_space["pixels"].shape or (), np.uint8)
        self._forget()

    def _forget(self) -> None:
        """What an episode begins with: no carry, no key down, nothing commanded."""
        self._carry = np.zeros(2)
        self._down: frozenset[str] = frozenset()
        self._queue: deque[tuple[int, str | int]] = deque()
        self._seen: dict[str, Any] = {}
        self._refused: list[str] = []

    # The world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        options = dict(options or {})
        task = options.pop("task", self._task)
        if options:
            raise ValueError(f"minedojo: unknown reset option {sorted(options)[0]!r}; known: task")
        if task != self._task:  # MineDojo makes a task once in a process
            if task not in META and task not in self.remote.call("look", "minedojo.tasks:ALL_TASK_IDS"):
                raise ValueError(f"minedojo: unknown task {task!r}; envs.minedojo.tasks() tells all of them")
            self.remote.close()
            self._open(self._connect(task))
            self._task = task
        self._forget()
        observation, info = super().reset(seed=seed)
        self._frame = observation["pixels"]
        return observation, info

    def step(self, action: Action) -> Step:
        try:
            result = super().step(action)
        except RemoteError as error:
            # a drop or a craft plays two more ticks in MineDojo, which does not look whether the first ended the game
            if "done=True" not in error.said:
                raise
            self._running = False
            info = self._told({"rgb": None, **self._seen}, {})
            return {"pixels": self._frame.copy()}, 0.0, True, False, info
        self._frame = result[0]["pixels"]
        return result

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        return World.step_chunk(self, actions)  # one by one: what may be done depends on what is in the hand by then

    def command(self, name: str, what: str | int) -> None:
        """Do in the next tick that has a hand free: "craft" an item (at a table or furnace where it needs one), or
        "equip", "place" or "destroy" what is in a slot (0 to 35; 0 is the hand) or the first slot with that item.

        Raises ValueError for what does not exist; what the game forbids at that moment is told in `info["refused"]`.
        """
        if name not in _COMMANDS:
            raise ValueError(f"minedojo: unknown command {name!r}; known: {', '.join(_COMMANDS)}")
        if isinstance(what, str):
            what = what.replace(" ", "_")
        if name == "craft" and what not in self.crafts():
            raise ValueError(f"minedojo: {what!r} can't be crafted; MineDojo knows {len(self.crafts())} items that can")
        if isinstance(what, int) and not 0 <= what < self._nvec[_SLOT]:
            raise ValueError(f"minedojo: there is no slot {what}; expected 0 to {self._nvec[_SLOT] - 1}")
        self._queue.append((_COMMANDS[name], what))

    def crafts(self) -> list[str]:
        """What can be crafted or smelted, in MineDojo's order."""
        if self._crafts is None:
            self._crafts = list(self.remote.call("look", "minedojo.sim.mc_meta.mc:ALL_CRAFT_SMELT_ITEMS"))
        return self._crafts

    # Actions and observations

    def _numbers(self, action: Action) -> npt.NDArray[np.int64]:
        """MineDojo's eight numbers for an action; carries over what is less than a step of the camera."""
        keys, pressed = action.keys, action.keys - self._down
        self._down, self._refused = keys, []
        numbers = np.zeros(len(NVEC), np.int64)
        numbers[_WALK] = (0, 1, 2)[("KeyW" in keys) - ("KeyS" in keys)]
        numbers[_STRAFE] = (0, 1, 2)[("KeyA" in keys) - ("KeyD" in keys)]
        numbers[_MOVE] = next((n for n, key in enumerate(_MOVES, 1) if key in keys), 0)
        self._carry += action.look[0], -action.look[1]  # Minecraft's pitch grows downwards
        steps = np.rint(self._carry / self._interval)
        self._carry -= steps * self._interval
        numbers[[_YAW, _PITCH]] = self._centre + steps
        self._queue.extend((_EQUIP, _DIGITS.index(key)) for key in sorted(pressed & {*_DIGITS}))
        numbers[_DO], numbers[_CRAFT], numbers[_SLOT] = self._deed(action, pressed)
        return numbers

    def _deed(self, action: Action, pressed: frozenset[str]) -> tuple[int, int, int]:
        """What the hand does: a command, else a drop, else what the buttons say. One thing a tick."""
        if self._queue:
            deed, what = self._queue.popleft()
            index = self._allowed(deed, what)
            if index is not None:
                return (deed, index, 0) if deed == _MAKE else (deed, 0, index)
        if "KeyQ" in pressed:
            if self._mask("action_type")[_DROP]:
                return _DROP, 0, 0
            self._refused.append("drop: the hand is empty")
        if "left" in action.buttons:
            return _ATTACK, 0, 0
        return (_USE if "right" in action.buttons else 0), 0, 0

    def _allowed(self, deed: int, what: str | int) -> int | None:
        """The craft or slot that a command means, where the game's masks let it; None, and a word why, where not."""
        name = next(name for name, number in _COMMANDS.items() if number == deed)
        if deed == _MAKE:
            index = self.crafts().index(str(what))
            if self._mask("action_type")[deed] and self._mask("craft_smelt")[index]:
                return index
            self._refused.append(f"craft {what}: its ingredients, the table or the furnace are missing")
            return None
        mask = self._mask(_SLOT_MASKS[deed])
        items = [str(item).replace(" ", "_") for item in self._seen["inventory"]["name"]]
        slots = [what] if isinstance(what, int) else [slot for slot, item in enumerate(items) if item == what]
        if self._mask("action_type")[deed]:
            for slot in slots:
                if mask[slot] and items[slot] != "air":
                    return slot
        if slots and slots[0] == 0 and deed == _EQUIP:
            return None  # it is in the hand already
        self._refused.append(f"{name} {what}: the inventory has nothing to {name} there")
        return None

    def _mask(self, name: str) -> Any:
        return self._seen["masks"][name]

    def _told(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
        self._seen = {key: value for key, value in observation.items() if key != "rgb"}
        refused, self._refused = self._refused, []
        return {"instruction": self._prompt, "refused": refused, "state": {**self._seen, "info": info}}


def serve(world: str, arguments: dict[str, Any]) -> Remote:
    """A Remote in MineDojo's own Python. If that is missing, raises UserError, which says how to set it up."""
    headless = {} if os.environ.get("DISPLAY") else {"MINEDOJO_HEADLESS": "1"}
    return Remote(
        world, arguments=arguments, python=guest_python("minedojo"), env=headless, timeout=120.0, start_timeout=300.0
    )


def tasks() -> dict[str, str]:
    """MineDojo's tasks: the instruction of each by its id."""
    with serve("builtins:object", {}) as remote:
        told = remote.call("look", "minedojo.tasks:ALL_TASK_INSTRUCTIONS")
    return {task: prompt for task, (prompt, _guidance) in told.items()}


def _asked(remote: Remote, name: str, default: Any) -> Any:
    """An attribute of the world; `default` where it has none, as a game without a task has no prompt."""
    try:
        return remote.call("get", name)
    except RemoteError as error:
        if error.kind != "AttributeError":
            raise
        return default
