"""`Budget`: what a run may spend on models. It reserves before a request and settles after it, so that concurrent
requests together stay within the cap."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

from agent.models.base import OverBudgetError, Request, Usage
from agent.view import picture_tokens

_TEMPLATE_TOKENS = 64  # that a chat template adds, such as a default system message
_MESSAGE_TOKENS = 16  # that a chat template puts around a message


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens read, and written."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        return (usage.prompt * self.input + usage.completion * self.output) / 1e6


def estimate(request: Request) -> Usage:
    """The most that a request should take. A token is at least a byte, so this is a bound for text, and a generous
    guess for pictures, which every service counts in its own way."""
    prompt = _TEMPLATE_TOKENS
    if request.schema is not None:  # some services show it to the model and count its tokens
        prompt += len(json.dumps(dict(request.schema)))
    for message in request.messages:
        prompt += len(message.text.encode(errors="replace")) + _MESSAGE_TOKENS
        prompt += sum(picture_tokens(image.shape[0], image.shape[1]) for image in message.images)
    return Usage(prompt, request.max_tokens + (request.think or 0))


class Budget:
    """A cap on tokens and on dollars, shared by all models of a run and safe to share between threads.

    None: no cap. Raises ValueError for a negative one.
    """

    def __init__(self, tokens: int | None = None, dollars: float | None = None) -> None:
        if (tokens or 0) < 0 or (dollars or 0.0) < 0:
            raise ValueError(f"a budget of {tokens} tokens and {dollars} dollars: expected no negative ones")
        self.tokens, self.dollars = tokens, dollars
        self._lock = threading.Lock()
        self._spent = Usage()
        self._held = (0, 0.0)  # tokens and dollars of requests under way

    @property
    def spent(self) -> Usage:
        with self._lock:
            return self._spent

    def reserve(self, most: Usage) -> None:
        """Reserve what a request may take. Raises OverBudgetError where that could exceed a cap."""
        with self._lock:
            tokens, dollars = self._held[0] + most.tokens, self._held[1] + (most.dollars or 0.0)
            spent, paid = self._spent.tokens, self._spent.dollars or 0.0
            if self.tokens is not None and spent + tokens > self.tokens:
                raise OverBudgetError(
                    f"the run's {self.tokens:,} tokens are not enough: {spent:,} are spent, and this request may take "
                    f"{most.tokens:,}"
                )
            if self.dollars is not None and paid + dollars > self.dollars:
                raise OverBudgetError(
                    f"the run's {self.dollars:g} dollars are not enough: {paid:.4f} are spent, and this request may "
                    f"take {most.dollars or 0.0:.4f}"
                )
            self._held = tokens, dollars

    def settle(self, most: Usage, used: Usage) -> None:
        """Release what was reserved for a request, and count what it took."""
        with self._lock:
            self._held = self._held[0] - most.tokens, self._held[1] - (most.dollars or 0.0)
            self._spent = self._spent + used
