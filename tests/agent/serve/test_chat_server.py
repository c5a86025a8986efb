"""Chat completions of `agent serve`: what a chat means, and what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from agent.prompted import Setting
from agent.serve import chat_completions
from agent.serve.server import PolicyServer
from envs.action import Action
from tests.support.policy_server import Mirror, bearer, data_url, picture, text


@pytest.fixture(scope="module")
def served() -> Iterator[PolicyServer]:
    made = PolicyServer(Mirror(), "mirror")
    yield made
    made.close()


def test_a_chat_can_be_streamed(served: PolicyServer) -> None:
    chat: Any = [{"role": "user", "content": [text("walk"), data_url(picture(32))]}]
    with openai.OpenAI(base_url=f"http://{served.address}/v1", api_key=served.token) as service:
        whole = service.chat.completions.create(model="mirror", messages=chat)
        pieces = list(
            service.chat.completions.create(
                model="mirror", messages=chat, stream=True, stream_options={"include_usage": True}
            )
        )
    said = whole.choices[0].message.content
    assert said == "think: walk\nact: hold KeyW look 8 0 for 80ms"
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == said
    assert pieces[-2].choices[0].finish_reason == "stop"
    assert pieces[-1].usage == whole.usage


GOOD = {"role": "user", "content": [text("walk"), data_url(picture())]}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "Invalid JSON"),
        (b"[]", 400, "body: Input should be an object"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": [GOOD], "model": "gpt"}, 404, "model 'gpt' is not served here; expected 'mirror'"),
        ({"messages": [GOOD], "n": 2}, 400, "n: a policy has one answer"),
        ({"messages": [{"role": "user", "content": "walk"}]}, 400, "with a picture of what is seen now"),
        ({"messages": [GOOD, {"role": "assistant", "content": "act: wait"}]}, 400, "the last one to be the user's"),
        ({"messages": [{"role": "user", "content": [data_url(picture())]}]}, 400, "no user says what to do"),
        ({"messages": [{"role": "user", "content": [
            text("x"), {"type": "image_url", "image_url": {"url": "http://127.0.0.1/secret"}}]}]},
         400, "addresses are not fetched"),
        ({"messages": [{"role": "user", "content": [
            text("x"), {"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]}]},
         400, "image_url: that is no picture"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_chat_is_told(served: PolicyServer, body: Any, status: int, said: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://{served.address}/v1/chat/completions"
    answer = httpx.post(url, content=content, headers=bearer(served), timeout=30)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_of_a_chat_the_policy_gets_what_the_loop_would_have_given() -> None:
    spec, setting = replace(Mirror.spec, history=4), Setting(tick_hz=50.0)
    walk = {"role": "assistant", "content": "think: a door\nact: hold KeyW for 80ms"}
    chat = [
        GOOD, walk, GOOD, {"role": "assistant", "content": "I would rather not."},
        {"role": "user", "content": [data_url(picture(7)), text("The scene.\nInstruction: stop\nNow.")]},
        walk, {"role": "user", "content": [data_url(picture(9))]},
    ]  # fmt: skip
    request = chat_completions.ChatRequest.read(json.dumps({"messages": chat, "seed": -1}).encode())
    context = chat_completions.context_of(request, spec, setting)
    forward = (Action(frozenset({"KeyW"})),) * 4
    assert (context.instruction, context.since, context.seed) == ("stop", 1, 2**32 - 1)
    assert context.actions == (forward, (), forward)
    assert context.thoughts == ("", "", "a door")
    assert [frame[0, 0, 0] for frame in context.frames] == [9]
