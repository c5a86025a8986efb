"""Many worlds at once: the right answers, and what happens when workers die, hang or lose their parent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import gymnasium
import numpy as np
import psutil
import pytest

from envs.action import NEUTRAL, Action
from envs.reaper import guarded, spawn, sweep_shared_memory
from envs.vector import VectorWorld, WorkerError
from tests.support.worlds import NumberedWorld, SquareWorld, read_numbers

ROOT = Path(__file__).parents[2]


class StuckWorld(NumberedWorld):
    """Hangs for good when the left button goes down, deaf to SIGTERM."""

    def step(self, action):
        if "left" in action.buttons:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        return super().step(action)


class CrashWorld(NumberedWorld):
    def step(self, action):
        raise RuntimeError("the dragon ate the world")


def numbered(count: int) -> list:
    return [lambda number=number: NumberedWorld(number + 1) for number in range(count)]


def test_steps_like_the_worlds_alone():
    rng = random.Random(0)
    with VectorWorld([SquareWorld] * 3, workers=2) as vector:
        alone = [SquareWorld() for _ in range(3)]
        pixels, _ = vector.reset(seeds=[1, 2, 3])
        for world, row, seed in zip(alone, pixels, (1, 2, 3), strict=True):
            np.testing.assert_array_equal(world.reset(seed=seed)[0]["pixels"], row)
        for _ in range(10):
            chunks = [[world.action_space.sample() for _ in range(rng.randint(1, 4))] for world in alone]
            pixels, rewards, terminated, truncated, infos = vector.step_chunk(chunks)
            for i, (world, chunk) in enumerate(zip(alone, chunks, strict=True)):
                observation, reward, end, cut, info = world.step_chunk(chunk)
                if not world.running:
                    world.reset(seed=0)
                    vector.reset(seeds=[0], worlds=[i])
                np.testing.assert_array_equal(observation["pixels"], pixels[i])
                assert (reward, end, cut, info) == (rewards[i], terminated[i], truncated[i], infos[i])


def test_frames_are_fresh_and_state_stays_away_where_asked():
    with VectorWorld(numbered(2), state=False) as vector:
        first, infos = vector.reset(seeds=[0, 0])
        before = first.copy()
        second, *_ = vector.step([NEUTRAL, NEUTRAL])
        assert not np.shares_memory(first, second)
        np.testing.assert_array_equal(first, before)
        assert all("state" not in info for info in infos)


def test_send_and_recv_let_a_fast_world_go_ahead():
    with VectorWorld(numbered(4), workers=2) as vector:
        vector.reset(options=[{"episode": i} for i in range(4)])
        ticks = [0] * 4
        vector.send({i: [NEUTRAL] for i in range(4)})
        rounds = 0
        while rounds < 40 or (min(ticks) == 0 and rounds < 20_000):  # a busy machine may let one worker wait
            rounds += 1
            batch = vector.recv()
            for i, row in zip(batch.worlds, batch.pixels, strict=True):
                ticks[i] += 1
                assert read_numbers(row) == (i + 1, i, ticks[i])
            vector.send({i: [NEUTRAL] for i in batch.worlds})
        with pytest.raises(ValueError, match="has not answered yet"):
            vector.send({batch.worlds[0]: [NEUTRAL]})
        assert min(ticks) > 0


def test_misuse_is_refused_with_a_clear_error():
    with VectorWorld(numbered(2)) as vector:
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"reset\(worlds=\[0\]\)"):
            vector.step([NEUTRAL, NEUTRAL])
        with pytest.raises(ValueError, match="episode number"):
            vector.reset(options={"episode": -1})
        vector.reset()
        with pytest.raises(ValueError, match=r"world 1: .* is not in"):
            vector.step([NEUTRAL, Action(keys=frozenset({"F12"}))])
        pixels, *_ = vector.step([NEUTRAL, NEUTRAL])
        assert [read_numbers(row)[2] for row in pixels] == [1, 1], "a refused batch moves no world"
        with pytest.raises(ValueError, match="there is no world 7"):
            vector.send({7: [NEUTRAL]})
        with pytest.raises(ValueError, match="at least one action"):
            vector.step_chunk([[NEUTRAL], []])


def test_workers_killed_at_random_break_their_episodes_and_mix_none():
    rng = random.Random(7)
    kills, broken = 6, 0
    with VectorWorld(numbered(4), workers=2, restarts=kills, restart_interval=0) as vector:
        episodes, ticks = list(range(4)), [0] * 4
        _, infos = vector.reset(options=[{"episode": e} for e in episodes])
        numbers = 4
        for _ in range(kills):
            pid = rng.choice(infos).get("pid")
            if pid is not None:
                timer = threading.Timer(rng.uniform(0, 0.02), os.kill, (pid, signal.SIGKILL))
                timer.start()
            seen = False
            end = time.monotonic() + 5
            while not seen and time.monotonic() < end:
                started = time.monotonic()
                pixels, rewards, terminated, truncated, infos = vector.step([NEUTRAL] * 4)
                for i in range(4):
                    if infos[i].get("broken"):
                        seen, broken = True, broken + 1
                        assert time.monotonic() - started < 5, "a death is seen at once, not after the timeout"
                        assert truncated[i]
                        assert not terminated[i]
                        assert rewards[i] == 0
                        assert not pixels[i].any()
                    else:
                        ticks[i] += 1
                        assert read_numbers(pixels[i]) == (i + 1, episodes[i], ticks[i])
            timer.join()
            lost = [i for i in range(4) if truncated[i]]
            for i in lost:
                episodes[i], numbers, ticks[i] = numbers, numbers + 1, 0
            pixels, fresh = vector.reset(options=[{"episode": episodes[i]} for i in lost], worlds=lost)
            for i, row, info in zip(lost, pixels, fresh, strict=True):
                assert read_numbers(row) == (i + 1, episodes[i], 0)
                infos[i] = info
    assert broken == 2 * kills


def test_a_hung_worker_is_killed_after_its_time_and_its_neighbours_go_on():
    with VectorWorld([lambda: StuckWorld(1), lambda: StuckWorld(2)], workers=2, timeout=1.5) as vector:
        _, infos = vector.reset(options={"episode": 3})
        stuck = infos[0]["pid"]
        began = time.monotonic()
        pixels, _, _, truncated, infos = vector.step([Action(buttons=frozenset({"left"})), NEUTRAL])
        assert 1.4 <= time.monotonic() - began < 10
        assert truncated.tolist() == [True, False]
        assert infos[0]["broken"]
        assert "did not answer within 1.5 s" in infos[0]["why"]
        assert read_numbers(pixels[1]) == (2, 3, 1)
        assert not psutil.pid_exists(stuck)
        pixels, _ = vector.reset(options={"episode": 4}, worlds=[0])
        assert read_numbers(pixels[0]) == (1, 4, 0)
        with pytest.raises(WorkerError, match="twice within 60 s"):
            vector.step([Action(buttons=frozenset({"left"})), NEUTRAL])


def test_an_episode_that_was_idle_when_its_worker_died_is_reported_at_the_next_step():
    with VectorWorld(numbered(2), workers=1) as vector:
        _, infos = vector.reset()
        os.kill(infos[0]["pid"], signal.SIGKILL)
        vector.send({0: [NEUTRAL]})
        assert vector.recv().infos[0]["broken"]
        vector.send({1: [NEUTRAL]})
        batch = vector.recv()
        assert (batch.worlds, batch.infos[0]["broken"]) == ([1], True)
        with pytest.raises(gymnasium.error.ResetNeeded):
            vector.send({1: [NEUTRAL]})


def test_past_the_budget_the_error_tells_the_workers_last_words():
    with VectorWorld([CrashWorld], restarts=0) as vector:
        vector.reset()
        with pytest.raises(WorkerError, match=r"(?s)more than 0 times.*the dragon ate the world"):
            vector.step([NEUTRAL])
        with pytest.raises(WorkerError, match="past its budget"):
            vector.reset()


def test_a_world_that_cannot_be_made_says_so():
    def impossible() -> SquareWorld:
        raise OSError("no such game")

    with pytest.raises(WorkerError, match=r"(?s)while it made its worlds.*no such game"):
        VectorWorld([impossible])


def _gone(pids: list[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        alive = []
        for pid in pids:
            try:
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    alive.append(pid)
            except psutil.NoSuchProcess:
                pass
        if not alive:
            return True
        time.sleep(0.02)
    return False


def _orphans_of(script: str) -> list[int]:
    """Run `script` until it prints its line, SIGKILL it, and return the processes that it had."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    children = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    return children


