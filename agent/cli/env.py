"""`agent env`: the worlds that are installed, the contract that each has to keep, and how to add one."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from agent.cli.options import RealDesktop

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from envs.world import World

app = console.verb("Worlds: list them, check one against the contract, add one.", group=True)

_PICTURES = 12
_COLUMNS = 4
_MEASURE_SECONDS = 2.0


@app.command("list")
def list_worlds(json: console.Json = False) -> None:
    """List the worlds; the same as agent list worlds.

    \b
    Examples:
      agent env list
    """
    from agent.cli.list import list_parts

    list_parts("worlds", json=json)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A world's name, or package.module:Name.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of random actions.")] = 3,
    ticks: Annotated[int, typer.Option(min=2, help="Ticks in each.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the world and of the actions.")] = 0,
    resolution: Annotated[str | None, typer.Option(help="For worlds that have several, such as 320x240.")] = None,
    allow_real_desktop: RealDesktop = False,
    limit: Annotated[
        float, typer.Option(min=0.1, help="Seconds after which a call of the world counts as hanging.")
    ] = 60.0,
    sheet: Annotated[Path | None, typer.Option(help="Where to write the contact sheet [default: NAME.png].")] = None,
    json: console.Json = False,
) -> None:
    """Check a world against the contract: each broken rule in a sentence. Frames a second, latency, a contact sheet.

    Exit status 1 if a rule is broken.

    \b
    Examples:
      agent env check doom
      agent env check my_game.world:MyWorld --episodes 10
    """
    from agent.cli.compose import slug, world_factory
    from envs.check import check_world, unnamed
    from envs.time_limit import HungError, within

    make = world_factory(name, resolution=resolution, allow_real_desktop=allow_real_desktop or None)
    made = make()  # options that the world refuses are wrong input, not a broken rule
    note = unnamed(made)
    made.close()
    out = console.console(machine=json)
    parts: dict[str, float] = {}
    with out.status(f"checking {name}") as status:

        def on_part(part: str, seconds: float | None) -> None:
            if seconds is None:
                status.update(f"checking {name}: {part}")
            else:
                parts[part] = seconds
                out.print(f"  {part:12} {seconds:6.1f} s", style="dim")

        violations = check_world(make, episodes=episodes, ticks=ticks, seed=seed, limit=limit, on_part=on_part)
    path = sheet or Path(f"{slug(name)}.png")
    facts: dict[str, Any]
    try:
        if any(violation.rule == "hang" for violation in violations):
            raise TimeoutError("it hangs")
        with out.status(f"measuring {name}"), within(10 * limit, "measuring"):
            facts = _measure(make(), seed, path)
    except (Exception, HungError) as error:  # a world that breaks rules may not even play; its sentences say why
        facts = {"error": f"{type(error).__name__}: {error}"}
    broken = [{"rule": violation.rule, "sentence": violation.sentence} for violation in violations]
    if json:
        notes = [note] if note else []
        console.print_json(
            {"world": name, "ok": not broken, "violations": broken, "notes": notes, "parts": parts, **facts}
        )
    else:
        for violation in broken:
            out.print(f"[red]broken[/red]  [bold]{violation['rule']}[/bold]: ", end="")
            out.print(violation["sentence"], markup=False)
        if note:
            out.print("[yellow]note[/yellow]    ", end="")
            out.print(note, markup=False)
        if "error" in facts:
            out.print(f"{name} could not be measured: {facts['error']}", markup=False)
        else:
            out.print(f"{name}: {facts['frames_per_second']:.0f} frames/s of step and frame; pictures in {path}")
            out.print(_told(facts["latency"]))
            for what, fact in facts["facts"].items():
                out.print(f"{what}: {fact}", markup=False)
        out.print("[red]breaks the contract[/red]" if broken else "[green]keeps the contract[/green]")
    if broken:
        raise typer.Exit(1)


@app.command()
def keymap(
    name: Annotated[str, typer.Argument(help="gymnasium:ENV_ID, or gymnasium:FILE.yaml.")],
) -> None:
    """Print what keyboard and mouse mean in a Gymnasium environment, as a world file to edit and play with.

    \b
    Examples:
      agent env keymap gymnasium:ALE/Pong-v5
      agent env keymap gymnasium:MiniWorld-OneRoom-v0 > room.yaml
      agent env check gymnasium:room.yaml
    """
    from agent.cli.compose import world_factory
    from envs.errors import UserError

    world = world_factory(name)()
    try:
        if not hasattr(world, "to_yaml"):
            known = ", ".join(sorted(world.action_space.keys | world.action_space.buttons))
            raise UserError(f"world {name!r} has no key map that could be changed; it listens to {known}")
        console.echo(world.to_yaml(), nl=False)
    finally:
        world.close()


@app.command()
def setup(
    name: Annotated[str, typer.Argument(help="A world that runs in a Python of its own: minedojo.")],
    python: Annotated[str | None, typer.Option(help="The Python to make it of [default: one that fits].")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make it anew if it is there.")] = False,
) -> None:
    """Install what a world needs in an environment of its own, in your data folder.

    \b
    Examples:
      agent env setup minedojo
      agent env setup minedojo --python /usr/bin/python3.11
    """
    from envs.bridge import setup as guests

    out = console.console()
    found = guests.install(name, python=python, again=again, tell=lambda step: out.print(step, markup=False))
    out.print(f"[green]{name} is set up[/green]: {found}, in {guests.folder(name)}")
    beside = guests.RECIPES[name].beside
    if beside:
        out.print(f"To play it, this machine also needs {beside}.", markup=False)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What the world and its package are called, such as my_game.")],
    kind: Annotated[str, typer.Option(help="What the game is: python, gymnasium, desktop, browser or bridge.")],
    game: Annotated[str, typer.Option(help="What is played: an environment's id, a command, an address.")] = "",
    out: Annotated[Path, typer.Option(help="The folder to write it into.")] = Path(),
) -> None:
    """Write a small package with a world of your own: an adapter, tasks, a test. It runs as it is.

    \b
    Examples:
      agent env new my_game --kind python && pip install -e my_game
      agent env new room --kind gymnasium --game MiniWorld-OneRoom-v0
      agent env new openarena --kind desktop --game "openarena +set r_mode 3"
    """
    from agent.scaffold import write_package

    files = write_package(name, kind, out, game)
    for path in files:
        console.echo(str(path))
    console.echo(f"Next: pip install -e {out / name} && agent env check {name}")


def _told(latency: dict[str, Any] | None) -> str:
    if latency is None:
        return "no input changed the picture more than it changes by itself"
    ticks = "tick" if latency["ticks"] == 1 else "ticks"
    return f"{latency['input']} shows in the picture after {latency['ticks']} {ticks}, {latency['milliseconds']:.0f} ms"


def _measure(world: World, seed: int, path: Path) -> dict[str, Any]:
    """Play random actions for a while: frames a second, and a contact sheet of what was seen; then, how soon an input
    shows."""
    from envs.errors import UserError
    from envs.latency import input_latency

    pictures: list[npt.NDArray[np.uint8]] = []
    count, every, clock = 0, 1, 0.0
    try:
        world.action_space.seed(seed)
        observation, _ = world.reset(seed=seed)
        while clock < _MEASURE_SECONDS:
            action = world.action_space.sample()
            start = time.perf_counter()
            observation, _, terminated, truncated, _ = world.step(action)
            clock += time.perf_counter() - start
            if count % every == 0:
                pictures.append(observation["pixels"])
                if len(pictures) == 2 * _PICTURES:  # spread over the whole time, however fast the world is
                    pictures, every = pictures[::2], 2 * every
            count += 1
            if terminated or truncated:
                world.reset()
        latency = input_latency(world, seed)
        known = world.facts
    finally:
        world.close()
    try:
        _contact_sheet(pictures[:: max(1, len(pictures) // _PICTURES)][:_PICTURES], path)
    except OSError as error:
        raise UserError(f"--sheet {path}: {error.strerror or error}") from error
    height, width, _ = pictures[0].shape
    return {
        "frames_per_second": count / clock,
        "frame_size": [height, width],
        "latency": None if latency is None else asdict(latency),
        "sheet": str(path),
        "facts": known,
    }


def _contact_sheet(pictures: list[npt.NDArray[np.uint8]], path: Path) -> None:
    from PIL import Image

    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (width + 4) + 4, rows * (height + 4) + 4), (24, 24, 24))
    for index, picture in enumerate(pictures):
        row, column = divmod(index, _COLUMNS)
        sheet.paste(Image.fromarray(picture), (4 + column * (width + 4), 4 + row * (height + 4)))
    sheet.save(path)
