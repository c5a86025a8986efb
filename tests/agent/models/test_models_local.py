"""Models that run here: small, any of transformers, SmolLM2 under llama.cpp; and the real servers that they make."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from agent.models import (
    BadReplyError,
    Delta,
    Message,
    Model,
    OverBudgetError,
    RateLimitedError,
    RefusedError,
    Reply,
    UnavailableError,
    Usage,
    load_model,
)
from agent.models.choice import NoChoiceError
from agent.models.config import Settings
from agent.models.hf import HfBackend
from envs.errors import UserError
from tests.support.model_server import hang, send, serving
from tests.support.tiny_vlm import tiny

LEGS = {
    "type": "object",
    "properties": {"animal": {"enum": ["cat", "dog"]}, "legs": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["animal", "legs"],
    "additionalProperties": False,
}
FRAME = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
LONG = 600.0  # seconds: what is tested is not how fast it is


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image-text model with random weights, as transformers saves it."""
    path = tmp_path_factory.mktemp("tiny") / "idefics3"
    model, processor = tiny("idefics3")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


# In process


def test_a_model_of_transformers_sees_and_streams(folder: Path) -> None:
    talk = [Message("system", "you are a player"), Message("user", "what is there? <image>", (FRAME, FRAME))]
    with load_model(f"hf:{folder}", deadline=LONG) as model:
        *pieces, reply = model.stream(talk, max_tokens=12, seed=1, temperature=1.0)
        again = model.chat(talk, max_tokens=12, seed=1, temperature=1.0)
        other = model.chat(talk, max_tokens=12, seed=2, temperature=1.0)
    assert "".join(p.text for p in pieces).strip() == reply.text == again.text != other.text
    assert reply.usage.completion == 12
    assert reply.usage.prompt > 8
    assert reply.finish == "length"
    assert reply.usage.dollars == 0.0


def test_a_schema_holds_even_random_weights(folder: Path) -> None:
    pytest.importorskip("xgrammar", reason="xgrammar is missing: pip install 'ludens[schema]'")
    with load_model(f"hf:{folder}", deadline=LONG) as model:
        reply = model.chat("which animal?", schema=LEGS, max_tokens=60, seed=3, temperature=1.0)
    assert reply.attempts == 1
    assert reply.data["animal"] in ("cat", "dog")


def test_a_model_in_process_stops_at_the_deadline_and_goes_on(folder: Path) -> None:
    with load_model(f"hf:{folder}", attempts=1) as model:
        with pytest.raises(UnavailableError, match="no whole answer"):
            model.chat("hello", max_tokens=3000, deadline=0.3)
        model._circuit.leave(False)
        assert model.chat("hello", max_tokens=4, deadline=LONG).usage.completion == 4
        with pytest.raises(RefusedError, match="room for"):
            model.chat("hello", max_tokens=100_000)


def test_a_model_for_text_alone_has_a_tokenizer_for_a_processor(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    _, processor = tiny("idefics3")
    tokenizer = processor.tokenizer
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                         num_attention_heads=2, eos_token_id=tokenizer.eos_token_id)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    tokenizer.save_pretrained(tmp_path)
    with load_model(f"hf:{tmp_path}", deadline=LONG) as model:
        assert model.chat("hello", max_tokens=5).usage.completion == 5
        with pytest.raises(RefusedError, match="sees no pictures"):
            model.chat([Message("user", "", (FRAME,))])
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        HfBackend(LlamaForCausalLM(config), tokenizer, name="x")


@pytest.fixture(scope="module")
def small() -> Iterator[Model]:
    with load_model("small") as model:
        yield model


@pytest.mark.parametrize(
    "text", ["is there a torch?", "describe", "", "propose", "plan: open the red door", "judge: go to the torch"]
)
def test_small_has_its_roles(small: Model, text: str) -> None:
    *pieces, reply = small.stream([Message("user", text, (FRAME,) * 3)], seed=2)
    assert isinstance(reply, Reply)
    assert pieces == [Delta(reply.text)]
    assert reply.text
    if text.startswith("judge"):
        assert 0 <= int(reply.text.partition(":")[0]) <= 100