@pytest.mark.parametrize(
    ("make", "processes"),
    [("worlds.SquareWorld", 2), ("envs.doom.world.DoomWorld", 4)],
)
def test_sigkill_of_the_parent_leaves_no_process(make: str, processes: int):
    module, name = make.rsplit(".", 1)
    script = f"""
        import time
        from {module} import {name}
        from envs.vector import VectorWorld
        vector = VectorWorld([{name}] * 2, workers=2)
        vector.reset(seeds=[0, 1])
        print("ready", flush=True)
        time.sleep(60)
    """
    children = _orphans_of(textwrap.dedent(script))
    assert len(children) == processes
    assert _gone(children, 5.0)  # it takes milliseconds, on a machine that has time


def test_sigkill_of_a_process_with_a_doom_world_ends_its_game():
    script = """
        import time
        from envs.doom.world import DoomWorld
        world = DoomWorld()
        world.reset(seed=0)
        print("ready", flush=True)
        time.sleep(60)
    """
    children = _orphans_of(textwrap.dedent(script))
    assert len(children) == 1
    assert _gone(children, 5.0)  # it takes milliseconds, on a machine that has time


def test_a_guarded_program_gets_its_arguments_and_exit_status():
    done = subprocess.run([guarded("/bin/sh"), "-c", 'echo "$1 $2"; exit 3', "sh", "a b", "c"], capture_output=True)
    assert (done.stdout, done.returncode) == (b"a b c\n", 3)


def test_spawn_outlives_the_thread_that_asked():
    got: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: got.append(spawn([guarded("/bin/sleep"), "30"])))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert got[0].poll() is None
    got[0].kill()
    got[0].wait()


def test_shared_memory_of_the_dead_is_swept():
    names = [f"LudensTest{os.getpid()}{end}" for end in ("old", "new", "used")]
    for name in names:
        Path("/dev/shm", name).write_bytes(b"x" * 4096)
    for name in (names[0], names[2]):
        os.utime(Path("/dev/shm", name), (1, 1))
    mapped = np.memmap(Path("/dev/shm", names[2]), mode="r+")
    try:
        assert sweep_shared_memory(f"LudensTest{os.getpid()}") == [names[0]]
        assert Path("/dev/shm", names[1]).exists()
        assert mapped[0] == ord("x")
    finally:
        for name in names:
            Path("/dev/shm", name).unlink(missing_ok=True)
