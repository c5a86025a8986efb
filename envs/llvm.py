"""Two copies of LLVM in one process: Mesa draws with one, torch's triton compiles with another.

Mesa shows the symbols of its copy to the whole process. A triton that is loaded later is bound to them, and importing
torchvision then ends the process with a segmentation fault; a triton that is loaded earlier keeps to its own.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from pathlib import Path


@functools.cache
def load_triton_first() -> None:
    """Load triton's library, if it is installed, before anything is drawn with OpenGL. Takes 60 ms, once."""
    found = importlib.util.find_spec("triton") if sys.platform.startswith("linux") else None
    for folder in (found.submodule_search_locations or ()) if found else ():
        library = Path(folder) / "_C" / "libtriton.so"
        if library.exists():
            ctypes.CDLL(str(library))
