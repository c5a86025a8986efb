"""Servers of chat completions that differ: fields that they refuse, streams, errors, proxies, text that is none."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.models import BadReplyError, Delta, Model, ModelError, RefusedError, Reply, UnavailableError, load_model
from agent.models import dialect as dialects
from agent.models.config import Settings
from agent.models.dialect import HOSTED, Talks, negotiated
from agent.models.openai import load_openai
from agent.models.schema import Shape
from agent.models.thoughts import ThoughtFilter, split_thought
from envs.errors import UserError
from tests.support.model_server import END, FakeServer, piece, says, send, serving, streams

KEY = "sk-canary-7f3a"
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
RED = '{"colour": "red"}'
EVERYTHING: dict[str, Any] = {"seed": 3, "temperature": 0.5, "think": 100, "schema": COLOUR, "max_tokens": 9}
Answer = Callable[[Any], None]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    """No configuration of whoever runs the tests, and no memory of other servers."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "LUDENS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    dialects.forget()
    yield
    dialects.forget()


def model_at(server: FakeServer, **settings: Any) -> Model:
    return Model(load_openai(f"toy@{server.url}", settings=Settings(key=KEY, **settings)), attempts=1)


# Fields that a server refuses


def refusing(complain: Callable[[dict[str, Any]], tuple[int, Any] | None]) -> Answer:
    """A server that refuses the bodies of which `complain` has something to say, and answers all others."""

    def behave(handler: Any) -> None:
        said = complain(handler.body)
        if said is not None:
            send(said[0], said[1] if isinstance(said[1], str) else json.dumps(said[1]))(handler)
        elif handler.body.get("stream"):
            streams(piece(RED), END, "[DONE]")(handler)
        else:
            says(RED)(handler)

    return behave


def openai_error(name: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": name, "code": "unsupported"}}


def one(name: str, error: Any, status: int = 400) -> Answer:
    return refusing(lambda body: (status, error) if name in body else None)


def extra_forbidden(body: dict[str, Any]) -> tuple[int, Any] | None:
    """Pydantic's complaint, which repeats values, of all fields at once."""
    known = {"model", "messages", "max_tokens", "stream", "top_p"}
    bad = [
        {"type": "extra_forbidden", "loc": ["body", k], "msg": "Extra", "input": body[k]} for k in body.keys() - known
    ]
    return (422, {"detail": bad}) if bad else None


def one_by_one(body: dict[str, Any]) -> tuple[int, Any] | None:
    known = {"model", "messages", "max_completion_tokens", "stream"}
    bad = next((key for key in body if key not in known), None)
    return (400, {"message": f"Unrecognized request argument supplied: {bad}"}) if bad else None


def only_text(body: dict[str, Any]) -> tuple[int, Any] | None:
    return (400, "'response_format.type' must be 'text'") if "response_format" in body else None


def no_schema(body: dict[str, Any]) -> tuple[int, Any] | None:
    kind = body.get("response_format", {}).get("type")
    return (400, openai_error("", "json_schema is unavailable now")) if kind == "json_schema" else None


def some_effort(body: dict[str, Any]) -> tuple[int, Any] | None:
    if body.get("reasoning_effort") != "none":
        return None
    said = "Unsupported value: 'reasoning_effort' does not support 'none' with this model."
    return 400, openai_error("reasoning_effort", said)


def listing(body: dict[str, Any]) -> tuple[int, Any] | None:
    """A complaint that names fields that are right before the one that is wrong."""
    said = "this server takes model, messages, max_tokens and temperature; it does not take seed"
    return (400, {"error": said}) if "seed" in body or "max_completion_tokens" in body else None


NEW_LIMIT = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
SERVERS: dict[str, Answer] = {
    "max_tokens": one("max_tokens", openai_error("max_tokens", NEW_LIMIT)),
    "max_tokens in prose": one("max_tokens", {"error": {"message": NEW_LIMIT}}),
    "seed": one("seed", {"error": {"message": "property 'seed' is unsupported"}}),
    "temperature": one("temperature", openai_error("temperature", "Only the default (1) value is supported.")),
    "stream_options": one("stream_options", {"detail": "Unknown field: stream_options"}, 422),
    "reasoning_effort": one("reasoning_effort", {"error": "unknown field reasoning_effort"}),
    "an effort": refusing(some_effort),
    "chat_template_kwargs": one("chat_template_kwargs", "chat_template_kwargs: extra fields not permitted", 422),
    "chatTemplateKwargs": one("chat_template_kwargs", {"error": {"message": "Unknown name chatTemplateKwargs"}}),
    "any format": refusing(only_text),
    "a schema": refusing(no_schema),
    "all at once": refusing(extra_forbidden),
    "one after the other": refusing(one_by_one),
    "a list": refusing(listing),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_field_that_a_server_refuses_is_given_up_once_and_remembered_by_address(name: str) -> None:
    with serving(SERVERS[name]) as server:
        assert model_at(server).chat("a colour", **{**EVERYTHING, "think": 0}).data == {"colour": "red"}
        asked = len(server.asked)
        assert model_at(server).chat("a colour", **EVERYTHING).data == {"colour": "red"}
        *_, reply = model_at(server).stream("a colour", **EVERYTHING)
        assert isinstance(reply, Reply)
        assert reply.data == {"colour": "red"}
        again = len(server.asked)
        list(model_at(server).stream("a colour", **EVERYTHING))
        list(model_at(server).stream("a colour", **{**EVERYTHING, "think": 0}))
    assert 1 <= asked <= 9
    assert again > 3, "something was refused"
    assert len(server.asked) == again + 2, "what is known is not tried again"
    assert {"max_tokens", "max_completion_tokens"} & server.asked[-1].keys(), "a budget relies on it"


def test_a_schema_is_asked_for_as_strictly_as_a_server_can() -> None:
    def kinds(server: FakeServer) -> list[str | None]:
        model_at(server).chat("a colour", schema=COLOUR)
        return [body.get("response_format", {}).get("type") for body in server.asked]

    with serving(SERVERS["a schema"]) as server:
        assert kinds(server) == ["json_schema", "json_object"]
    with serving(SERVERS["any format"]) as server:
        assert kinds(server) == ["json_schema", "json_object", None]
        assert '"enum"' in server.asked[-1]["messages"][0]["content"]


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "the prompt is too long"}},
        {"detail": [{"loc": ["body", "messages", 0], "msg": "wrong", "input": {"seed": 3, "max_tokens": 9}}]},
        "no such model",
    ],
)
def test_other_complaints_are_told_at_once(error: Any) -> None:
    with serving(refusing(lambda body: (400, error))) as server, pytest.raises(RefusedError, match="400"):
        model_at(server).chat("hello", **EVERYTHING)
    assert len(server.asked) == 1


