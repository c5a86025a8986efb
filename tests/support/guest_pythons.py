"""Other Pythons of this machine, and virtual environments of them with an old numpy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_ASK = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
# For each Python an old numpy that still has wheels for it.
_NUMPY = {"3.9": "<1.20", "3.10": "<1.22", "3.11": "<1.24", "3.12": "<2", "3.13": "<2.2", "pypy": "<2"}


def find() -> dict[str, str]:
    """The path of each Python 3.9 to 3.13 but our own version, by its name such as "3.9" or "pypy3.9", oldest first.

    Debian's pypy3 is a second interpreter that is always to be had; Pythons on the path and of pyenv come beside it.
    """
    minors = [minor for minor in range(9, 14) if minor != sys.version_info.minor]
    candidates = [shutil.which("pypy3"), *(shutil.which(f"python3.{minor}") for minor in minors)]
    for minor in minors:
        candidates += [str(path) for path in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")]
    found: dict[str, str] = {}
    for path in filter(None, candidates):
        done = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False)
        if done.returncode != 0:  # a shim of pyenv for a version that is not chosen
            continue
        name, major, minor = done.stdout.split()
        version = f"{major}.{minor}" if name == "cpython" else f"{name}{major}.{minor}"
        if version.removeprefix("pypy") in _NUMPY:
            found.setdefault(version, path)
    return dict(sorted(found.items(), key=lambda item: (item[0].startswith("pypy"), int(item[0].split(".")[1]))))


def environment(version: str, path: str, folder: Path) -> str:
    """Make an environment of the Python at `path` in `folder`, with numpy and msgpack; its interpreter."""
    uv = [sys.executable, "-m", "uv"]
    numpy = "numpy" + _NUMPY["pypy" if version.startswith("pypy") else version]
    guest = folder / "bin" / "python"
    for command in (
        [*uv, "venv", "--quiet", "--python", path, str(folder)],
        [*uv, "pip", "install", "--quiet", "--python", str(guest), "--only-binary", "numpy", numpy, "msgpack"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return str(guest)
