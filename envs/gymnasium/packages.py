"""What well-known packages of environments need before they run without a screen, several in one process.

An environment of another package needs nothing of this: name it `package:ID`, as Gymnasium does.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import gymnasium

from envs.errors import UserError
from envs.extras import command, extra_of
from envs.llvm import load_triton_first
from envs.opengl import MEND, backend
from envs.reaper import sweep_shared_memory
from envs.vizdoom_engine import engine_path

# Gymnasium knows an id when the package that registers it has been imported.
_HOMES = {
    "MiniWorld-": "miniworld",
    "ALE/": "ale_py",
    "Vizdoom": "vizdoom.gymnasium_wrapper",
    "MiniGrid-": "minigrid",
    "BabyAI-": "minigrid",
}
_MEND_OPENGL = "apt-get install libgl1 libglu1-mesa libegl1 libgl1-mesa-dri libfreetype6 libfontconfig1"
_drawn: Any = None  # the MiniWorld with its static scene in the display list that all MiniWorlds share


def import_home(env_id: str) -> None:
    """Import the package that registers `env_id`, if we know it. Raises ImportError."""
    load_triton_first()
    if sys.platform.startswith("linux") and (drawn_with := os.environ.get("MUJOCO_GL") or backend()):
        os.environ["MUJOCO_GL"] = drawn_with  # nothing is ever shown: draw without an X server
        os.environ.setdefault("PYOPENGL_PLATFORM", drawn_with)
    home = next((module for prefix, module in _HOMES.items() if env_id.startswith(prefix)), None)
    if ":" in env_id:
        home = env_id.partition(":")[0]
    if home == "miniworld" and sys.platform.startswith("linux"):
        import pyglet

        pyglet.options["headless"] = True
    if home is not None:
        importlib.import_module(home)


def mend(error: BaseException) -> str:
    """The command that fixes why an environment could not be made; empty if none is known."""
    if extra := extra_of(getattr(error, "name", None)):
        return command(extra)
    said = str(error)
    # pyglet and PyOpenGL name a library of the system that they did not find
    missing_library = isinstance(error, ImportError) and said.startswith('Library "')
    if sys.platform.startswith("linux") and (missing_library or "eglQueryString" in said):
        return _MEND_OPENGL
    return ""


def settle(env: gymnasium.Env[Any, Any]) -> None:
    """Before the first reset: a game in its own process dies with us and leaves no file in our folder.

    Raises UserError where MuJoCo would draw and has nothing to draw with.
    """
    drawn = env.unwrapped.render_mode == "rgb_array" and sys.platform.startswith("linux")
    if drawn and backend() is None and _is_from(env, "gymnasium.envs.mujoco"):
        raise UserError(f"{env.spec.id if env.spec else env}: MuJoCo has nothing to draw with; to mend it: {MEND}")
    if not _is_from(env, "vizdoom"):
        return
    bare: Any = env.unwrapped
    sweep_shared_memory("ViZDoom")
    bare.game.set_vizdoom_path(engine_path())
    bare.game.set_doom_config_path(os.devnull)


def enter(env: gymnasium.Env[Any, Any]) -> None:
    """Before every call: MiniWorlds of one process share OpenGL's display list 1, so each puts back its own scene."""
    global _drawn
    bare: Any = env.unwrapped
    if _drawn is bare or not _is_from(env, "miniworld"):
        return
    if _drawn is not None:
        bare.shadow_window.switch_to()
        bare._render_static()
    _drawn = bare


def in_any_thread(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether the environment is known to run in whichever thread calls it: it draws without OpenGL."""
    return _is_from(env, "vizdoom") or _is_from(env, "ale_py")


def leave(env: gymnasium.Env[Any, Any]) -> None:
    """Close the environment, and what it leaves open."""
    global _drawn
    bare: Any = env.unwrapped
    env.close()
    if _is_from(env, "miniworld"):
        _free_miniworld(bare)
        _drawn = None if _drawn is bare else _drawn


def _free_miniworld(bare: Any) -> None:
    """Free the buffers that a MiniWorld drew into, 29 MB, which outlive it in the context that all MiniWorlds share."""
    from ctypes import byref

    from pyglet import gl

    delete = {gl.GL_TEXTURE: gl.glDeleteTextures, gl.GL_RENDERBUFFER: gl.glDeleteRenderbuffers}
    bare.shadow_window.switch_to()
    for buffer in (bare.obs_fb, bare.vis_fb):
        for fbo in (buffer.multi_fbo, buffer.final_fbo):
            gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, fbo)
            for attachment in (gl.GL_COLOR_ATTACHMENT0, gl.GL_DEPTH_ATTACHMENT):
                free = delete.get(_attached(gl, attachment, gl.GL_FRAMEBUFFER_ATTACHMENT_OBJECT_TYPE))
                if free is not None:
                    name = _attached(gl, attachment, gl.GL_FRAMEBUFFER_ATTACHMENT_OBJECT_NAME)
                    free(1, byref(gl.GLuint(name)))
            gl.glDeleteFramebuffers(1, byref(fbo))
    bare.shadow_window.close()


def _attached(gl: Any, attachment: int, parameter: int) -> int:
    value = gl.GLint(0)
    gl.glGetFramebufferAttachmentParameteriv(gl.GL_FRAMEBUFFER, attachment, parameter, value)
    return int(value.value)


def _is_from(env: gymnasium.Env[Any, Any], package: str) -> bool:
    """Whether the environment's class, or one that it is made of, is in this package."""
    return any(f"{kind.__module__}.".startswith(f"{package}.") for kind in type(env.unwrapped).__mro__)
