"""`DoomWorld`: generated levels in the real Doom engine (ViZDoom), in lockstep at 35 ticks a second."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
import vizdoom

from envs import scratch
from envs.action import Action, KeyboardMouse
from envs.doom.level import FOV, Level, textmap
from envs.doom.levels import generate
from envs.doom.textures import composed
from envs.doom.things import BY_ACTOR, CLASSES, MARKER, decorate
from envs.reaper import sweep_shared_memory
from envs.vizdoom_engine import engine_path
from envs.world import Observation, World

RESOLUTIONS = {"160x120": (120, 160), "320x240": (240, 320), "640x480": (480, 640)}
MAX_LOOK = 45.0  # degrees in one tick
_TEXT_SIZE = 96_000  # bytes kept for the level text in the PWAD, which is overwritten in place for every level
_SOUND_HZ, _HEARD_TICKS = 22050, 8  # samples a second; how many ticks the engine keeps them for
_DRAWN = 8  # pictures that are drawn again before a restored state goes on
_SETTLE_TICKS = 5  # the engine ignores turning in the first ticks of an episode
_KEY_BUTTONS = {
    "KeyW": vizdoom.Button.MOVE_FORWARD,
    "KeyS": vizdoom.Button.MOVE_BACKWARD,
    "KeyA": vizdoom.Button.MOVE_LEFT,
    "KeyD": vizdoom.Button.MOVE_RIGHT,
    "KeyE": vizdoom.Button.USE,
    "ShiftLeft": vizdoom.Button.SPEED,
}
_MOUSE_BUTTONS = {"left": vizdoom.Button.ATTACK}
_HELD = (*_KEY_BUTTONS, *_MOUSE_BUTTONS)
_BUTTONS = [
    *_KEY_BUTTONS.values(),
    *_MOUSE_BUTTONS.values(),
    vizdoom.Button.TURN_LEFT_RIGHT_DELTA,
    vizdoom.Button.LOOK_UP_DOWN_DELTA,
]
_VARIABLES = [
    vizdoom.GameVariable.POSITION_X,
    vizdoom.GameVariable.POSITION_Y,
    vizdoom.GameVariable.ANGLE,
    vizdoom.GameVariable.PITCH,
    vizdoom.GameVariable.AMMO2,
    vizdoom.GameVariable.HEALTH,
]


@dataclass(frozen=True)
class DoomObject:
    """A thing that is in the level now. `id` is stable within an episode."""

    id: int
    kind: str
    colour: str | None
    x: float
    y: float


@dataclass(frozen=True)
class DoomState:
    """Ground truth, for verifiers and scripted experts alone.

    `tick`: ticks since the episode began. `x`, `y`: map units. `angle`: degrees, 0 is east, counter-clockwise.
    `pitch`: degrees, up positive. `markers`: indices of the panels that were not pressed yet. `doors`: for each door
    of the level, how far it is open (map units). `labels`: class ids (H, W) uint8 of envs.doom.things.CLASSES, or
    None unless the world was made with labels.
    """

    level: Level
    tick: int
    x: float
    y: float
    angle: float
    pitch: float
    ammo: int
    health: int
    objects: tuple[DoomObject, ...]
    markers: frozenset[int]
    doors: tuple[float, ...]
    labels: npt.NDArray[np.uint8] | None = field(default=None, compare=False)  # arrays have no plain equality


@dataclass(frozen=True)
class _Saved:
    """What leads to a state: the level and the seed of an episode, and what the engine was told since, and for how many
    ticks. The engine's own saved games lead to other frames."""

    episode: object
    told: tuple[tuple[list[float], int], ...]


def _pwad(lumps: Sequence[tuple[str, bytes]]) -> bytes:
    body, rows, offset = b"", b"", 12
    for name, data in lumps:
        rows += struct.pack("<ii8s", offset, len(data), name.encode())
        body += data
        offset += len(data)
    return b"PWAD" + struct.pack("<ii", len(lumps), offset) + body + rows


