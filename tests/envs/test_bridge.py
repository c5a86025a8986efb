"""The bridge: real guests in other Pythons, killed and hung at random points; nothing is mixed up or left behind."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.bridge.client import GuestError, Remote, RemoteError
from envs.bridge.server import Channel, ProtocolError
from envs.bridge.world import BridgeWorld
from envs.check import check_world
from envs.errors import UserError
from tests.support.guest_pythons import environment, find

GUESTS = Path(__file__).parents[2] / "tests" / "support" / "guests"
ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
FOUND = find()
SECOND = next(iter(FOUND), "")  # the oldest one: what is told of all is shown on it
CPYTHONS = [version for version in FOUND if not version.startswith("pypy")]
SHOWN = list(dict.fromkeys([*CPYTHONS[:1], *CPYTHONS[-1:], *(set(FOUND) - set(CPYTHONS))]))


FIXTURE_NEEDS = {"pythons": "second-python"}


@pytest.fixture(scope="session")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The interpreter of an environment for a version, made when it is first asked for."""
    made: dict[str, str] = {}

    def get(version: str) -> str:
        if version not in made:
            pytest.importorskip("uv", reason="uv is missing: pip install uv")
            made[version] = environment(version, FOUND[version], tmp_path_factory.mktemp("guest") / version)
        return made[version]

    return get


@pytest.fixture(scope="session")
def second(pythons: Callable[[str], str]) -> str:
    return pythons(SECOND)


@pytest.fixture
def echo(second: str) -> Iterator[Callable[..., Remote]]:
    """Makes remotes of the Echo world in the second Python, with restarts for the asking."""
    with contextlib.ExitStack() as stack:

        def make(world: str = "guest_worlds:Echo", **options: Any) -> Remote:
            options = {"python": second, "path": [GUESTS], "restarts": 1000, "restart_interval": 0.0, **options}
            return stack.enter_context(Remote(world, **options))

        yield make


def call(remote: Remote, name: str, *arguments: Any, timeout: float | None = None) -> Any:
    return remote.call("call", name, list(arguments), {}, timeout=timeout)


def gone(pid: int, within: float = 5.0) -> bool:
    """Whether a process has ended; one that waits to be reaped has."""
    for _ in range(int(within / 0.02)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def leftovers() -> list[str]:
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return [str(path) for place in places for path in place.glob(f"ludens-bridge-{os.getpid()}-*")]


# What is served


@pytest.mark.parametrize("version", SHOWN or ["none"])
def test_a_world_in_another_python_keeps_the_contract(version: str, pythons: Callable[[str], str]) -> None:
    def make() -> BridgeWorld:
        return BridgeWorld(Remote("guest_worlds:Painter", python=pythons(version), path=[GUESTS]))

    world = make()
    assert world.remote.facts["python"].startswith(version.removeprefix("pypy"))
    assert int(world.remote.facts["numpy"].split(".")[0]) < 2 or version == "3.13"
    world.close()
    assert check_world(make, episodes=2, ticks=45) == []
    assert leftovers() == []


@pytest.mark.parametrize("transport", ["unix", "tcp"])
@pytest.mark.parametrize("memory", [16 << 20, 0], ids=["shared", "inline"])
def test_frames_and_values_cross_unchanged(echo: Callable[..., Remote], transport: str, memory: int) -> None:
    remote = echo(transport=transport, memory=memory)
    said = call(remote, "version")
    assert said[0] != list(sys.version_info[:2])
    for number in range(5):
        answer = call(remote, "paint", number)
        assert answer["frame"].shape == (480, 640, 3)
        assert (answer["frame"] == number).all()
        assert answer["small"].tolist() == [number]
    odd = call(remote, "odd")
    assert odd["scalars"] == [0.5, -3, True]
    assert odd["set"] == [1, 3]
    assert odd["empty"].shape == (0, 4)
    assert odd["object"].startswith("<object object")
    for dtype in ("u1", "<i8", ">f4", "<c16", "?"):
        sent = np.arange(6).reshape(2, 3).astype(dtype)
        back = call(remote, "back", sent)
        assert back.dtype == sent.dtype
        assert np.array_equal(back, sent)
    assert call(remote, "back", np.float64(2.5)) == 2.5
    assert call(remote, "back", {"a": [1, None, "ä", b"b"]}) == {"a": [1, None, "ä", b"b"]}


def test_a_frame_beyond_the_shared_memory_travels_over_the_socket(echo: Callable[..., Remote]) -> None:
    remote = echo(memory=100_000)
    assert (call(remote, "paint", 9)["frame"] == 9).all()


def test_old_gym_is_made_new(echo: Callable[..., Remote]) -> None:
    world = BridgeWorld(
        echo("guest_worlds:Gymlike"),
        action_space=KeyboardMouse(("KeyW", "KeyD"), ()),
        encode=lambda action: np.array([int("KeyW" in action.keys), 2 * ("KeyD" in action.keys)]),
    )
    nvec = world.remote.description["action_space"]["nvec"]
    assert nvec.tolist() == [3, 5]
    observation, info = world.reset(seed=42)
    assert info == {}
    assert observation["pixels"].shape == (16, 20, 3)
    assert observation["pixels"][3, 3].tolist() == [42, 0, 0]
    observation, reward, terminated, truncated, _ = world.step(Action(keys=frozenset({"KeyW", "KeyD"})))
    assert (reward, terminated, truncated) == (3.0, False, False)
    assert observation["pixels"][3, 3].tolist() == [42, 1, 0]
    for _ in range(4):
        _, _, terminated, truncated, _ = world.step(NEUTRAL)
    assert (terminated, truncated) == (True, False)
    with pytest.raises(gymnasium.error.ResetNeeded):
        world.step(NEUTRAL)
    with pytest.raises(ValueError, match="takes no reset options, and got: level"):
        world.reset(seed=1, options={"level": 3})


def test_a_world_of_ours_in_another_process_is_the_same_world() -> None:
    from tests.support.worlds import SquareWorld

    def bridged() -> BridgeWorld:
        return BridgeWorld(Remote("worlds:SquareWorld", path=[SUPPORT, ROOT], arguments={"length": 30}))

    local, remote = SquareWorld(length=30), bridged()
    assert remote.action_space == local.action_space
    assert remote.observation_space == local.observation_space
    local.action_space.seed(3)
    ours, _ = local.reset(seed=5)
    theirs, info = remote.reset(seed=5)
    assert info["state"] == {"x": local.x, "y": local.y}
    for _ in range(30):
        assert np.array_equal(ours["pixels"], theirs["pixels"])
        action = local.action_space.sample()
        (ours, *rest), (theirs, *their_rest) = local.step(action), remote.step(action)
        assert rest == their_rest
    remote.close()
    assert check_world(bridged, episodes=1, ticks=35) == []


def test_the_example_of_the_documentation_runs(second: str, tmp_path: Path) -> None:
    game, use = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "bridge.md").read_text(), re.DOTALL)
    (tmp_path / "my_game.py").write_text(game)
    names: dict[str, Any] = {}
    exec(use.replace("/opt/old/bin/python", second).replace("/home/me/games", str(tmp_path)), names)
    level = names["info"]["state"]["level"]
    *_, info = names["world"].step(Action(keys=frozenset({"KeyW"})))
    assert info["state"]["level"] == level + 1
    names["world"].close()