def test_what_stays_wrong_is_told_in_the_words_that_were_about_what_was_meant() -> None:
    def too_many(body: dict[str, Any]) -> tuple[int, Any]:
        if "max_completion_tokens" in body:
            return 400, {"error": {"message": "unknown field max_completion_tokens"}}
        return 400, {"error": {"message": "max_tokens: at most 8 here"}}

    with serving(refusing(too_many)) as server, pytest.raises(RefusedError, match="at most 8 here"):
        model_at(server).chat("hello", max_tokens=9)
    assert len(server.asked) == 2
    assert not dialects._known, "nothing was agreed on"


def test_other_statuses_and_other_addresses_change_nothing() -> None:
    error = openai_error("seed", "no seed")
    with serving(one("seed", error, 404)) as server, pytest.raises(RefusedError, match="404: no seed"):
        model_at(server).chat("hello", seed=3)
    assert len(server.asked) == 1
    with serving(one("seed", error)) as first, serving(says("hello")) as second:
        for server in (first, second):
            model_at(server).chat("hello", seed=3)
    assert "seed" not in first.asked[-1]
    assert second.asked[-1]["seed"] == 3


def test_fields_are_left_out_and_added_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(says("hello")) as server:
        model_at(server, omit=("seed", "max_tokens"), extra={"top_k": 20}).chat("hello", seed=3)
        assert "max_tokens" not in server.asked[-1]
        assert server.asked[-1]["top_k"] == 20
        monkeypatch.setenv("LUDENS_MODEL_OMIT", "seed, reasoning_effort")
        monkeypatch.setenv("LUDENS_MODEL_EXTRA", '{"chat_template_kwargs": {"thinking": false}, "min_p": 0.1}')
        load_model(f"openai:toy@{server.url}").chat("hello", seed=3, think=0)
        body = server.asked[-1]
    assert not {"seed", "reasoning_effort"} & body.keys()
    assert (body["chat_template_kwargs"], body["min_p"]) == ({"thinking": False}, 0.1)


