"""`small`: our own vision-language-action model, trained from nothing but our worlds."""

from agent.checkpoint import CheckpointError
from agent.small.policy import SmallPolicy, load_small

__all__ = ["CheckpointError", "SmallPolicy", "load_small"]
