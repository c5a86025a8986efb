"""What a policy may do besides acting, each ability as a protocol.

Ask with `isinstance(policy, Answers)`; `require` raises a UserError that says what is missing. B is the number of rows
in a batch. Frames are uint8 RGB arrays (H, W, 3) as the policy's `spec.view` wants them.

| protocol        | method                                    | who uses it                                        |
| --------------- | ----------------------------------------- | -------------------------------------------------- |
| `Answers`       | `answer(frames, questions, memories)`     | `agent chat`, the suite doom-answers               |
| `Captions`      | `caption(frames)`                         | `agent chat`, the planner's view                   |
| `KnowsNouns`    | `known(noun)`                             | `agent chat`: which words the policy was taught    |
| `Confirms`      | `confirm(instructions)`                   | `agent chat`: what sentences it was never taught mean |
| `Plans`         | `plan(goals, memories)`                   | the planner `small`, the suite doom-plans          |
| `Proposes`      | `propose(frames, seed)`                   | the suite doom-proposals                           |
| `Judges`        | `judge(instructions, frames)`             | the suite doom-judge, rewards                      |
| `JudgesProgress` | `judge_progress(instructions, frames)`   | the same, which tell progress too                  |
| `Samples`       | `sample(contexts, temperature)`           | reinforcement learning                             |
| `ThinksLess`    | `thinking(tokens)`                        | `agent serve`: clients may want no thoughts        |
| `Scripted`      | `start(task)`                             | experts: they play from ground truth               |
| `FitsWorld`     | `for_world(world)`                        | whoever plays: policies that need the action space |
| `ReadsLabels`   | `labels`                                  | scripts that need the world's labels               |
| `HasChatModel`  | `chat_model`                              | `agent chat`: that model talks as well             |
| `HasDialogueModel` | `dialogue_model`                       | the same, for a model in this process              |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from agent import doom_codec
from agent.codec import Codec
from agent.policy import Context, Decision, Policy, PolicySpec
from envs.errors import UserError

if TYPE_CHECKING:
    import torch

    from envs.world import World

Frames = npt.NDArray[np.uint8]
THEN = " then "  # between two steps of a plan, where it is one text


@runtime_checkable
class HasSpec(Protocol):
    """Says which frames, how many of them and which chunks it wants."""

    @property
    def spec(self) -> PolicySpec: ...


@runtime_checkable
class Answers(Protocol):
    """Answers questions about what is seen, or about what was done."""

    def answer(
        self, frames: Sequence[Frames], questions: Sequence[str], memories: Sequence[str] | None = None
    ) -> list[str]:
        """B answers to B questions. `frames`: B frames, each the view that its question is about. `memories`: for each
        question what was done, as sentences such as "i picked up the key", separated by " . "; "" or None for a
        question about the view."""
        ...


@runtime_checkable
class Captions(Protocol):
    """Describes frames."""

    def caption(self, frames: Sequence[Frames]) -> list[str]:
        """What is in each of B frames, from left to right, such as "red torch left and blue torch right"."""
        ...


@runtime_checkable
class ThinksLess(Protocol):
    """Can be had with another budget of thoughts."""

    def thinking(self, tokens: int) -> Policy:
        """The same policy with at most so many tokens of thought before a decision."""
        ...


@runtime_checkable
class Plans(Protocol):
    """Takes goals apart."""

    def plan(self, goals: Sequence[str], memories: Sequence[str] | None = None) -> list[tuple[str, ...]]:
        """The steps of each of B goals that are left, in order. `memories`: what was done, as for `Answers`."""
        ...


@runtime_checkable
class SpeakingPolicy(HasSpec, Answers, Captions, Protocol):
    """All that a conversation needs: it answers, it describes, and says in which size it wants its frames."""


@runtime_checkable
class KnowsNouns(Protocol):
    """Says which nouns it was taught."""

    def known(self, noun: str) -> str | None:
        """The plain name of the thing that a noun names, as `caption` says it; None for an unknown noun."""
        ...


@runtime_checkable
class Confirms(Protocol):
    """Says how it understands an instruction, before it sees anything."""

    def confirm(self, instructions: Sequence[str]) -> list[str]:
        """What it would say first to each instruction, such as "ok go to red torch"; "" where it can't tell."""
        ...


@runtime_checkable
class Proposes(Protocol):
    """Proposes things to do."""

    def propose(self, frames: Sequence[Frames], seed: int = 0) -> list[str]:
        """For each of B frames an instruction that can be carried out there. `seed`: of the sampling."""
        ...


@runtime_checkable
class Judges(Protocol):
    """Judges episodes by what is seen of them."""

    def judge(self, instructions: Sequence[str], frames: Frames) -> list[tuple[float, str]]:
        """For each of B instructions how well it was followed, from 0 to 100, and why in a short sentence. `frames`:
        uint8 (B, 8, H, W, 3), the frames of each episode that `agent.small.judge_view.view` picks, oldest first."""
        ...


