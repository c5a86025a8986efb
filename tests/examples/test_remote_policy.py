"""Policies that know nothing of Ludens play its worlds over the websocket."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from agent import cli
from agent.policy import Context
from agent.serve.remote import RemotePolicy
from envs.action import Action
from envs.errors import UserError
from examples import remote_policy as example
from training.data.episodes import find_episodes, read_episode

TOKEN = "a" * 32


@contextmanager
def served(decide: example.Decide) -> Iterator[str]:
    """The address of a server."""
    with example.policy_server(decide, 0, TOKEN) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def test_nothing_of_ludens_is_imported() -> None:
    tree = ast.parse(Path(example.__file__).read_text())
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "msgpack" in names
    assert not {name.partition(".")[0] for name in names} & {"agent", "envs", "tasks", "rewards", "training"}


def test_it_is_played_by_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noting(pixels: example.Pixels, instruction: str, seed: int) -> list[example.Action]:
        asked.append(instruction)
        return example.colours(pixels, instruction, seed)

    monkeypatch.setenv("LUDENS_TOKEN", TOKEN)
    with served(noting) as address:
        play = ["play", "go to the red torch", "--policy", f"remote:{address}", "--seed", "3"]
        assert cli.run([*play, "--time-limit", "1", "--no-page", "--out", str(tmp_path / "run")]) == 0
    assert set(asked) == {"go to the red torch"}
    (path,) = find_episodes(tmp_path / "run")
    assert len(asked) * example.TICKS >= len(read_episode(path).actions()) >= example.TICKS


def test_it_turns_to_the_colour_that_is_named_and_refuses_a_wrong_token() -> None:
    picture = np.full((120, 160, 3), 90, np.uint8)
    picture[50:70, 120:130] = (200, 20, 20)
    picture[50:70, 78:82] = (20, 200, 20)
    with served(example.colours) as address:
        policy = RemotePolicy(address, TOKEN)
        red, green, none = policy.act(
            [Context(frames=(picture,), instruction=f"{what}") for what in ("go to the red key", "shoot green", "go")]
        )
        policy.close()
        with pytest.raises(UserError, match="refuses the token"):
            RemotePolicy(address, "b" * 32)
    assert red.actions[0].look[0] == pytest.approx(90 * (124.5 / 159 - 0.5) / 4, abs=0.1)
    assert green.actions[0].buttons == {"left"}
    assert none.actions[0].keys == {"KeyW"}


def test_a_policy_of_stable_baselines3_plays(tmp_path: Path) -> None:
    import gymnasium
    from stable_baselines3 import PPO

    class Grey(gymnasium.Env[np.ndarray, int]):
        observation_space = gymnasium.spaces.Box(0, 255, (60, 80, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(len(example.NUMBERED))

    model = PPO("CnnPolicy", Grey(), device="cpu", seed=0)
    model.save(tmp_path / "ppo.zip")
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    number, _ = model.predict(picture[::2, ::2], deterministic=True)
    with served(example.stable_baselines3(str(tmp_path / "ppo.zip"))) as address:
        policy = RemotePolicy(address, TOKEN)
        (decision,) = policy.act([Context(frames=(picture,), instruction="go")])
        policy.close()
    assert [{k: v for k, v in a.to_json().items() if v} for a in decision.actions] == [
        example.NUMBERED[int(number)]
    ] * 4


def test_the_table_of_actions_is_that_of_the_training_example() -> None:
    from examples import stable_baselines3_ppo

    assert tuple(Action.from_json(action) for action in example.NUMBERED) == stable_baselines3_ppo.ACTIONS
