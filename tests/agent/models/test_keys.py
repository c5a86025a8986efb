"""Keys never come back: not from a client's error, not from a service's words, not from a reply, in no spelling."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from agent.models import Delta, Model, ModelError, Reply, load_model
from agent.models.config import Settings, load_config
from agent.models.keys import HIDDEN, HidingStream, checked_key, hide
from agent.models.openai import load_openai
from agent.models.wire import Wire
from envs.errors import UserError
from tests.support.model_server import COUNT, END, piece, says, send, serving, streams

KEY = "sk-REAL/with+signs=&<7"
VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "LUDENS_MODELS")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


FORMS = {
    "plain": KEY,
    "repr": repr(KEY),
    "bytes": repr(f"Bearer {KEY}".encode()),
    "JSON": json.dumps({"header": f"Bearer {KEY}"}),
    "URL": f"https://host/?key={quote(KEY, safe='')}",
    "URL, small letters": quote(KEY, safe="").lower().replace("sk-real", "sk-REAL"),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 within a text": base64.b64encode(f"user:{KEY}\n".encode()).decode(),
    "base64 of a header": base64.b64encode(f"Bearer {KEY} and more".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"a{KEY}".encode()).decode(),
    "HTML": "sk-REAL/with+signs=&amp;&lt;7",
    "hexadecimal": KEY.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_key_is_hidden_in_every_spelling(form: str) -> None:
    told = hide(f"before {FORMS[form]} after", SecretStr(KEY))
    assert HIDDEN in told
    assert "sk-REAL" not in told
    for n in range(len(KEY) - 8):  # no piece of the key is left in base64 either
        for pad in range(3):
            inner = base64.b64encode(bytes(pad) + KEY[n : n + 8].encode()).decode()
            assert inner[4:8] not in told


@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", "\n\n", "\t"])
def test_a_line_break_behind_a_key_does_not_matter(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUDENS_MODEL_KEY", f"{KEY}{ending}")
    with serving(says("ok")) as server, load_model(f"openai:toy@{server.url}") as model:
        model.chat("hello")
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    monkeypatch.delenv("LUDENS_MODEL_KEY")
    monkeypatch.setenv("MY_KEY", f"{KEY}{ending}")
    secret = Settings(key_env="MY_KEY").secret()
    assert secret is not None
    assert secret.get_secret_value() == KEY


def test_a_key_of_a_yaml_block_is_stripped(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(f"models:\n  openai:toy:\n    key: |\n      {KEY}\n")
    secret = load_config(file).settings("openai:toy").secret()
    assert secret is not None
    assert secret.get_secret_value() == KEY


@pytest.mark.parametrize("wrong", ["sk-REAL\nsk-MORE", "sk-REAL sk-MORE", "sk-RÉAL", "sk-REAL\x00", "sk-REAL\x1b[0m"])
def test_a_key_that_is_none_is_refused_without_being_shown(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\x00" not in wrong:  # an environment holds no such thing
        monkeypatch.setenv("OPENAI_API_KEY", wrong)
        with pytest.raises(UserError, match="OPENAI_API_KEY: the key holds a character") as caught:
            load_model("openai:toy")
        assert "REAL" not in str(caught.value)
        assert "MORE" not in str(caught.value)
    file = tmp_path / "models.yaml"
    file.write_text(f"models: {{'openai:toy': {{key: {json.dumps(wrong)}}}}}\n")
    with pytest.raises(UserError, match=r"models\.yaml: openai:toy: key: the key holds a character") as caught:
        load_config(file)
    assert "REAL" not in str(caught.value)
    with pytest.raises(ValueError, match="is empty"):
        checked_key(" \n", "key")


def test_what_the_client_says_of_a_header_is_not_told() -> None:
    """A key that was not checked on its way: the client quotes the whole header in its error."""
    wire = Wire("http://127.0.0.1:9/v1", SecretStr("sk-REAL\n"))
    with serving(says("ok")) as server:
        wire.url = server.url
        with pytest.raises(ModelError) as caught:
            wire.post("/chat/completions", {}, 5.0)
    assert "REAL" not in str(caught.value)
    assert "Bearer" not in str(caught.value)
    assert "the request is wrong" in str(caught.value)


def model_of(server: Any) -> Model:
    return Model(load_openai(f"toy@{server.url}", settings=Settings(key=KEY)), attempts=1)


def test_a_reply_that_holds_the_key_is_scrubbed() -> None:
    leak = f"think: my key is {KEY}\nact: forward\nsay: {base64.b64encode(KEY.encode()).decode()}"
    with serving(says(leak)) as server, model_of(server) as model:
        reply = model.chat("hello")
    assert reply.text == f"think: my key is {HIDDEN}\nact: forward\nsay: {HIDDEN}w=="
    with serving(says(f"<think>{KEY}</think>done")) as server, model_of(server) as model:
        assert model.chat("hello").thought == HIDDEN
    data = {"colour": f"it is {KEY}"}
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    with serving(says(json.dumps(data))) as server, model_of(server) as model:
        assert model.chat("hello", schema=schema).data == {"colour": f"it is {HIDDEN}"}


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_stream_is_scrubbed_wherever_it_is_cut(size: int) -> None:
    text = f"the key is {KEY}, and again {quote(KEY, safe='')}!"
    pieces = [piece(text[i : i + size]) for i in range(0, len(text), size)]
    with serving(streams(*pieces, END, COUNT)) as server, model_of(server) as model:
        items = list(model.stream("hello"))
    reply = items[-1]
    assert isinstance(reply, Reply)
    assert reply.text == f"the key is {HIDDEN}, and again {HIDDEN}!"
    assert "".join(item.text for item in items if isinstance(item, Delta)) == reply.text


def test_an_error_body_is_scrubbed_in_every_spelling() -> None:
    body = {"error": {"message": f"bad header {f'Bearer {KEY}'.encode()!r} {quote(KEY, safe='')}"}}
    with serving(send(401, body)) as server, model_of(server) as model, pytest.raises(ModelError) as caught:
        model.chat("hello")
    assert "REAL" not in str(caught.value)


@given(st.text(alphabet="abEMPTY -x", max_size=60), st.integers(1, 9))
def test_a_dummy_key_changes_no_words(text: str, size: int) -> None:
    stream = HidingStream(SecretStr("EMPTY"))
    assert "".join([*(stream.feed(text[i : i + size]) for i in range(0, len(text), size)), stream.end()]) == text


@given(st.text(alphabet="sk-REAL/ ", max_size=80), st.integers(1, 9))
def test_a_stream_hides_what_the_whole_text_hides(text: str, size: int) -> None:
    secret = SecretStr("sk-REAL/")
    stream = HidingStream(secret)
    told = "".join([*(stream.feed(text[i : i + size]) for i in range(0, len(text), size)), stream.end()])
    assert told == hide(text, secret)
