"""Answers about a past that the test knows: frames of one colour each, and eyes that know what a colour stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from agent.recall.answering import Answer, Recall
from agent.recall.eyes import BATCH, Embeddings, changed
from agent.recall.indexing import COMMIT, Drawn, index
from agent.recall.prompt import PROMPT_WORDS, prompt
from agent.recall.question import read
from agent.recall.store import SAID, SAW, TOLD, Event, Source, Store

HZ = 10.0
SCENES = {
    0: "nothing",
    20: "red key left and blue torch right",
    40: "blue torch ahead",
    60: "green mask right and imp left",
    80: "yellow skull ahead",  # which is not there: a mistake of the description
    100: "red key ahead",
}
PLAY = ((0, 50), (20, 5), (0, 40), (60, 8), (40, 30), (0, 100), (20, 5), (0, 60), (80, 5), (100, 10), (0, 30))


class Eyes:
    """Describes frames by SCENES. A second look finds no yellow skull."""

    name = "test eyes"

    def __init__(self, stops_after: int = 10**9) -> None:
        self.described, self._stops = 0, stops_after

    def describe(self, frames: Sequence[np.ndarray]) -> list[str]:
        self.described += len(frames)
        if self.described > self._stops:
            raise KeyboardInterrupt
        return [SCENES[int(frame[0, 0, 0])] for frame in frames]

    def embed(self, frames: Sequence[np.ndarray]) -> Embeddings:
        angles = np.array([frame[0, 0, 0] / 100.0 for frame in frames])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)

    def known(self, noun: str) -> str:
        return noun.replace("keycard", "key").replace("head", "mask")

    def shows(self, frames: Sequence[np.ndarray], thing: str) -> list[bool]:
        return [thing in SCENES[int(frame[0, 0, 0])] and thing != "yellow skull" for frame in frames]


def frame(value: int) -> np.ndarray:
    return np.full((24, 32, 3), value, np.uint8)


def play(after: int = -1, noise: int = 0) -> Iterator[Drawn]:
    """PLAY, a look every other tick."""
    values = [value for value, ticks in PLAY for _ in range(ticks)]
    for tick in range(0, len(values), 2):
        if tick > after:
            shade = frame(values[tick])
            shade[:, 24:] = 97 * tick % 251 if noise else 0
            yield shade, tick, tick


def at(value: int, nth: int = 0) -> range:
    """The ticks at which the `nth` stretch of a scene is in view."""
    starts = np.cumsum([0, *(ticks for _, ticks in PLAY)])
    stretch = [i for i, (scene, _) in enumerate(PLAY) if scene == value][nth]
    return range(int(starts[stretch]), int(starts[stretch + 1]))


def begun(store: Store) -> Source:
    told = [Event(0, TOLD, 0, 349, "go to the torch"), Event(0, SAID, 30, 30, "the code of the gate is 4711")]
    return store.begin("run", "/run", "print", tick_hz=HZ, ticks=sum(t for _, t in PLAY), events=told)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "events.sqlite", Eyes.name) as made:
        index(made, begun(made), play(), Eyes())
        yield made


def asked(store: Store, question: str, *, again: bool = True) -> Answer:
    def frame_of(source: Source, number: int) -> np.ndarray:
        values = [value for value, ticks in PLAY for _ in range(ticks)]
        return frame(values[number])

    return Recall(store, Eyes(), frame_of if again else None).answer(question)


@pytest.mark.parametrize(
    ("question", "when", "said"),
    [
        ("when did I last see the red key, and where?", at(100), "ahead"),
        ("Where was the first red keycard?", at(20), "left, with blue torch right"),
        ("when did you last see the blue torch next to the red key?", at(20, 1), "blue torch right"),
        ("what stood beside the green mask?", at(60), "imp left"),
        ("did you ever see an imp?", at(60), "Yes"),
        ("what was there at 0:09?", at(60), "green mask right and imp left"),
        ("what is the code of the gate?", range(30, 31), "4711"),
        ("which did you see first, the imp or the red key?", at(20), "First the red key"),
        ("how many times did you see the red key?", at(100), "3 times"),
    ],
)
def test_an_answer_names_the_moment(store: Store, question: str, when: range, said: str) -> None:
    found = asked(store, question)
    assert found.found
    assert found.moments[0].tick in when
    assert found.moments[0].seconds == found.moments[0].tick / HZ
    assert said in found.text


def test_a_second_look_corrects_a_description(store: Store) -> None:
    found = asked(store, "did you ever see the yellow skull?")
    assert found.value == "no"
    assert found.moments[0].sure is False
    assert found.checked == 1
    assert asked(store, "did you ever see the yellow skull?", again=False).value == "yes"


@pytest.mark.parametrize("question", ["when did I last see the pink barrel?", "what was there at 9:00:00?"])
def test_what_never_was_is_not_found(store: Store, question: str) -> None:
    found = asked(store, question)
    assert not found.found
    assert found.moments == ()


def test_a_picture_finds_what_looks_like_it(store: Store) -> None:
    found = Recall(store, Eyes()).alike(frame(60))
    assert found.moments[0].tick in at(60)
    assert len({moment.tick for moment in found.moments}) == len(found.moments)


def test_a_stopped_index_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, stopped = (Store(tmp_path / f"{name}.sqlite", Eyes.name) for name in ("whole", "stopped"))
    index(whole, begun(whole), play(noise=1), Eyes())
    with pytest.raises(KeyboardInterrupt):
        index(stopped, begun(stopped), play(noise=1), Eyes(stops_after=2 * COMMIT))
    source = begun(stopped)
    assert 0 < source.looked < source.ticks
    eyes = Eyes()
    index(stopped, source, play(source.looked, noise=1), eyes)
    assert eyes.described <= len(list(play())) - COMMIT, "what was committed is not described again"
    assert stopped.count()[1] == whole.count()[1]
    told = [[(e.first, e.text) for e in s.between(1, 0, 10**6, kinds=(SAW,))] for s in (whole, stopped)]
    assert set(told[0]) <= set(told[1]), "a stretch may be cut in two where the commit was"
    assert begun(stopped).whole
    whole.close()
    stopped.close()


def test_frames_that_stay_alike_are_described_once(tmp_path: Path) -> None:
    eyes = Eyes()
    with Store(tmp_path / "events.sqlite", Eyes.name) as store:
        index(store, begun(store), play(), eyes)
    assert len(PLAY) <= eyes.described <= len(PLAY) + 1
    small = frame(50)
    small[8:12, 8:12] = 90
    assert changed(frame(50), small), "a thing of four by four pixels counts"
    assert not changed(frame(50), frame(51)), "noise does not"
    assert len(list(play())) > BATCH


def test_a_prompt_is_bounded_however_long_the_past(tmp_path: Path) -> None:
    with Store(tmp_path / "events.sqlite", Eyes.name) as store:
        one = begun(store)
        events = [Event(one.id, SAW, 400 + i, 400 + i, f"thing {i} " + "left " * 60) for i in range(3000)]
        store.add(one.id, events)
        text = prompt(store, "what is the code of the gate, and what was left of thing 77?")
        assert len(text.split()) <= PROMPT_WORDS
        assert "4711" in text
        assert "thing 2999" in text, "what came last"


def test_questions_are_read_as_people_mean_them() -> None:
    known = Eyes().known
    assert read("When did I last see the red keycard, and where?", known).things == ("red key",)
    assert read("was there ever a green mask next to the blue torch?", known).asks == "ever"
    three = read("what did you see 3 minutes ago?")
    assert (three.asks, three.at, three.ago) == ("at", 180.0, True)
    assert read("what was there at 1:02:03?").at == 3723.0
    assert read("what were you told to do?").asks == "words"
