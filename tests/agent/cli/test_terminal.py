"""What others wrote does not steer the terminal, and what others print does not reach standard output."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli
from agent.cli import console
from agent.cli.terminal import CleanStream, clean, echo, json_line, own_output
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import Action
from envs.errors import UserError
from tests.agent.cli.test_cli import Meadow
from tests.support.model_server import COUNT, END, piece, says, send, serving, streams

SELF = "tests.agent.cli.test_terminal"
NASTY = "a\x1b]52;c;cm0gLXJm\x07b\x00c\x9b31md\x08e\x7ff\u202eg\ud83dh\r\x1b[2Ki\x0bj\u2028k"
FORBIDDEN = [chr(n) for n in (*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0))] + ["\u202e", "\ud83d", "\u2028"]


def harmless(text: str) -> bool:
    return not any(c in text for c in FORBIDDEN)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_clean_keeps_text_and_takes_controls() -> None:
    assert clean("tab\tline\nnext\r\nünï — 😀 日本") == "tab\tline\nnext\nünï — 😀 日本"
    assert harmless(clean(NASTY))
    assert clean("\ud83d\ude00"[0]).encode() == "\ufffd".encode()
    assert json.loads(json_line({"text": NASTY})) == {"text": NASTY}
    assert harmless(json_line({"text": NASTY}))


def test_tables_styles_and_lines_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    screen = console.console()
    screen.print(NASTY, style="bold", markup=False)
    screen.print(console.table((NASTY,), [(NASTY,)]))
    echo(NASTY)
    console.print_json([NASTY])
    with own_output():
        print(NASTY)
        print(NASTY, file=sys.stderr)
    said = capsys.readouterr()
    assert harmless(said.out)
    assert harmless(said.err.replace("\r", ""))  # progress of libraries may return to the line's beginning
    assert said.err.count("b") == 2


def test_styles_still_reach_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console.console().print("\x1b[31mred", style="bold", markup=False)
    assert capsys.readouterr().out == "\x1b[1m\ufffd[31mred\x1b[0m\n"


class Liar:
    """A policy whose words hold control characters."""

    spec = PolicySpec(View.stretched((24, 32)))

    def act(self, contexts: list[Context]) -> list[Decision]:
        steps = (Action(keys=frozenset({"KeyW"})),) * 4
        text = NASTY.replace("\ud83d", "")
        return [Decision(steps, thought=text, speech=text if not c.actions else "") for c in contexts]


class Chatty(Meadow):
    """A world that prints, in Python and beneath it."""

    deterministic = True

    def step(self, action):  # type: ignore[no-untyped-def]
        import os

        print("noise of the world")
        os.write(1, b"deep noise\n")
        return super().step(action)


class Rude(Meadow):
    """A world whose last words are not for terminals."""

    def step(self, action):  # type: ignore[no-untyped-def]
        raise UserError(f"the game ended: {NASTY}")


class Leaves(Meadow):
    """A world that wants to end the program, when it has been played for a while."""

    steps_taken = 0

    def step(self, action):  # type: ignore[no-untyped-def]
        self.steps_taken += 1
        if self.steps_taken > 6:
            sys.exit(0)
        return super().step(action)


class NeverThere(Meadow):
    def __init__(self) -> None:
        sys.exit(0)


class Broken(Meadow):
    def step(self, action):  # type: ignore[no-untyped-def]
        raise RuntimeError(f"physics exploded {NASTY}")


def play(*args: str) -> list[str]:
    return ["play", "go", "--no-page", "--time-limit", "0.3", "--env", f"{SELF}:Meadow", "--policy", *args]


def test_words_of_a_policy_are_clean_wherever_they_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*play(f"{SELF}:Liar"), "--out", "run"]) == 0
    assert cli.run(["replay", "run"]) == 0
    assert cli.run(["replay", "run", "--json"]) == 0
    said = capsys.readouterr()
    assert "says: a\ufffd]52" in said.out
    assert harmless(said.out)
    assert harmless(said.err)


def test_a_game_s_last_words_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["play", "go", "--no-page", "--env", f"{SELF}:Rude", "--policy", f"{SELF}:Liar"]) == 2
    said = capsys.readouterr()
    assert "the game ended: a\ufffd]52" in said.err
    assert harmless(said.err)


def test_a_traceback_is_clean() -> None:
    done = agent("play", "go", "--no-page", "--env", f"{SELF}:Broken", "--policy", f"{SELF}:Liar")
    assert done.returncode == 1
    assert "physics exploded a\ufffd]52" in done.stderr
    assert harmless(done.stderr)


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_of_a_model_is_clean(streamed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    text = NASTY.replace("\ud83d", "")
    answer = streams(piece(text), END, COUNT) if streamed else says(text)
    with serving(answer) as server:
        args = [] if streamed else ["--json"]
        assert cli.run(["model", "ask", f"openai:toy@{server.url}", "hello", *args]) == 0
    out = capsys.readouterr().out
    assert "]52" in out
    assert harmless(out)
    with serving(send(400, {"error": {"message": text}})) as server:
        assert cli.run(["model", "ask", f"openai:toy@{server.url}", "hello"]) == 1
    said = capsys.readouterr()
    assert harmless(said.out + said.err)


def agent(*args: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does, in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r}); from agent.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


def test_a_world_that_prints_does_not_break_json() -> None:
    args = ["play", "go", "--no-page", "--time-limit", "0.3", "--env", f"{SELF}:Chatty", "--policy", f"{SELF}:Liar"]
    done = agent(*args, "--json")
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {"folder", "report", "video", "episodes", "lost"}
    assert "noise of the world" in done.stderr
    assert "deep noise" in done.stderr


@pytest.mark.parametrize("args", [["--help"], ["play", "--help"], ["--version"], ["list", "worlds"]])
def test_help_and_results_are_on_standard_output(args: list[str]) -> None:
    done = agent(*args)
    assert done.returncode == 0
    assert len(done.stdout) > 5
    assert done.stderr == ""


def test_the_stand_in_keeps_what_readline_needs() -> None:
    stream = CleanStream(sys.__stderr__, 1)  # type: ignore[arg-type]
    assert stream.fileno() == 1
    assert stream.encoding
    assert stream.writable()


def test_a_world_that_calls_exit_does_not_end_the_run_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    from training.data.episodes import find_episodes, read_episode

    args = ["play", "go", "--no-page", "--policy", f"{SELF}:Liar", "--out", "run", "--env"]
    assert cli.run([*args, f"{SELF}:Leaves"]) == 2
    assert "Leaves or its player wanted to end the program: sys.exit(0)" in capsys.readouterr().err
    (episode,) = find_episodes("run")
    assert read_episode(episode).meta["ticks"] == 6
    assert cli.run([*args[:-3], "--env", f"{SELF}:NeverThere"]) == 1
    assert "wanted to end the program: sys.exit(0)" in capsys.readouterr().err


def test_a_stream_that_is_closed_meanwhile_is_no_error_at_the_end() -> None:
    below = io.StringIO()
    stream = CleanStream(below)
    below.close()
    stream.close()  # as Python does it when it collects the stream
    assert stream.closed