# What goes wrong


def test_what_raises_there_raises_here_and_the_guest_lives(echo: Callable[..., Remote]) -> None:
    remote = echo()
    pid = remote.call("call", "version", [], {}) and remote.facts["pid"]
    with pytest.raises(RemoteError, match="KeyError: 'no such thing'") as caught:
        call(remote, "fail")
    assert "in fail" in caught.value.trace
    for name in ("_private", "__class__", "shape._x"):
        with pytest.raises(RemoteError, match="is private"):
            remote.call("get", name)
    with pytest.raises(RemoteError, match="over the limit"):
        call(remote, "huge", (64 << 20) + 1)
    assert call(remote, "back", 1) == 1
    assert remote.facts["pid"] == pid


def test_a_message_too_large_to_send_is_refused_before_it_is_sent(echo: Callable[..., Remote]) -> None:
    with pytest.raises(GuestError, match="over the limit"):
        call(echo(), "back", b"x" * ((64 << 20) + 1))


def test_the_last_words_are_in_the_error(echo: Callable[..., Remote]) -> None:
    remote = echo()
    with pytest.raises(GuestError, match=r"(?s)died in call; its last words:.*I go now"):
        call(remote, "leave")
    with pytest.raises(RemoteError, match="OSError: there is no jar"):
        echo("guest_worlds:Broken").start()
    with pytest.raises(UserError, match="Nothing can't be made in the guest: AttributeError"):
        BridgeWorld(echo("guest_worlds:Nothing"))
    with pytest.raises(UserError, match="shows no picture 'pixels'"):
        BridgeWorld(echo())
    with pytest.raises(UserError, match="can't be started"):
        echo(python="/nowhere/python").start()
    with pytest.raises(GuestError, match=r"(?s)died in start.*something broke"):
        echo(python=[sys.executable, "-c", "raise SystemExit('something broke')"]).start()
    with pytest.raises(UserError, match="expected the world as package"):
        Remote("guest_worlds")


