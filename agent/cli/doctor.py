"""`agent doctor`: try each part of the machine, or a checkpoint, and say the command that mends what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import console
from envs import extras
from envs.errors import UserError

app = console.verb()

_GIB = 2**30
_TRY_SECONDS = 60

# Each is tried in its own process: a missing driver may end the process instead of raising.
_TRY_DOOM = """
import vizdoom
game = vizdoom.DoomGame()
game.load_config(vizdoom.scenarios_path + "/basic.cfg")
game.set_window_visible(False)
game.set_audio_buffer_enabled(False)
game.init()
game.make_action([0, 0, 0])
assert game.get_state().screen_buffer.any(), "the frame is black"
game.close()
print(vizdoom.__version__)
"""
_TRY_MUJOCO = """
import mujoco
xml = "<mujoco><worldbody><light pos='0 0 3'/><geom size='1' rgba='1 0 0 1'/></worldbody></mujoco>"
model = mujoco.MjModel.from_xml_string(xml)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any(), "the frame is black"
print(mujoco.__version__)
"""
_TRY_DESKTOP = """
from pathlib import Path
from envs.desktop.screen import Rect, Screen
from envs.desktop.server import Xvfb
server = Xvfb((64, 48), Path.cwd())
try:
    screen = Screen(server.name, server.authority)
    assert screen.pixels(Rect(0, 0, 64, 48), (64, 48)).shape == (48, 64, 3)
    screen.close()
finally:
    server.close()
print(server.name)
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `needed`: whether Ludens can do without; `mend`: the command that mends it."""

    name: str
    ok: bool
    detail: str
    needed: bool = True
    mend: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@app.command()
def doctor(
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A checkpoint to look at instead of the machine.")
    ] = None,
    json: console.Json = False,
) -> None:
    """Look at this machine: say what is missing and the command that mends it. Exit status 1 if it is needed.

    With the folder of a checkpoint: read it as play does, and show its parents and children and their training.

    \b
    Examples:
      agent doctor
      agent doctor --json
      agent doctor runs/small/small
    """
    out = console.console(machine=json)
    if checkpoint is not None:
        _look_at_checkpoint(checkpoint, out, json)
        return
    findings: list[Finding] = []
    looks = (
        _python, _packages, _names, _torch, _doom, _video, _page, _models, _mujoco, _desktop, _minetest, _browser,
        _machine, _plugins,
    )  # fmt: skip
    for look in looks:
        with out.status(f"looking at {look.__name__.strip('_')}"):
            findings += _safely(look)
    ill = any(not f.ok and f.needed for f in findings)
    if json:
        console.print_json({"ok": not ill, "findings": [asdict(f) for f in findings]})
    else:
        rows = [("ok" if f.ok else "MISSING" if f.needed else "limited", f.name, f.detail) for f in findings]
        out.print(console.table(("", "what", "found"), rows))
        for finding in findings:
            if not finding.ok and finding.mend:
                out.print(f"\nTo mend {finding.name}:\n    {finding.mend}", markup=False)
        if not ill:
            out.print("\nReady: agent play")
    if ill:
        raise typer.Exit(1)


def _look_at_checkpoint(folder: Path, out: Any, json: bool) -> None:
    """Show a checkpoint of small and its family tree. Exit status 1 if it is broken."""
    from agent.checkpoint import CheckpointError
    from agent.cli import checkpoints
    from agent.small.checkpoint import load_model

    try:
        count = sum(parameter.numel() for parameter in load_model(folder).parameters())
    except CheckpointError as error:
        if json:
            console.print_json({"ok": False, "broken": str(error)})
        else:
            out.print(f"broken: {error}", markup=False)
        raise typer.Exit(1) from None
    members = checkpoints.relatives(folder)
    if json:
        family = [checkpoints.facts(member) for member in members]
        console.print_json({"ok": True, "parameters": count, "family": family})
    else:
        out.print(f"ok: {folder} has {count:,} parameters, all of them finite\n", markup=False)
        out.print(checkpoints.tree(members), markup=False)


def _safely(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of `look`. If `look` raises, the exception is itself a finding."""
    findings: list[Finding] = []
    try:
        findings.extend(look())
    except extras.MissingExtraError as error:
        findings.append(Finding(error.what, False, f"needs ludens[{error.extra}]", needed=False, mend=error.command))
    except Exception as error:
        name, extra = look.__name__.strip("_"), extras.extra_of(getattr(error, "name", None))
        if extra:
            detail, mend = f"needs ludens[{extra}]", extras.command(extra)
        else:
            detail, mend = f"{type(error).__name__}: {error}", "make setup"
        findings.append(Finding(name, False, detail, needed=extra is None, mend=mend))
    return findings


