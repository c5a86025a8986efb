"""Players in threads share the model's passes: nobody waits for who has left, and each gets his own answer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agent.loop.batching import Batched
from agent.policy import Context, Decision, PolicySpec
from envs.action import Action

FRAME = np.zeros((4, 4, 3), np.uint8)


class Echo:
    """Turns by the number in its instruction; notes the sizes of its batches."""

    spec = PolicySpec()

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.sizes.append(len(contexts))
        if any(context.instruction == "fail" for context in contexts):
            raise RuntimeError("the model fell over")
        return [Decision((Action(look=(float(context.instruction), 0.0)),)) for context in contexts]


def test_everybody_gets_his_own_answer_and_passes_are_shared() -> None:
    echo = Echo()
    shared = Batched(echo)
    together = threading.Barrier(6)

    def episode(player: int) -> None:
        with shared.seat():
            together.wait(10)
            for step in range(20 + player):  # episodes end at different times: the others go on
                number = 100 * player + step
                (decision,) = shared.act([Context((FRAME,), str(number))])
                assert decision.actions[0].look[0] == number

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(episode, range(6), timeout=30))
    assert sum(echo.sizes) == sum(20 + player for player in range(6))
    assert max(echo.sizes) == 6
    assert len(echo.sizes) == 25


def test_an_error_reaches_all_who_wait_and_the_next_pass_works() -> None:
    shared = Batched(Echo())
    together = threading.Barrier(2)

    def episode(text: str) -> float:
        with shared.seat():
            together.wait(10)
            with pytest.raises(RuntimeError, match="fell over"):
                shared.act([Context((FRAME,), text)])
            return shared.act([Context((FRAME,), "7")])[0].actions[0].look[0]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(episode, ["fail", "1"], timeout=30)) == [7.0, 7.0]
