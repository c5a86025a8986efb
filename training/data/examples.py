"""`Examples`: the decisions of recorded episodes, each with the context that the player decided in.

Whatever imitates episodes learns from these. They hold no model's tokens; a trainer encodes them for its own model.
"""

from __future__ import annotations

import copy
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent import action_tokens
from agent.codec import Codec
from agent.policy import Context, Decision
from agent.prompted import Setting
from agent.view import View, fit
from envs.action import Action
from training.data.dataset import EpisodeDataset
from training.data.episode_weights import EpisodeWeights
from training.data.episodes import DamagedEpisodeError, Episode, EpisodeError
from training.data.repair import quarantine

NOISE_ACTOR = "noise"  # the actor in a disturbance, see training/data/disturb.py
_STILL = (0.5, 2.0)  # degrees of yaw and pitch that count as no turn
_RECENT = 64  # episodes whose steps are kept in memory, as many as EpisodeDataset keeps


@dataclass(frozen=True)
class Example:
    """A decision to learn.

    `context`: what the player knew; its dialogue and its picture are not recorded and stay empty. `decision`: what it
    decided; its actions are those that were carried out. `tokens`: the output tokens that it was sampled as, empty
    where they are not recorded. `weight`: of the whole decision. `action_weight`: a further factor for its action.
    `thinks`: whether the player that decided ever thinks in words, by all episodes that name it as their policy.
    `setting`: the world's language, tick rate and clock.
    """

    context: Context
    decision: Decision
    tokens: tuple[int, ...] = ()
    weight: float = 1.0
    action_weight: float = 1.0
    thinks: bool = True
    setting: Setting = field(default_factory=Setting)


@dataclass(frozen=True)
class _Record:
    """What an episode's steps say of its decisions, in order; frames and instructions come from the dataset.

    `actions`: what was carried out until the next decision was asked for. `thoughts`, `speeches`, `tokens`: of the
    decision itself. `remembered`: the last thought while those actions were carried out, which is the one that later
    contexts show. `first`: the decision at which the player's memory of the episode began. `since`: how many decisions
    the instruction is old, None if it is the episode's first. `repeats`: how many times in a row the action came.
    """

    actions: tuple[tuple[Action, ...], ...]
    actors: tuple[str, ...]
    thoughts: tuple[str, ...]
    remembered: tuple[str, ...]
    speeches: tuple[str, ...]
    memories: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    done: tuple[bool, ...]
    repeats: tuple[int, ...]
    first: tuple[int, ...]
    since: tuple[int | None, ...]
    setting: Setting