@functools.lru_cache(maxsize=4096)
def held_buttons(keys: frozenset[str], buttons: frozenset[str]) -> tuple[float, ...]:
    """What ViZDoom's `make_action` takes for held keys and buttons, before the two angles of the look."""
    return tuple(float(name in keys or name in buttons) for name in _HELD)


class DoomWorld(World):
    """Generated Doom levels.

    `resolution`: "160x120", "320x240" or "640x480". `labels`: also give the segmentation in `info["state"].labels`.
    `state`: give ground truth in `info["state"]`. `weapon`: draw the weapon. `sound`: let it be `heard`.

    `reset(options={"level": LEVEL_JSON})` plays that level; `options={"generator": {...}}` gives the arguments of
    `envs.doom.levels.generate`; without options the seed alone makes a level.
    Keys: W A S D walk, E uses, left Shift runs; left button shoots; the mouse turns and looks.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 35}  # type: ignore[misc]
    realtime = False
    deterministic = True
    tick_hz = 35.0
    resolutions = tuple(RESOLUTIONS)
    controls = MappingProxyType({
        "KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right", "KeyE": "use", "ShiftLeft": "run",
        "left": "attack",
    })  # fmt: skip

    def __init__(
        self,
        resolution: str = "160x120",
        *,
        labels: bool = False,
        state: bool = True,
        weapon: bool = True,
        sound: bool = False,
        render_mode: str | None = "rgb_array",
    ) -> None:
        if resolution not in RESOLUTIONS:
            raise ValueError(f"resolution: expected one of {', '.join(RESOLUTIONS)}, got {resolution!r}")
        height, width = RESOLUTIONS[resolution]
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)}
        )
        self.action_space = KeyboardMouse(_KEY_BUTTONS, _MOUSE_BUTTONS, max_look=MAX_LOOK)
        self.render_mode = render_mode
        self._labels, self._state, self._weapon = labels, state, weapon
        self._weapon_shown = weapon
        self.sound_hz = _SOUND_HZ if sound else 0
        self._heard: npt.NDArray[np.int16] | None = None
        self._unheard = 0  # ticks since the last observation
        self._resolution = f"RES_{width}X{height}"
        self._game: vizdoom.DoomGame | None = None
        self._folder: Path | None = None
        self._text_offset = 0
        self._level: Level | None = None
        self._seed = 0
        self._episode = object()
        self._told: list[tuple[list[float], int]] = []
        self._tick = 0
        self._over = True
        self._sectors = False
        self._last: Action | None = None
        self._frame: npt.NDArray[np.uint8] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - {"level", "generator"}
        if unknown:
            raise ValueError(f"doom: unknown reset option {sorted(unknown)[0]!r}; known: generator, level")
        level_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        if "level" in options:
            level = Level.from_json(options["level"])
        else:
            level = generate(level_seed, **options.get("generator", {}))
        text = textmap(level).encode()
        if len(text) > _TEXT_SIZE:
            raise ValueError(f"level text has {len(text)} bytes, more than the {_TEXT_SIZE} that are kept for it")
        if level.doors and not self._sectors:
            # reading door heights costs time at every step, and the engine takes the setting only when it starts
            self.close()
            self._sectors = True
        game = self._load(text.ljust(_TEXT_SIZE))
        weapon = self._weapon and (level.look is None or level.look.weapon)
        if weapon != self._weapon_shown:
            game.set_render_weapon(weapon)
            self._weapon_shown = weapon
        self._level, self._seed, self._episode = level, level_seed % 2**31, object()
        self._begin(game)
        return self._observe()

    def _begin(self, game: vizdoom.DoomGame) -> None:
        """Begin the level that the engine has."""
        assert self._level is not None
        game.set_seed(self._seed)
        game.new_episode()
        # an episode begins with the usual view, and takes this one within the ticks to come
        if self._level.fov != FOV:
            game.send_game_command(f"fov {self._level.fov}")
        game.make_action([0.0] * len(_BUTTONS), _SETTLE_TICKS)
        self._told, self._tick, self._over, self._last = [], 0, False, None

    def save(self) -> object:
        """The state of the episode, as it is now (envs.snapshots)."""
        if self._over:
            raise gymnasium.error.ResetNeeded("doom: save() after the end or before reset(); call reset() first")
        return _Saved(self._episode, tuple(self._told))

    def restore(self, saved: object) -> None:
        """Go back to a state of this episode, by doing again what led there; the later in the episode, the longer that
        takes. Raises ValueError for a state of another episode."""
        if not isinstance(saved, _Saved) or saved.episode is not self._episode or self._game is None:
            raise ValueError("doom: the saved state is of another episode")
        self._begin(self._game)
        left = sum(ticks for _, ticks in saved.told)
        self._told, self._tick = list(saved.told), left
        for told, ticks in saved.told:
            self._game.set_action(told)
            # a picture takes four times as long; the last ones are drawn, since a picture depends on those before it
            quick = max(0, min(ticks, left - _DRAWN))
            if quick:
                self._game.advance_action(quick, False)
            for _ in range(ticks - quick):
                self._game.advance_action(1, True)
            left -= ticks

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        return self._advance(action, 1)

    def step_chunk(self, actions: Sequence[Action]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if not actions:
            raise ValueError("step_chunk needs at least one action")
        total, start = 0.0, 0
        for end in range(1, len(actions) + 1):  # one message to the engine for every run of equal actions
            if end < len(actions) and actions[end] == actions[start]:
                continue
            observation, reward, terminated, truncated, info = self._advance(
                actions[start], end - start, observe=end == len(actions)
            )
            total, start = total + reward, end
            if terminated:
                break
        info["ticks"] = start
        return observation, total, terminated, truncated, info

    def _advance(
        self, action: Action, ticks: int, observe: bool = True
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._over or self._game is None:
            raise gymnasium.error.ResetNeeded("doom: step() after the end or before reset(); call reset() first")
        if action is not self._last and not self.action_space.contains(action):
            raise ValueError(f"doom: {action!r} is not in {self.action_space!r}")
        self._last = action
        told = [*held_buttons(action.keys, action.buttons), *action.look]
        reward = self._game.make_action(told, ticks)
        if self._told and self._told[-1][0] == told:  # hours of play are kept
            self._told[-1] = (told, self._told[-1][1] + ticks)
        else:
            self._told.append((told, ticks))
        self._tick += ticks
        self._unheard += ticks
        if self._game.is_episode_finished():
            self._over = True
            observation, info = self._ended()
            return observation, reward, True, False, info
        if not observe:
            return {}, reward, False, False, {}  # type: ignore[typeddict-item]
        observation, info = self._observe()
        return observation, reward, False, False, info

    def heard(self) -> npt.NDArray[np.int16] | None:
        return self._heard

    def render(self) -> npt.NDArray[np.uint8] | None:
        return None if self._frame is None else self._frame.copy()

    @property
    def engine(self) -> vizdoom.DoomGame:
        """ViZDoom itself, for measurements. Raises ResetNeeded before the first reset."""
        if self._game is None:
            raise gymnasium.error.ResetNeeded("doom: call reset() first")
        return self._game

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        if self._last is None or self._over:
            return frozenset(), frozenset()
        return self._last.keys, self._last.buttons

    def close(self) -> None:
        if self._game is not None:
            self._game.close()
            self._game = None
        if self._folder is not None:
            scratch.remove(self._folder)
            self._folder = None
        self._over, self._last = True, None

    def __del__(self) -> None:
        if getattr(self, "_folder", None) is not None:
            self.close()

    def _load(self, text: bytes) -> vizdoom.DoomGame:
        """Put a level's text into the PWAD that the engine reads at every new episode; start the engine if need be."""
        if self._game is not None and self._folder is not None:
            with (self._folder / "level.wad").open("r+b") as file:
                file.seek(self._text_offset)
                file.write(text)
            return self._game
        self._folder = scratch.scratch_folder("doom")
        wad = _pwad([
            ("DECORATE", decorate().encode()), ("TEXTURES", composed().encode()),
            ("MAP01", b""), ("TEXTMAP", text), ("ENDMAP", b""),
        ])  # fmt: skip
        self._text_offset = wad.index(text)
        (self._folder / "level.wad").write_bytes(wad)
        sweep_shared_memory("ViZDoom")
        game = vizdoom.DoomGame()
        game.set_vizdoom_path(engine_path())
        game.set_doom_scenario_path(str(self._folder / "level.wad"))
        game.set_doom_map("MAP01")
        game.set_doom_config_path(str(self._folder / "vizdoom.ini"))
        game.set_window_visible(False)
        game.set_audio_buffer_enabled(self.sound_hz > 0)
        if self.sound_hz:
            game.set_audio_sampling_rate(vizdoom.SamplingRate.SR_22050)
            game.set_audio_buffer_size(_HEARD_TICKS)
            game.add_game_args("+snd_efx 0")  # effects such as echoes end the engine
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_screen_resolution(getattr(vizdoom.ScreenResolution, self._resolution))
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_render_hud(False)
        game.set_render_weapon(self._weapon)
        self._weapon_shown = self._weapon
        game.set_render_crosshair(True)
        game.set_render_screen_flashes(False)
        game.set_render_messages(False)
        game.set_labels_buffer_enabled(self._labels)
        game.set_objects_info_enabled(self._state)
        game.set_sectors_info_enabled(self._state and self._sectors)
        game.set_available_buttons(_BUTTONS)
        game.set_available_game_variables(_VARIABLES if self._state else [])
        game.set_episode_timeout(0)
        game.init()
        self._game = game
        return game

    def _observe(self) -> tuple[Observation, dict[str, Any]]:
        assert self._game is not None
        raw = self._game.get_state()
        self._frame = raw.screen_buffer
        if self.sound_hz:
            ticks, self._unheard, kept = min(self._unheard, _HEARD_TICKS), 0, raw.audio_buffer
            self._heard = None if kept is None or not ticks else kept[-ticks * self.sound_hz // 35 :]
        info = {"state": self._read(raw)} if self._state else {}
        return {"pixels": raw.screen_buffer}, info

    def _ended(self) -> tuple[Observation, dict[str, Any]]:
        """The last frame once more: the engine has no picture after the end."""
        assert self._frame is not None
        return {"pixels": self._frame.copy()}, {}

    def _read(self, raw: Any) -> DoomState:
        assert self._level is not None
        x, y, angle, pitch, ammo, health = raw.game_variables.tolist()
        objects, markers = [], set()
        for item in raw.objects:
            key = BY_ACTOR.get(item.name)
            if key is not None:
                objects.append(DoomObject(item.id, key[0], key[1], item.position_x, item.position_y))
            elif item.name == MARKER:
                markers.add(round(item.angle))
        doors: tuple[float, ...] = ()
        if self._level.doors:
            # sectors come in the order in which the level text lists them: rooms, then doors
            sectors = raw.sectors[len(self._level.rooms) :]
            doors = tuple(s.ceiling_height - s.floor_height for s in sectors)
            # a panel that opens a door removes no marker: the door tells of the press
            markers -= {i for i, p in enumerate(self._level.panels) if p.door is not None and doors[p.door] > 0.0}
        return DoomState(
            self._level, self._tick, x, y, angle, -pitch, int(ammo), int(health),
            tuple(objects), frozenset(markers), doors, self._segmentation(raw) if self._labels else None,
        )  # fmt: skip

    def _segmentation(self, raw: Any) -> npt.NDArray[np.uint8]:
        table = np.zeros(256, np.uint8)
        for label in raw.labels:
            key = BY_ACTOR.get(label.object_name)
            if key is not None:
                table[label.value] = CLASSES[key]
        classes: npt.NDArray[np.uint8] = table[raw.labels_buffer]
        return classes
