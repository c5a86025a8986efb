"""Models behind a service that misbehaves in every way: attempts, deadlines, budget, outages, schemas, keys."""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models import (
    BadReplyError,
    Budget,
    Delta,
    Message,
    Model,
    ModelError,
    OverBudgetError,
    Price,
    RateLimitedError,
    RefusedError,
    Reply,
    Request,
    UnavailableError,
    Usage,
    load_model,
    wire,
)
from agent.models.budget import estimate
from agent.models.config import Settings
from agent.models.model import COOL, Circuit
from agent.models.openai import load_openai
from agent.models.thoughts import ThoughtFilter, split_thought
from agent.models.wire import retry_after
from envs.errors import UserError
from tests.support.model_server import COUNT, END, FakeServer, drip, flood, hang, piece, says, send, serving, streams

KEY = "sk-canary-7f3a"
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
ERROR = {"error": {"message": f"the key {KEY} is wrong", "code": "invalid_api_key"}}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No configuration of whoever runs the tests."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "LUDENS_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


class Waits(list[float]):
    """A sleep that only takes note."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def model_at(server: FakeServer, **options: Any) -> Model:
    backend = load_openai(f"toy@{server.url}", settings=Settings(key=KEY))
    return Model(backend, **{"sleep": Waits(), "deadline": 60.0, **options})


def error_of(*script: Any, **options: Any) -> tuple[ModelError, FakeServer]:
    with serving(*script) as server, model_at(server, **options) as model:
        with pytest.raises(ModelError) as caught:
            model.chat("hello")
        return caught.value, server


def test_a_reply_and_what_it_took() -> None:
    with serving(says("a red key ")) as server, model_at(server, price=Price(1.0, 10.0)) as model:
        picture = np.zeros((4, 6, 3), np.uint8)
        talk = [Message("system", "be brief"), Message("user", "what is it?", (picture,))]
        reply = model.chat(talk, think=0, max_tokens=9, seed=5, temperature=0.5)
    assert (reply.text, reply.attempts, reply.model) == ("a red key", 1, f"openai:toy@{server.url}")
    assert reply.usage == Usage(7, 3, 0, pytest.approx(37e-6))
    asked = server.asked[0]
    assert {k: asked[k] for k in ("model", "max_tokens", "seed", "temperature", "reasoning_effort")} == {
        "model": "toy", "max_tokens": 9, "seed": 5, "temperature": 0.5, "reasoning_effort": "none",
    }  # fmt: skip
    assert asked["messages"][0] == {"role": "system", "content": "be brief"}
    image, text = asked["messages"][1]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert text == {"type": "text", "text": "what is it?"}
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (send(429), RateLimitedError),
        (send(500, "oops"), UnavailableError),
        (send(503, ERROR), UnavailableError),
        (says(""), BadReplyError),
        (says(None), BadReplyError),
        (send(200, "{}"), BadReplyError),
        (send(200, '{"choices": [{"message": {"content": "half'), BadReplyError),
        (send(200, "[" * 100_000), BadReplyError),
        (send(200, '{"choices": ', length=1000), UnavailableError),
        (send(200, {"choices": [{"message": "text"}]}), BadReplyError),
    ],
)
def test_what_may_get_better_is_tried_as_often_as_configured(script: Any, kind: type[ModelError]) -> None:
    waits = Waits()
    error, server = error_of(script, attempts=3, sleep=waits)
    assert type(error) is kind
    assert len(server.asked) == 3
    assert len(waits) == 2
    assert all(0 <= wait <= 0.5 * 2**n for n, wait in enumerate(waits))
    assert KEY not in str(error)


@pytest.mark.parametrize(
    ("script", "kind", "says_so"),
    [
        (send(401, ERROR), RefusedError, "answered 401: the key *** is wrong"),
        (send(404, "no such model"), RefusedError, "no such model"),
        (send(302, location="http://127.0.0.1:9/"), RefusedError, "302"),
        (send(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), RefusedError, "pay"),
        (says(None, message={"content": None, "refusal": "I must not"}), RefusedError, "I must not"),
        (flood, BadReplyError, "more than 4 MiB"),
    ],
)
def test_what_does_not_get_better_is_not_tried_again(script: Any, kind: type[ModelError], says_so: str) -> None:
    error, server = error_of(script)
    assert type(error) is kind
    assert says_so in str(error)
    assert KEY not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
    assert len(server.asked) == 1


def test_a_service_that_recovers_is_none_the_worse() -> None:
    waits = Waits()
    with serving(send(429, retry_after="2"), send(500), says("there")) as server:
        reply = model_at(server, sleep=waits).chat("hello")
    assert (reply.text, reply.attempts) == ("there", 3)
    assert waits[0] >= 2.0


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    error, server = error_of(send(429, retry_after="61"))
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 61.0
    assert len(server.asked) == 1


def test_retry_after_is_seconds_or_a_date_or_nothing() -> None:
    assert retry_after("1.5") == 1.5
    assert retry_after("Fri, 01 Jan 2010 00:00:00 GMT") == 0.0
    assert (retry_after("Fri, 01 Jan 2100 00:00:00 GMT") or 0) > 1e6
    assert retry_after("soon") is retry_after(None) is retry_after("nan") is None


@pytest.mark.parametrize("behaviour", [hang, drip], ids=["hang", "drip"])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_deadline_holds_whatever_the_service_does(behaviour: Any, streamed: bool) -> None:
    with serving(behaviour) as server, model_at(server) as model:
        start = time.monotonic()
        with pytest.raises(UnavailableError, match="no whole answer"):
            list(model.stream("hello", deadline=0.5)) if streamed else model.chat("hello", deadline=0.5)
        assert 0.4 < time.monotonic() - start < 10.0  # the server goes on for 30; this is a bound for a busy machine
    assert len(server.asked) <= 1


def test_nobody_there() -> None:
    with serving(says("hello")) as server:
        pass
    model = model_at(server, attempts=2)
    with pytest.raises(UnavailableError, match="can't be reached"):
        model.chat("hello")
    assert model.budget.spent.tokens == 0


def test_an_outage_fails_at_once_and_ends_by_itself() -> None:
    now = [0.0]
    circuit = Circuit(clock=lambda: now[0])
    with serving(send(503), send(503), send(503), says("back")) as server:
        model = model_at(server, attempts=2, circuit=circuit)
        with pytest.raises(UnavailableError, match="503"):
            model.chat("one")
        with pytest.raises(UnavailableError, match="is out"):
            model.chat("two")
        assert len(server.asked) == 2
        now[0] += COOL
        with pytest.raises(UnavailableError, match="503"):
            model.chat("three")
        assert len(server.asked) == 3, "one call tries, once"
        now[0] += COOL
        assert model.chat("four").text == "back"
        assert model.chat("five").text == "back"


# Streams


def test_a_stream_comes_in_pieces_and_ends_with_the_reply() -> None:
    thought = {"choices": [{"delta": {"reasoning_content": "hm"}}]}
    with serving(streams(thought, piece("a "), piece("red"), piece(" key"), END, COUNT, "[DONE]")) as server:
        *pieces, reply = model_at(server).stream("what?")
    assert pieces == [Delta("hm", thought=True), Delta("a "), Delta("red"), Delta(" key")]
    assert isinstance(reply, Reply)
    assert (reply.text, reply.thought, reply.usage) == ("a red key", "hm", Usage(7, 3))
    assert server.asked[0]["stream"] is True


def test_a_stream_is_tried_again_until_something_was_said() -> None:
    with serving(send(500), streams(piece("a red")), streams(piece("never"), END)) as server:
        pieces = model_at(server).stream("what?")
        assert next(pieces) == Delta("a red")
        with pytest.raises(BadReplyError, match="broke off"):
            next(pieces)
    assert len(server.asked) == 2


def test_a_stream_that_nobody_wants_any_more_is_paid_for_by_its_estimate() -> None:
    def endless(handler: Any) -> None:
        streams(*[piece("on and ")] * 3)(handler)
        hang(handler)

    with serving(endless) as server, model_at(server) as model:
        stream = model.stream("what?", max_tokens=50)
        assert next(stream) == Delta("on and ")
        stream.close()
        assert model.budget.spent.completion == 50


@given(st.text(alphabet="ab<>/think \n", max_size=12), st.text(alphabet="ab <", max_size=8), st.data())
def test_thoughts_are_told_from_words_wherever_the_marks_are_cut(inner: str, rest: str, data: Any) -> None:
    text = f"<think>{inner.replace('</think>', '')}</think>{rest}"
    marks = ThoughtFilter()
    deltas: list[Delta] = []
    while text:
        cut = data.draw(st.integers(1, len(text)))
        deltas += marks.feed(text[:cut])
        text = text[cut:]
    deltas += marks.end()
    said = "".join(d.text for d in deltas if not d.thought)
    assert said.strip() == rest.strip()


def test_thoughts_that_were_cut_off_are_no_answer() -> None:
    assert split_thought("<think>so far") == ("so far", "")
    assert split_thought("so</think> yes") == ("so", "yes")
    error, server = error_of(says("<think>so far", finish_reason="length"))
    assert "spent its tokens on thoughts" in str(error)
    assert len(server.asked) == 1


# Schemas


def test_a_schema_is_asked_for_and_checked_here() -> None:
    with serving(says('Sure!\n```json\n{"colour": "red"}\n```')) as server:
        reply = model_at(server).chat("a colour", schema=COLOUR)
    assert reply.data == {"colour": "red"}
    assert server.asked[0]["response_format"]["json_schema"]["schema"] == COLOUR
    assert '"enum"' in server.asked[0]["messages"][0]["content"], "for servers that say nothing and ignore it"


@pytest.mark.parametrize("wrong", ["red", '{"colour": "blue"}', '{"colour": NaN}', "[" * 20_000, '{"colour": "red"'])
def test_a_wrong_answer_is_mended_once(wrong: str) -> None:
    with serving(says(wrong), says('{"colour": "green"}'), says("never")) as server:
        reply = model_at(server).chat("a colour", schema=COLOUR)
    assert reply.data == {"colour": "green"}
    assert (reply.attempts, reply.usage) == (2, Usage(14, 6))
    _, answer, complaint = server.asked[1]["messages"]
    assert (answer["role"], answer["content"]) == ("assistant", wrong[:2000])
    assert "can't be used" in complaint["content"]


def test_an_answer_that_stays_wrong_is_an_error() -> None:
    with serving(says('{"colour": "blue"}')) as server, pytest.raises(BadReplyError, match=r"\$.colour: 'blue'"):
        model_at(server).chat("a colour", schema=COLOUR)
    assert len(server.asked) == 2


def test_a_schema_that_is_none_is_the_users_fault_and_fetches_nothing() -> None:
    with serving(says("{}")) as server:
        with pytest.raises(UserError, match="no JSON schema"):
            model_at(server).chat("x", schema={"type": "colour"})
        with pytest.raises(UserError, match="can't be checked"):
            model_at(server).chat("x", schema={"$ref": f"http://127.0.0.1:{server.port}/schema"})
    assert len(server.asked) == 1, "the model was asked, the reference was not followed"


# Budget


def test_the_cap_stops_before_it_is_passed() -> None:
    budget = Budget(tokens=250)
    with serving(says("yes", prompt=30, completion=20)) as server, model_at(server, budget=budget) as model:
        for _ in range(3):
            model.chat("hello", max_tokens=60)
        with pytest.raises(OverBudgetError, match="the run's 250 tokens are not enough: 150 are spent"):
            model.chat("hello", max_tokens=60)
    assert len(server.asked) == 3
    assert budget.spent.tokens == 150


def test_dollars_are_capped_where_prices_are_known() -> None:
    with serving(says("yes")) as server:
        with pytest.raises(UserError, match="needs its price"):
            model_at(server, budget=Budget(dollars=1.0))
        model = model_at(server, budget=Budget(dollars=1e-4), price=Price(1.0, 1.0))
        assert model.chat("hello", max_tokens=10).usage == Usage(7, 3, 0, pytest.approx(1e-5))
        with pytest.raises(OverBudgetError, match="dollars"):
            model.chat("hello", max_tokens=1000)
    assert len(server.asked) == 1


def test_requests_at_the_same_time_do_not_pass_the_cap_together() -> None:
    budget = Budget(tokens=300)
    with serving(says("yes", prompt=20, completion=50)) as server:
        models = [model_at(server, budget=budget) for _ in range(8)]

        def ask(model: Model) -> bool:
            try:
                return bool(model.chat("hello", max_tokens=50))
            except OverBudgetError:
                return False

        with ThreadPoolExecutor(8) as pool:
            done = sum(pool.map(ask, models))
    assert budget.spent.tokens == 70 * done <= 300
    assert done >= 2


def test_the_first_calls_of_a_process_may_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            monkeypatch.setattr(wire, "_LOOPS", {})
            together = threading.Barrier(8)
            with serving(says("yes")) as server, model_at(server) as model, ThreadPoolExecutor(8) as pool:
                asks = [pool.submit(_once_all_are_there, together, model) for _ in range(8)]
                assert [ask.result() for ask in asks] == ["yes"] * 8
    finally:
        sys.setswitchinterval(switching)


def _once_all_are_there(together: threading.Barrier, model: Model) -> str:
    together.wait()
    return model.chat("hello").text


def test_who_does_not_count_is_charged_the_estimate() -> None:
    with serving(send(200, {"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": -1}})) as server:
        reply = model_at(server).chat("hello", max_tokens=40)
    assert reply.usage == estimate(Request((Message("user", "hello"),), max_tokens=40))


# Names and settings


def test_what_no_model_could_answer_is_said_before_it_is_asked() -> None:
    with serving(says("yes")) as server:
        model = model_at(server)
        for talk in ([], [Message("assistant", "hello")], "  "):
            with pytest.raises(UserError, match="messages:"):
                model.chat(talk)
        with pytest.raises(UserError, match="deadline"):
            model.chat("hello", deadline=0)
    assert not server.asked
    with pytest.raises(ValueError, match="expected uint8"):
        Message("user", "", (np.zeros((4, 4), np.uint8),))


def test_models_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(says("yes")) as server:
        with load_model(f"openai:toy@{server.url}") as model:
            assert model.chat("hello").text == "yes"
        assert "authorization" not in server.headers[0]
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with load_model("openai:toy") as model:
            model.chat("hello")
        assert server.headers[1]["authorization"] == f"Bearer {KEY}"
    with serving(says("yes")) as other, load_model(f"openai:toy@{other.url}") as model:
        model.chat("hello")
    assert "authorization" not in other.headers[0], "the key of one service is not for another"


@pytest.mark.parametrize(
    ("name", "says_so"),
    [
        ("opnai", "did you mean"),
        ("openai:toy", "needs a key"),
        ("openai:toy@http://user:pass@127.0.0.1/v1", "keys by environment or file"),
        ("openai:toy@http://127.0.0.1/v1?key=sk-canary-7f3a", "keys by environment or file"),
        ("openai:@http://127.0.0.1/v1", "say which model"),
        ("gemini:toy", "GEMINI_API_KEY"),
        ("hf:", "say which model"),
        ("smol:large", "needs no argument"),
    ],
)
def test_a_wrong_name_says_what_was_expected(name: str, says_so: str) -> None:
    with pytest.raises(UserError, match=says_so) as caught:
        load_model(name)
    assert "canary" not in str(caught.value)


@pytest.fixture
def file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "models.yaml"
    monkeypatch.setenv("LUDENS_MODELS", str(path))
    return path


def test_flags_go_before_the_environment_and_that_before_the_file(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(says("yes")) as server:
        name = f"openai:toy@{server.url}"
        own = {"key": KEY, "price": [1, 2], "attempts": 7, "deadline": 9}
        general = {"key": "sk-of-another", "attempts": 5}
        file.write_text(json.dumps({"limits": {"tokens": 1000}, "models": {"openai": general, name: own}}))
        monkeypatch.setenv("LUDENS_MODEL_ATTEMPTS", "3")
        model = load_model(name, deadline=20.0)
        assert (model._attempts, model.deadline, model._price, model.budget.tokens) == (3, 20.0, Price(1, 2), 1000)
        model.chat("hello", max_tokens=20)
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        load_model(f"openai:other@{server.url}").chat("hello", max_tokens=20)
        assert "authorization" not in server.headers[1], "the general key is for the general address"


@pytest.mark.parametrize(
    "text",
    [
        f"models: {{smol: {{kay: {KEY}}}}}",
        f"models: {{smol: {{key: [{KEY}]}}}}",
        f"models: {{smol: {{attempts: {KEY}}}}}",
        f"limits: {KEY}",
        f"models: [{KEY}",
        KEY,
    ],
)
def test_a_wrong_file_is_named_and_its_values_are_not(file: Any, text: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError, match=r"models\.yaml") as caught:
        load_model("smol")
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_key_shows_nowhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    caplog.set_level("DEBUG")
    settings = Settings(key_env="SOME_KEY")
    echo = {"error": {"message": f"I was sent {KEY}"}}
    with serving(send(500, echo), streams({"error": echo}), says(KEY)) as server:
        backend = load_openai(f"toy@{server.url}", settings=settings)
        model = Model(backend, attempts=1)
        seen = [repr(settings), repr(vars(backend)), repr(vars(model))]
        for ask in (lambda: model.chat("x"), lambda: list(model.stream("x"))):
            with pytest.raises(ModelError) as caught:
                ask()
            seen.append(repr(caught.getrepr(style="short")) + repr(caught.value))
            model._circuit.leave(False)
    assert KEY not in " ".join([*seen, caplog.text])
