"""A model that is loaded and used works in a forked child too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
import numpy as np
from agent.small import load_small

small = load_small(threads=2)
frames = [np.zeros((120, 160, 3), np.uint8)] * 4
before = small.caption(frames)  # torch has threads now
child = os.fork()
if not child:
    os._exit(0 if small.caption(frames) == before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_loaded_model_works_in_a_forked_child() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run([sys.executable, "-c", SCRIPT], timeout=120, check=True, env=environment)