class Examples:
    """The decisions of recorded episodes as examples. The context shows what was done in a disturbance (training.data.
    disturb); no policy learns to do it.

    `roots`: folders of episodes, which may hold weights; see training.data.episode_weights for them and for `failures`.
    `history`: frames in a context. `gamma`: an action that comes for the k-th time in a row has the action weight
    gamma^(k-1). `frame_size`: (height, width) of the contexts' frames; that of the first episode by default.
    Raises EpisodeError if there is nothing to learn from.
    """

    def __init__(
        self,
        roots: Sequence[str | Path],
        *,
        history: int,
        gamma: float = 1.0,
        failures: bool = False,
        frame_size: tuple[int, int] | None = None,
    ) -> None:
        self.history, self.gamma = history, gamma
        weights = EpisodeWeights([Path(root) for root in roots], failures=failures)
        self.dataset = EpisodeDataset(list(roots), keep=weights.may_count)
        self._weights = [weights.of(episode) for episode in self.dataset.episodes]
        if not any(self._weights):
            raise EpisodeError(
                f"no episode to learn from under {', '.join(map(str, roots))}: all {len(self._weights)} weigh 0, "
                "as failed episodes do by default"
            )
        first = next(e.meta for e, weight in zip(self.dataset.episodes, self._weights, strict=True) if weight)
        self.frame_size = frame_size or (int(first["frame_size"][0]), int(first["frame_size"][1]))
        self._recent: OrderedDict[int, _Record] = OrderedDict()  # no lru_cache: examples go to other processes
        self._orders: dict[int, npt.NDArray[np.int64]] = {}
        self._thinkers: set[str] = set()  # policies that think in words
        learned = [actor != NOISE_ACTOR for i in range(len(self._weights)) for actor in self._survey(i)]
        self._learned = np.array(learned)
        if not self._learned.any():
            raise EpisodeError(f"no decision to learn from under {', '.join(map(str, roots))}")

    def __len__(self) -> int:
        return int(self._learned.sum())

    @property
    def tick_rates(self) -> set[float]:
        """The ticks a second of the episodes that are learned."""
        used = zip(self.dataset.episodes, self._weights, strict=True)
        return {float(episode.tick_hz) for episode, weight in used if weight}

    def split(self, share: float, seed: int) -> tuple[Examples, Examples | None]:
        """The examples without those of some episodes, and theirs: `share` of the episodes, rounded down and drawn with
        `seed`; None where that is no episode. Whole episodes, as the decisions of one resemble each other."""
        starts = self.dataset.starts
        learned = [i for i, (a, b) in enumerate(pairwise(starts)) if self._learned[a:b].any()]
        drawn = np.random.default_rng(seed).permutation(learned)[: int(share * len(learned))]
        if not len(drawn):
            return self, None
        held = np.zeros_like(self._learned)
        for number in drawn:
            held[starts[number] : starts[number + 1]] = True
        return self._of(self._learned & ~held), self._of(self._learned & held)

    def _of(self, learned: npt.NDArray[np.bool_]) -> Examples:
        part = copy.copy(self)
        part._learned, part._orders = learned, {}
        return part

    def order(self, seed: int) -> npt.NDArray[np.int64]:
        """The numbers of all examples, shuffled; those of an episode are not far from each other."""
        if seed not in self._orders:
            order = self.dataset.order(seed)
            self._orders = {**dict(list(self._orders.items())[-1:]), seed: order[self._learned[order]]}
        return self._orders[seed]

    def __getitem__(self, number: int) -> Example:
        """Example `number` of `order`; where its episode is damaged, one of those that follow it."""
        for index in (*range(number, len(self._learned)), *range(number)):
            if self._learned[index]:
                try:
                    return self._example(index)
                except DamagedEpisodeError:
                    continue
        raise EpisodeError("every episode is damaged")

    def _survey(self, number: int) -> Sequence[str]:
        """The actor of each decision of an episode; NOISE_ACTOR, which is never learned from, if the episode weighs
        nothing or is damaged. Notes whether the episode's policy thinks in words."""
        episode = self.dataset.episodes[number]
        if self._weights[number]:
            try:
                record = self._read_record(number)
            except DamagedEpisodeError as error:
                quarantine(episode.path, str(error))
            else:
                if any(map(_has_words, record.thoughts)):
                    self._thinkers.add(_policy(episode))
                return record.actors
        return [NOISE_ACTOR] * int(episode.meta["decisions"])

    def _record(self, number: int) -> _Record:
        """The record of an episode, kept while the episode is in use. Raises DamagedEpisodeError."""
        if number not in self._recent:
            self._recent[number] = self._read_record(number)
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return self._recent[number]

    def _read_record(self, number: int) -> _Record:
        episode = self.dataset.episodes[number]
        return _read(Episode(episode.path, episode.meta))  # a new one, so that the bytes of its files are freed

    def _example(self, index: int) -> Example:
        number = int(np.searchsorted(self.dataset.starts, index, side="right")) - 1
        at = index - int(self.dataset.starts[number])
        record, decisions = self._record(number), self.dataset.decisions(number)
        begin = max(record.first[at], at - self.history + 1)
        since = record.since[at]
        # A new instruction makes the player forget what it thought for the old one.
        kept = at - since if since is not None else begin
        thoughts = tuple("" if i < kept else record.remembered[i] for i in range(begin, at))
        context = Context(
            frames=tuple(fit(frame, self.frame_size) for frame in decisions.frames[begin : at + 1]),
            instruction=decisions.instructions[at],
            actions=record.actions[begin:at],
            thoughts=thoughts,
            memory=record.memories[at],
            since=since,
        )
        return Example(
            context,
            Decision(record.actions[at], record.thoughts[at], record.speeches[at], record.done[at]),
            record.tokens[at],
            weight=self._weights[number],
            action_weight=self.gamma ** (record.repeats[at] - 1),
            thinks=_policy(self.dataset.episodes[number]) in self._thinkers,
            setting=replace(record.setting, view=View.stretched(self.frame_size, self.history), size=self.frame_size),
        )


def _read(episode: Episode) -> _Record:
    """Read an episode's decisions from its steps. Raises DamagedEpisodeError."""
    rows = DecisionRows(episode)
    if len(rows.asked) != episode.meta["decisions"]:
        raise DamagedEpisodeError(episode.path, "its decisions are not those that episode.json counts")
    acted = episode.actions()
    actions = tuple(tuple(acted[a:b]) for a, b in rows.spans)
    setting = setting_of(episode)
    encoded = [_encoded(setting, chunk) for chunk in actions]
    repeats = [1]
    for before, now in pairwise(encoded):
        repeats.append(repeats[-1] + 1 if before == now else 1)
    first, since = rows.beginnings()
    return _Record(
        actions=actions,
        actors=rows.of_decisions("actor"),
        thoughts=rows.of_decisions("thought"),
        remembered=rows.last_thoughts(),
        speeches=rows.of_decisions("speech"),
        memories=rows.memories(),
        tokens=tuple(tuple(tokens or ()) for tokens in rows.of_decisions("tokens")),
        done=done_decisions(episode.outcome, actions, rows.asked),
        repeats=tuple(repeats),
        first=first,
        since=since,
        setting=setting,
    )


