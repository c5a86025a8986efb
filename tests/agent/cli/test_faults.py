"""What goes wrong around a run: full disks, damaged files, commands at the same time. A person reads one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent import cli
from agent.cli.compose import run_folder
from envs.errors import UserError
from tests.agent.cli.test_foreign_episodes import SELF, Field, Walker, elsewhere
from training.data.durable_files import seal, unseal
from training.data.episodes import read_episode
from training.loop import Loop, Plan, saved_step

__all__ = ["Field", "Walker", "elsewhere"]
ROOT = Path(__file__).parents[3]
GO = ["play", "go", "--env", f"{SELF}:Field", "--policy", f"{SELF}:Walker", "--no-page", "--time-limit", "2"]


class Grows(Field):
    """A world whose window is resized when it is played again."""

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        if (Path.cwd() / "grow").exists() and self.tick > 3:
            observation = {"pixels": np.zeros((30, 40, 3), np.uint8)}
        return observation, *rest


# A full disk

FULL = """
import json, subprocess, sys
from pathlib import Path
from agent import cli
root, found = Path(sys.argv[1]), []
for kib in map(int, sys.argv[2].split(",")):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", root], check=True)
    status = cli.run([*json.loads(sys.argv[3]), "--out", str(root / "run")])
    files = {str(p.relative_to(root)): p.read_bytes().hex() for p in root.rglob("*") if p.is_file()}
    found.append((kib, status, files))
    subprocess.run(["umount", root], check=True)