def test_small_does_not_pretend(small: Model) -> None:
    with pytest.raises(RefusedError, match="without a picture; show it a picture"):
        small.chat("hello")
    with pytest.raises(RefusedError, match="no JSON"):
        small.chat([Message("user", "what is there?", (FRAME,))], schema=LEGS)


# llama.cpp


@pytest.fixture(scope="module")
def smol() -> Iterator[Model]:
    pytest.importorskip("xllamacpp", reason="xllamacpp is missing: pip install 'ludens[smol]'")
    try:
        model = load_model("smol", deadline=LONG)
    except UserError as error:
        if "could not be fetched" not in str(error):
            raise
        pytest.skip(str(error))
    with model:
        yield model


def test_a_real_language_model_answers(smol: Model) -> None:
    *pieces, reply = smol.stream("Name an animal.", max_tokens=12, seed=1, temperature=0.0)
    assert "".join(p.text for p in pieces).strip() == reply.text
    assert len(reply.text) > 2
    assert reply.usage.completion <= 12
    again = smol.chat("Name an animal.", max_tokens=12, seed=1, temperature=0.0)
    assert again.text == reply.text


def test_a_real_language_model_tells_how_likely_its_words_are(smol: Model) -> None:
    question = "Is a cat an animal? Answer with one word, yes or no."
    told = smol.choose(question, ["yes", "no"])
    assert 0.1 < sum(math.exp(log) for log in told.values()) <= 1.0 + 1e-6
    again = smol.choose(question, ["no", "yes"])
    assert again == pytest.approx(told, abs=0.05)  # all that differs is what the cache holds


def test_llama_cpp_keeps_to_the_schema(smol: Model) -> None:
    reply = smol.chat("Which animal says meow?", schema=LEGS, max_tokens=60, seed=1)
    assert set(reply.data) == {"animal", "legs"}


def test_llama_cpp_refuses_what_it_has_no_room_for_and_strangers(smol: Model) -> None:
    with pytest.raises(RefusedError, match="exceed"):
        smol.chat("a b " * 4000, max_tokens=8)
    with pytest.raises(RefusedError, match="sees no pictures"):
        smol.chat([Message("user", "", (FRAME,))])
    stranger = load_model(f"openai:smollm2@{smol.backend._wire.url}")
    with stranger, pytest.raises(RefusedError, match="401"):
        stranger.chat("hello")


# The server of transformers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SERVE = """
import sys
from envs.reaper import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from transformers.cli.transformers import main
main()
"""


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with the tiny model: the name of it as a chat model."""
    pytest.importorskip("fastapi", reason="a server of models is missing: pip install 'transformers[serving]'")
    pytest.importorskip("openai", reason="a server of models is missing: pip install 'transformers[serving]'")
    port = free_port()
    log = (tmp_path_factory.mktemp("serve") / "log.txt").open("w+")
    serve = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(os.getpid()), *serve],
        stdout=log,
        stderr=log,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        end = time.monotonic() + 280
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            log.seek(0)
            pytest.fail(f"the server does not start: {log.read()[-2000:]}")
        yield f"openai:{folder}@http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.mark.slow
def test_the_server_of_transformers_answers_and_ignores_the_schema(served: str) -> None:
    with load_model(served, deadline=LONG) as model:
        reply = model.chat("what is there?", max_tokens=6)
        assert reply.text
        assert reply.usage.completion >= 1
        *pieces, whole = model.stream([Message("user", "what is there?", (FRAME,))], max_tokens=6)
        assert "".join(p.text for p in pieces).strip() == whole.text
        with pytest.raises(BadReplyError):
            model.chat("which animal?", schema=LEGS, max_tokens=6)
        with pytest.raises(NoChoiceError):
            model.choose("is it there?", ["yes", "no"])


# Gemini, whose service a fake one stands for


def gemini(text: str = "a key", finish: str = "STOP", **more: Any) -> dict[str, Any]:
    parts = [{"text": "hm", "thought": True}, {"text": text}]
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 4, "thoughtsTokenCount": 9}
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": finish}
    return {"candidates": [candidate], "usageMetadata": usage, **more}