def test_a_field_that_was_added_by_hand_stays() -> None:
    with serving(one("seed", openai_error("seed", "no seed"))) as server, pytest.raises(RefusedError, match="no seed"):
        model_at(server, extra={"seed": 4}).chat("hello", seed=3)
    assert [body["seed"] for body in server.asked] == [4]


@pytest.mark.parametrize(
    ("name", "value", "says_so"),
    [
        ("OMIT", "messages", "expected some of max_tokens"),
        ("EXTRA", '{"messages": []}', "messages is what a request is made of"),
        ("EXTRA", "[1]", "extra"),
        ("EXTRA", f'{{"key": {KEY}', "expected a JSON object"),
        ("EXTRA", '{"top_p": NaN}', "expected what JSON can hold"),
    ],
)
def test_wrong_fields_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says_so: str) -> None:
    monkeypatch.setenv(f"LUDENS_MODEL_{name}", value)
    with pytest.raises(UserError, match=says_so) as caught:
        load_model("openai:toy@http://127.0.0.1:9/v1")
    assert KEY not in str(caught.value)


def test_the_hosted_service_is_asked_in_its_own_way() -> None:
    body = {"model": "m", "max_tokens": 9, "chat_template_kwargs": {}, "seed": 3}
    sent: list[dict[str, Any]] = []

    def take(body: dict[str, Any]) -> Iterator[str]:
        sent.append(body)
        yield "good"

    assert list(negotiated(Talks("https://a.example", "m", body, start=HOSTED), take)) == ["good"]
    assert sent == [{"model": "m", "max_completion_tokens": 9, "seed": 3}]


# Streams, and what comes in their place


def raw(data: bytes, kind: str = "text/event-stream", **headers: str) -> Answer:
    return send(200, data, content_type=kind, **headers)


def events(*parts: str) -> bytes:
    return "".join(parts).encode()


def data(value: Any) -> str:
    return f"data: {json.dumps(value)}"


WHOLE = {"choices": [{"message": {"role": "assistant", "content": "a key"}, "finish_reason": "stop"}]}
BARE = {"choices": [{"message": {"content": "a key"}}]}
EMPTY = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": ""}]}
GOOD_STREAMS: dict[str, Answer] = {
    "a reason": streams(piece("a "), piece("key"), END),
    "a null reason and an end": streams(piece("a "), piece("key"), "[DONE]"),
    "an empty reason and an end": streams(piece("a "), piece("key"), EMPTY, "[DONE]"),
    "comments and other line ends": raw(events(": WAIT\r\n\r\n", data(piece("a key")), "\r\n\r\ndata: [DONE]\r\n\r\n")),
    "a mark of the byte order": raw(b"\xef\xbb\xbf" + events(data(piece("a key")), "\n\ndata: [DONE]\n\n")),
    "no empty lines": raw(events(data(piece("a ")), "\n", data(piece("key")), "\ndata: [DONE]")),
    "events of several lines": raw(
        events(*(f"data: {line}\n" for line in json.dumps(piece("a key"), indent=1).splitlines()), "\ndata: [DONE]\n\n")
    ),
    "named events": raw(events("event: message\nid: 1\n", data(piece("a key")), "\n\nevent: end\ndata: [DONE]\n\n")),
    "several choices of words": streams({"choices": []}, {"choices": [{"delta": None}]}, piece("a key"), END),
    "JSON": raw(json.dumps(WHOLE).encode(), "application/json"),
    "JSON of many lines": raw(json.dumps(WHOLE, indent=2).encode(), "application/json"),
    "JSON without a reason": raw(json.dumps(BARE).encode()),
    "gzip": raw(gzip.compress(events(data(piece("a key")), "\n\ndata: [DONE]\n\n")), content_encoding="gzip"),
}


@pytest.mark.parametrize("name", GOOD_STREAMS)
def test_a_stream_that_is_whole_is_taken(name: str) -> None:
    with serving(GOOD_STREAMS[name]) as server:
        *pieces, reply = model_at(server).stream("what?")
    assert isinstance(reply, Reply)
    assert reply.text == "a key"
    assert "".join(item.text for item in pieces) == "a key"


