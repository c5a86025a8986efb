"""The packages that only some verbs need, by the extra that installs them: `pip install 'ludens[page]'`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from envs.errors import UserError

# The modules that are imported of each extra's packages (pyproject.toml).
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "page": ("fastapi", "starlette", "uvicorn", "wsproto"),
    "train": ("accelerate", "peft", "tensorboard", "matplotlib"),
    "quantize": ("bitsandbytes",),
    "models": ("httpx2", "jsonschema", "referencing"),
    "desktop": ("mss", "Xlib"),
    "bridge": ("msgpack",),
    "serve": ("websockets", "fastapi", "starlette", "uvicorn", "wsproto", "msgpack"),
    "gymnasium": ("miniworld", "pyglet", "ale_py", "imageio"),
    "browser": ("playwright",),
    "gemini": ("google.genai",),
    "smol": ("xllamacpp",),
    "schema": ("xgrammar",),
    "ray": ("ray",),
    "minari": ("minari",),
}


class MissingExtraError(UserError):
    """`what` needs an extra that is not installed; `command` installs it."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra, self.command = what, extra, command(extra)
        super().__init__(f"{what} needs ludens[{extra}]: {self.command}")


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module, or the package that a submodule is in; None if it is in no extra."""
    for extra, modules in EXTRAS.items():
        if module and any(f"{module}.".startswith(f"{known}.") for known in modules):
            return extra
    return None


def command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'ludens[{extra}]'"


def installed(extra: str) -> bool:
    """Whether every module of an extra is there; nothing is imported."""
    return all(find_spec(module.partition(".")[0]) is not None for module in EXTRAS[extra])


def message(what: str, error: ImportError) -> str | None:
    """What to say if `what` can't go on because a module is missing; None if no extra brings the module."""
    extra = extra_of(error.name)
    return None if extra is None else f"{what} needs ludens[{extra}]: {command(extra)}"


def require(what: str, extra: str) -> None:
    """If an extra is missing, raise MissingExtraError, which names the command that installs it. `what` needs it."""
    if not installed(extra):
        raise MissingExtraError(what, extra)
