"""`agent serve`: other machines get the decisions that the policy makes in process, or a line that says why not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgpack
import numpy as np
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from agent import cli
from agent.capabilities import fitted
from agent.episode import Step, Subscriber
from agent.loop.players import Beside, InStep
from agent.loop.runtime import play
from agent.models.policy import load_openai_policy
from agent.policy import Context, Decision, Policy
from agent.prompted import Setting
from agent.serve import messages, remote, server, session
from agent.serve.messages import PATH, of_context, of_frame, of_world
from agent.serve.remote import TOKEN, RemotePolicy, load_remote
from agent.serve.server import PolicyServer
from agent.small import SmallPolicy, load_small
from agent.view import View
from envs.action import NEUTRAL, Action
from envs.doom.world import DoomWorld
from envs.errors import UserError
from envs.world import World
from envs.wrappers import RealTime
from tests.support.policy_server import Mirror, ask_chat, asked, bearer, data_url, picture, text, wire
from tests.support.waiting import eventually
from tests.support.worlds import ArrowsWorld, SquareWorld

INSTRUCTION, SEED, CHUNKS = "go to the green torch", 11, 6


class Fitting(Mirror):
    """Wants to know its world."""

    def for_world(self, world: World) -> Policy:
        mine = Fitting()
        mine.spec = replace(self.spec, tick_hz=world.tick_hz, view=View.stretched((12, 16)))
        return mine


class Failing(Mirror):
    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        if contexts[0].instruction == "user error":
            raise UserError("the key is wrong")
        raise RuntimeError("out of memory")


class Actions(Subscriber):
    """What was done at every tick."""

    def __init__(self) -> None:
        self.done: list[Action] = []
        self.starved = 0

    def on_step(self, step: Step) -> None:
        self.done.append(step.action)
        self.starved += step.starved


@pytest.fixture
def serve() -> Iterator[Callable[..., PolicyServer]]:
    made: list[PolicyServer] = []

    def start(policy: Policy | None = None, **how: Any) -> PolicyServer:
        made.append(PolicyServer(policy or Mirror(), "mirror", **how))
        return made[-1]

    yield start
    for one in made:
        one.close()


def client(served: PolicyServer) -> RemotePolicy:
    return RemotePolicy(served.address, served.token)


# The real weights in the real game


@pytest.fixture(scope="module")
def small() -> SmallPolicy:
    return load_small()


@pytest.fixture(scope="module")
def served_small(small: SmallPolicy) -> Iterator[PolicyServer]:
    served = PolicyServer(small, "small")
    yield served
    served.close()


@pytest.fixture(scope="module")
def in_process(small: SmallPolicy) -> list[Action]:
    return played(small)


def played(policy: Policy) -> list[Action]:
    """What a policy does in a level of Doom."""
    world, actions = DoomWorld(), Actions()
    try:
        play(
            world, InStep(fitted(policy, world, "doom")), INSTRUCTION, seed=SEED, time_limit=4 * CHUNKS,
            subscribers=[actions], observe="decision",
        )  # fmt: skip
    finally:
        world.close()
    return actions.done


def by_hand(decide: Callable[[np.ndarray, World], tuple[Action, ...]]) -> list[Action]:
    """The same level, played without Ludens' loop."""
    world, done = DoomWorld(), []
    try:
        pixels = world.reset(seed=SEED, options={})[0]["pixels"]
        for _ in range(CHUNKS):
            chunk = decide(pixels, world)
            done += chunk
            pixels = world.step_chunk(chunk)[0]["pixels"]
    finally:
        world.close()
    return done


def test_a_remote_policy_plays_doom_as_in_process(in_process: list[Action], served_small: PolicyServer) -> None:
    policy = client(served_small)
    assert played(policy) == in_process
    assert len(set(in_process)) > 1
    policy.close()


def test_a_game_without_ludens_gets_the_same_actions(in_process: list[Action], served_small: PolicyServer) -> None:
    with wire(served_small) as socket:
        for _ in range(2):  # a reset begins anew
            assert asked(socket, type="reset", seed=SEED)["type"] == "ready"

            def decide(pixels: np.ndarray, world: World) -> tuple[Action, ...]:
                answer = asked(socket, type="observe", pixels=of_frame(pixels), instruction=INSTRUCTION)
                return tuple(Action.from_json(action) for action in answer["actions"])

            assert by_hand(decide) == in_process


