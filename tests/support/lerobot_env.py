"""The real lerobot, in an environment of its own: it needs Python 3.12 and pins an older torch than ours.

.venv/bin/python -m tests.support.lerobot_env      # makes .venv-lerobot, some 5 GB, half a minute and the download
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support import guest_pythons

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-lerobot"
PYTHON = FOLDER / "bin" / "python"
WANTED = "lerobot[dataset,training]>=0.6.1,<0.7"
_MADE = FOLDER / ".made"  # last, so that an interrupted installation is none


def present() -> bool:
    return _MADE.exists() and _MADE.read_text() == WANTED


def make() -> None:
    """Install lerobot for the newest Python that it knows; uv fetches one where this machine has none."""
    if present():
        return
    found = guest_pythons.find()
    own = sys.executable if sys.version_info[:2] in ((3, 12), (3, 13)) else None
    python = own or found.get("3.12") or found.get("3.13") or "3.12"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", python, str(FOLDER)], check=True)
    subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(PYTHON), WANTED], check=True)
    _MADE.write_text(WANTED)


def environment(home: Path) -> Mapping[str, str]:
    """The variables of its processes: without the network, and with caches in `home`."""
    return {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "PYTHONPATH": ""}


if __name__ == "__main__":
    make()
