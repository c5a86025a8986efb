"""What other worlds bring: success is known only from a return, or from the values of expressions in a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tasks.verifier import JavaScript, ReturnAtLeast, Verifier
from tasks.world_tasks import WorldTasks


class GymnasiumTasks(WorldTasks):
    """Gymnasium environments: their return verifies."""

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        return {"reward": ReturnAtLeast}


class BrowserTasks(WorldTasks):
    """Pages in a browser: expressions that the page evaluates verify."""

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        return {"javascript": JavaScript}