def test_a_chat_with_the_openai_package_gets_the_same_actions(
    in_process: list[Action], served_small: PolicyServer
) -> None:
    chat: list[Any] = [{"role": "system", "content": "You play a game."}]
    with openai.OpenAI(base_url=f"http://{served_small.address}/v1", api_key=served_small.token) as service:
        assert [model.id for model in service.models.list()] == ["small"]

        def decide(pixels: np.ndarray, world: World) -> tuple[Action, ...]:
            chat.append({"role": "user", "content": [data_url(pixels), {"type": "text", "text": INSTRUCTION}]})
            answer = service.chat.completions.create(model="small", messages=chat).choices[0].message.content
            assert answer is not None
            chat.append({"role": "assistant", "content": answer})
            setting = Setting.of(world)
            return setting.actions(setting.read(answer), Context((), ""))

        assert by_hand(decide) == in_process


def test_a_chat_may_want_no_thoughts(served_small: PolicyServer) -> None:
    with closing(DoomWorld()) as world:
        pixels = world.reset(seed=4)[0]["pixels"]
    content: Any = [data_url(pixels), {"type": "text", "text": INSTRUCTION}]
    chat: list[Any] = [{"role": "user", "content": content}]
    with openai.OpenAI(base_url=f"http://{served_small.address}/v1", api_key=served_small.token) as service:
        answers = [
            service.chat.completions.create(model="small", messages=chat, reasoning_effort=effort).choices[0].message
            for effort in ("low", "none")
        ]
    thoughts = [re.sub(r"\(.*\)|act:.*|say:.*|think:", "", answer.content or "").split() for answer in answers]
    assert thoughts[0]
    assert not thoughts[1]


