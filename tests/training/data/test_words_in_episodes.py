"""Words of models, games, people and worlds that no file can hold: the episode is kept, and readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.models import Model
from agent.models.config import Settings
from agent.models.openai import load_openai
from agent.models.policy import ChatPolicy
from agent.show.report import Storyboard, write_report
from agent.talk.conversation import Conversation
from tests.support.model_server import says, serving
from tests.support.worlds import SquareWorld
from training.data.episodes import Recorder, read_episode

WORDS = "a \ud83d key\x00"
MENDED = "a \ufffd key\ufffd"


class Throws(SquareWorld):
    """A world that ends in words that are none."""

    def step(self, action):  # type: ignore[no-untyped-def]
        raise ValueError(f"the game said {WORDS}")


def test_what_a_model_writes_and_an_instruction_says(tmp_path: Path) -> None:
    recorder, board = Recorder(tmp_path / "episode"), Storyboard()
    with serving(says(f"think: {WORDS}\nact: forward\nsay: {WORDS}")) as server:
        model = Model(load_openai(f"toy@{server.url}", settings=Settings()), attempts=1)
        outcome = play(SquareWorld(), InStep(ChatPolicy(model)), f"go to {WORDS}", subscribers=[recorder, board])
    assert not outcome.problems
    assert outcome.said[0][1] == MENDED
    row = read_episode(tmp_path / "episode").steps.to_pylist()[0]
    assert (row["instruction"], row["thought"], row["speech"]) == (f"go to {MENDED}", MENDED, MENDED)
    write_report(tmp_path / "report.html", title=WORDS, config={"instruction": WORDS}, boards=[board])
    assert "a ? key" in (tmp_path / "report.html").read_text()


def test_what_a_world_says_when_it_ends(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "episode")
    with serving(says("act: forward")) as server:
        model = Model(load_openai(f"toy@{server.url}", settings=Settings()), attempts=1)
        with pytest.raises(ValueError, match="the game said"):
            play(Throws(), InStep(ChatPolicy(model)), "go", subscribers=[recorder])
    assert "the game said a ? key" in read_episode(tmp_path / "episode").outcome["why"]


def test_what_people_and_players_in_the_game_say() -> None:
    talk = Conversation()
    talk.user(f"go to {WORDS}")
    talk.hear("ann", WORDS)
    talk.close()
    assert [line.text for line in talk.news(0) if line.who in ("user", "player ann")] == [
        f"go to {MENDED}",
        MENDED,
    ]
