"""Asking a person: was it done? A few answers tell how far a reward can be trusted, as the raters of SIMA 2 did.

The questions are about tries that the reward calls a success, of all verbs in turn. Answers lie in the generation's
`answers.jsonl`, a line for each, such as {"id": "001-doom-vault-0-3-2", "done": true}, so that no question comes twice
and answers may also be written by hand. A question is shown as a picture: frames of the try in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from envs.errors import UserError
from rewards.reward import Frames
from tasks import json_lines
from training.data.episodes import read_episode
from training.data.footage import RecordedFootage

ANSWERS, PICTURES = "answers.jsonl", "ask"
_SHOWN = 8  # frames of a try
_ACROSS = 4  # in a row of the picture


@dataclass(frozen=True)
class Question:
    """Was `instruction` done in the try `id`? `episode`: its folder. `picture`: a file that shows frames in order."""

    id: str
    instruction: str
    picture: Path
    episode: Path


Ask = Callable[[Question, int, int], bool | None]
"""Asks question number `of` so many: whether it was done, None to leave it open. Raises EOFError to ask no more."""


def answers_in(folder: Path) -> dict[str, bool]:
    """What a person has answered in a generation's folder: whether it was done, by the id of the try."""
    path = folder / ANSWERS
    if not path.exists():
        return {}
    found: dict[str, bool] = {}
    for number, row in enumerate(json_lines.read(path), 1):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("done"), bool):
            raise UserError(f'{path}, line {number}: expected {{"id": TRY, "done": true or false}}')
        found[row["id"]] = row["done"]
    return found


def choose(claims: Mapping[str, Sequence[str]], most: int, seed: int) -> list[str]:
    """The ids of at most `most` tries to ask about: of every verb in turn, at random within a verb. `claims`: the ids
    of claimed successes by verb."""
    rng = np.random.default_rng([seed, 29])
    left = {verb: [ids[i] for i in rng.permutation(len(ids))] for verb, ids in sorted(claims.items()) if ids}
    chosen: list[str] = []
    while left and len(chosen) < most:
        for verb in [verb for verb in left if left[verb]][: most - len(chosen)]:
            chosen.append(left[verb].pop())
        left = {verb: ids for verb, ids in left.items() if ids}
    return chosen


def ask_person(
    folder: Path, chosen: Sequence[str], instructions: Mapping[str, str], episodes: Mapping[str, Path], ask: Ask
) -> None:
    """Ask about each of the `chosen` tries that has no answer yet; every answer is on disk before the next question."""
    answers = answers_in(folder)
    for number, id_ in enumerate(chosen, 1):
        if id_ in answers:
            continue
        picture = folder / PICTURES / f"{id_}.png"
        picture.parent.mkdir(exist_ok=True)
        Image.fromarray(sheet(RecordedFootage(read_episode(episodes[id_])).decision_frames())).save(picture)
        try:
            done = ask(Question(id_, instructions[id_], picture, episodes[id_]), number, len(chosen))
        except EOFError:
            return
        if done is not None:
            answers[id_] = done
            json_lines.write(folder / ANSWERS, [{"id": one, "done": said} for one, said in answers.items()])


def sheet(frames: Frames) -> Frames:
    """Frames of an episode in one picture, row by row: the first, the last, and some at equal distances."""
    at = np.linspace(0, len(frames) - 1, _SHOWN).round().astype(int)
    shown = [np.pad(frames[i], ((2, 2), (2, 2), (0, 0))) for i in at]
    rows = [np.concatenate(shown[i : i + _ACROSS], axis=1) for i in range(0, _SHOWN, _ACROSS)]
    return np.concatenate(rows)
