"""Experience: the episodes of a generation that are learned from, and their weights.

    episodes/
        weights.json
        001-doom-vault-0-3-2/            a try that succeeded, as it was played
        hindsight/001-doom-vault-0-3-4/  a try that failed, told as what it did achieve
        composed/001-doom-vault-0-3-0-to-2/  tries that succeeded one after the other, told as one

No try counts twice: one that is told in several episodes has a part of its weight in each of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.policy import Policy
from tasks import world_tasks
from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of
from tasks.task import Task
from training.data.episode_weights import write_weights
from training.data.episodes import Episode, read_episode
from training.improve.build import advantage
from training.improve.collect import Try
from training.improve.compose import Composition, shares
from training.improve.retell import Part, retell, rethink, thoughts_of

HINDSIGHT, COMPOSED = "hindsight", "composed"


def write_experience(
    episodes: Path,
    env: str,
    tries: Sequence[Try],
    worth: Mapping[str, float],
    archive: Curriculum,
    *,
    relabelled: Mapping[str, tuple[str, float]],
    compositions: Sequence[Composition],
    player: Callable[[], Policy],
) -> dict[str, float]:
    """Tell the episodes that are told anew, and write the weights of all that are learned from; the weights.

    `worth`: of each try as a success, by its id. `relabelled`: the instruction and the weight of failed tries.
    `player`: makes the policy that thinks failed tries over. Called again, it writes the same.
    """
    for folder in (HINDSIGHT, COMPOSED):
        shutil.rmtree(episodes / folder, ignore_errors=True)
    part = shares(compositions)
    weights = {
        one.episode: part.get(one.id, 1.0) * worth[one.id] * advantage(archive, one.instruction)
        for one in tries
        if one.ticks and worth[one.id]
    }
    by_id = {one.id: one for one in tries}
    failed = {by_id[id_]: wanted for id_, wanted in relabelled.items() if not worth[id_]}
    weights |= _tell_hindsight(episodes, env, failed, player)
    for one in compositions:
        share = min(part[step.id] for step in one.steps)
        weights[_tell_composed(episodes, env, one)] = share * one.worth * advantage(archive, one.instruction)
    weights = {name: round(weight, 3) for name, weight in weights.items() if round(weight, 3)}
    write_weights(episodes, weights)
    return weights


def _tell_hindsight(
    episodes: Path, env: str, failed: Mapping[Try, tuple[str, float]], player: Callable[[], Policy]
) -> dict[str, float]:
    if not failed:
        return {}
    found = [(read_episode(episodes / one.episode), text) for one, (text, _) in failed.items()]
    weights = {}
    for (one, (text, weight)), (episode, _), thoughts in zip(
        failed.items(), found, rethink(player(), found), strict=True
    ):
        told = Part(episode, thoughts, _confirmed(env, episode, text))
        name = f"{HINDSIGHT}/{one.episode}"
        retell([told], episodes / name, Task(f"{one.id}-hindsight", text, env))
        weights[name] = weight
    return weights


def _tell_composed(episodes: Path, env: str, one: Composition) -> str:
    """Tell a composition; its name. The thoughts of each step begin with the step, as those of a plan do."""
    parts = []
    for number, step in enumerate(one.steps, 1):
        episode = read_episode(episodes / step.episode)
        plan = f"step {number} {goal_of(env, step.instruction).text}"
        thoughts = [f"{plan} {thought}".strip() for thought in thoughts_of(episode)]
        speech = _confirmed(env, episode, one.instruction) if number == 1 else ""
        parts.append(Part(episode, thoughts, speech, whole=number == len(one.steps)))
    name = f"{COMPOSED}/{one.name}"
    retell(parts, episodes / name, Task(one.name, one.instruction, env))
    return name


def _confirmed(env: str, episode: Episode, instruction: str) -> str:
    """How the player confirms an instruction, if it confirmed the one that it was given."""
    spoke = next((line for line in episode.steps["speech"].to_pylist() if line), "")
    return world_tasks.of(env).confirmation(instruction) if spoke.startswith(world_tasks.OK) else ""