def setting_of(episode: Episode) -> Setting:
    """Where an episode was played. Raises DamagedEpisodeError."""
    realtime = episode.outcome.get("clock") == "realtime"
    return Setting(Codec(episode.space, episode.controls), episode.tick_hz, realtime)


def _encoded(setting: Setting, chunk: Sequence[Action]) -> tuple[int, ...]:
    """The tokens of what was done, to tell what was done again."""
    return action_tokens.encode(action_tokens.fit(setting.plan_of(chunk)))


class DecisionRows:
    """The steps of an episode by decision. `asked`: the tick that each decision was asked for. `spans`: the ticks from
    there until the next one is asked for, or until another actor takes over."""

    def __init__(self, episode: Episode) -> None:
        steps = episode.steps
        names = ["decision", "asked", "thought", "speech", "actor", "instruction", "starved", "memory", "tokens"]
        self._columns: dict[str, list[Any]] = steps.select(names).to_pydict()
        self._ticks: dict[int, list[int]] = {}
        for tick, asked in enumerate(self._columns["asked"]):
            if asked >= 0:
                self._ticks.setdefault(asked, []).append(tick)
        self.asked = sorted(self._ticks)
        ends = [*self.asked, len(steps)][1:]  # none where a person played all along
        self._taken = [tick for tick in range(len(steps)) if self._by_other(tick)]
        self.spans = [
            (a, min((t for t in self._taken if a < t < b), default=b)) for a, b in zip(self.asked, ends, strict=True)
        ]

    def _by_other(self, tick: int) -> bool:
        """Whether another actor replaced the player: there is no decision, and yet the hands were not idle."""
        return self._columns["asked"][tick] < 0 and not self._columns["starved"][tick]

    def of_decisions(self, column: str) -> tuple[Any, ...]:
        """What a column says of every decision: it stands at the first tick of a decision that was played."""
        values = self._columns[column]
        return tuple(next((values[t] for t in self._ticks[asked] if values[t]), "") for asked in self.asked)

    def memories(self) -> tuple[str, ...]:
        """The memory that every decision was made with; the steps tell it where it changes."""
        memory, found = "", []
        column = self._columns["memory"]
        for asked in self.asked:
            memory = next((column[tick] for tick in self._ticks[asked] if column[tick] is not None), memory)
            found.append(memory)
        return tuple(found)

    def last_thoughts(self) -> tuple[str, ...]:
        """The last thought that was acted on in every span."""
        thought_of: dict[int, str] = {}
        for decision, thought in zip(self._columns["decision"], self._columns["thought"], strict=True):
            thought_of[decision] = thought or thought_of.get(decision, "")
        thought_of[-1] = ""
        decisions = self._columns["decision"]
        return tuple(
            next((thought_of[decisions[t]] for t in reversed(range(a, b)) if thought_of[decisions[t]]), "")
            for a, b in self.spans
        )

    def beginnings(self) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
        """For every decision, the one at which the player's memory began, and the age of a changed instruction."""
        first, since = [], list[int | None]()
        begin, changed = 0, None
        instructions = self._columns["instruction"]
        for number, tick in enumerate(self.asked):
            if number and any(self.asked[number - 1] < taken < tick for taken in self._taken):
                begin, changed = number, None
            elif number and instructions[tick] != instructions[self.asked[number - 1]]:
                changed = number
            first.append(begin)
            since.append(None if changed is None else number - changed)
        return tuple(first), tuple(since)


def done_decisions(
    outcome: dict[str, Any], actions: Sequence[Sequence[Action]], asked: Sequence[int]
) -> tuple[bool, ...]:
    """Which decisions say that the task is done. A player that is done does nothing else: these are the idle decisions
    at the end, from the verdict on if there is one, otherwise the last one."""
    done = [False] * len(actions)
    if outcome.get("done"):
        verdict = outcome.get("decided")
        for i in reversed(range(len(actions))):
            busy = not _idle(actions[i]) or (verdict is not None and asked[i] < verdict)
            if busy or (verdict is None and any(done)):
                break
            done[i] = True
    return tuple(done)


def _idle(chunk: Sequence[Action]) -> bool:
    """Whether hardly anything was done: nothing is held for half of the time, and the view hardly turns. In real time
    the first ticks of an idle decision may still be those of the one before."""
    held = Counter(name for action in chunk for name in (*action.keys, *action.buttons))
    yaw, pitch = (abs(math.fsum(action.look[axis] for action in chunk)) for axis in (0, 1))
    return all(2 * ticks < len(chunk) for ticks in held.values()) and yaw <= _STILL[0] and pitch <= _STILL[1]


def _policy(episode: Episode) -> str:
    return str(episode.meta.get("policy", ""))


def _has_words(thought: str) -> bool:
    """Whether a thought has words beside a place such as "(12, 7)"."""
    return any(character.isalpha() for character in thought)