def test_a_hang_is_ended_in_time(echo: Callable[..., Remote]) -> None:
    remote = echo("guest_worlds:Silent", start_timeout=1.5)
    start = time.monotonic()
    with pytest.raises(GuestError, match=r"did not answer \w+ within 1.5 s"):
        remote.start()
    assert 1.4 < time.monotonic() - start < 4.0
    remote = echo()
    child = call(remote, "child")
    start = time.monotonic()
    with pytest.raises(GuestError, match=r"did not answer call within 0.5 s"):
        call(remote, "paint", 1, 60.0, timeout=0.5)
    assert 0.45 < time.monotonic() - start < 2.0
    assert gone(child)
    assert (call(remote, "paint", 2)["frame"] == 2).all()


def test_the_budget_of_restarts(echo: Callable[..., Remote]) -> None:
    remote = echo(restarts=2)
    for _ in range(3):
        with pytest.raises(GuestError, match="died"):
            call(remote, "leave")
    with pytest.raises(GuestError, match="started anew 2 times: no more"):
        call(remote, "back", 1)
    hasty = echo(restart_interval=60.0)
    for _ in range(2):
        with pytest.raises(GuestError, match="died"):
            call(hasty, "leave")
    with pytest.raises(GuestError, match="failed twice within 60 s"):
        call(hasty, "back", 1)
    assert hasty.started == 2


def test_killed_and_hung_at_random_points_every_frame_belongs_to_its_request(echo: Callable[..., Remote]) -> None:
    faults = int(os.environ.get("LUDENS_BRIDGE_FAULTS", "24"))
    rng = random.Random(4)
    remote = echo(timeout=0.4)
    pids, number, answered, lost = set(), 0, 0, 0
    served = 0
    call(remote, "back", 0)
    for fault in range(faults):
        pid = remote.facts["pid"]
        pids.add(pid)
        what = signal.SIGSTOP if fault % 3 == 2 else signal.SIGKILL
        timer = threading.Timer(rng.uniform(0.0, 0.1), os.kill, (pid, what))
        timer.start()
        try:
            while True:
                number += 1
                answer = call(remote, "paint", number, rng.choice([0.0, 0.0, 0.005]))
                assert answer["number"] == number
                assert answer["small"].tolist() == [number]
                assert (answer["frame"] == number % 251).all()
                served += 1
                assert answer["served"] == served  # the guest that was asked is the one that counts
                answered += 1
        except GuestError:
            lost += 1
            served = 0
        timer.join()
        assert gone(pid)
        number += 1
        call(remote, "paint", number, timeout=30.0)  # starts the next one
        served = 1
    assert lost == faults == len(pids)
    assert remote.started == faults + 1
    assert answered > 0
    remote.close()
    assert leftovers() == []


