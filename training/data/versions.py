"""The versions of what an episode depends on."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version


@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("ludens", "numpy", "vizdoom", "gymnasium", "pyarrow", "av"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def versions() -> dict[str, str]:
    """The versions of what an episode depends on; torch and transformers where they are loaded."""
    loaded: dict[str, str] = {
        name: str(sys.modules[name].__version__) for name in ("torch", "transformers") if name in sys.modules
    }
    return {**_installed(), **loaded}
