"""The files that Minetest is started with: its settings, the world's folder with our mod, and the command."""

from __future__ import annotations

import json
import math
import shutil
import socket
from importlib.resources import as_file, files
from pathlib import Path

from envs.minetest.level import MAP_SEED
from envs.minetest.things import MOD, definitions

PLAYER = "agent"
SENSITIVITY = 0.2
FRAMES = 70  # frames a second, at most: two to a tick

_SERVER = {
    "bind_address": "127.0.0.1",
    "server_announce": "false",
    "fixed_map_seed": MAP_SEED,
    "mg_name": "v7",
    "static_spawnpoint": "0,3012,0",
    "world_start_time": 12000,
    "time_speed": 0,
    "dedicated_server_step": 0.02,
    "default_privs": "interact, shout",
    "disallow_empty_password": "true",
    "enable_damage": "false",
    "enable_weather": "false",
    "disable_fire": "true",
    "give_initial_stuff": "false",
    "max_block_send_distance": 5,
    "max_block_generate_distance": 3,
}
_CLIENT = {
    "vsync": "false",
    "fps_max": FRAMES,
    "fps_max_unfocused": FRAMES,
    "viewing_range": 70,
    "mouse_sensitivity": SENSITIVITY,
    "enable_sound": "false",
    "enable_shaders": "false",
    "smooth_lighting": "false",
    "enable_clouds": "false",
    "enable_particles": "false",
    "enable_minimap": "false",
    "view_bobbing_amount": 0,
    "fall_bobbing_amount": 0,
    "arm_inertia": "false",
    "pause_on_lost_focus": "false",
    "hud_scaling": 0.5,
    "font_size": 9,
    "show_debug": "false",
}
# The client comes when the server listens. Where one of the two ends, so does the other. What is wrong is said to
# standard error; the rest is in the logs.
_RUN = """
"$0" --server --quiet --gameid minetest --world "$1/world" --config "$1/server.conf" --logfile "$1/server.log" \
  --port "$2" >/dev/null & server=$!
until grep -qs 'listening on' "$1/server.log"; do kill -0 $server || exit 1; sleep 0.05; done
"$0" --go --quiet --address 127.0.0.1 --port "$2" --name "$3" --password-file "$1/password" --config "$1/client.conf" \
  --logfile "$1/client.log" >/dev/null & client=$!
wait -n
kill -KILL $server $client 2>/dev/null
exit 1
"""


def optics(width: int, height: int) -> tuple[float, float]:
    """The field of view to ask for so that a frame is 90 degrees wide, and the degrees that a count of the mouse turns.

    Minetest widens what it is asked for where the frame is narrow, and turns faster the wider the view is.
    """
    fov = 2.0 * math.atan(height / width)
    widened = min(1.4, max(1.0, math.sqrt(1.6 * height / width)))
    return math.degrees(fov) / widened, SENSITIVITY * math.tan(fov / 2.0) * 1.3763818698


def prepare(folder: Path, size: tuple[int, int], password: str) -> None:
    """Write settings and a fresh world into `folder`. `size`: (width, height) of the window. `password`: what every
    player needs to join; it stands in files of the folder, not in a command line, which all users can read."""
    shutil.rmtree(folder / "world", ignore_errors=True)
    mods = folder / "world" / "worldmods"
    mods.mkdir(parents=True)
    with as_file(files("envs.minetest") / "mod") as source:
        shutil.copytree(source, mods / MOD)
    (folder / "world" / "nodes.json").write_text(json.dumps(definitions()))
    settings = {"gameid": "minetest", "backend": "dummy", "player_backend": "dummy", "auth_backend": "sqlite3"}
    settings["mod_storage_backend"] = "dummy"
    _write(folder / "world" / "world.mt", {**settings, f"load_mod_{MOD}": "true"})
    _write(folder / "server.conf", {**_SERVER, "default_password": password})
    (folder / "password").write_text(password)
    window = {"screen_w": size[0], "screen_h": size[1], "fov": optics(*size)[0]}
    _write(folder / "client.conf", {**_CLIENT, **window})


def free_port() -> int:
    """A UDP port of 127.0.0.1 that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def command(executable: str, folder: Path, port: int) -> list[str]:
    """What starts server and client."""
    (folder / "server.log").unlink(missing_ok=True)
    return ["bash", "-c", _RUN, executable, str(folder), str(port), PLAYER]


def _write(path: Path, settings: dict[str, object]) -> None:
    path.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
