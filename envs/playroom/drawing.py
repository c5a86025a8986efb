"""MuJoCo and its off-screen drawing: through EGL or OSMesa, whichever is there.

Import `mujoco` from here: it reads MUJOCO_GL when it is first imported and never again.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.errors import UserError
from envs.llvm import load_triton_first
from envs.opengl import MEND, backend


def _import() -> Any:
    if sys.platform == "linux" and not os.environ.get("MUJOCO_GL"):
        found = backend()
        # without a drawing library physics works all the same, and the first frame says what is missing
        os.environ["MUJOCO_GL"] = found or "disable"
    import mujoco

    return mujoco


mujoco = _import()


class Drawer:
    """Draws what a camera of a model sees. One GL context serves one model after another.

    `load(model, camera)`, then `frame(data)` and `segments()`. Geoms of group 0 are drawn.
    Raises UserError where nothing is there to draw with.
    """

    def __init__(self, width: int, height: int, *, shadows: bool = False) -> None:
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._shadows = shadows
        self._options, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._options.geomgroup[1:] = 0
        self._scene: Any = None
        self._context: Any = None
        self._gl: Any = None
        self._model: Any = None

    def load(self, model: Any, camera: str) -> None:
        """Make ready for `model`, seen through its camera of that name."""
        try:
            if self._gl is None:
                load_triton_first()
                self._gl = mujoco.GLContext(self._rect.width, self._rect.height)
            self._gl.make_current()
            if self._context is not None:
                self._context.free()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        except Exception as error:  # the backends raise errors of their own, AttributeError among them
            name = os.environ.get("MUJOCO_GL") or "the default"
            raise UserError(
                f"playroom: MuJoCo can't draw with {name} ({type(error).__name__}: {error}); to mend it: {MEND}"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._model = model
        self._scene = mujoco.MjvScene(model, model.ngeom + 16)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id

    def frame(self, data: Any) -> npt.NDArray[np.uint8]:
        """What the camera sees now: a fresh array, uint8 (H, W, 3)."""
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        return self._draw()

    def segments(self) -> npt.NDArray[np.int64]:
        """For every pixel of the last frame, the geom that is seen there, or -1: (H, W)."""
        flags, scene = self._scene.flags, self._scene
        kept = flags.copy()
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        drawn = self._draw().astype(np.int64)
        flags[:] = kept
        geoms = np.full(scene.ngeom + 1, -1)
        for geom in scene.geoms[: scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geoms[geom.segid + 1] = geom.objid
        seen: npt.NDArray[np.int64] = geoms[drawn[..., 0] + 256 * drawn[..., 1] + 65536 * drawn[..., 2]]
        return seen

    def _draw(self) -> npt.NDArray[np.uint8]:
        self._gl.make_current()
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()  # OpenGL counts rows from below

    def close(self) -> None:
        """Give everything back. Safe to call twice."""
        if self._gl is not None:
            self._gl.make_current()
            if self._context is not None:
                self._context.free()
            self._gl.free()
        self._gl = self._context = self._scene = self._model = None
