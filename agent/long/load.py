"""`load_long`: a model by name as the planner of long errands."""

from __future__ import annotations

from typing import Any

from agent.capabilities import SpeakingPolicy
from agent.long.critic import ChatEyes, SmallEyes
from agent.long.harness import LongPlanner
from agent.long.small import SmallThinker
from agent.long.thinker import ChatThinker
from agent.models.load import load_model
from agent.models.small import SmallBackend
from agent.talk.planner import SEEN
from agent.talk.voice import PolicyVoice
from agent.view import read_view
from envs.errors import UserError


def load_long(name: str, policy: Any, *, view: str = "") -> LongPlanner:
    """The model called `name` as thinker, judge and critic of a long errand. `policy`: who plays; if it describes
    frames, as `small` does, the map holds what it saw. `view`: what a chat model is shown. Raises UserError."""
    seen = read_view(view, SEEN)
    model = load_model(name)
    describe = PolicyVoice(policy).describe if isinstance(policy, SpeakingPolicy) else None
    ways = getattr(policy, "ways", True)  # what is not read need not be reckoned before every decision
    if not isinstance(model.backend, SmallBackend):
        eyes = ChatEyes(model, seen)
        return LongPlanner(ChatThinker(model, view=seen), describe=describe, judge=eyes, critic=eyes, ways=ways)
    if view:
        raise UserError(f"planner {name!r} sees what it was made for; leave --planner-view out")
    if describe is None:
        raise UserError("--planner small --long needs a player that describes what it sees; take --policy small")
    small = SmallEyes(model)
    return LongPlanner(SmallThinker(model), describe=describe, judge=small, critic=small, ways=ways)
