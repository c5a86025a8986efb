"""`Playroom`: a generated room with things to find, lift, push and place, in MuJoCo at 30 ticks a second."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.action import Action, KeyboardMouse
from envs.errors import UserError
from envs.playroom.drawing import Drawer, mujoco
from envs.playroom.mjcf import AIM, EYE, FLOOR, NOTHING, SHOWN, SUBSTEPS, TICK_HZ, Scene, compile_room, let_avatar_touch
from envs.playroom.room import Room
from envs.playroom.rooms import BODY_RADIUS, generate
from envs.playroom.state import PlayroomState
from envs.resolution import parse_size
from envs.world import Observation, World

Vector = npt.NDArray[np.float64]

MAX_LOOK = 45.0  # degrees in one tick
MAX_PITCH = 75.0  # degrees
REACH = 1.7  # metres from the eyes
WALK_SPEED = 2.0  # metres a second
CROUCHED_EYE = 0.55  # metres above the floor
_EYE_STEP = 0.1  # metres in a tick, when crouching and rising
_HOLD = 0.85  # metres: how far in front of the eyes a thing is held
_HOLD_BELOW = 14.0  # degrees under the crosshair, so that one sees past it
_NEAREST_HOLD = 0.35
_HAND_STEP = 4.0 / (TICK_HZ * SUBSTEPS)  # metres in a substep: the hand follows the eyes at 4 m/s
_GRIP_LENGTH = 0.5  # metres: what stays behind so far is let go of
_PUSH_SPEED = 2.2  # metres a second that a push adds
_SETTLE_SUBSTEPS = 40
_WALK = {"KeyW": (1.0, 0.0), "KeyS": (-1.0, 0.0), "KeyA": (0.0, 1.0), "KeyD": (0.0, -1.0)}  # ahead, to the left
_CROUCH = frozenset({"KeyC", "ControlLeft"})
_SIGHT = np.array([group in (SHOWN, AIM) for group in range(6)], np.uint8)  # what the crosshair can be on


def _grabs(action: Action) -> bool:
    return "left" in action.buttons or "KeyE" in action.keys


_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION
_CHANGED = ("eq_data", "geom_conaffinity", "cam_quat", "cam_pos")  # of the model, during an episode
_OWN = ("_yaw", "_pitch", "_eye", "_tick", "_held", "_grip", "_beside", "_last")  # beside the physics


@dataclass(frozen=True)
class Saved:
    """A state of an episode in a room: what MuJoCo integrates, what changed in the model, and what is beside both."""

    room: Room
    physics: npt.NDArray[np.float64]
    model: tuple[npt.NDArray[Any], ...]
    own: Mapping[str, Any]


class Playroom(World):
    """A generated room, seen with one's own eyes.

    `resolution`: "WIDTHxHEIGHT". `labels`: also give the segmentation in `info["state"].labels`. `state`: give ground
    truth in `info["state"]`. `shadows`: draw them, which is several times slower. `crosshair`: draw a small one.

    `reset(options={"room": ROOM_JSON})` plays that room; `options={"generator": {...}}` gives the arguments of
    `envs.playroom.rooms.generate`; without options the seed alone makes a room.
    Keys: W A S D walk, C or the left Control crouches; the mouse looks. The left button or E picks up what the
    crosshair is on within reach, and drops it when pressed again; the right button pushes what the crosshair is on.
    Raises UserError at the first reset where MuJoCo has nothing to draw with.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}  # type: ignore[misc]
    realtime = False
    deterministic = True
    tick_hz = TICK_HZ
    resolutions = ("160x120", "320x240", "640x480")
    controls = MappingProxyType({
        "KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right", "KeyC": "crouch", "ControlLeft": "crouch",
        "left": "pick up what the crosshair is on, or drop what is held", "KeyE": "pick up, or drop",
        "right": "push what the crosshair is on",
    })  # fmt: skip

    def __init__(
        self,
        resolution: str = "160x120",
        *,
        labels: bool = False,
        state: bool = True,
        shadows: bool = False,
        crosshair: bool = True,
        render_mode: str | None = "rgb_array",
    ) -> None:
        self._width, self._height = parse_size(resolution, 32, 2048)
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (self._height, self._width, 3), np.uint8)}
        )
        self.action_space = KeyboardMouse((*_WALK, *_CROUCH, "KeyE"), ("left", "right"), max_look=MAX_LOOK)
        self.render_mode = render_mode
        self._labels, self._state, self._shadows, self._crosshair = labels, state, shadows, crosshair
        self._drawer: Drawer | None = None
        self._room: Room | None = None
        self._scene: Scene
        self._data: Any = None
        self._last: Action | None = None
        self._frame: npt.NDArray[np.uint8] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - {"room", "generator"}
        if unknown:
            raise ValueError(f"playroom: unknown reset option {sorted(unknown)[0]!r}; known: generator, room")
        if "room" in options:
            room = Room.from_json(options["room"])
        else:
            room_seed = seed if seed is not None else int(self.np_random.integers(2**31))
            try:
                room = generate(room_seed, **options.get("generator", {}))
            except TypeError as error:
                raise ValueError(f"playroom: generator: {error}") from error
        if self._drawer is None:
            self._drawer = Drawer(self._width, self._height, shadows=self._shadows)
        self._scene = compile_room(room, width=self._width, height=self._height, shadows=self._shadows)
        self._data = mujoco.MjData(self._scene.model)
        self._drawer.load(self._scene.model, "eyes")
        mujoco.mj_step(self._scene.model, self._data, _SETTLE_SUBSTEPS)
        self._room, self._last, self._tick = room, None, 0
        self._yaw, self._pitch, self._eye = room.start[2], 0.0, EYE
        self._held: int | None = None
        self._beside: set[int] = set()  # let go of while still inside of the avatar
        self._look()
        mujoco.mj_forward(self._scene.model, self._data)
        return self._observe()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._advance(action)
        observation, info = self._observe()
        return observation, 0.0, False, False, info

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if not actions:
            raise ValueError("step_chunk needs at least one action")
        for action in actions:
            self._advance(action)
        observation, info = self._observe()
        return observation, 0.0, False, False, {**info, "ticks": len(actions)}

    def save(self) -> Saved:
        """The state of the episode, for `restore`."""
        if self._room is None:
            raise gymnasium.error.ResetNeeded("playroom: save() before reset() or after close(); call reset() first")
        model = self._scene.model
        physics = np.empty(mujoco.mj_stateSize(model, _PHYSICS))
        mujoco.mj_getState(model, self._data, physics, _PHYSICS)
        own = {name: copy.copy(getattr(self, name)) for name in _OWN if hasattr(self, name)}
        return Saved(self._room, physics, tuple(getattr(model, name).copy() for name in _CHANGED), own)

    def restore(self, saved: object) -> None:
        """Go back to a state of this episode. Raises ValueError for that of another one."""
        if not isinstance(saved, Saved) or saved.room is not self._room:
            raise ValueError("playroom: this state is not of this episode; save() within it")
        model = self._scene.model
        mujoco.mj_setState(model, self._data, saved.physics, _PHYSICS)
        for name, values in zip(_CHANGED, saved.model, strict=True):
            getattr(model, name)[:] = values
        for name, value in saved.own.items():
            setattr(self, name, copy.copy(value))
        mujoco.mj_forward(model, self._data)

    def render(self) -> npt.NDArray[np.uint8] | None:
        return None if self._frame is None else self._frame.copy()

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        if self._last is None:
            return frozenset(), frozenset()
        return self._last.keys, self._last.buttons

    def close(self) -> None:
        if self._drawer is not None:
            self._drawer.close()
        self._drawer, self._room, self._data, self._last = None, None, None, None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process the driver may be gone before us
            if getattr(self, "_drawer", None) is not None:
                self.close()

    def _advance(self, action: Action) -> None:
        if self._room is None:
            raise gymnasium.error.ResetNeeded("playroom: step() before reset() or after close(); call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"playroom: {action!r} is not in {self.action_space!r}")
        grabs, pushes = _grabs(action), "right" in action.buttons
        if self._last is not None:  # a press is an edge
            grabs, pushes = grabs and not _grabs(self._last), pushes and "right" not in self._last.buttons
        self._last = action
        self._yaw = (self._yaw - action.look[0]) % 360.0
        self._pitch = min(MAX_PITCH, max(-MAX_PITCH, self._pitch + action.look[1]))
        target = CROUCHED_EYE if action.keys & _CROUCH else EYE
        self._eye += min(_EYE_STEP, max(-_EYE_STEP, target - self._eye))
        self._look()
        self._walk(action.keys)
        if grabs:
            self._grab_or_drop()
        if pushes:
            self._push()
        model, data = self._scene.model, self._data
        if self._held is None:
            mujoco.mj_step(model, data, SUBSTEPS)
        else:
            self._carry(self._held)
        if self._beside:
            self._part()
        self._tick += 1

    def _look(self) -> None:
        """Turn the camera, which rides on the avatar, to where the eyes look."""
        model = self._scene.model
        yaw, pitch = math.radians(self._yaw), math.radians(self._pitch)
        # about z by the yaw, then about the camera's x axis, which is level: a camera looks along its -z
        half_yaw, half_tilt = yaw / 2 - math.pi / 4, pitch / 2 + math.pi / 4
        cy, sy, ct, st = math.cos(half_yaw), math.sin(half_yaw), math.cos(half_tilt), math.sin(half_tilt)
        model.cam_quat[0] = cy * ct, cy * st, sy * st, sy * ct
        model.cam_pos[0, 2] = self._eye

    def _walk(self, keys: frozenset[str]) -> None:
        ahead = sum(_WALK[key][0] for key in keys & _WALK.keys())
        left = sum(_WALK[key][1] for key in keys & _WALK.keys())
        length = math.hypot(ahead, left)
        speed = WALK_SPEED / length if length else 0.0
        yaw = math.radians(self._yaw)
        cos, sin = math.cos(yaw), math.sin(yaw)
        self._data.ctrl[:] = speed * (ahead * cos - left * sin), speed * (ahead * sin + left * cos)

    def _eyes(self) -> Vector:
        x, y = self._data.qpos[:2]
        return np.array([self._room.start[0] + x, self._room.start[1] + y, self._eye])  # type: ignore[union-attr]

    def _direction(self, below: float = 0.0) -> Vector:
        yaw, pitch = math.radians(self._yaw), math.radians(max(-89.0, self._pitch - below))
        return np.array([math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch)])

    def _ray(self, start: Vector, direction: Vector) -> tuple[int, float]:
        """Owner of the geom that a ray hits first, leaving out what is held, and the distance, -1 for none."""
        geom = np.full(1, -1, np.int32)
        without = -1 if self._held is None else self._scene.bodies[self._held]
        distance = mujoco.mj_ray(self._scene.model, self._data, start, direction, _SIGHT, 1, without, geom)
        return (int(self._scene.owner[geom[0]]) if geom[0] >= 0 else NOTHING), float(distance)

    def _aimed(self) -> int | None:
        """The thing within reach that the crosshair is on."""
        owner, distance = self._ray(self._eyes(), self._direction())
        return owner if 0 <= owner < len(self._scene.bodies) and 0.0 <= distance <= REACH else None

    def _grab_or_drop(self) -> None:
        if self._held is not None:
            self._drop()
            return
        thing = self._aimed()
        if thing is None:
            return
        model, data, scene = self._scene.model, self._data, self._scene
        w, x, y, z = data.xquat[scene.bodies[thing]]
        heading = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        self._grip = heading - math.radians(self._yaw)  # it is held upright, turned towards us as it was
        data.mocap_pos[0] = data.xpos[scene.bodies[thing]]
        # where the second body is in the frame of the first: the hand is in the thing's middle
        model.eq_data[thing, :3] = 0.0
        model.eq_data[thing, 3:10] = 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0
        data.eq_active[thing] = 1
        let_avatar_touch(scene, thing, False)
        self._beside.discard(thing)
        self._held = thing

    def _drop(self) -> None:
        if self._held is None:
            return
        self._data.eq_active[self._held] = 0
        self._data.mocap_pos[0] = 0.0, 0.0, -5.0
        self._beside.add(self._held)
        self._held = None

    def _part(self) -> None:
        """Things that were let go of get in the avatar's way again as soon as they don't overlap with it."""
        assert self._room is not None
        eyes = self._eyes()
        for thing in sorted(self._beside):
            x, y, _ = self._data.xpos[self._scene.bodies[thing]]
            if math.hypot(x - eyes[0], y - eyes[1]) > BODY_RADIUS + self._room.things[thing].radius:
                let_avatar_touch(self._scene, thing, True)
                self._beside.discard(thing)

    def _carry(self, thing: int) -> None:
        """A tick with a thing in the hand, which moves to its place before the eyes."""
        assert self._room is not None
        model, data = self._scene.model, self._data
        item = self._room.things[thing]
        start, direction = self._eyes(), self._direction(_HOLD_BELOW)
        _, hit = self._ray(start, direction)
        room_for = hit - 0.55 * max(item.height, 2 * item.radius) if hit >= 0 else _HOLD
        target = start + direction * min(_HOLD, max(_NEAREST_HOLD, room_for))
        target[2] = max(target[2], item.height / 2 + 0.01)
        turn = (math.radians(self._yaw) + self._grip) / 2
        data.mocap_quat[0] = math.cos(turn), 0.0, 0.0, math.sin(turn)
        for _ in range(SUBSTEPS):
            way = target - data.mocap_pos[0]
            length = math.sqrt(float(way @ way))
            data.mocap_pos[0] += way * min(1.0, _HAND_STEP / max(length, 1e-9))
            mujoco.mj_step(model, data)
        lag = data.xpos[self._scene.bodies[thing]] - data.mocap_pos[0]
        if float(lag @ lag) > _GRIP_LENGTH**2:
            self._drop()

    def _push(self) -> None:
        thing = self._aimed()
        if thing is None:
            return
        yaw, dof = math.radians(self._yaw), self._scene.dofs[thing]
        self._data.qvel[dof : dof + 2] += _PUSH_SPEED * math.cos(yaw), _PUSH_SPEED * math.sin(yaw)

    def _observe(self) -> tuple[Observation, dict[str, Any]]:
        if self._drawer is None:
            raise UserError("playroom: the world is closed; call reset() first")
        frame = self._drawer.frame(self._data)
        labels = self._scene.classes[self._drawer.segments()] if self._labels and self._state else None
        if self._crosshair:
            y, x = self._height // 2, self._width // 2
            frame[y, x - 2 : x + 3] = frame[y - 2 : y + 3, x] = 255
        self._frame = frame
        return {"pixels": frame}, {"state": self._read(labels)} if self._state else {}

    def _read(self, labels: npt.NDArray[np.uint8] | None) -> PlayroomState:
        assert self._room is not None
        data, scene, count = self._data, self._scene, len(self._scene.bodies)
        x, y, eye = self._eyes().tolist()
        poses = data.qpos[scene.qpos : scene.qpos + 7 * count].reshape(count, 7).copy()
        velocities = data.qvel[scene.qvel : scene.qvel + 6 * count].reshape(count, 6).copy()
        poses.flags.writeable = velocities.flags.writeable = False
        return PlayroomState(
            self._room, self._tick, x, y, eye, self._yaw, self._pitch, self._held, self._aimed(),
            poses[:, :3], poses[:, 3:], velocities, self._supports(), labels,
        )  # fmt: skip

    def _supports(self) -> frozenset[tuple[int, int | str]]:
        """Which thing lies on what, from the contacts: the upper one of two on the lower one."""
        assert self._room is not None
        contact = self._data.contact
        owners = self._scene.owner[contact.geom]
        up = contact.frame[:, 2]  # the z of the normal, which points from the first geom to the second
        lower, upper = np.where(up > 0.0, owners.T, owners.T[::-1])
        count = len(self._scene.bodies)
        rests = (abs(up) > 0.5) & (contact.dist < 0.01) & (upper >= 0) & (upper < count) & (lower != upper)
        pairs = set(zip(upper[rests].tolist(), lower[rests].tolist(), strict=True))
        return frozenset((thing, self._support(below)) for thing, below in pairs if below != NOTHING)

    def _support(self, owner: int) -> int | str:
        assert self._room is not None
        count = len(self._scene.bodies)
        if owner == FLOOR:
            return "floor"
        return owner if owner < count else self._room.furniture[owner - count].kind
