"""What this machine can draw with when nothing is shown on a screen: EGL or OSMesa, libraries of the system."""

from __future__ import annotations

import ctypes

MEND = "apt-get install libegl1 libgl1-mesa-dri   # or libosmesa6"
_LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}


def backend() -> str | None:
    """The first of "egl" and "osmesa" whose library loads; None if neither does."""
    for name, files in _LIBRARIES.items():
        for file in files:
            try:
                ctypes.CDLL(file)
            except OSError:
                continue
            return name
    return None