@runtime_checkable
class JudgesProgress(Judges, Protocol):
    """A judge that also says how far an episode came."""

    def judge_progress(self, instructions: Sequence[str], frames: Frames) -> list[tuple[float, str, float]]:
        """As `judge`, and which share of the way to success was gone, from 0 to 1."""
        ...


@runtime_checkable
class Samples(Protocol):
    """Acts as a distribution, for reinforcement learning."""

    def sample(
        self,
        contexts: Sequence[Context],
        *,
        temperature: float,
        generator: torch.Generator | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[Decision]:
        """A decision drawn for each of B contexts, with its `tokens` and `log_probabilities` under exactly the
        distribution that was sampled. `temperature` > 0 divides the logits. `generator`: the source of randomness; None
        takes torch's global one. `seeds`: one for each context, in place of the generator; a decision then doesn't
        depend on what is drawn beside it."""
        ...


@runtime_checkable
class Scripted(Protocol):
    """Plays from ground truth, by a script; takes no instructions and can't be talked with."""

    def start(self, task: Any) -> Callable[[Any], Decision]:
        """What decides in one episode of a `tasks.task.Task`: maps the world's `info["state"]` to a decision. Raises
        ValueError for a task that the script can't play."""
        ...


@runtime_checkable
class FitsWorld(Protocol):
    """Needs to know the world's actions and its tick rate before it plays there."""

    def for_world(self, world: World) -> Policy:
        """The policy for one world."""
        ...


@runtime_checkable
class HasChatModel(Protocol):
    """Plays by asking a chat model, which can talk as well."""

    @property
    def chat_model(self) -> Any:
        """An agent.models.base.ChatModel."""
        ...


@runtime_checkable
class HasDialogueModel(Protocol):
    """Plays by prompting a model of transformers that was made for dialogue, and can talk as well."""

    @property
    def dialogue_model(self) -> tuple[Any, Any]:
        """The model and its processor."""
        ...


def fitted(policy: Any, world: World, name: str = "") -> Any:
    """`policy` for `world`, which is called `name`; itself where it plays any world alike. Raises UserError where the
    policy can use nothing of the world, in a line that names both."""
    codec = Codec(world.action_space, world.controls)
    who, where = type(policy).__name__, repr(name or type(world.unwrapped).__name__)
    if codec.heard == "nothing":
        raise UserError(f"world {where} listens to nothing: policy {who} could do nothing there")
    if isinstance(policy, FitsWorld):
        return policy.for_world(world)
    used = {*doom_codec.KEYS, *doom_codec.BUTTONS}
    if spec_of(policy).codec == doom_codec.VERSION and not (codec.looks or used & {*codec.keys, *codec.buttons}):
        raise UserError(
            f"policy {who} speaks {doom_codec.VERSION} ({' '.join(doom_codec.KEYS)}, the left button, look), and world "
            f"{where} listens to {codec.heard}: it could do nothing there; take one that plays any world, such as "
            "--policy openai:MODEL@URL"
        )
    return policy


@runtime_checkable
class ReadsLabels(Protocol):
    """A script whose ground truth may include the world's labels: which thing every pixel shows."""

    @property
    def labels(self) -> bool: ...


def reads_labels(policy: object) -> bool:
    """Whether the world is to be made with labels for this policy."""
    return isinstance(policy, ReadsLabels) and policy.labels


def spec_of(policy: object) -> PolicySpec:
    """The spec of a policy or a script; the default for a script that has none."""
    return policy.spec if isinstance(policy, HasSpec) else PolicySpec()


_METHODS: dict[type, str] = {
    Answers: "answer(frames, questions, memories) -> list[str]",
    Captions: "caption(frames) -> list[str]",
    KnowsNouns: "known(noun) -> str | None",
    Plans: "plan(goals, memories) -> list[tuple[str, ...]]",
    Proposes: "propose(frames, seed) -> list[str]",
    Judges: "judge(instructions, frames) -> list[tuple[float, str]]",
    Samples: "sample(contexts, *, temperature, generator, seeds) -> list[Decision]",
    Scripted: "start(task) -> Callable[[state], Decision]",
}


def require(policy: Any, capability: type, name: str, purpose: str) -> Any:
    """`policy`, which has the `capability`, one of the protocols above. Raises UserError if it lacks it.

    `name`: the policy's, as the user wrote it. `purpose`: what needs the capability, such as "--suite doom-answers".
    """
    if not isinstance(policy, capability):
        raise UserError(
            f"{purpose} needs a policy with the method {_METHODS[capability]}; policy {name!r} has none; "
            "take --policy small"
        )
    return policy