json.dump(found, open(sys.argv[4], "w"))
"""


def mounting() -> list[str]:
    """The command under which a small disk can be mounted that nobody else sees; empty if there is none. A user without
    rights gets a name space of their own; root in a chroot may not have one, and needs none."""
    for command in (["unshare", "-rm"], ["unshare", "-m", "--propagation", "unchanged"]):
        test = [*command, "sh", "-c", "mount -t tmpfs tmpfs /mnt && umount /mnt"]
        if shutil.which("unshare") and not subprocess.run(test, capture_output=True, check=False).returncode:
            return command
    return []


MOUNTING = mounting()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(not MOUNTING, reason="needs a small disk: unshare and mount")
def test_on_a_full_disk_files_are_whole_or_absent_and_what_is_lost_is_told(tmp_path: Path) -> None:
    import av

    place, result = tmp_path / "disk", tmp_path / "found.json"
    place.mkdir()
    sizes = "4,8,16,28,36,40,44,48,60,3000"
    done = subprocess.run(
        [*MOUNTING, sys.executable, "-c", FULL, str(place), sizes, json.dumps(GO), str(result)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "no space left on the disk that holds" in done.stdout + done.stderr
    statuses = []
    for kib, status, listed in json.loads(result.read_text()):
        files = {name: bytes.fromhex(data) for name, data in listed.items()}
        statuses.append(status)
        names = {Path(name).name for name in files}
        assert not [name for name in files if ".tmp-" in name], kib
        assert status == 1 or {"report.html", "config.json", "video.mp4", "episode.json"} <= names, kib
        for name, data in files.items():
            whole = tmp_path / f"{kib}-{Path(name).name}"
            whole.write_bytes(data)
            if name.endswith(".html"):
                assert data.rstrip().endswith(b"</html>"), kib
            elif name.endswith(".json"):
                json.loads(data)
            elif name == "run/video.mp4":
                with av.open(str(whole)) as video:
                    assert sum(1 for _ in video.decode(video=0)) > 10
    assert statuses[-1] == 0
    assert set(statuses[:5]) == {1}


# Commands at the same time


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own() -> None:
    with ProcessPoolExecutor(4) as pool:
        made = list(pool.map(run_folder, [None] * 12, ["go"] * 12))
    assert len(set(made)) == 12
    assert all(folder.is_dir() and not list(folder.iterdir()) for folder in made)
    assert {folder.stat().st_mode & 0o777 for folder in made} == {0o700}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_records_fill_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "record", "--episodes", "6", "--workers", "1", "--out", "data", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=150) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    found = [json.loads(out) for out, _ in said]
    assert [one["errors"] for one in found] == [[], []]
    assert [one["kept"] + one["episodes"] for one in found] == [6, 6]
    assert sum(one["episodes"] for one in found) == 6
    for folder in sorted(Path("data").glob("doom-basic-*")):
        read_episode(folder).verify()
    assert {path.name for path in Path("data").iterdir() if not path.name.startswith("doom-basic-")} == {"record.json"}


# Damaged files


@pytest.fixture
def episode(capsys: pytest.CaptureFixture[str]) -> Path:
    assert cli.run([*GO, "--out", "run"]) == 0
    capsys.readouterr()
    return next(Path("run").glob("episode-*"))


def told(capsys: pytest.CaptureFixture[str], *args: str, status: int = 2) -> str:
    assert cli.run(list(args)) == status
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    return said.err + said.out


@pytest.mark.parametrize("how", [[], ["--json", "--verify"], ["--video", "x.mp4"]])
def test_replay_of_a_truncated_file_is_one_line(
    episode: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    for name in ("steps.parquet", "video.mp4", "episode.json"):
        data = (episode / name).read_bytes()
        (episode / name).write_bytes(data[: len(data) // 2])
        if name != "video.mp4" or how[-1:] == ["x.mp4"]:  # a table needs no frames
            assert f"{name}: " in (said := told(capsys, "replay", "run", "--env", f"{SELF}:Field", *how))
            assert "take another episode" in said
        (episode / name).write_bytes(data)


@pytest.mark.parametrize("options", [{"level": [1]}, None, "doom"])
def test_replay_of_malformed_metadata_is_one_line(
    episode: Path, capsys: pytest.CaptureFixture[str], options: Any
) -> None:
    meta = unseal((episode / "episode.json").read_bytes())
    meta["options"], meta["task"] = options, None
    del meta["seed"]
    (episode / "episode.json").write_bytes(seal(meta))
    status = 2 if options == "doom" else 1  # another seed begins elsewhere
    said = told(capsys, "replay", "run", "--verify", "--env", f"{SELF}:Field", status=status)
    assert ("options: expected an object" in said) == (options == "doom")


def test_frames_that_changed_their_size_are_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    world = "tests.agent.cli.test_faults:Grows"
    assert cli.run([*[arg.replace(f"{SELF}:Field", world) for arg in GO], "--out", "run"]) == 0
    Path("grow").touch()
    said = told(capsys, "replay", "run", "--verify", "--env", world, status=1)
    assert "not the same: first at tick 4" in said


def test_record_does_not_count_a_truncated_episode(episode: Path) -> None:
    from agent.cli.record import _is_whole

    assert _is_whole(episode)
    steps = episode / "steps.parquet"
    steps.write_bytes(steps.read_bytes()[:100])
    assert not _is_whole(episode)
    assert not episode.exists(), "it is set aside, and recorded again"


def loop(state: Path) -> Loop[Any]:
    model = torch.nn.Linear(2, 2)
    return Loop(model, torch.optim.AdamW, Plan("test", 3, 1, 0.1), state=state)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 half", b"\x80\x04.", b"text"])
def test_a_damaged_state_of_training_is_one_line(tmp_path: Path, data: bytes) -> None:
    state = tmp_path / "state.pt"
    loop(state)._save(1)
    assert loop(state).first == saved_step(state) == 1
    whole = state.read_bytes()
    for bad in (data, whole[: len(whole) // 2], whole[:-30]):
        state.write_bytes(bad)
        for use in (loop, saved_step):
            with pytest.raises(ValueError, match=r"can't go on from it .* remove it to begin again"):
                use(state)
    torch.save([1], state)
    with pytest.raises(ValueError, match="can't go on"):
        loop(state)


def test_a_run_folder_that_can_not_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--out"):
        run_folder(tmp_path / "file" / "run", "go")
