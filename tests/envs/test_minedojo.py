"""Minecraft through the real MineDojo in its own Python; the game's process alone is stood in for (docs/bridge.md)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import minedojo
from envs.action import NEUTRAL, Action
from envs.bridge import setup
from envs.bridge.client import Remote
from envs.check import check_world
from envs.errors import UserError
from envs.minedojo import NVEC, MineDojoWorld

GUESTS = Path(__file__).parents[2] / "tests" / "support" / "guests"
ITEMS = [[1, "wooden_pickaxe", 1], [2, "dirt", 3], [3, "log", 2], [5, "log", 1]]


class Kept(Remote):
    """One guest for many worlds, since MineDojo takes seconds to import: closing a world leaves it."""

    def close(self) -> None:
        pass


def remote(task: str = "open-ended", kind: type[Remote] = Remote, **options: Any) -> Remote:
    arguments = {"task_id": task, "image_size": [96, 128], **options}
    python = setup.guest_python("minedojo")
    return kind("minecraft_standin:make", arguments=arguments, python=python, path=[GUESTS], start_timeout=300.0)


FIXTURE_NEEDS = {"guest": "minedojo"}


@pytest.fixture(scope="module")
def guest() -> Iterator[Remote]:
    kept = remote("open-ended", Kept, items=ITEMS)
    yield kept
    Remote.close(kept)


@pytest.fixture
def world(guest: Remote) -> MineDojoWorld:
    made = MineDojoWorld(connect=lambda task: guest)
    made.reset(seed=1)
    return made


def keys(*names: str) -> Action:
    return Action(keys=frozenset(names))


def done(info: dict[str, Any], back: int = 0) -> dict[str, str]:
    """What the game was told, as words of Malmo; `back` ticks of the game ago."""
    return info["state"]["info"]["commands"][-1 - back]


def hand(info: dict[str, Any]) -> str:
    return info["state"]["inventory"]["name"][0]


def test_it_keeps_the_contract(guest: Remote) -> None:
    assert check_world(lambda: MineDojoWorld(connect=lambda task: guest), episodes=1, ticks=40) == []


def test_the_spaces_are_minedojos_own(guest: Remote) -> None:
    described = guest.description
    assert tuple(described["action_space"]["nvec"].tolist()) == NVEC
    assert described["observation_space"]["spaces"]["rgb"]["shape"] == [3, 96, 128]
    world = MineDojoWorld(connect=lambda task: guest)
    assert world.observation_space["pixels"].shape == (96, 128, 3)
    assert (world.tick_hz, world.realtime, world.deterministic) == (20.0, False, False)
    assert len(world.crafts()) == NVEC[6]


def test_the_picture_is_upright(world: MineDojoWorld) -> None:
    observation, _, _, _, info = world.step(NEUTRAL)
    pixels = observation["pixels"]
    assert (pixels[0] == (135, 206, 235)).all(axis=1).any()  # the sky is above
    assert pixels[-20, 0, 1] > pixels[-20, 0, 2]  # and grass below
    assert "rgb" not in info["state"]
    assert set(info["state"]) >= {"inventory", "equipment", "life_stats", "location_stats", "nearby_tools", "masks"}


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (("KeyW",), {"forward"}),
        (("KeyS",), {"back"}),
        (("KeyW", "KeyS"), set()),
        (("KeyA",), {"left"}),
        (("KeyD",), {"right"}),
        (("KeyA", "KeyD", "KeyW"), {"forward"}),
        (("Space", "KeyW", "KeyA"), {"jump", "forward", "left"}),
        (("ShiftLeft",), {"sneak"}),
        (("ControlLeft", "KeyW"), {"sprint", "forward"}),
        (("Space", "ControlLeft"), {"jump"}),
    ],
)
def test_keys_walk(world: MineDojoWorld, held: tuple[str, ...], told: set[str]) -> None:
    *_, info = world.step(keys(*held))
    assert set(done(info)) - {"camera"} == told
    assert world.held == (frozenset(held), frozenset())


def test_buttons_attack_and_use(world: MineDojoWorld) -> None:
    *_, info = world.step(Action(buttons=frozenset({"left"})))
    assert done(info)["attack"] == "1"
    *_, info = world.step(Action(buttons=frozenset({"right"})))
    assert done(info)["use"] == "1"
    *_, info = world.step(Action(buttons=frozenset({"left", "right"})))
    assert "use" not in done(info)


def test_the_camera_turns_in_steps_and_carries_the_rest(world: MineDojoWorld) -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(2)
    for _ in range(60):
        yaw, pitch = (float(angle) for angle in rng.normal(0, 6, 2))
        total += yaw, pitch
        *_, info = world.step(Action(look=(yaw, pitch)))
        seen = info["state"]["location_stats"]
        turned = float(seen["yaw"][0]) % 360, -float(seen["pitch"][0])  # Minecraft's pitch grows downwards
        assert abs((turned[0] - total[0] + 180) % 360 - 180) <= 7.51
        assert abs(turned[1] - total[1]) <= 7.51 or abs(turned[1]) == 90
    world.reset(seed=1)
    world.step(Action(look=(7.0, 0.0)))
    world.reset(seed=1)  # an episode begins with nothing carried over
    *_, info = world.step(Action(look=(7.0, 0.0)))
    assert info["state"]["location_stats"]["yaw"][0] == 0.0


def test_number_keys_take_a_slot_into_the_hand_once(world: MineDojoWorld) -> None:
    *_, info = world.step(keys("Digit2"))
    assert hand(info) == "wooden pickaxe"
    assert done(info, back=2)["equip"] == "wooden_pickaxe"
    *_, info = world.step(keys("Digit2"))  # still down: nothing more
    assert "equip" not in done(info)
    *_, info = world.step(keys("Digit3"))
    assert hand(info) == "dirt"
    *_, info = world.step(keys("Digit9"))
    assert info["refused"] == ["equip 8: the inventory has nothing to equip there"]
    assert hand(info) == "dirt"
    *_, info = world.step(keys("Digit1"))  # the hand itself
    assert info["refused"] == []


def test_drop_needs_something_in_the_hand(world: MineDojoWorld) -> None:
    *_, info = world.step(keys("KeyQ"))
    assert info["refused"] == ["drop: the hand is empty"]
    world.step(keys("Digit3"))
    *_, info = world.step(keys("KeyQ"))
    assert info["state"]["inventory"]["quantity"][0] == 2
    *_, info = world.step(keys("KeyQ"))
    assert info["state"]["inventory"]["quantity"][0] == 2


def test_commands_craft_place_equip_and_destroy(world: MineDojoWorld) -> None:
    world.command("craft", "planks")
    world.command("craft", "stick")
    world.command("place", "dirt")
    world.command("destroy", 5)
    world.command("equip", "wooden pickaxe")
    inventory: dict[str, float] = {}
    for _ in range(5):
        *_, info = world.step(Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"})))
        assert info["refused"] == []
        names, quantities = info["state"]["inventory"]["name"], info["state"]["inventory"]["quantity"]
        inventory = dict(zip(names, quantities.tolist(), strict=True))
    assert hand(info) == "wooden pickaxe"
    assert inventory["planks"] == 2
    assert inventory["stick"] == 4
    assert inventory["dirt"] == 2
    assert names.count("log") == 1
    *_, info = world.step(Action(buttons=frozenset({"left"})))  # the queue is empty: the hand is free again
    assert "attack" in done(info)


def test_what_the_masks_forbid_is_told_and_not_done(world: MineDojoWorld) -> None:
    for name in ("equip", "place", "destroy"):
        for slot in range(NVEC[7]):
            world.command(name, slot)
        world.command(name, "diamond_sword")
    for item in ("furnace", "planks", "iron_ingot", "wooden_pickaxe"):
        world.command("craft", item)
    told = []
    for _ in range(3 * (NVEC[7] + 1) + 4):
        *_, terminated, _, info = world.step(NEUTRAL)
        assert not terminated
        told += info["refused"]
    assert "place diamond_sword: the inventory has nothing to place there" in told
    assert "craft iron_ingot: its ingredients, the table or the furnace are missing" in told
    assert len(told) > 90
    with pytest.raises(ValueError, match="unknown command 'fly'; known: craft, equip, place, destroy"):
        world.command("fly", 1)
    with pytest.raises(ValueError, match="'bedrock' can't be crafted; MineDojo knows 244 items"):
        world.command("craft", "bedrock")
    with pytest.raises(ValueError, match="there is no slot 36; expected 0 to 35"):
        world.command("equip", 36)


def test_anything_at_random_never_raises(world: MineDojoWorld) -> None:
    rng = np.random.default_rng(3)
    world.action_space.seed(3)
    crafts = world.crafts()
    for _ in range(150):
        if rng.random() < 0.4:
            name = str(rng.choice(["craft", "equip", "place", "destroy"]))
            world.command(name, str(rng.choice(crafts)) if name == "craft" else int(rng.integers(36)))
        world.step(world.action_space.sample())


def test_a_task_tells_its_instruction_and_its_end(guest: Remote) -> None:
    del guest  # that MineDojo is set up
    made: list[str] = []

    def connect(task: str) -> Remote:
        made.append(task)
        return remote(task, items=[[0, "dirt", 9]], length=4 if task == "creative:3" else 1000)

    world = MineDojoWorld("harvest_milk", connect=connect)
    _, info = world.reset(seed=0)
    assert info["instruction"] == "obtain milk from a cow"
    with pytest.raises(ValueError, match="unknown task 'harvest_milkshake'"):
        world.reset(options={"task": "harvest_milkshake"})
    with pytest.raises(ValueError, match="unknown reset option 'level'; known: task"):
        world.reset(options={"level": 1})
    _, info = world.reset(seed=0, options={"task": "creative:3"})
    assert info["instruction"] == "Explore the world to find river."
    assert made == ["harvest_milk", "creative:3"]
    world.step(NEUTRAL)
    last, *_ = world.step(NEUTRAL)
    # two ticks are left, and a drop takes three: MineDojo raises, the world reports the end
    observation, reward, terminated, truncated, info = world.step(keys("KeyQ"))
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert np.array_equal(observation["pixels"], last["pixels"])
    world.close()


def test_all_tasks_are_listed(guest: Remote) -> None:
    del guest  # that MineDojo is set up
    told = minedojo.tasks()
    assert len(told) == 3131
    assert told["harvest_milk"] == "obtain milk from a cow"
    assert sum(task.startswith("creative:") for task in told) == 1558


# Setting up


def test_what_is_not_set_up_says_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(UserError, match="minedojo has no environment yet: agent env setup minedojo"):
        MineDojoWorld()
    with pytest.raises(ValueError, match="cam_interval is 7; expected a divisor of 180"):
        MineDojoWorld(cam_interval=7)
    with pytest.raises(UserError, match="there is no guest 'quake' to set up; known: minedojo"):
        setup.install("quake")
    with pytest.raises(UserError, match=r"needs Python 3.11 or 3.10 or 3.9, and /bin/sh is not; name one"):
        setup.install("minedojo", python="/bin/sh")


@pytest.mark.slow
def test_setting_up_tells_each_step_and_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    steps: list[str] = []
    recipe = setup.Recipe(
        pythons=(f"3.{sys.version_info.minor}",),
        steps=(("nothing much", "--help"), ("a package", f"--no-index {tmp_path}/missing.whl"), ("more", "--help")),
        check="print('it works')",
    )
    monkeypatch.setitem(setup.RECIPES, "broken", recipe)
    with pytest.raises(UserError, match=r"a package failed: .*missing.whl.*\(all of it: .*setup.log\)"):
        setup.install("broken", tell=steps.append)
    assert steps[1:] == ["1 of 3: nothing much", "2 of 3: a package"]
    with pytest.raises(UserError, match="no environment yet"):
        setup.guest_python("broken")


def test_the_command_sets_up_and_says_what_is_wrong(guest: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    del guest  # that MineDojo is set up
    from agent import cli

    assert cli.run(["env", "setup", "minedojo"]) == 0
    assert "minedojo is set up: 3131 tasks" in capsys.readouterr().out
    assert cli.run(["env", "setup", "quake"]) == 2
    assert capsys.readouterr().err == "agent: there is no guest 'quake' to set up; known: minedojo\n"