def test_our_own_player_for_chat_models_plays_with_it(
    served_small: PolicyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its prompt is long; what counts of it is the instruction. It tells nothing of the past as a chat does."""
    monkeypatch.setenv("LUDENS_MODEL_KEY", served_small.token)
    actions = played(load_openai_policy(f"small@http://{served_small.address}/v1"))
    assert any(action != NEUTRAL for action in actions)


@pytest.mark.slow
def test_agent_serve_and_agent_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "agent", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        monkeypatch.setenv(TOKEN, told["token"])
        out = tmp_path / "run"
        name = f"remote:127.0.0.1:{told['port']}"
        arguments = ["--policy", name, "--seed", "3", "--no-page", "--json", "--out", str(out)]
        assert cli.run(["play", "face the red torch", *arguments]) == 0
        ended = json.loads(capsys.readouterr().out)
        assert ended["episodes"][0]["outcome"]["success"] is True
        assert not [f for f in out.rglob("*") if f.is_file() and told["token"].encode() in f.read_bytes()]
        process.terminate()
        assert process.wait(30) in (130, 143)


# Whom it serves


@pytest.mark.parametrize("token", ["wrong", None, "ä"])
def test_a_wrong_token_is_refused(serve: Callable[..., PolicyServer], token: str | None) -> None:
    served = serve()
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
    for path in ("/v1/models", "/v1/chat/completions", "/"):
        answer = httpx.get(f"http://{served.address}{path}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{served.address}{PATH}", proxy=None):
        pass
    assert refused.value.response.status_code == 401
    if token == "wrong":
        with pytest.raises(UserError, match=f"refuses the token; .* {TOKEN}"):
            RemotePolicy(served.address, token)


def test_the_token_is_the_users_own_where_there_is_one(
    serve: Callable[..., PolicyServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(token="between-us")
    (tmp_path / "token.txt").write_text("between-us\n")
    load_remote(served.address, token_file=tmp_path / "token.txt").close()
    monkeypatch.setenv(TOKEN, "between-us")
    load_remote(served.address).close()
    monkeypatch.delenv(TOKEN)
    with pytest.raises(UserError, match=f"needs a token: .* {TOKEN}"):
        load_remote(served.address)
    with pytest.raises(UserError, match=r"--token-file .*: No such file"):
        load_remote(served.address, token_file=tmp_path / "no.txt")


def test_it_listens_on_this_machine_alone(serve: Callable[..., PolicyServer]) -> None:
    served = serve()
    assert served.address.startswith("127.0.0.1:")
    with pytest.raises(UserError, match=f"--port {served.port}: Address already in use"):
        serve(port=served.port)
    with pytest.raises(UserError, match=r"--host nowhere\.invalid: "):
        serve(host="nowhere.invalid")


@pytest.mark.parametrize("address", ["", "host", "host:port", "ws://a:b@host:1", "host:1/path", ":1", "wss://"])
def test_an_address_that_is_none_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "x")
    with pytest.raises(UserError, match="expected remote:HOST:PORT"):
        load_remote(address)


def test_where_nobody_serves_is_told(serve: Callable[..., PolicyServer]) -> None:
    served = serve()
    served.close()
    with pytest.raises(UserError, match=r"no policy server at .*: Connection refused; start one there with 'agent"):
        client(served)


def test_options_that_are_not_for_a_policy_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["play", "go", "--policy", "random", "--token-file", str(tmp_path)]) == 2
    assert "policy 'random' is not remote; leave --token-file out" in capsys.readouterr().err
    assert cli.run(["serve", "--policy", "expert"]) == 2
    assert "serve --policy small" in capsys.readouterr().err


# Versions


def test_a_client_of_another_version_is_told_so(
    serve: Callable[..., PolicyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    monkeypatch.setattr(remote, "PROTOCOL", 2)
    with pytest.raises(UserError, match="the client speaks protocol 2, this server 1; install the same version"):
        client(served)


def test_a_server_of_another_version_is_told_so(
    serve: Callable[..., PolicyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    monkeypatch.setattr(session.Session, "_greet", lambda self, message: {"type": "welcome", "protocol": 7})
    with pytest.raises(UserError, match="speaks protocol 7, this client 1; install the same version"):
        client(served)


# What clients send


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xc1", "not msgpack"),
        (msgpack.packb([1]), "expected a map with a type"),
        (msgpack.packb({"type": 1}), "expected a map with a type"),
        (b"\x91" * 5000, "not msgpack"),
        (msgpack.packb({"type": "act"}), "expected hello first"),
        ("text", "expected messages of bytes"),
    ],
)
def test_what_is_no_message_ends_its_connection_alone(serve: Callable[..., PolicyServer], body: Any, said: str) -> None:
    served = serve()
    with wire(served) as other, wire(served, greets=False) as socket:
        socket.send(body)
        answer = msgpack.unpackb(socket.recv(timeout=10))
        assert answer["type"] == "error"
        assert said in answer["message"]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
        assert asked(other, type="reset", seed=1)["type"] == "ready"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"type": "dance"}, "unknown type 'dance'; expected fit, act, reset, observe"),
        ({"type": "observe", "pixels": 1, "instruction": "go"}, "expected reset before observe"),
        ({"type": "reset", "seed": -1}, "seed: expected"),
        ({"type": "act", "contexts": []}, "contexts: expected a list"),
        ({"type": "act", "contexts": [{}]}, "context.frames: Field required"),
        ({"type": "act", "contexts": [{"frames": [{"height": 2, "width": 2, "rgb": b"123"}], "instruction": ""}]},
         "a frame of 2x2 has 12 bytes of rgb, this one 3"),
        ({"type": "act", "contexts": [{"frames": [], "instruction": "", "run": "me"}]}, "context."),
        ({"type": "fit", "world": {"space": {}, "tick_hz": 35.0, "size": [1, 1]}}, "world: action space: expected"),
        ({"type": "fit", "world": {"space": {}, "tick_hz": -1.0, "size": [1, 1]}}, "world.tick_hz"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_met_is_told_and_the_next_one_is(
    serve: Callable[..., PolicyServer], message: dict[str, Any], said: str
) -> None:
    with wire(serve()) as socket:
        answer = asked(socket, **message)
        assert answer["type"] == "error"
        assert said in answer["message"]
        context = of_context(Context((picture(32),), "walk"))
        assert asked(socket, type="act", contexts=[context])["decisions"][0]["actions"][0]["look"] == [2.0, 0.0]


def test_messages_that_are_too_large_are_refused(
    serve: Callable[..., PolicyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LIMIT", 10_000)
    served = serve()
    large = Context((np.zeros((100, 100, 3), np.uint8),), "go")
    with wire(served) as socket:
        socket.send(bytes(20_000))
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=10)
        assert ended.value.rcvd is None or ended.value.rcvd.code == 1009
    policy = client(served)
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    with pytest.raises(UserError, match=r"refuses a message of|was lost"):  # a server may hang up while it is sent
        policy.act([large])
    monkeypatch.setattr(messages, "LIMIT", 10_000)
    with pytest.raises(UserError, match=r"the message has 30,\d+ bytes; at most 10,000; ask for fewer or smaller"):
        policy.act([large])
    assert policy.act([Context((picture(),), "go")])
    monkeypatch.setattr(server, "_MOST_BODY", 1000)
    answer = httpx.post(f"http://{served.address}/v1/chat/completions", content=bytes(2000), headers=bearer(served))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


# Several clients, their worlds, and a policy that fails


def test_several_clients_at_once_get_their_own_decisions(serve: Callable[..., PolicyServer]) -> None:
    served = serve()

    def plays(number: int) -> bool:
        policy = client(served)
        found = [
            policy.act([Context((picture(colour),), f"client {number}") for colour in (number, 2 * number)])
            for _ in range(20)
        ]
        policy.close()
        told = [[(d.thought, d.actions[0].look[0] * 16) for d in decisions] for decisions in found]
        return told == [[(f"client {number}", number), (f"client {number}", 2 * number)]] * 20

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(plays, range(8)))


def test_a_policy_is_fitted_to_each_clients_world(serve: Callable[..., PolicyServer]) -> None:
    served = serve(Fitting())
    first, world, other = client(served), SquareWorld(), ArrowsWorld()
    assert first.spec == replace(Mirror.spec, starved="release")
    one, two = fitted(first, world, "square"), fitted(client(served), other, "arrows")
    assert (one.spec.tick_hz, two.spec.tick_hz, one.spec.view.size) == (50.0, 60.0, (12, 16))
    assert one.act([Context((picture(),), "a")])[0].thought == "a"


def test_a_policy_that_could_do_nothing_in_a_world_says_so(served_small: PolicyServer) -> None:
    with pytest.raises(UserError, match=r"policy SmallPolicy speaks .* and world 'ArrowsWorld' listens to"):
        fitted(client(served_small), ArrowsWorld(), "arrows")


def test_of_an_episode_that_was_played_elsewhere_the_session_knows_what_was_done(
    serve: Callable[..., PolicyServer],
) -> None:
    seen: list[Context] = []

    class Noting(Mirror):
        def act(self, contexts: Sequence[Context]) -> list[Decision]:
            seen.extend(contexts)
            return super().act(contexts)

    world = of_world(SquareWorld(), "square")
    with wire(serve(Noting())) as socket:
        assert asked(socket, type="reset", seed=5, world=world)["spec"]["chunk"] == 4
        see = {"type": "observe", "pixels": of_frame(picture(16))}
        asked(socket, **see, instruction="walk")
        asked(socket, **see, instruction="walk", actions=[{"keys": ["KeyS"]}])  # one tick alone, and another key
        asked(socket, **see, instruction="stop")
    walked = Action(frozenset({"KeyW"}), look=(1.0, 0.0))
    assert [context.actions for context in seen] == [
        (), ((Action(frozenset({"KeyS"})),),), ((Action(frozenset({"KeyS"})),), (walked,) * 4)
    ]  # fmt: skip
    assert [context.ticks for context in seen] == [(0,), (1,), (5,)]
    assert seen[1].thoughts == ("walk",)
    assert seen[2].thoughts == ("", "")  # they were about something else
    assert "did: walk (0.1 s: forward 0.1 s" in seen[2].memory
    assert "then told otherwise" in seen[2].memory


@pytest.mark.parametrize(
    ("instruction", "said"), [("user error", "the key is wrong"), ("", "RuntimeError: out of mem")]
)
def test_a_policy_that_fails_is_told_to_its_client(
    serve: Callable[..., PolicyServer], instruction: str, said: str
) -> None:
    served = serve(Failing())
    policy = client(served)
    for _ in range(2):  # and the connection goes on
        with pytest.raises(UserError, match=said):
            policy.act([Context((picture(),), instruction)])
    if instruction:
        answer = ask_chat(served, [{"role": "user", "content": [data_url(picture()), text(instruction)]}])
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
        assert said in answer.json()["error"]["message"]


# Connections that are lost


class Watched(SquareWorld):
    """Notes what is held."""

    def __init__(self) -> None:
        super().__init__(length=10**6)
        self.did: list[Action] = []

    def step(self, action: Action) -> Any:
        self.did.append(action)
        return super().step(action)


def test_where_the_connection_is_lost_the_keys_are_released_and_the_player_is_told(
    serve: Callable[..., PolicyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.5)
    served, world = serve(), Watched()
    player = Beside(fitted(client(served), world, "square"))
    found: list[BaseException] = []

    def run() -> None:
        try:
            play(RealTime(world), player, "walk", time_limit=10**6)
        except UserError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert eventually(lambda: any(action.keys for action in world.did[-2:]), 30)
    served.close()
    thread.join(30)
    assert "was lost and did not come back within 0.5 s" in str(found[0])
    assert world.did[-1] == NEUTRAL  # since long before the end
    assert world.did[-5] == NEUTRAL


def test_a_connection_that_comes_back_costs_nothing(serve: Callable[..., PolicyServer]) -> None:
    first = serve(token="same")
    policy = client(first)
    assert policy.act([Context((picture(16),), "go")])
    first.close()
    again = threading.Timer(0.5, lambda: serve(token="same", port=first.port))
    again.start()
    began = time.monotonic()
    (decision,) = policy.act([Context((picture(32),), "on")])
    again.join()
    assert (decision.thought, decision.actions[0].look[0]) == ("on", 2.0)
    assert time.monotonic() - began > 0.4