def _python() -> Iterator[Finding]:
    version = sys.version_info
    yield Finding(
        "python",
        (3, 11) <= version < (3, 14),
        f"{version.major}.{version.minor}.{version.micro}, {sys.executable}",
        mend="make setup PYTHON=python3.12   # 3.11 to 3.13",
    )


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    wrong: list[str] = []
    for line in requires("ludens") or ():
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            found[need.name] = version(need.name)
            if not need.specifier.contains(found[need.name], prereleases=True):
                wrong.append(f"{need.name} {found[need.name]} is not {need.specifier}")
        except PackageNotFoundError:
            wrong.append(f"{need.name} is not installed")
    detail = "; ".join(wrong) or f"{len(found)} packages at versions that work together"
    yield Finding("packages", not wrong, detail, mend="make setup", facts=found)


def _names() -> Iterator[Finding]:
    from agent.cli import own_names

    others, elsewhere = own_names.others(), own_names.elsewhere()
    if others:
        told = "; ".join(f"{name} is also of {', '.join(who)}" for name, who in others.items())
        yield Finding(
            "names", False, f"{told}: one overwrites files of the other",
            mend="python3 -m venv ludens && ludens/bin/pip install ludens   # an environment of its own",
        )  # fmt: skip
    if elsewhere:
        told = ", ".join(map(str, elsewhere))
        yield Finding(
            "names", False, f"{told}: Python that starts there imports it instead of Ludens's", needed=False,
            mend=f"mv {elsewhere[0]} ANOTHER_NAME   # or start Python in another folder",
        )  # fmt: skip
    if not others and not elsewhere:
        yield Finding("names", True, f"nobody else brings {', '.join(own_names.NAMES)}")


def _torch() -> Iterator[Finding]:
    import torch
    import torchvision

    # A torchvision that was built for another torch imports well and fails at the first compiled operator.
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU, the CPU does it"
    yield Finding(
        "torch",
        True,
        f"{torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads, {device}",
        facts={"threads": torch.get_num_threads(), "cuda": torch.cuda.is_available()},
    )


def _doom() -> Iterator[Finding]:
    # The game writes its .ini into the current folder.
    with tempfile.TemporaryDirectory() as scratch:
        ok, said = _try(_TRY_DOOM, cwd=scratch)
    mend = "" if ok else f"{sys.executable} -m pip install --force-reinstall vizdoom"
    yield Finding("vizdoom", ok, f"{said}: the game starts and draws" if ok else said, mend=mend)


def _video() -> Iterator[Finding]:
    import av
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "try.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=35)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
            container.mux([*stream.encode(frame), *stream.encode(None)])
        with av.open(str(path)) as container:
            frames = sum(1 for _ in container.decode(video=0))
    yield Finding("video", frames == 1, f"PyAV {av.__version__}, H.264 written and read back", mend="make setup")


def _page() -> Iterator[Finding]:
    import httpx2

    from agent.page.server import Page
    from agent.talk.conversation import Conversation

    with tempfile.TemporaryDirectory() as scratch:
        talk = Conversation()
        page = Page(talk, Path(scratch))
        try:
            answer = httpx2.get(page.address, follow_redirects=True, trust_env=False, timeout=_TRY_SECONDS)
        finally:
            page.close()
            talk.close()
    ok = answer.status_code == 200
    yield Finding(
        "page", ok, f"the live page is served on 127.0.0.1 (status {answer.status_code})", needed=False,
        mend="make setup   # or play with --no-page",
    )  # fmt: skip


