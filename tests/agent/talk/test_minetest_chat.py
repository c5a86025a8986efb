"""A second person in the real game: another client, whose lines are typed, talks with the agent."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from Xlib import X

from agent.loop.players import Beside
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.talk.conversation import Conversation
from agent.talk.voice import PolicyVoice
from agent.view import View
from envs.action import NEUTRAL
from envs.desktop.game import Game
from envs.desktop.world import DesktopWorld, GameError
from envs.minetest.level import Level, Thing
from envs.minetest.world import Minetest, find
from tests.support.components import needs
from tests.support.talks import said, wait_for

pytestmark = needs("minetest")

LEVEL = Level(8, "meadow", (Thing("block", "red", 0, 4),), (0.0, 0.0, 0.0))
LETTERS = tuple(f"Key{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CLIENT = """
sound_volume = 0
enable_sound = false
enable_shaders = false
fps_max = 20
fps_max_unfocused = 20
viewing_range = 20
pause_on_lost_focus = false
show_debug = false
"""


class Guest(DesktopWorld):
    """Somebody called `name` who plays along in `world`, and types."""

    def __init__(self, world: Minetest, name: str, password: str | None = None) -> None:
        super().__init__(
            Game(command=("minetest",), size=(320, 240), keys={key: key for key in (*LETTERS, "Space", "Enter")},
                 ready=0.0, timeout=120.0, reset="keep", mouse="none", hold=0.03),
        )  # fmt: skip
        self._host, self._name = world, name
        self._password = world.password if password is None else password

    def command(self) -> Sequence[str]:
        (self.folder / "client.conf").write_text(_CLIENT)
        return [
            str(find()), "--go", "--quiet", "--address", "127.0.0.1", "--port", str(self._host.port), "--name",
            self._name, "--password", self._password, "--config", str(self.folder / "client.conf"),
            "--logfile", str(self.folder / "client.log"),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {"MINETEST_USER_PATH": str(self.folder / "user")}

    def ready(self) -> bool:
        return f"{self._name} [127.0.0.1] joins game" in (self._host.folder / "server.log").read_text()

    def begin(self, options: dict[str, Any]) -> None:
        # On a busy machine a key may be down for long.
        self.screen.display.change_keyboard_control(auto_repeat_mode=X.AutoRepeatModeOff)

    def say(self, text: str) -> None:
        """Type `text`, letters and spaces, into the game's chat."""
        self._tap_and_see("KeyT")  # where one types comes down
        for letter in text:
            self._tap("Space" if letter == " " else f"Key{letter.upper()}")
        self._tap_and_see("Enter")  # and goes up

    def _tap_and_see(self, key: str) -> None:
        """Tap `key` and wait until nearly all of the picture's top has changed."""
        before = self.pixels()[:60]
        self._tap(key)
        wait_for(lambda: (self.pixels()[:60] != before).any(axis=2).mean() > 0.8)

    def _tap(self, key: str) -> None:
        self.hold((key,), 0.04)
        time.sleep(0.04)


class Stander:
    """Stands and says that it is done with what it is told; answers."""

    spec = PolicySpec(View.stretched((24, 32)), chunk=4, tick_hz=35.0)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [Decision((NEUTRAL,) * 4, speech=f"i did {c.instruction}", done=True) for c in contexts]

    def answer(self, frames: Sequence[Any], questions: Sequence[str], memories: Sequence[str] = ("",)) -> list[str]:
        return ["a red block"]

    def caption(self, frames: Sequence[Any]) -> list[str]:
        return ["red block ahead"]


@pytest.fixture(scope="module")
def world() -> Iterator[Minetest]:
    made = Minetest("320x240")
    made.reset(options={"level": LEVEL.to_json()})
    yield made
    made.close()


@pytest.fixture(scope="module")
def eve(world: Minetest) -> Iterator[Guest]:
    guest = Guest(world, "eve")
    guest.reset()
    yield guest
    guest.close()


class Run:
    """The agent plays under a conversation, in a thread, until the end of the `with`."""

    def __init__(self, world: Minetest, **how: Any) -> None:
        self.talk = Conversation(PolicyVoice(Stander()), keep=True, **how)
        self.talk.attach(world)
        self.talk.begin()
        self._player = Beside(Stander())
        what = {"options": {"level": LEVEL.to_json()}, "control": self.talk, "subscribers": [self.talk]}
        self._thread = threading.Thread(
            target=play, args=(world, self._player, self.talk.instruction), kwargs={**what, "end_on_done": True}
        )

    def __enter__(self) -> Conversation:
        self._thread.start()
        assert self.talk.started.wait(60)
        return self.talk

    def __exit__(self, *error: object) -> None:
        self.talk.quit()
        self._thread.join(60)
        self._player.close()


def second_line(guest: Guest) -> int:
    """How many pixels are as white as letters where the second line of the chat stands in a guest's picture."""
    return int((guest.pixels()[24:38] > 240).all(axis=2).sum())


def told(world: Minetest) -> str:
    """What the game was told to say last, once it has said so."""
    command = json.loads((world.folder / "world" / "command.json").read_text())
    return command["text"] if command["kind"] == "say" and world.truth()["seq"] >= command["seq"] else ""


def test_a_player_is_heard_and_answered_in_the_game_but_gives_no_orders(world: Minetest, eve: Guest) -> None:
    with Run(world) as talk:
        before = second_line(eve)
        eve.say("agent go to the lava")
        wait_for(lambda: said(talk, "agent"))
        assert said(talk, "player eve") == ["agent go to the lava"]
        assert said(talk, "agent") == ["i do what my user tells me"]
        assert talk.goals == ()
        wait_for(lambda: second_line(eve) > before + 40)  # under what she said stands the answer
        if folder := os.environ.get("LUDENS_SHOTS"):
            Image.fromarray(eve.pixels()).save(Path(folder) / "minetest-guest.png")
        eve.say("agent what do you see")
        wait_for(lambda: "a red block" in said(talk, "agent") or "red block ahead" in said(talk, "agent"))
        wait_for(lambda: told(world) in ("a red block", "red block ahead"))
        assert talk.instruction.now.text == ""
        assert not said(talk, "user")


def test_a_trusted_player_instructs_and_hears_what_came_of_it(world: Minetest, eve: Guest) -> None:
    with Run(world, trusted=["eve"]) as talk:
        eve.say("agent go to the red block")
        wait_for(lambda: "i did go to the red block" in said(talk, "agent"))
        wait_for(lambda: told(world) == "i did go to the red block")
        wait_for(lambda: talk.deeds == "i went to the red block")
        eve.say("agent did you go to the block")
        wait_for(lambda: len(said(talk, "agent")) > 1)
        wait_for(lambda: told(world) == "a red block")


@pytest.mark.parametrize("password", ["", "guessed"])
def test_nobody_joins_without_the_password(world: Minetest, password: str) -> None:
    """So that nobody on the machine can call himself as somebody whom the user trusts."""
    world.reset(seed=0)
    assert "--password-file" in world.invitation
    stranger = Guest(world, "ann", password)
    stranger.game = stranger.game.model_copy(update={"timeout": 20.0})
    try:
        with pytest.raises(GameError):
            stranger.reset()
    finally:
        stranger.close()
    assert "ann" not in str(world.truth().get("chat"))
    assert "ann [127.0.0.1] joins game" not in (world.folder / "server.log").read_text()