ERROR_EVENT = 'event: error\ndata: {"message": "out of memory", "code": 500}\n\n'
BAD_STREAMS: dict[str, tuple[Answer, type[ModelError], str]] = {
    "nothing more": (streams(piece("a ")), BadReplyError, "broke off"),
    "a named error": (raw(events(ERROR_EVENT)), UnavailableError, "out of memory"),
    "a named error in plain words": (raw(b"event: error\ndata: out of memory\n\n"), BadReplyError, "out of memory"),
    "a named error after a piece": (raw(events(data(piece("a ")), "\n\n", ERROR_EVENT)), UnavailableError, "of memory"),
    "an error": (streams({"error": {"message": "too busy", "code": 429}}), ModelError, "too busy"),
    "an error in words": (streams({"error": "too busy"}), BadReplyError, "too busy"),
    "an error in JSON": (raw(b'{"error": {"message": "too busy"}}', "application/json"), BadReplyError, "too busy"),
    "a page": (raw(b"<!doctype html>\n<title>Sign in</title>", "text/html"), BadReplyError, "Sign in"),
    "other JSON": (raw(b'{"detail": "nobody"}', "application/json"), BadReplyError, "broke off|nobody"),
    "a list": (streams("[1, 2]"), BadReplyError, r"streams no chat completion: \[1, 2\]"),
    "half an event": (raw(b'data: {"choices": [{"del'), BadReplyError, "what is no JSON"),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
def test_a_stream_that_is_none_is_told_in_the_servers_own_words(name: str) -> None:
    script, kind, words = BAD_STREAMS[name]
    with serving(script) as server, pytest.raises(kind, match=words):
        list(model_at(server).stream("what?"))


BODY = json.dumps(WHOLE).encode()
GOOD_ANSWERS: dict[str, Answer] = {
    "a mark of the byte order": send(200, b"\xef\xbb\xbf" + BODY),
    "gzip": send(200, gzip.compress(BODY), content_encoding="gzip"),
    "GZIP": send(200, gzip.compress(BODY), content_encoding="GZip"),
    "deflate": send(200, zlib.compress(BODY), content_encoding="deflate"),
    "parts": says([{"type": "thinking", "thinking": []}, {"type": "text", "text": "a key"}]),
    "an empty error": send(200, {**WHOLE, "error": None}),
    "harmony": says("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>a key"),
}


@pytest.mark.parametrize("name", GOOD_ANSWERS)
def test_an_answer_in_another_dress_is_taken(name: str) -> None:
    with serving(GOOD_ANSWERS[name]) as server:
        assert model_at(server).chat("what?").text == "a key"


BAD_ANSWERS: dict[str, tuple[Answer, type[ModelError], str]] = {
    "an error": (send(200, {"error": {"message": "out of memory"}}), BadReplyError, "out of memory"),
    "an error with a code": (send(200, {"error": {"message": "gone", "code": 404}}), RefusedError, "gone"),
    "an error with a key": (send(200, {"error": f"{KEY} is wrong"}), BadReplyError, r"\*\*\* is wrong"),
    "other JSON": (send(200, {"detail": "sign in"}), BadReplyError, "no chat completion.*sign in"),
    "another place": (send(307, location="/v2/chat/completions"), RefusedError, r"moved to http://127.*/v2/chat/comp"),
    "no place": (send(302), RefusedError, "answered 302"),
    "no gzip": (send(200, b"what", content_encoding="gzip"), BadReplyError, "no gzip"),
    "a bomb": (send(200, gzip.compress(bytes(20_000_000)), content_encoding="gzip"), BadReplyError, "more than 4 MiB"),
    "another packing": (send(200, b"what", content_encoding="br"), BadReplyError, "'br'"),
    "thoughts alone": (says("", message={"content": "", "reasoning_content": "hm"}), BadReplyError, "but thoughts"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_answer_that_is_none_is_told_in_the_servers_own_words(name: str) -> None:
    script, kind, words = BAD_ANSWERS[name]
    with serving(script) as server, pytest.raises(kind, match=words) as caught:
        model_at(server).chat("what?")
    assert KEY not in str(caught.value)


# Proxies


@pytest.mark.parametrize(
    "proxy", ["socks://u:secret@127.0.0.1:9/", "socks5://u:secret@127.0.0.1:9", "ftp://secret", "::"]
)
def test_a_proxy_that_can_not_be_used_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with load_model("openai:toy@http://model.example/v1", attempts=1) as model:
        for ask in (lambda: model.chat("hello"), lambda: list(model.stream("hello"))):
            with pytest.raises(ModelError, match=r"ALL_PROXY|can't be reached") as caught:
                ask()
            assert "secret" not in str(caught.value)
    with serving(says("hello")) as server, load_model(f"openai:toy@{server.url}") as model:
        assert model.chat("hello").text == "hello", "there is no proxy between this machine and itself"


# Text that is none


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("a \ud83d key", "a \ufffd key"),
        ("a\x00key", "a\ufffdkey"),
        ("a key \ud83d", "a key \ufffd"),
        ("a \ud83d\ude00", "a 😀"),
        ("\udc80", "\ufffd"),
    ],
)
def test_text_that_no_file_can_hold_is_mended_where_it_enters(said: str, told: str) -> None:
    thought = {"choices": [{"delta": {"reasoning_content": said}}]}
    with serving(says(said), streams(thought, *(piece(c) for c in said), END)) as server:
        assert model_at(server).chat(said).text == told
        *pieces, reply = model_at(server).stream("what?")
    assert isinstance(reply, Reply)
    assert (reply.text, reply.thought) == (told, told)
    assert "".join(item.text for item in pieces if isinstance(item, Delta) and not item.thought) == told
    assert server.asked[0]["messages"][0]["content"] == told


def test_json_that_escapes_what_is_no_text_is_mended_too() -> None:
    schema = {"type": "object"}
    with serving(says('{"a\\u0000": ["\\ud83d"]}')) as server:
        assert model_at(server).chat("what?", schema=schema).data == {"a\ufffd": ["\ufffd"]}


# JSON within an answer


@pytest.mark.parametrize(
    "text",
    [
        f"Sure [as asked]:\n```JSON\n{RED}\n```",
        f"```Json\r\n{RED}\r\n```",
        f"~~~\n{RED}\n~~~",
        f"``` json\n{RED}```",
        f"Sure [as {{you}} asked]: {RED}. [done]",
        f'It is not {{"colour": "blue"}} but {RED}',
        f'<thinking>{{"colour": 3}}</thinking>{RED}',
        f"<THINK>is it [{RED}]?</THINK>\n\n{RED}",
        f"{{ {RED}",
        '[1, 2] {"colour": "red", "why": "[it is]"} ' + RED,
    ],
)
def test_json_is_found_wherever_it_stands(text: str) -> None:
    with serving(says(text)) as server:
        assert model_at(server).chat("a colour", schema=COLOUR).data == {"colour": "red"}
    assert len(server.asked) == 1


def test_a_part_of_a_wrong_answer_is_no_answer() -> None:
    with pytest.raises(BadReplyError, match="does not fit"):
        Shape(COLOUR).read(f'{{"answers": [{RED}]}}')


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 300_000, '["' * 500_000, "{" + "x" * 3_000_000])
def test_brackets_without_end_take_no_time(text: str) -> None:
    with pytest.raises(BadReplyError):
        Shape(COLOUR).read(text)


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [{"function": {"name": "answer", "arguments": RED}}]},
        {"content": "", "reasoning_content": RED},
        {"content": "", "reasoning": f"hm, {RED}"},
    ],
)
def test_a_schema_may_be_answered_in_another_field(message: dict[str, Any]) -> None:
    with serving(says(None, message=message)) as server:
        assert model_at(server).chat("a colour", schema=COLOUR).data == {"colour": "red"}


@pytest.mark.parametrize("word", ["think", "thinking", "THINK", "Thinking", "thought", "reasoning"])
def test_thoughts_are_marked_with_many_words(word: str) -> None:
    text = f"<{word}>hm</{word}>\n\nyes"
    assert split_thought(text) == ("hm", "yes")
    for size in (1, 3, len(text)):
        marks = ThoughtFilter()
        deltas = [d for at in range(0, len(text), size) for d in marks.feed(text[at : at + size])] + marks.end()
        assert "".join(d.text for d in deltas if d.thought) == "hm"
        assert "".join(d.text for d in deltas if not d.thought).strip() == "yes"
