"""Play a world by hand: actions in, pixels out.

python examples/play_a_world.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from envs import plugins
from envs.action import Action

FORWARD = Action(keys=frozenset({"KeyW"}))
TURN_RIGHT = Action(look=(4.0, 0.0))  # degrees during one tick: yaw, pitch


def main(picture: Path = Path("doom.png")) -> None:
    world = plugins.load("world", "doom")()
    observation, info = world.reset(seed=7)
    print(f"{world.tick_hz:g} ticks a second, frames {observation['pixels'].shape}, {world.action_space}")
    for action in [FORWARD] * 20 + [TURN_RIGHT] * 20:
        observation, _, terminated, truncated, info = world.step(action)
        if terminated or truncated:
            break
    Image.fromarray(observation["pixels"]).save(picture)
    # Ground truth is for verifiers, experts and tests. A policy never gets it.
    state = info["state"]
    print(f"at ({state.x:.0f}, {state.y:.0f}) after {state.tick} ticks; {picture} shows the view")
    world.close()


if __name__ == "__main__":
    main()
