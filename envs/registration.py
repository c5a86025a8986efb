"""Gymnasium ids for every world that is installed: importing this module registers `ludens/NAME-v0`.

    import gymnasium, envs.registration
    gymnasium.make("ludens/doom-v0")               # or at once: gymnasium.make("envs.registration:ludens/doom-v0")

A module of its own, since importing Gymnasium takes longer than answering `agent --help`. No world is imported before
it is made. What `gymnasium.make` returns is wrapped by Gymnasium; `env.unwrapped` is the `World`.
"""

from __future__ import annotations

import gymnasium

from envs import plugins

for _name, _entry in plugins.entries("world").items():
    gymnasium.register(id=f"ludens/{_name}-v0", entry_point=_entry.value)