def gemini_at(url: str, **options: Any) -> Model:
    pytest.importorskip("google.genai", reason="google-genai is missing: pip install 'ludens[gemini]'")
    from agent.models.gemini import load_gemini

    backend = load_gemini("toy", settings=Settings(key="sk-canary-7f3a", url=url.removesuffix("/v1")))
    return Model(backend, **{"attempts": 2, "deadline": LONG, "sleep": lambda seconds: None, **options})


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields by their names without case and _: the service takes both spellings, and so do releases of its client."""
    return {name.replace("_", "").lower(): value for name, value in fields.items()}


def test_gemini_thinks_within_its_budget() -> None:
    with serving(send(200, gemini('{"animal": "cat", "legs": 4}'))) as server, gemini_at(server.url) as model:
        talk = [Message("system", "be brief"), Message("user", "which?", (FRAME,))]
        reply = model.chat(talk, schema=LEGS, think=100, max_tokens=20, seed=3)
    assert reply.data == {"animal": "cat", "legs": 4}
    assert (reply.thought, reply.usage) == ("hm", Usage(11, 13, 9))
    asked = server.asked[0]
    config = asked["generationConfig"]
    assert _plain(config["thinkingConfig"]) == {"thinkingbudget": 100, "includethoughts": True}
    assert (config["maxOutputTokens"], config["seed"]) == (120, 3)
    (picture,) = [part["inlinedata"] for part in map(_plain, asked["contents"][0]["parts"]) if "inlinedata" in part]
    assert _plain(picture)["mimetype"] == "image/png"
    assert server.headers[0]["x-goog-api-key"] == "sk-canary-7f3a"


def test_gemini_streams() -> None:
    events = [gemini("a "), gemini("key")]
    body = "".join(f"data: {json.dumps(event)}\r\n\r\n" for event in events)
    with serving(send(200, body, content_type="text/event-stream")) as server, gemini_at(server.url) as model:
        *pieces, reply = model.stream("what?")
    assert pieces == [Delta("hm", True), Delta("a "), Delta("hm", True), Delta("key")]
    assert reply.text == "a key"


ECHO = {"error": {"message": "not sk-canary-7f3a", "code": 429, "status": "RESOURCE_EXHAUSTED"}}


@pytest.mark.parametrize(
    ("behaviour", "kind", "asked"),
    [
        (send(429, ECHO), RateLimitedError, 2),
        (send(503, ECHO), UnavailableError, 2),
        (send(400, ECHO), RefusedError, 1),
        (send(200, "{}"), BadReplyError, 2),
        (send(200, '{"candidates": [{"con'), BadReplyError, 2),
        (send(200, gemini("", "SAFETY")), RefusedError, 1),
        (send(200, {"promptFeedback": {"blockReason": "SAFETY"}}), RefusedError, 1),
    ],
)
def test_gemini_misbehaves(behaviour: Any, kind: type[Exception], asked: int) -> None:
    with serving(behaviour) as server, gemini_at(server.url) as model, pytest.raises(kind) as caught:
        model.chat("hello")
    assert type(caught.value) is kind
    assert len(server.asked) == asked
    assert "canary" not in str(caught.value)


def test_gemini_hangs() -> None:
    with serving(hang) as server, gemini_at(server.url) as model, pytest.raises(UnavailableError, match="no whole"):
        model.chat("hello", deadline=1.0)


# The verb


def test_the_verb_asks(small: Model, tmp_path: Path) -> None:
    from agent.cli.model import app

    Image.fromarray(FRAME).save(tmp_path / "frame.png")
    ask = ["ask", "small", "describe", "--image", str(tmp_path / "frame.png")]
    done = CliRunner().invoke(app, [*ask, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["text"] == small.chat([Message("user", "describe", (FRAME,))]).text
    assert CliRunner().invoke(app, ask).stdout.strip() == told["text"]
    silent = CliRunner().invoke(app, ["ask", "small", "hello"])
    assert silent.exit_code == 1
    assert "without a picture" in silent.stderr
    capped = CliRunner().invoke(app, [*ask, "--cap", "10"])
    assert capped.exit_code == 1
    assert OverBudgetError.__name__ not in capped.stderr
    assert "10 tokens are not enough" in capped.stderr
    (tmp_path / "shape.json").write_text("[1]")
    with pytest.raises(UserError, match="expected a JSON object"):
        CliRunner().invoke(app, [*ask, "--schema", str(tmp_path / "shape.json")], catch_exceptions=False)
