"""`Session`: one client's connection to a policy server: what it asks, and what it is answered.

Two ways to ask. `act` carries whole contexts and leaves nothing behind: Ludens plays so (agent.serve.remote). `reset`
and `observe` are for games without Ludens: the client sends what it sees, and the session keeps what a policy wants to
know of the past.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from agent.capabilities import fitted
from agent.loop.context import ContextBuilder
from agent.loop.instruction import Instruction
from agent.memory import EpisodeMemory, memory_of
from agent.policy import Decision, Policy
from agent.serve.messages import (
    PROTOCOL,
    DescribedWorld,
    MessageError,
    of_decision,
    of_spec,
    to_actions,
    to_context,
    to_frame,
    to_world,
)
from agent.view import Picture
from envs.action import Action
from envs.errors import UserError
from envs.text import encodable

logger = logging.getLogger(__name__)


class Session:
    """Answers one client, a message at a time. `policy`: what decides. `about`: what the client is told first."""

    def __init__(self, policy: Policy, about: dict[str, Any]) -> None:
        self._policy, self._about = policy, about
        self._fitted: Policy = policy
        self._place: Any = None  # what the client said of its world
        self._world: DescribedWorld | None = None
        self._episode: _Episode | None = None
        self._greeted = False

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message: of type "error" where the request can't be met. Raises MessageError where there is
        no point in going on with this client: it speaks another version, or did not greet."""
        kind = message["type"]
        if not self._greeted:
            return self._greet(message)
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "fit": self._fit, "act": self._act, "reset": self._reset, "observe": self._observe,
        }  # fmt: skip
        try:
            if kind not in answers:
                raise MessageError(f"unknown type {kind[:40]!r}; expected {', '.join(answers)}")
            return answers[kind](message)
        except (MessageError, UserError) as error:
            return {"type": "error", "message": str(error)}
        except Exception as error:
            logger.exception("the policy failed")
            return {"type": "error", "message": f"the policy failed: {type(error).__name__}: {error}"[:1000]}

    def _greet(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["type"] != "hello":
            raise MessageError("expected hello first")
        if message.get("protocol") != PROTOCOL:
            raise MessageError(
                f"the client speaks protocol {message.get('protocol')!r:.20}, this server {PROTOCOL}; install the same "
                f"version of ludens on both machines, here it is {self._about['ludens']}"
            )
        self._greeted = True
        return {"type": "welcome", "protocol": PROTOCOL, **self._about, "spec": of_spec(self._policy.spec)}

    def _fit(self, message: dict[str, Any]) -> dict[str, Any]:
        """The client says where it plays: {world}. Answers with what the policy wants to see there."""
        self._settle(message.get("world"))
        return {"type": "fitted", "spec": of_spec(self._fitted.spec)}

    def _settle(self, place: Any) -> None:
        if place is None or place == self._place:
            return
        world = to_world(place)
        self._fitted = fitted(self._policy, world, world.name)
        self._place, self._world = place, world

    def _act(self, message: dict[str, Any]) -> dict[str, Any]:
        """{contexts, world}: a decision for each context."""
        self._settle(message.get("world"))
        found = message.get("contexts")
        if not isinstance(found, list) or not 1 <= len(found) <= 64:
            raise MessageError("contexts: expected a list of 1 to 64")
        decisions = self._fitted.act([to_context(context) for context in found])
        return {"type": "decisions", "decisions": [of_decision(decision) for decision in decisions]}

    def _reset(self, message: dict[str, Any]) -> dict[str, Any]:
        """{seed, world}: an episode begins."""
        self._settle(message.get("world"))
        seed = message.get("seed", 0)
        if type(seed) is not int or not 0 <= seed < 1 << 63:
            raise MessageError("seed: expected a number of at least 0")
        self._episode = _Episode(self._fitted, self._world, seed)
        return {"type": "ready", "spec": of_spec(self._fitted.spec)}

    def _observe(self, message: dict[str, Any]) -> dict[str, Any]:
        """{pixels, instruction, actions}: what is seen now, what to do, and what was done since the last answer, where
        that is not all of what the answer said. Answers with a decision."""
        if self._episode is None:
            raise MessageError("expected reset before observe")
        instruction = message.get("instruction")
        if not isinstance(instruction, str) or len(instruction) > 1 << 16:
            raise MessageError("instruction: expected a text")
        played = message.get("actions")
        decision = self._episode.observe(
            to_frame(message.get("pixels")), encodable(instruction), None if played is None else to_actions(played)
        )
        return {"type": "decision", **of_decision(decision)}


class _Episode:
    """What the policy is told of an episode that is played elsewhere, by the rules of agent.loop.runtime."""

    def __init__(self, policy: Policy, world: DescribedWorld | None, seed: int) -> None:
        self._policy, self._world = policy, world
        self._tick_hz = world.tick_hz if world else policy.spec.tick_hz
        self._contexts = ContextBuilder(policy.spec, seed, self._tick_hz)
        self._instruction: str | None = None
        self._memory = EpisodeMemory("", self._tick_hz)
        self._last: Decision | None = None
        self._tick = 0

    def observe(self, pixels: Picture, instruction: str, played: Sequence[Action] | None) -> Decision:
        """The decision at what is seen now. `played`: what was done of the last one; None for all of it."""
        if self._last is not None:
            self._remember(self._last, self._last.actions if played is None else played)
        self._contexts.saw(pixels, self._tick)
        if self._instruction is None:
            self._memory = (
                memory_of(self._world, instruction) if self._world else EpisodeMemory(instruction, self._tick_hz)
            )
        elif instruction != self._instruction:
            self._contexts.forget_thoughts()
            self._memory.instructed(instruction)
        self._instruction = instruction
        told = Instruction(instruction, None, 0)
        context = self._contexts.context(pixels, told, (), self._memory.text, self._tick)
        (self._last,) = self._policy.act([context])
        return self._last

    def _remember(self, decision: Decision, played: Sequence[Action]) -> None:
        self._contexts.acted(self._tick, played, decision.thought)
        self._memory.acted(played)
        self._memory.thought(decision.thought)
        if decision.speech:
            self._memory.said(decision.speech)
        if decision.done:
            self._memory.claimed_done()
        self._tick += len(played)
