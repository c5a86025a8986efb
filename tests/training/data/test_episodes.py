"""Episodes on disk: what is written is read; damage is found; killed writers lose little."""

from __future__ import annotations

import errno
import hashlib
import itertools
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import training.data.episodes
from agent.episode import Step, Subscriber
from agent.loop.instruction import LiveInstruction
from agent.loop.players import InStep, ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import Action
from envs.doom.world import DoomWorld
from envs.world import Observation
from tasks.task import Task, VerifierSpec
from tests.support.worlds import SquareWorld
from training.data.durable_files import seal, unseal
from training.data.episodes import (
    DamagedEpisodeError,
    DiskFullError,
    EpisodeWriter,
    Recorder,
    find_episodes,
    read_episode,
)
from training.data.repair import repair, verify

SPEC = PolicySpec(View.stretched((24, 32)), chunk=4, tick_hz=50.0)
TASK = Task("square-1", "go", "square", 3, {"size": "small"}, 40, VerifierSpec("near", {"x": 1}), "go")


class Random:
    """Presses and turns at random, the same for the same context."""

    spec = SPEC

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [self.decide(context) for context in contexts]

    def decide(self, context: Context) -> Decision:
        rng = np.random.default_rng(context.seed)
        keys = ("KeyW", "KeyA", "KeyS", "KeyD")
        actions = tuple(
            Action(frozenset(k for k in keys if rng.random() < 0.3), frozenset(), (float(rng.normal()), 1 / 3))
            for _ in range(4)
        )
        return Decision(actions, thought=f"ü {rng.integers(100)}", speech="hm")


class Log(Subscriber):
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.final: Any = None

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def on_end(self, outcome: Any, frame: Any) -> None:
        self.final = frame


def record(path: Path, *, world: SquareWorld | None = None, **options: Any) -> Log:
    log = Log()
    recorder = Recorder(path, task=TASK, policy="random", quality=options.pop("quality", "lossless"), durable=False)
    outcome = play(world or SquareWorld(), InStep(Random()), "go", seed=3, subscribers=[log, recorder], **options)
    assert not outcome.problems
    assert recorder.episode == path
    return log