def test_a_lost_episode_ends_as_broken_and_reset_goes_on(second: str) -> None:
    remote = Remote("guest_worlds:Painter", python=second, path=[GUESTS], restart_interval=0.0, timeout=0.5)
    world = BridgeWorld(remote)
    for what in (signal.SIGKILL, signal.SIGSTOP):
        _, info = world.reset(seed=3, options={"episode": 7})
        world.step(Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"})))
        assert world.held == (frozenset({"KeyW"}), frozenset({"left"}))
        os.kill(info["pid"], what)
        observation, reward, terminated, truncated, info = world.step(NEUTRAL)
        assert (reward, terminated, truncated, info["broken"]) == (0.0, False, True, True)
        assert "the guest of guest_worlds:Painter" in info["why"]
        assert not observation["pixels"].any()
        assert world.held == (frozenset(), frozenset())
        with pytest.raises(gymnasium.error.ResetNeeded):
            world.step(NEUTRAL)
    _, info = world.reset(seed=3)
    os.kill(info["pid"], signal.SIGKILL)
    observation, again = world.reset(seed=3, options={"episode": 9})  # no episode is lost: nobody is told
    assert observation["pixels"][0, 0, 0] == 9
    assert again["pid"] != info["pid"]
    world.close()
    world.close()


def test_nothing_is_left_when_the_client_is_killed(tmp_path: Path, second: str) -> None:
    script = (
        "import sys, time\n"
        "from envs.bridge.client import Remote\n"
        f"remote = Remote('guest_worlds:Echo', python={second!r}, path=[{str(GUESTS)!r}])\n"
        "print(remote.call('call', 'child', [], {}), remote.facts['pid'], flush=True)\n"
        "remote.call('call', 'paint', [1, 600.0], {}, timeout=600.0)\n"
    )
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert client.stdout is not None
    pids = [int(word) for word in client.stdout.readline().split()]
    client.kill()
    client.wait()
    client.stdout.close()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
    assert not list(Path("/dev/shm").glob(f"ludens-bridge-{client.pid}-*"))


def test_a_guest_clears_up_when_it_is_closed(echo: Callable[..., Remote], tmp_path: Path) -> None:
    remote = echo()
    call(remote, "leave_a_note", str(tmp_path / "note"))
    child, litter = call(remote, "child"), Path(call(remote, "litter"))
    assert litter.is_dir()
    pid = remote.facts["pid"]
    remote.close()
    assert not litter.exists()
    assert (tmp_path / "note").read_text() == "bye"
    assert gone(pid)
    assert gone(child)
    remote.close()


def test_folders_of_killed_clients_are_swept_after_a_day(
    echo: Callable[..., Remote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young, ours = (tmp_path / f"ludens-bridge-{pid}-abc" for pid in (2**22 + 1, 2**22 + 2, os.getpid()))
    for folder in (old, young, ours):
        (folder / "run").mkdir(parents=True)
    for folder in (old, ours):
        os.utime(folder, (0, 0))
    echo().start()
    assert (old.exists(), young.exists(), ours.exists()) == (False, True, True)


def test_an_interrupted_call_is_not_answered_later(echo: Callable[..., Remote]) -> None:
    remote = echo()
    call(remote, "back", 0)
    timer = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call(remote, "paint", 1, 5.0)
    timer.join()
    assert call(remote, "paint", 2)["number"] == 2


def test_strangers_are_hung_up_on(echo: Callable[..., Remote], second: str) -> None:
    """Whoever finds the port, and lacks the token, gets no world; the guest gets through all the same."""
    code = f"""
import msgpack, os, socket, struct, sys
host, port = sys.argv[2].split(":")
for body in (msgpack.packb(["ludens-bridge", 1, "0" * 64, {{}}]), msgpack.packb("hello"), b"\\xc1", b"x" * 5000):
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(struct.pack(">I", len(body)) + body)
        try:
            assert stranger.recv(100) == b""
        except ConnectionResetError:
            pass
os.execv({second!r}, [{second!r}, *sys.argv[1:]])
"""
    assert call(echo(python=[second, "-c", code], transport="tcp"), "back", 5) == 5


# The wire by itself


def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return Channel(ours, limit=1 << 16), Channel(theirs, limit=1 << 16)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(body: bytes) -> None:
    ours, theirs = pair()
    ours.memory = np.zeros(64, np.uint8)
    with contextlib.suppress(ProtocolError):
        ours.decode(body)
    for code in (1, 2, 3):
        with contextlib.suppress(ProtocolError):
            ours.decode(msgpack.packb(msgpack.ExtType(code, body)))
    ours.close()
    theirs.close()


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["|u1", "<f4", "<i9", "|O", "<V8", "", 3]),
    st.lists(st.integers(-2, 2**40), max_size=4) | _values,
    st.integers(-10, 100) | st.binary(max_size=70) | _values,
)
def test_arrays_that_lie_about_themselves_are_refused(dtype: Any, shape: Any, where: Any) -> None:
    ours, theirs = pair()
    ours.memory = np.arange(64, dtype=np.uint8)
    for code in (1, 2):
        try:
            array = ours.decode(msgpack.packb(msgpack.ExtType(code, msgpack.packb([dtype, shape, where]))))
        except ProtocolError:
            continue
        assert array.nbytes <= 70
        assert list(array.shape) == shape
    ours.close()
    theirs.close()


@settings(max_examples=200, deadline=None)
@given(_values)
def test_plain_values_cross_unchanged(value: Any) -> None:
    ours, theirs = pair()
    ours.send(value, time.monotonic() + 5.0)
    assert theirs.receive(time.monotonic() + 5.0) == value
    ours.close()
    theirs.close()


def test_oversize_short_and_late_messages_are_refused_by_name() -> None:
    ours, theirs = pair()
    with pytest.raises(ProtocolError, match="over the limit of 65536"):
        ours.send(b"x" * 70_000)
    ours.sock.sendall(struct.pack(">I", 1 << 31))
    with pytest.raises(ProtocolError, match="a message of 2147483648 bytes is over the limit"):
        theirs.receive()
    ours.sock.sendall(struct.pack(">I", 10) + b"half")
    with pytest.raises(TimeoutError):
        theirs.receive(time.monotonic() + 0.05)
    ours, theirs = pair()
    ours.sock.sendall(struct.pack(">I", 10) + b"half")
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()


def test_another_version_is_told(second: str, tmp_path: Path) -> None:
    """A copy of the guest's file that speaks version 2, and one whose client does."""
    source = (ROOT / "envs" / "bridge" / "server.py").read_text()
    copy = tmp_path / "server.py"
    copy.write_text(source.replace("VERSION = 1", "VERSION = 2"))
    wrapper = f"import os, sys; os.execv({second!r}, [{second!r}, {str(copy)!r}, *sys.argv[2:]])"
    with (
        Remote("guest_worlds:Echo", python=[second, "-c", wrapper], path=[GUESTS]) as remote,
        pytest.raises(GuestError, match="speaks version 2 of the bridge; expected 1"),
    ):
        remote.start()
