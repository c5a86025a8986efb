"""`agent serve`: a policy behind an OpenAI-compatible server, and for games on other machines."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import console
from agent.cli.options import PolicyName, Think, ViewText
from envs import extras
from envs.errors import UserError

app = console.verb()

_PORT = 8765
_HERE, _EVERYWHERE = ("127.0.0.1", "localhost", "::1"), ("0.0.0.0", "::")


@app.command()
def serve(
    policy: PolicyName = "small",
    host: Annotated[
        str, typer.Option(help="The address to serve at; 0.0.0.0: every network of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = _PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the token that clients have to show [default: the environment's LUDENS_TOKEN, else a "
            "random one, which is printed]."
        ),
    ] = None,
    think: Think = "auto",
    view: ViewText = None,
    json: console.Json = False,
) -> None:
    """Serve a policy until Ctrl+C: POST /v1/chat/completions takes pictures and an instruction and answers with the
    action as text; `agent play --policy remote:HOST:PORT` plays with it from any machine.

    \b
    Examples:
      agent serve
      agent serve --policy hf:NAME_OR_FOLDER --host 0.0.0.0 --token-file token.txt
      LUDENS_TOKEN=... agent play --policy remote:HOST:8765
    """
    extras.require("agent serve", "serve")
    screen = console.console(machine=json)
    with screen.status("starting"):
        from agent.capabilities import Scripted
        from agent.cli import compose
        from agent.serve.remote import TOKEN, token_from
        from agent.serve.server import PolicyServer

        brain = compose.load_policy(policy, think, view)
        if isinstance(brain, Scripted) or not callable(getattr(brain, "act", None)):
            raise UserError(f"policy {policy!r} plays from ground truth, or does not act; serve --policy small")
        name = Path(policy).expanduser().resolve().name if compose.is_path(policy) else policy
        given = token_from(token_file)
        served = PolicyServer(brain, name, host=host, port=port, token=given or None)
    try:
        if json:
            told = {"url": f"http://{served.address}/v1", "port": served.port, "model": name, "token": served.token}
            console.print_json(told)
        else:
            where = f"{socket.gethostname()}:{served.port}" if host in _EVERYWHERE else served.address
            secret = "" if given else f"{TOKEN}={served.token} "
            screen.print(f"Chat:   http://{where}/v1, model {name}", markup=False)
            screen.print(f"Play:   {secret}agent play --policy remote:{where}", markup=False)
            screen.print(f"Token:  {(token_file or f'that of {TOKEN}') if given else served.token}", markup=False)
            if host not in _HERE:
                screen.print(
                    "Nothing that goes over the network is encrypted: use a tunnel (ssh -L) or a proxy with TLS where "
                    "others listen.", style="yellow", markup=False,
                )  # fmt: skip
        served.wait()
    finally:
        served.close()
