"""`small`: our own vision-language-action model, trained from nothing but our worlds."""

from agent.small.policy import CheckpointError, SmallPolicy, load_small

__all__ = ["CheckpointError", "SmallPolicy", "load_small"]
