"""Which of our environment variables a game gets: those that a program needs to run and to draw, and no secrets.

A game is a foreign program, and the user's environment variables hold API keys and tokens. So a game gets the
variables named here, and what its world's file adds. A process of the same user can still read
/proc/PID/environ of the agent: run a game that you don't trust as another user.
"""

from __future__ import annotations

import os
import re

_NAMES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "TMP", "TEMP",
    "DISPLAY", "XAUTHORITY",
    "XDG_RUNTIME_DIR", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
    "XDG_STATE_HOME", "XDG_SESSION_TYPE", "XDG_CURRENT_DESKTOP", "LD_LIBRARY_PATH", "JAVA_HOME",
    "DRI_PRIME", "MUJOCO_GL", "PYOPENGL_PLATFORM", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "PULSE_SERVER", "ALSA_CONFIG_PATH", "FONTCONFIG_PATH", "FONTCONFIG_FILE",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "SYSTEMROOT", "COMSPEC", "PATHEXT",
})  # fmt: skip
_PREFIXES = ("LC_", "LIBGL_", "MESA_", "GALLIUM_", "EGL_", "__EGL_", "__GL", "__NV_", "__VK_", "VK_", "SDL_")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def for_games() -> dict[str, str]:
    """The variables that a game gets."""
    return {name: value for name, value in os.environ.items() if _allowed(name)}


def withheld() -> tuple[str, ...]:
    """The names of the variables that a game does not get, in order."""
    return tuple(sorted(name for name in os.environ if not _allowed(name)))


def _allowed(name: str) -> bool:
    return (name in _NAMES or name.startswith(_PREFIXES)) and not _SECRET.search(name)
