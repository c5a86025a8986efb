"""Folders for the files of a running world: gone with their process, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from envs import scratch

CHILD = "from envs.scratch import scratch_folder; print(scratch_folder('test'), flush=True); {then}"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def spawn(then: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", CHILD.format(then=then)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def aged(folder: Path) -> Path:
    os.utime(folder, (0, 0))
    return folder


def test_a_folder_goes_with_remove_and_with_the_process(place: Path) -> None:
    folder = scratch.scratch_folder("test")
    (folder / "file").write_text("x")
    scratch.remove(folder)
    process, other = spawn("pass")
    assert process.wait(30) == 0
    assert not folder.exists()
    assert not other.exists()


def test_a_killed_process_leaves_it_to_the_next_one_and_a_living_one_keeps_it(place: Path) -> None:
    killed, left = spawn("__import__('time').sleep(60)")
    living, kept = spawn("__import__('time').sleep(60)")
    foreign = aged(Path(tempfile.mkdtemp(prefix="ludens-bridge-")))
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    assert left.exists()
    aged(left), aged(kept)
    folder = scratch.scratch_folder("test")
    assert not left.exists()
    assert kept.exists()
    assert foreign.exists(), "who does not lock its folder is left alone"
    living.kill()
    living.wait(30)
    scratch.remove(folder)


def test_a_fork_leaves_the_folder_to_its_owner(place: Path) -> None:
    folder = scratch.scratch_folder("test")
    child = os.fork()
    if child == 0:
        scratch.remove(folder)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert folder.exists()
    scratch.remove(folder)
    assert not folder.exists()
