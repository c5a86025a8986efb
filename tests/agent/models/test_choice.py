"""Choices: log-probabilities of words, of a service that tells them or not and of a model of transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.models import BadReplyError, Budget, Message, Model, RefusedError, Request, UnavailableError, load_model
from agent.models.choice import Chooses, NoChoiceError, plain
from agent.models.config import Settings
from agent.models.hf import HfBackend, beginnings
from agent.models.openai import load_openai
from tests.support.model_server import Behaviour, FakeServer, chooses, says, send, serving
from tests.support.tiny_vlm import tiny

FRAME = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
YES = ("yes", "no")
LONG = 600.0  # seconds: what is tested is not how fast it is


def model_at(server: FakeServer, **options: Any) -> Model:
    return Model(load_openai(f"toy@{server.url}", settings=Settings()), sleep=lambda seconds: None, **options)


def test_spellings_of_a_word_are_summed_and_all_that_the_service_needs_is_sent() -> None:
    told = {"Yes": 0.4, " yes": 0.2, "▁No": 0.1, "Maybe": 0.2}
    with serving(chooses(told)) as server, model_at(server) as model:
        logs = model.choose([Message("user", "was it done?", (FRAME,))], ["yes", "no", "perhaps"])
    assert math.exp(logs["yes"]) == pytest.approx(0.6)
    assert math.exp(logs["no"]) == pytest.approx(0.1)
    assert logs["perhaps"] == -math.inf
    (asked,) = server.asked
    sent = {name: asked[name] for name in ("max_tokens", "logprobs", "top_logprobs", "temperature", "reasoning_effort")}
    assert sent == {
        "max_tokens": 1, "logprobs": True, "top_logprobs": 20, "temperature": 1.0, "reasoning_effort": "none",
    }  # fmt: skip
    assert asked["messages"][0]["content"][0]["type"] == "image_url"


NAN = {"token": "yes", "logprob": math.nan}


@pytest.mark.parametrize(
    "answer",
    [
        send(400, {"error": {"message": "logprobs is not supported", "param": "logprobs"}}),
        send(403, {"error": {"message": "You are not allowed to request logprobs from this model"}}),
        says("yes"),
        says("yes", logprobs=None),
        says("yes", logprobs={"content": [{"token": "yes", "logprob": 0.0, "top_logprobs": []}]}),
        says("yes", logprobs={"content": [{"token": "yes", "logprob": 0.0, "top_logprobs": [NAN]}]}),
    ],
)
def test_a_service_without_log_probabilities_is_told(answer: Behaviour) -> None:
    with serving(answer) as server, model_at(server) as model:
        with pytest.raises(NoChoiceError, match="no log-probabilities"):
            model.choose("done?", YES)
        assert len(server.asked) == 1


def test_other_refusals_and_answers_stay_what_they_are() -> None:
    wrong_key = send(401, {"error": {"message": "wrong key"}})
    with serving(wrong_key) as server, model_at(server) as model, pytest.raises(RefusedError) as caught:
        model.choose("done?", YES)
    assert not isinstance(caught.value, NoChoiceError)
    with serving(chooses({"The": 0.9, "A": 0.1})) as server, model_at(server) as model:
        with pytest.raises(BadReplyError, match="answers 'The'; expected one of yes, no"):
            model.choose("done?", YES)
        assert len(server.asked) == 1  # the same question has the same answer


def test_a_choice_is_tried_again_and_paid_for_as_any_call() -> None:
    budget = Budget(tokens=1000)
    script = send(503), chooses({"Yes": 0.9, "No": 0.1}, prompt=40)
    with serving(*script) as server, model_at(server, budget=budget) as model:
        assert model.choose("done?", YES)["yes"] == pytest.approx(math.log(0.9))
        assert budget.spent.tokens == 41
    with serving(send(503)) as server, model_at(server, attempts=1) as model, pytest.raises(UnavailableError):
        model.choose("done?", YES)


@pytest.mark.parametrize("choices", [["yes"], ["yes", "Yes"], ["yes", "yes"], ["yes", ""], []])
def test_choices_are_different_words(choices: list[str]) -> None:
    with serving(says("yes")) as server, model_at(server) as model:
        with pytest.raises(ValueError, match="two or more different words"):
            model.choose("done?", choices)
        assert not server.asked


def test_a_backend_that_can_not_choose_is_told() -> None:
    with load_model("small") as model:
        assert not isinstance(model.backend, Chooses)
        with pytest.raises(NoChoiceError, match="small tells no"):
            model.choose("done?", YES)


# In process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image-text model with random weights, as transformers saves it."""
    path = tmp_path_factory.mktemp("tiny") / "idefics3"
    model, processor = tiny("idefics3")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def test_a_model_of_transformers_tells_what_its_forward_pass_tells(folder: Path) -> None:
    talk = [Message("user", "what is there?", (FRAME,))]
    digits = tuple("0123456789")
    with load_model(f"hf:{folder}", deadline=LONG) as model:
        told = model.choose(talk, digits)
        assert told == model.choose(talk, digits)
        other = model.choose([Message("user", "what is there?", (FRAME // 2,))], digits)
        backend = model.backend
    assert isinstance(backend, HfBackend)
    inputs = backend._inputs(Request(tuple(talk), think=0, max_tokens=1))
    with torch.inference_mode():
        expected = torch.log_softmax(backend._model(**inputs).logits[0, -1].float(), -1)
    tokenizer = backend._tokenizer
    for digit in digits:
        spellings = [number for piece, number in tokenizer.get_vocab().items() if plain(piece) == digit]
        assert len(spellings) >= 1
        assert told[digit] == pytest.approx(float(expected[spellings].logsumexp(0)), abs=1e-4)
    assert told != other


def test_words_that_begin_alike_can_not_be_chosen_among(folder: Path) -> None:
    with load_model(f"hf:{folder}", deadline=LONG) as model:
        assert set(model.choose("done?", YES)) == {"yes", "no"}
        with pytest.raises(NoChoiceError, match="first token"):
            model.choose("done?", ["zzzqa", "zzzqb"])


def test_a_word_of_several_tokens_is_told_by_its_first_one() -> None:
    tokenizer = tiny("gemma3")[1].tokenizer
    found = beginnings(tokenizer, ["zzq", "red"])
    assert found["zzq"] == tokenizer.encode("zzq", add_special_tokens=False)[:1]
    assert all(plain(tokenizer.convert_ids_to_tokens(number)) == "red" for number in found["red"])


def test_a_model_in_process_is_not_waited_for_longer_than_the_deadline(folder: Path) -> None:
    with load_model(f"hf:{folder}", attempts=1) as model:
        backend = model.backend
        assert isinstance(backend, HfBackend)
        with backend._lock, pytest.raises(UnavailableError, match="no whole answer"):
            model.choose("done?", YES, deadline=0.05)