@pytest.mark.parametrize("observe", ["tick", "decision"])
def test_what_was_played_is_read_back(tmp_path: Path, observe: Any) -> None:
    goal = LiveInstruction("go")

    class Change(Subscriber):
        def on_step(self, step: Step) -> None:
            if step.tick == 20:
                goal.set("stop")

    log, recorder = Log(), Recorder(tmp_path / "a", task=TASK, policy="random", meta={"note": [1, "ä"]})
    play(SquareWorld(), InStep(Random()), goal, seed=3, subscribers=[log, recorder, Change()], observe=observe)
    episode = read_episode(tmp_path / "a")
    episode.verify()

    assert episode.actions() == [step.action for step in log.steps]
    rows = episode.steps.to_pylist()
    assert len(rows) == len(log.steps) == 40
    for row, step in zip(rows, log.steps, strict=True):
        assert (row["tick"], row["instruction"], row["actor"]) == (step.tick, step.instruction, "agent")
        assert (row["decision"], row["asked"], row["reward"]) == (step.index, step.asked, step.reward)
        assert row["starved"] is False
        assert (row["frame"] >= 0) == (step.frame is not None)
    told = [row["thought"] for row in rows if row["thought"]]
    assert told == [step.decision.thought for step in log.steps if step.decision and step.tick == step.asked]
    assert {row["instruction"] for row in rows} == {"go", "stop"}

    frames = episode.frames()
    drawn = [step.frame for step in log.steps if step.frame is not None]
    np.testing.assert_array_equal(frames, np.stack([*drawn, log.final]))
    assert (episode.meta["frames"], episode.meta["ticks"], episode.meta["decisions"]) == (len(frames), 40, len(told))
    for index in (len(frames) - 1, 0, len(frames) // 2):
        np.testing.assert_array_equal(episode.frame(index), frames[index])
    with pytest.raises(IndexError):
        episode.frame(len(frames))

    assert episode.task is not None
    assert episode.task["verifier"] == {"name": "near", "args": {"x": 1}}
    assert episode.options == {}
    assert episode.meta["note"] == [1, "ä"]
    assert episode.meta["versions"]["numpy"] == np.__version__
    assert episode.outcome["why"] == "the world ended the episode"
    assert (episode.success, episode.tick_hz, episode.instruction) == (None, 50.0, "go")


def test_the_memory_of_every_decision_and_the_time_of_every_step_are_recorded(tmp_path: Path) -> None:
    contexts: list[Context] = []

    class Keeps(Random):
        def decide(self, context: Context) -> Decision:
            contexts.append(context)
            return super().decide(context)

    began = time.time()
    play(SquareWorld(), InStep(Keeps()), "go", seed=3, subscribers=[Recorder(tmp_path / "a")], observe="decision")
    steps = read_episode(tmp_path / "a").steps
    memory, read = "", []
    for tick, asked, changed in zip(*(steps[name].to_pylist() for name in ("tick", "asked", "memory")), strict=True):
        memory = memory if changed is None else changed
        if tick == asked:
            read.append(memory)
    assert read == [context.memory for context in contexts]
    assert len(set(read)) == len(read) == 10  # what was done is never the same
    assert all("seen: ü" in memory for memory in read[1:])
    times = steps["time"].to_pylist()
    assert began <= times[0] <= times[-1] <= time.time()
    assert times == sorted(times)
    assert len(set(times)) == 10  # the ticks of a decision were played at once


class OnTheClock(SquareWorld):
    """Moves on by itself, and stands still for half a second in its fifth tick."""

    realtime = True

    def __init__(self) -> None:
        super().__init__(length=12)
        self.stepped: list[tuple[float, float]] = []

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        began = time.time()
        time.sleep(0.5 if self.tick == 4 else 0.02)
        self.stepped.append((began, time.time()))
        return super().step(action)


def test_in_real_time_every_step_has_the_time_at_which_it_was_played(tmp_path: Path) -> None:
    world = OnTheClock()
    play(world, InStep(Random()), "go", seed=3, subscribers=[Recorder(tmp_path / "a")])
    times = read_episode(tmp_path / "a").steps["time"].to_pylist()
    assert len(times) == len(world.stepped) == 12
    ends = [0.0, *(end for _, end in world.stepped)]
    for at, (_, end), before in zip(times, world.stepped, ends, strict=False):
        assert before <= at <= end + 0.05
    assert max(b - a for a, b in itertools.pairwise(times)) >= 0.4  # the half second is not smoothed away


def test_episodes_without_memory_and_time_are_read_too(tmp_path: Path) -> None:
    log = record(tmp_path / "a")
    path = tmp_path / "a" / "steps.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["memory", "time"]), path)
    meta = unseal((tmp_path / "a" / "episode.json").read_bytes())
    meta["checksums"]["steps.parquet"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "a" / "episode.json").write_bytes(seal(meta))
    episode = read_episode(tmp_path / "a")
    episode.verify()
    assert episode.actions() == [step.action for step in log.steps]
    assert episode.steps.schema.names == training.data.episodes.SCHEMA.names
    assert set(episode.steps["memory"].to_pylist()) == set(episode.steps["time"].to_pylist()) == {None}


def test_noise_survives_lossless_video_and_compact_video_comes_close(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 30, 46, 3), dtype=np.uint8)  # a shape without a round number in it
    ramp = np.broadcast_to(np.arange(46, dtype=np.uint8)[:, None] * 4, (20, 31, 46, 3)).copy()
    for name, quality, frames in (("a", "lossless", noise), ("b", "compact", ramp)):
        writer = EpisodeWriter(tmp_path / name, frame_size=frames.shape[1:3], tick_hz=29.97, quality=quality)
        for tick, frame in enumerate(frames):
            writer.add(Step(tick, frame, Action(), 0.0, "", "human", False, None, -1, -1, {}))
        writer.finish({})
    np.testing.assert_array_equal(read_episode(tmp_path / "a").frames(), noise)
    np.testing.assert_allclose(read_episode(tmp_path / "b").frames().astype(int), ramp, atol=12)
    np.testing.assert_array_equal(read_episode(tmp_path / "b").frame(17), read_episode(tmp_path / "b").frames()[17])