def _models() -> Iterator[Finding]:
    from agent.models import smol

    key = "OPENAI_API_KEY is set" if os.environ.get("OPENAI_API_KEY") else "no OPENAI_API_KEY: servers of your own"
    yield Finding("model openai", True, f"nothing else is needed ({key})", needed=False)
    llama, genai = _version("xllamacpp"), _version("google-genai")
    file = "the weights are here" if smol.is_fetched() else "93 MB of weights come at the first use"
    yield Finding(
        "model smol", llama is not None, f"xllamacpp {llama}, {file}" if llama else "xllamacpp is not installed",
        needed=False, mend="pip install 'ludens[smol]'",
    )  # fmt: skip
    keyed = any(map(os.environ.get, ("GEMINI_API_KEY", "GOOGLE_API_KEY")))
    found = f"google-genai {genai}, {'a key is set' if keyed else 'no GEMINI_API_KEY'}"
    yield Finding(
        "model gemini", genai is not None, found if genai else "google-genai is not installed", needed=False,
        mend="pip install 'ludens[gemini]'",
    )  # fmt: skip
    grammar = _version("xgrammar")
    yield Finding(
        "model hf", grammar is not None,
        f"xgrammar {grammar} keeps answers to a schema" if grammar else "answers are checked against a schema only "
        "when they are written: xgrammar is not installed",
        needed=False, mend="pip install 'ludens[schema]'",
    )  # fmt: skip


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _mujoco() -> Iterator[Finding]:
    reasons = []
    for backend in ("egl", "osmesa"):
        ok, said = _try(_TRY_MUJOCO, env={"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend})
        if ok:
            yield Finding("mujoco", True, f"{said}: draws with {backend}", needed=False, facts={"backend": backend})
            return
        reasons.append(f"{backend}: {said}")
    yield Finding(
        "mujoco",
        False,
        f"simulates but can't draw, so playroom can't be played ({'; '.join(reasons)})",
        needed=False,
        mend="apt-get install libegl1 libgl1-mesa-dri   # or libosmesa6",
    )


def _minetest() -> Iterator[Finding]:
    from envs.minetest import world as minetest

    path = minetest.find()
    yield Finding("minetest", path is not None, path or "not installed", needed=False, mend=minetest.MEND)


def _desktop() -> Iterator[Finding]:
    extras.require("desktop", "desktop")
    with tempfile.TemporaryDirectory() as scratch:
        ok, said = _try(_TRY_DESKTOP, cwd=scratch)
    yield Finding(
        "desktop",
        ok,
        f"Xvfb on {said}: it starts, its screen is seen" if ok else f"no desktop game can be played ({said})",
        needed=False,
        mend="" if ok else "apt-get install xvfb libxcb-randr0 libxcb-render0 libxcb-shm0 libxcb-xfixes0",
    )


def _browser() -> Iterator[Finding]:
    extras.require("chromium", "browser")
    from envs.browser.chromium import find_chromium, try_out

    try:
        detail = f"{try_out()}, {find_chromium()}: draws with WebGL"
        yield Finding("chromium", True, detail, needed=False)
    except UserError as error:
        mend = "apt-get install chromium libatomic1"
        yield Finding("chromium", False, f"no games in web pages: {error}", needed=False, mend=mend)


def _machine() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    yield Finding(
        "memory",
        memory.available > 1.5 * _GIB,
        f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free (playing takes 1.5, training 4)",
        facts={"available": memory.available, "total": memory.total},
    )
    disk = shutil.disk_usage(Path.cwd())
    yield Finding(
        "disk",
        disk.free > _GIB,
        f"{disk.free / _GIB:.1f} GiB free here (a run takes a few MiB, training 5 GiB)",
        facts={"free": disk.free},
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("cores", cores >= 2, f"{cores} usable", needed=False, facts={"cores": cores})


def _plugins() -> Iterator[Finding]:
    from envs import plugins

    for kind in plugins.GROUPS:
        for name, cause in plugins.broken(kind).items():
            yield Finding(f"{kind} {name}", False, cause, needed=False)


def _try(script: str, *, cwd: str | None = None, env: dict[str, str] | None = None) -> tuple[bool, str]:
    """Run a script in its own Python; whether it went well, and its last line."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer in {_TRY_SECONDS} s"
    lines = [line for line in (done.stdout if done.returncode == 0 else done.stderr).splitlines() if line.strip()]
    said = lines[-1].strip() if lines else ""
    if done.returncode == 0:
        return True, said
    return False, said or f"ended with status {done.returncode}"
