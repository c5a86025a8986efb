"""Crispy Doom, a first-person game of Debian, as a world: apt-get install crispy-doom freedoom.

agent env check examples.desktop.crispy_doom:CrispyDoom
"""

from collections.abc import Sequence

from envs.desktop.game import Game
from envs.desktop.world import DesktopWorld

CONFIG = "mouse_acceleration 1.0\nnovert 1\nshow_endoom 0\n"


class CrispyDoom(DesktopWorld):
    def __init__(self, resolution: str | None = None) -> None:
        keys = {key: key for key in ("KeyW", "KeyA", "KeyS", "KeyD", "KeyE", "ShiftLeft")}
        game = Game(command=("crispy-doom",), keys=keys, ready="P_SetupLevel", start=(1.0,), max_counts=2000)
        super().__init__(game, resolution)

    def command(self) -> Sequence[str]:
        (self.folder / "doom.cfg").write_text(CONFIG)
        wad, (width, height) = "/usr/share/games/doom/freedoom2.wad", self.game.size
        return (
            *self.game.command, "-iwad", wad, "-extraconfig", "doom.cfg", "-warp", "1", "-skill", "2", "-nosound",
            "-window", "-geometry", f"{width}x{height}",
        )  # fmt: skip
