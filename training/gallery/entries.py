"""What a gallery shows of an episode: what was asked, how it went by truth, and what judges say of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from envs.errors import UserError
from rewards.score_file import SCORES
from tasks import json_lines
from training.data.episodes import DamagedEpisodeError, Episode, find_episodes, read_episode
from training.gallery.generations import audited

Outcome = Literal["success", "failure", "interrupted", "open"]
_MOST_WORDS = 80  # thoughts and lines of speech that are shown of an episode


@dataclass(frozen=True)
class Judged:
    """What a judge says of an episode. `value`: 0 to 100. Without a score, `value` and `success` are None."""

    reward: str
    value: float | None
    success: bool | None
    why: str


@dataclass(frozen=True)
class Entry:
    """An episode in the gallery. `outcome`: by truth. `kind`: of the failure, the reason without the names of things.
    `same`: equal for episodes of the same task in the same level. `words`: (seconds, "says" or "thinks", text)."""

    episode: Episode
    name: str
    group: str
    policy: str
    outcome: Outcome
    why: str
    kind: str
    judged: tuple[Judged, ...]
    same: str
    words: tuple[tuple[float, str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values for the page, without the pictures."""
        episode, task = self.episode, self.episode.task or {}
        return {
            "name": self.name,
            "group": self.group,
            "path": str(episode.path),
            "world": task.get("world", ""),
            "verb": task.get("verb", ""),
            "instruction": episode.instruction,
            "policy": self.policy,
            "outcome": self.outcome,
            "why": self.why,
            "kind": self.kind,
            "judged": [vars(one) for one in self.judged],
            "agreement": self.agreement,
            "same": self.same,
            "words": self.words,
            "seconds": round(episode.meta["ticks"] / episode.tick_hz, 2),
            "ticks": episode.meta["ticks"],
            "decisions": episode.meta["decisions"],
            "seed": episode.meta.get("seed"),
            "created": episode.meta.get("created", ""),
        }

    @property
    def agreement(self) -> str:
        """How the first judge that gave a score and the truth compare; "" where one of them is not known."""
        said = next((one.success for one in self.judged if one.success is not None), None)
        if said is None or self.outcome not in ("success", "failure"):
            return ""
        if said == (self.outcome == "success"):
            return "agrees"
        return "fooled" if said else "missed"


@dataclass
class Found:
    """What is in a folder: its episodes, how many were left out, and the damaged ones with what is wrong."""

    entries: list[Entry] = field(default_factory=list)
    left_out: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)


def find_entries(root: Path, most: int) -> Found:
    """The episodes under `root`, at most `most` of them, spread evenly over all. A damaged one is named."""
    paths = find_episodes(root)
    chosen = [paths[len(paths) * number // most] for number in range(most)] if len(paths) > most else paths
    found = Found(left_out=len(paths) - len(chosen))
    scores, truths = _scores(root, chosen), audited(root)
    for path in chosen:
        try:
            episode = read_episode(path)
            said = tuple(scores.get(path.resolve(), ()))
            found.entries.append(_entry(root, episode, said, truths.get(path.resolve(), {})))
        except DamagedEpisodeError as error:
            found.damaged.append((_name(root, path), error.why))
    return found


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.resolve().name


def _entry(root: Path, episode: Episode, judged: Sequence[Judged], audit: Mapping[str, Any]) -> Entry:
    success = audit.get("true", episode.success)
    outcome: Outcome = "open" if success is None else "success" if success else "failure"
    if success is None and episode.outcome.get("interrupted"):
        outcome = "interrupted"
    why = str(audit.get("why") or episode.outcome.get("why") or "")
    if audit.get("judged") is not None:
        judged = [Judged(**audit["judged"]), *judged]
    name = _name(root, episode.path)
    return Entry(
        episode,
        name,
        group=name.rpartition("/")[0],
        policy=str(audit.get("policy") or episode.meta.get("policy") or episode.meta.get("actor") or "unknown"),
        outcome=outcome,
        why=why,
        kind=failure_kind(why) if outcome == "failure" else "",
        judged=tuple(judged),
        same=_same(episode),
        words=tuple(_words(episode)),
    )


def failure_kind(why: str) -> str:
    """The reason of a failure without the names of things, so that failures of one kind share it."""
    return re.sub(r"\b(the|a|an) .*$", r"\1 …", why.strip()) or "no reason given"


def _same(episode: Episode) -> str:
    task = episode.task or {}
    what = [task.get("world"), episode.instruction, episode.meta.get("seed"), episode.options]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]


def _words(episode: Episode) -> Iterator[tuple[float, str, str]]:
    """What the player thought and said, and when; a line that it repeats is told once."""
    last, count = {"thinks": "", "says": ""}, 0
    for row in episode.steps.select(["tick", "thought", "speech"]).to_pylist():
        for kind, text in (("thinks", row["thought"]), ("says", row["speech"])):
            if text and text != last[kind] and count < _MOST_WORDS:
                last[kind], count = text, count + 1
                yield round(row["tick"] / episode.tick_hz, 2), kind, text


def _scores(root: Path, episodes: Iterable[Path]) -> dict[Path, list[Judged]]:
    """The scores of all rewards, by the episode's path: they are in scores.jsonl of a folder above the episode."""
    top = root.resolve()
    folders = {parent for path in episodes for parent in path.resolve().parents if parent.is_relative_to(top)}
    found: dict[Path, list[Judged]] = {}
    for folder in sorted({*folders, *(path.resolve().parent for path in episodes)}):
        if not (folder / SCORES).is_file():
            continue
        for number, row in enumerate(json_lines.read(folder / SCORES), 1):
            if not isinstance(row.get("episode"), str) or not isinstance(row.get("reward"), str):
                raise UserError(f"{folder / SCORES}, line {number}: a score names an episode and a reward")
            why = str(row.get("failure") or row.get("why") or "")
            judged = Judged(row["reward"], row.get("value"), row.get("success"), why)
            found.setdefault(folder / row["episode"], []).append(judged)
    return found