def test_annotations_are_kept_with_their_ticks(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a", durable=False)
    script = ScriptedPlayer(lambda state: Decision((Action(),) * 4), spec=SPEC)
    seen: list[int] = []

    def annotate(state: Any) -> dict[str, Any]:
        seen.append(state["x"])
        return {"x": np.int16(state["x"]), "box": np.full((2, 3), state["y"], np.float32)}

    play(SquareWorld(), script, "go", subscribers=[recorder], annotate=annotate)
    extras = read_episode(tmp_path / "a").extras()
    assert extras["tick"].tolist() == list(range(0, 40, 4))
    assert extras["x"].tolist() == seen
    assert extras["box"].shape == (10, 2, 3)
    assert extras["box"].dtype == np.float32


def test_a_changed_byte_or_a_cut_in_any_file_is_found_and_set_aside(tmp_path: Path) -> None:
    rng = random.Random(0)
    record(tmp_path / "good", annotate=lambda state: {"x": state["x"]})
    names = sorted(os.listdir(tmp_path / "good"))
    assert names == ["episode.json", "extras.npz", "looks.parquet", "steps.parquet", "video.mp4"]
    for n in range(120):
        root = tmp_path / str(n)
        shutil.copytree(tmp_path / "good", root / "bad")
        shutil.copytree(tmp_path / "good", root / "good")
        file = root / "bad" / names[n % len(names)]
        data = bytearray(file.read_bytes())
        if n % 3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            del data[rng.randrange(len(data)) :]
        file.write_bytes(data)

        good, bad = verify(root)
        assert good == [root / "good"]
        assert len(bad) == 1
        assert str(file) in bad[0]
        assert (root / "quarantine" / "bad" / "why.txt").read_text().strip() == bad[0]
        assert verify(root) == ([root / "good"], [])


def test_a_missing_file_is_damage_and_another_format_is_named(tmp_path: Path) -> None:
    record(tmp_path / "a")
    (tmp_path / "a" / "video.mp4").unlink()
    episode = read_episode(tmp_path / "a")
    with pytest.raises(DamagedEpisodeError, match=r"video\.mp4: can't be read: No such file"):
        episode.frames()
    with pytest.raises(DamagedEpisodeError, match=r"episode\.json: can't be read"):
        read_episode(tmp_path / "none")
    (tmp_path / "a" / "episode.json").write_bytes(training.data.episodes.seal({"format": 99}))
    with pytest.raises(DamagedEpisodeError, match="has format 99; this version reads format 1"):
        read_episode(tmp_path / "a")


def test_a_taken_name_is_refused_and_the_game_goes_on(tmp_path: Path) -> None:
    record(tmp_path / "a")
    before = (tmp_path / "a" / "episode.json").read_bytes()
    recorder = Recorder(tmp_path / "a")
    outcome = play(SquareWorld(), InStep(Random()), "go", subscribers=[recorder])
    assert recorder.episode is None
    assert "there is an episode already" in outcome.problems[0]
    assert (tmp_path / "a" / "episode.json").read_bytes() == before


def test_an_episode_that_is_over_at_once_is_an_episode(tmp_path: Path) -> None:
    class Won:
        success, why = True, "there already"

    outcome = play(
        SquareWorld(), InStep(Random()), "go", judge=lambda state: Won(), subscribers=[Recorder(tmp_path / "a")]
    )
    assert (outcome.success, outcome.ticks) == (True, 0)
    episode = read_episode(tmp_path / "a")
    assert (episode.actions(), episode.frames().shape) == ([], (1, 24, 32, 3))
    np.testing.assert_array_equal(episode.frame(0), episode.frames()[0])


def test_what_was_recorded_in_doom_plays_again_to_the_same_frames(tmp_path: Path) -> None:
    world = DoomWorld()
    try:
        play(
            world, InStep(Random()), "go", seed=11, time_limit=50, subscribers=[Recorder(tmp_path / "a")],
            observe="decision",
        )  # fmt: skip
        episode = read_episode(tmp_path / "a")
        actions, drawn = episode.actions(), episode.steps["frame"].to_pylist()
        observation, _ = world.reset(seed=episode.meta["seed"], options=episode.options)
        frames = episode.frames()
        assert len(frames) == 14
        for action, index in zip(actions, drawn, strict=True):
            if index >= 0:
                np.testing.assert_array_equal(observation["pixels"], frames[index])
            observation, *_ = world.step(action)
        np.testing.assert_array_equal(observation["pixels"], frames[-1])
    finally:
        world.close()


class FullDisk:
    """A file on a disk that takes `room` more bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = self.file.write(data[: self.room])
        self.room -= n
        return n

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 3000, 9000])
def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path: Path, room: int) -> None:
    log = record(tmp_path / "before")
    writer = EpisodeWriter(tmp_path / "a", frame_size=(24, 32), tick_hz=50.0)
    assert writer._video is not None
    writer._video._file.raw = FullDisk(writer._video._file.raw, room)  # type: ignore[assignment]

    def fill() -> None:
        for tick, step in enumerate(log.steps * 5):
            writer.add(Step(tick, step.frame, Action(), 0.0, "", "a", False, None, -1, -1, {}))

    with pytest.raises(DiskFullError, match=rf"disk that holds {tmp_path}, mounted at .* MiB free") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ["before"]
    assert verify(tmp_path) == ([tmp_path / "before"], [])


def _write_forever(root: Path, log: Path, seed: int) -> None:
    """Record episodes, long ones (that write a journal) and short ones, until killed; log those that are finished."""
    training.data.episodes.JOURNAL_SECONDS = 0.01
    rng = random.Random(seed)
    for n in range(10_000):
        world = SquareWorld(length=rng.choice((8, 400)))
        recorder = Recorder(root / f"{seed}-{n}", task=TASK, durable=False)  # a kill takes no disk cache with it
        play(world, InStep(Random()), "go", seed=n, subscribers=[recorder], observe=rng.choice(("tick", "decision")))
        with log.open("a") as file:
            file.write(f"{recorder.episode}\n")


@pytest.mark.slow
def test_killed_writers_leave_finished_episodes_whole_and_unfinished_ones_mendable(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.data.repair", "tests.support.worlds"])
    rng, log, rescued = random.Random(1), tmp_path / "log", 0
    root = tmp_path / "episodes"
    root.mkdir()
    kills = int(os.environ.get("LUDENS_KILLS", "6"))
    for seed in range(5 * kills):
        if seed >= kills and rescued:
            break
        child = context.Process(target=_write_forever, args=(root, log, seed))
        child.start()
        try:
            deadline = time.monotonic() + 20
            while not list(root.glob(f"*{seed}-*")) and time.monotonic() < deadline:
                time.sleep(0.005)
            assert repair(root) == ([], [])  # what a live writer holds is left alone
            time.sleep(rng.uniform(0.0, 0.25 * (1 + seed)))  # a busy machine is slow to write the first journal
        finally:
            child.kill()
            child.join()

        finished = [Path(line) for line in log.read_text().split()] if log.exists() else []
        for path in finished:
            read_episode(path)
        saved, _ = repair(root)
        assert repair(root) == ([], [])
        assert not list(root.glob(".tmp-*"))
        rescued += len(saved)
        for path in saved:
            episode = read_episode(path)
            rows = episode.steps
            assert rows["tick"].to_pylist() == list(range(len(rows)))
            assert max(rows["frame"].to_pylist()) < len(episode.frames())
            assert episode.outcome["why"] in ("the writer was killed", "the world ended the episode")
    good, bad = verify(root)
    assert not bad
    assert set(finished) <= set(good)
    assert rescued > 0
    assert set(find_episodes(root)) == set(good)
