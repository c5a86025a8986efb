"""What can't be followed is said, and which word; what can be followed stays word for word as it is."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.cli import compose
from agent.small import load_small
from agent.small.checkpoint import SHIPPED, read_manifest
from agent.talk import intents
from agent.talk.understanding import Understanding, language_of
from tasks import world_tasks
from tasks.doom.conversation_scripts import script
from tasks.reader import WorldReader

NOUNS = read_manifest(SHIPPED)["nouns"]


def known(noun: str) -> str | None:
    return next((NOUNS[name] for n in range(len(noun.split())) if (name := " ".join(noun.split()[n:])) in NOUNS), None)


@pytest.fixture(scope="module")
def doom() -> Understanding:
    return Understanding(known, WorldReader("doom"))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("hebe den roten schlüssel auf", "German"), ("Gehe zur blauen Fackel", "German"), ("was siehst du?", "German"),
        ("schieß auf den Dämon", "German"), ("ramasse la clé rouge", "French"), ("va vers la torche bleue", "French"),
        ("que vois-tu ?", "French"), ("ve a la antorcha azul", "Spanish"), ("recoge la llave roja", "Spanish"),
        ("prendi la chiave rossa", "Italian"), ("pegue a chave vermelha", "Portuguese"),
        ("ga naar de blauwe fakkel", "Dutch"), ("podnieś czerwony klucz", "Polish"),
        ("gå till den blå facklan", "Swedish"), ("kırmızı anahtarı al", "Turkish"), ("возьми красный ключ", "Russian"),
        ("捡起红色的钥匙", "Chinese"), ("赤い鍵を拾って", "Japanese"), ("빨간 열쇠를 주워", "Korean"),
    ],
)  # fmt: skip
def test_another_language_is_named_as_such(doom: Understanding, text: str, language: str) -> None:
    said = f"i understand English alone, and this looks like {language}"
    assert doom.doubt(text) == said
    assert doom.foreign(text) == said
    assert doom.followed(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fetch the gizmo", "i don't know the word gizmo"),
        ("go to the red torch and dance", "i don't know the word dance"),
        ("juggle the torches and sing", "i don't know the words juggle, torches and sing"),
        ("pick up the red key, then dance", "i don't know the word dance"),
        ("would you be so kind as to fetch me the gizmo that lies over there", "i don't know the word gizmo"),
        ("go to the gun", "i don't know the word gun"),  # a word of the phrasings, and no thing
        ("tilt your head back", "i don't understand: tilt your head back"),  # each of the words is known
        ("turn around", "i don't understand: turn around"),
        ("👍", "i don't understand: 👍"),
    ],
)
def test_what_is_not_understood_is_said_with_the_words(doom: Understanding, text: str, said: str) -> None:
    assert doom.doubt(text) == said


@pytest.mark.parametrize(
    ("text", "followed"),
    [
        ("pick up the blue key, then the red one", "pick up the blue key, then pick up the red key"),
        ("Pick up the blue key and the red one.", "pick up the blue key, then pick up the red key"),
        ("take the blue key, then the red", "take the blue key, then take the red key"),
        ("go to the blue torch and then to the red one", "go to the blue torch, then go to the red torch"),
        ("shoot the imp, after that the cacodemon", "shoot the imp, then shoot the cacodemon"),
        ("go to the blue torch, then touch it", "go to the blue torch, then touch the blue torch"),
        ("go to the red key, then pick it up", "go to the red key, then pick the red key up"),
        ("would you be so kind as to fetch me the blue key that lies over there please", "fetch the blue key"),
        ("Would you mind going over to the red key, my friend, when you have a moment?", "go over to the red key"),
        ("I was wondering if you could please grab the red key for me, thank you very much!", "grab the red key"),
        # taught as it is, so nothing is left out
        *[("it would be great if you could shoot the imp, if you don't mind",) * 2],
    ],
)  # fmt: skip
def test_what_a_sentence_leaves_out_is_filled_in_and_politeness_left_out(
    doom: Understanding, text: str, followed: str
) -> None:
    assert doom.followed(text) == followed
    assert doom.doubt(followed) == ""


def test_steps_of_a_conversation_are_complete_in_themselves() -> None:
    assert intents.steps("pick up the blue key, then the red one") == ["pick up the blue key", "pick up the red key"]
    assert intents.steps("find the key and take it, then open the door") == [
        "find the key and take it",
        "open the door",
    ]
    assert intents.steps("look up, then the red one") == ["look up", "the red one"]  # nothing to complete it with
    assert intents.steps("go to the torch, then bring me the key") == ["go to the torch", "bring me the key"]


# One shows what it means; the sentences of another are nobody's grammar, and those of the last mean nothing.
BEYOND = {"doom-pictures", "doom-sentences", "doom-unknown"}
SUITES = sorted(name for name in world_tasks.suites() if name not in BEYOND)


@pytest.mark.parametrize("name", SUITES)
def test_the_instructions_of_every_suite_are_followed_word_for_word(name: str) -> None:
    suite = world_tasks.suite(name)
    words = Understanding(known, WorldReader(suite.world))
    for index in range(24):
        text = suite.task(5, index).instruction
        assert words.doubt(text) == ""
        assert words.followed(text) == text


def test_scripted_conversations_are_followed_word_for_word(doom: Understanding) -> None:
    for index in range(150):
        for line in script(11, index).lines:
            message = intents.read(line.text)
            if not line.text or "{" in line.text:
                continue
            if message.kind == "question":
                assert doom.foreign(message.text) == ""
            if message.kind == "instruction" and not doom.strange_noun(message.text):
                assert [doom.followed(step) for step in intents.steps(message.text)] == intents.steps(message.text)
                assert doom.doubt(message.text, goal="go to the torch") == ""


@pytest.fixture(scope="module")
def itself() -> Understanding:
    """As in a chat with the policy that ships, which says how it understands what it was never taught."""
    policy = load_small()
    return Understanding(policy.known, compose.reader(policy, "small", "doom"))


@pytest.mark.parametrize(
    "text",
    [
        "tilt your head back", "eyes to the sky", "that imp has to die", "give the switch a good push",
        "there's a red key somewhere around here - bring it to me", "get yourself over beside the barrel",
        "go to the red torch, then tilt your head back",
    ],
)  # fmt: skip
def test_a_sentence_that_nobody_taught_is_followed_where_the_policy_understands_it(
    itself: Understanding, doom: Understanding, text: str
) -> None:
    assert itself.doubt(text) == ""
    assert doom.doubt(text) != ""


@pytest.mark.parametrize(
    "text",
    [
        "fetch the gizmo", "go to the fridge", "push the crate", "do a barrel roll", "hebe den roten schlüssel auf",
        "uccidi lo zombie", "turn left", "sing a song", "what is that", "go", "go to the red torch, then dance",
    ],
)  # fmt: skip
def test_what_the_policy_takes_for_something_else_is_doubted(
    itself: Understanding, doom: Understanding, text: str
) -> None:
    assert itself.doubt(text) == doom.doubt(text) != ""


def test_no_nonsense_passes_and_most_sentences_do(itself: Understanding) -> None:
    told = {name: [world_tasks.suite(name).task(5, i).instruction for i in range(60)]
            for name in ("doom-sentences", "doom-unknown")}  # fmt: skip
    passed = {name: [text for text in dict.fromkeys(texts) if not itself.doubt(text)] for name, texts in told.items()}
    assert passed["doom-unknown"] == []
    assert len(passed["doom-sentences"]) > 0.6 * len(set(told["doom-sentences"]))


def test_without_a_reader_only_nouns_are_strange() -> None:
    words = Understanding(known)
    assert words.doubt("hebe den schlüssel auf") == ""
    assert words.doubt("sing a song to the unicorn") == "i don't know the word unicorn"
    assert words.foreign("was siehst du?") == ""
    assert words.followed("pick up the blue key, then the red one") == "pick up the blue key, then the red one"


def test_english_is_taken_for_english() -> None:
    for text in (
        "juggle the torches",
        "dance",
        "walk forward",
        "where did you put the treasure?",
        "grab that rucksack",
    ):
        assert language_of(text) in ("English", "")


def played(capsys: pytest.CaptureFixture[str], out: Path, text: str) -> dict[str, Any]:
    """The episode of an instruction that is given to `agent play`."""
    assert cli.run(["play", text, "--no-page", "--seed", "1", "--out", str(out), "--json"]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    return dict(episode)


def test_agent_play_says_what_it_does_not_understand_and_never_that_it_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = played(capsys, tmp_path / "german", "gehe zur blauen Fackel")["outcome"]
    assert outcome["why"] == "i understand English alone, and this looks like German"
    assert (outcome["ticks"], outcome["success"], outcome["done"]) == (0, None, False)
    assert cli.run(["play", "fetch the gizmo", "--no-page", "--seed", "1", "--out", str(tmp_path / "told")]) == 0
    assert "not played: i don't know the word gizmo" in capsys.readouterr().out


def test_agent_play_fills_in_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    episode = played(capsys, tmp_path / "run", "pick up the blue key, then the red one")
    assert episode["instruction"] == "pick up the blue key, then pick up the red key"
    assert episode["outcome"]["said"][0][1] == "ok pick up blue key then pick up red key"
    assert episode["outcome"]["success"] is not None  # it is a task that is judged


def test_agent_chat_says_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("was siehst du?\ngehe zur Fackel\nfetch the gizmo\n"))
    assert cli.run(["chat", "--no-page", "--seed", "1", "--json", "--out", str(tmp_path / "run")]) == 0
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    said = [line["text"] for line in lines if line.get("who") == "agent"]
    german = "i understand English alone, and this looks like German"
    assert said == [german, german, "i don't know the word gizmo"]
