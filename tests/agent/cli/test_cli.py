"""The command line as people and machines meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import Action
from tests.support.worlds import SquareWorld

SELF = Path(__file__).stem


class Meadow(SquareWorld):
    """A world that the policies of Doom can act in."""

    tick_hz = 35.0


class Walker:
    """Walks on, thinks aloud, and says so once."""

    spec = PolicySpec(View.stretched((24, 32)))

    def act(self, contexts: list[Context]) -> list[Decision]:
        step = Action(keys=frozenset({"KeyW"}), look=(2.0, 0.0))
        return [Decision((step,) * 4, thought="<onward>", speech="hello" if not c.actions else "") for c in contexts]


def unfit() -> None:
    raise ValueError("the checkpoint has codec doom4.0, this version reads doom4.1")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def agent(*args: str, status: int = 0, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Run a command in this process; its output and its complaints."""
    assert cli.run(list(args)) == status
    said = capsys.readouterr()
    return said.out, said.err


def spawn(*args: str, **options: Any) -> subprocess.Popen[str]:
    """Run a command as a person does, in a process of its own."""
    code = "import sys; from agent.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from agent.cli import run; status = run(['--help']);"
        "print([m for m in ('torch', 'numpy', 'gymnasium', 'vizdoom', 'pyarrow', 'rich') if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert all(verb in done.stdout for verb in cli.VERBS)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["plya"], "No such command 'plya'. Did you mean 'play'"),
        (["play", "--env", "dom", "look up"], "unknown world 'dom'; did you mean 'doom'? known: "),
        (["play", "--policy", "exprt", "look up"], "unknown policy 'exprt'; did you mean 'expert'?"),
        (
            ["play", "--policy", "random", "--resolution", "17x3", "look up"],
            "resolution: expected one of",
        ),
        (["play", "--policy", f"{SELF}:unfit", "look up"], f"policy '{SELF}:unfit': the checkpoint has codec doom4.0"),
        (["play", "--time", "sideways", "look up"], "Invalid value for '--time'"),
        (["play", "--env", f"{SELF}:Meadow"], "has no tour; give an instruction"),
        (["play", "  "], "the instruction is empty"),
        (["play", "--policy", "expert", "sing me a song"], "nothing that the scripted player knows"),
        (["record", "--suite", "doom-basik", "--out", "x"], "unknown suite 'doom-basik'; did you mean 'doom-basic'?"),
        (
            ["record", "--suite", "doom-pairs", "--out", "x"],
            "is held out from training; --evaluation",
        ),
        (["record", "--policy", "./gone", "--out", "x"], "policy './gone': there is no such folder"),
        (["replay", "gone"], "gone: there is no such folder"),
        (["list", "wolds"], "unknown list 'wolds'; did you mean 'worlds'?"),
        (["env", "check", "dom"], "unknown world 'dom'; did you mean 'doom'?"),
    ],
)
def test_wrong_input_gets_one_line_and_status_2(
    args: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = agent(*args, status=2, capsys=capsys)
    assert complaint in err
    assert err.startswith("agent: ")
    assert err.count("\n") == 1
    assert not Path("runs").exists()


def test_play_writes_a_run_folder_and_replay_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("play", "--env", f"{SELF}:Meadow", "--policy", f"{SELF}:Walker", "--seed", "5", "--time-limit", "0.8")
    out, _ = agent(*command, "--json", "walk <b>on</b>", capsys=capsys)
    run = json.loads(out)
    (episode,) = run["episodes"]
    assert episode["instruction"] == "walk <b>on</b>"
    assert episode["outcome"]["ticks"] == 28
    assert episode["outcome"]["success"] is None
    assert episode["outcome"]["clock"] == "lockstep"
    config = json.loads((Path(run["folder"]) / "config.json").read_text())
    assert config["options"]["seed"] == 5
    assert {"python", "ludens", "torch", "gymnasium"} <= set(config["versions"])
    report = Path(run["report"]).read_text()
    assert "walk &lt;b&gt;on" in report
    assert "&lt;onward&gt;" in report
    assert report.count("data:image/jpeg;base64,") >= 4
    assert 'src="http' not in report
    assert "Drawn anew" not in report  # this world has one resolution: the film shows the recorded frames
    assert Path(run["video"]).stat().st_size > 1000

    out, _ = agent("replay", run["folder"], "--verify", "--env", f"{SELF}:Meadow", capsys=capsys)
    assert "W, turn right" in out
    assert "<onward>; hello" in out
    assert "the same, bit for bit: 29 of 29 frames compared" in out


def test_play_the_expert_in_doom_in_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = agent("play", "look up", "--policy", "expert", "--seed", "2", "--time", "realtime", capsys=capsys)
    assert "done: " in out
    assert "realtime: " in out
    assert "starved ticks" in out
    assert "--policy expert --seed 2 --time realtime 'look up'" in out


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_told_to_stop_in_play_saves_the_episode(tmp_path: Path, sign: int, status: int) -> None:
    (tmp_path / "slow.py").write_text(
        "import time, sys\nfrom test_cli import Meadow, Walker\n"
        "class World(Meadow):\n    def __init__(self): super().__init__(length=10**6)\n"
        "    def step(self, action):\n        time.sleep(0.01)\n        print('tick', file=sys.stderr, flush=True)\n"
        "        return super().step(action)\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), *sys.path])
    process = spawn(
        "play",
        "--env",
        "slow:World",
        "--policy",
        "slow:Walker",
        "--json",
        "walk on",
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stderr is not None
    while "tick" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(sign)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == status
    (episode,) = json.loads(out)["episodes"]
    assert episode["outcome"]["interrupted"] is True
    assert (Path(episode["episode"]) / "episode.json").exists()
    assert Path(json.loads(out)["report"]).exists()


@pytest.mark.slow
def test_record_survives_a_killed_worker_and_goes_on_after_ctrl_c(tmp_path: Path) -> None:
    count = 24
    command = ("record", "--episodes", str(count), "--workers", "2", "--noise", "0.1", "--out", "data", "--json")

    def finished() -> int:
        return sum(1 for _ in (tmp_path / "data").glob("doom-basic-*"))

    def wait_for(n: int) -> None:
        deadline = time.monotonic() + 60
        while finished() < n:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)

    process = spawn(*command)
    wait_for(2)
    os.kill(_workers(process.pid)[0], signal.SIGKILL)
    wait_for(6)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    before = json.loads(out)
    assert before["interrupted"]
    assert 6 <= finished() < count

    kept = finished()
    process = spawn(*command)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    after = json.loads(out)
    assert (after["kept"], after["episodes"], finished()) == (kept, count - kept, count)
    assert after["ticks_per_second"] > 0
    assert after["errors"] == []

    from training.data.episodes import find_episodes, read_episode

    actors = set()
    for folder in find_episodes(tmp_path / "data"):
        episode = read_episode(folder)
        episode.verify()
        assert episode.success is not None
        actors |= set(episode.steps["actor"].to_pylist())
    assert actors == {"expert", "noise"}


def _workers(parent: int) -> list[int]:
    import psutil

    children = psutil.Process(parent).children()
    return [child.pid for child in children if "--multiprocessing-fork" in child.cmdline()]


def test_record_refuses_a_folder_of_other_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    Path("data/record.json").write_text(json.dumps({"world": "doom", "policy": "random", "suite": "doom-basic"}))
    _, err = agent("record", "--out", "data", status=2, capsys=capsys)
    assert "its episodes have policy 'random', not 'expert'; name another folder" in err


def test_a_folder_that_is_no_episode_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "episode").mkdir()
    _, err = agent("replay", "episode", status=2, capsys=capsys)
    assert "no episode is in there" in err
    (tmp_path / "episode" / "episode.json").write_text("{}")
    _, err = agent("replay", "episode", status=2, capsys=capsys)
    assert "episode.json" in err


def test_env_check_names_what_is_broken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = agent("env", "check", f"{SELF}:Meadow", "--sheet", "sheet.png", capsys=capsys)
    assert "keeps the contract" in out
    assert (tmp_path / "sheet.png").stat().st_size > 500


def test_list_says_where_parts_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = agent("list", "worlds", "--json", capsys=capsys)
    doom = next(part for part in json.loads(out) if part["name"] == "doom")
    assert doom["kind"] == "world"
    assert doom["from"].startswith("ludens ")
    assert doom["broken"] == ""
    out, _ = agent("list", "tasks", capsys=capsys)
    assert "doom-basic" in out
    assert "pick_up" in out


def test_replay_films_an_episode_anew(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import av

    agent("play", "look up", "--policy", "expert", "--seed", "2", "--out", "run", capsys=capsys)
    agent("replay", "run", "--video", "up.mp4", "--resolution", "320x240", capsys=capsys)
    for path in (tmp_path / "run" / "video.mp4", tmp_path / "up.mp4"):
        with av.open(str(path)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert pictures[0].shape == (480, 640, 3)
        assert len(pictures) > 42  # the outcome stays in view
        assert (pictures[0] != pictures[-1]).any()
    assert "Drawn anew at 640x480" in (tmp_path / "run" / "report.html").read_text()
    agent("replay", "run", "--video", "fast.mp4", "--speed", "4", capsys=capsys)
    with av.open(str(tmp_path / "fast.mp4")) as container:
        fast = sum(1 for _ in container.decode(video=0))
    assert 42 < fast <= 42 + (len(pictures) - 42) / 3  # the outcome stays as long
    _, err = agent("play", "look up", "--policy", "expert", "--out", "run", status=2, capsys=capsys)
    assert "--out run: it is not empty" in err
    _, err = agent("replay", "run", "--video", "up.txt", status=2, capsys=capsys)
    assert "up.txt: expected a name that ends in .mp4" in err


@pytest.mark.slow
def test_doctor_tries_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = agent("doctor", "--json", capsys=capsys)
    findings = {finding["name"]: finding for finding in json.loads(out)["findings"]}
    assert {"python", "packages", "torch", "vizdoom", "video", "mujoco", "memory", "disk"} <= set(findings)
    assert {"page", "model openai", "model smol", "model gemini", "model hf"} <= set(findings)
    assert all(finding["ok"] for finding in findings.values() if finding["needed"])
