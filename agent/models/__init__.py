"""Chat and vision-language models behind one protocol: `load_model(NAME).chat("...")`."""

from agent.models.base import (
    BadReplyError,
    ChatModel,
    Delta,
    Message,
    ModelError,
    OverBudgetError,
    RateLimitedError,
    RefusedError,
    Reply,
    Request,
    UnavailableError,
    Usage,
)
from agent.models.budget import Budget, Price
from agent.models.load import load_model
from agent.models.model import Model

__all__ = [
    "BadReplyError",
    "Budget",
    "ChatModel",
    "Delta",
    "Message",
    "Model",
    "ModelError",
    "OverBudgetError",
    "Price",
    "RateLimitedError",
    "RefusedError",
    "Reply",
    "Request",
    "UnavailableError",
    "Usage",
    "load_model",
]
