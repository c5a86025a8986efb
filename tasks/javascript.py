"""`JavaScript`: a verifier for games in a browser, by expressions that the world evaluates in the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.verdict import Verdict


class JavaScript:
    """Success once the expression `success` holds; failure once `failure` does. Text that one gives is the reason.

    It never sees the page: the world evaluates the expressions, which the task's reset option `javascript` names to it,
    and puts their values into `info["state"]["javascript"]`. `expressions` is that option.
    """

    def __init__(self, success: str, failure: str | None = None) -> None:
        self.expressions = {"success": success} | ({} if failure is None else {"failure": failure})
        for name, expression in self.expressions.items():
            if not isinstance(expression, str) or not expression.strip():
                raise ValueError(f"{name}: expected a JavaScript expression, got {expression!r}")

    def update(self, state: Mapping[str, Any]) -> Verdict | None:
        for name in self.expressions:
            value = state["javascript"][name]
            if value:
                return Verdict(name == "success", value if isinstance(value, str) else self.expressions[name])
        return None
