"""`agent tasks`: what a task setter proposes for a level, and the archive of tasks that were tried."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import console
from agent.cli.options import Env
from envs.errors import UserError

if TYPE_CHECKING:
    from tasks.curriculum import Choice, Curriculum, Standing
    from tasks.setter import Proposed, SetterView

_MOST_DRAWN = 40  # goals in a picture
_COLOURS = {"new": "#8a8f96", "learning": "#2f6fde", "mastered": "#1b7f4d", "retired": "#b3352c"}
app = console.verb("Tasks: what a task setter proposes, and the archive of tasks tried.", group=True)


@app.command()
def propose(
    setter: Annotated[
        str,
        typer.Option(help="small[:FOLDER], suite:NAME, template, told:TEXT;TEXT, llm:MODEL, or package.module:Name."),
    ] = "small",
    env: Env = "doom",
    suite: Annotated[
        str | None, typer.Option(help="A suite whose practice levels to take [default: the world's own].")
    ] = None,
    index: Annotated[int, typer.Option(min=0, help="Which of the suite's levels.")] = 0,
    n: Annotated[int, typer.Option("-n", min=1, help="Proposals to ask for.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the level and of the setter.")] = 0,
    archive: Annotated[Path | None, typer.Option(help="Let the curriculum of this archive choose among them.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Save the frame that the setter sees as a PNG.")] = None,
    json: console.Json = False,
) -> None:
    """Show what a task setter proposes for a level. It sees the level's first frame, never its state.

    What the setter says off contract is rejected and counted.

    \b
    Examples:
      agent tasks propose --setter small --env doom --suite doom-vault -n 8 --picture frame.png
      agent tasks propose --setter suite:doom-vault -n 8
      agent tasks propose --setter template:doom-vault --archive runs/vault/generation-001/archive.jsonl
      agent tasks propose --setter llm:openai:MODEL@URL
      agent tasks propose --setter small --archive runs/vault/generation-001/archive.jsonl
    """
    screen = console.console(machine=json)
    with screen.status("starting"):
        from tasks.curriculum import Curriculum
        from tasks.setter import load_setter
        from tasks.setter import propose as ask

        chooser = Curriculum.load(archive) if archive else None
        if chooser is not None and chooser.world != env:
            raise UserError(f"--archive {archive}: its tasks are of world {chooser.world!r}, not {env!r}")
        proposer = load_setter(setter)
        view = _view(env, suite, index, seed, chooser)
        said = ask(proposer, view, n)
        choices = chooser.choose(said.proposals, n, seed) if chooser else None
    if picture is not None:
        _save(picture, view)
    report = _report(setter, view, said, choices)
    if json:
        console.print_json(report)
        return
    screen.print(_table(report))
    screen.print(f"{len(said.proposals)} proposals, {len(said.rejected)} rejected", markup=False)
    if picture is not None:
        screen.print(f"Picture: {picture}", markup=False)


@app.command()
def show(
    file: Annotated[
        Path, typer.Argument(help="The archive of a curriculum, a JSON-lines file; or the folder of a run.")
    ],
    picture: Annotated[Path | None, typer.Option(help="Save where the goals stand as a PNG.")] = None,
    json: console.Json = False,
) -> None:
    """Show the archive of tasks tried: where each goal and each verb stands. Of a run of agent self-improve it shows
    the newest archive.

    \b
    learning: tried, and neither mastered nor retired. retired: never done in as many tries as the curriculum allows.
    p: the estimated chance of success. weight: how much the goal is worth a try.

    \b
    Examples:
      agent tasks show runs/vault
      agent tasks show runs/vault --json
      agent tasks show runs/improve --picture goals.png
    """
    from tasks.curriculum import Curriculum

    chooser = Curriculum.load(_archive(file))
    standings = sorted(chooser.standings(), key=lambda one: -one.weight)
    if picture is not None:
        _draw(picture, chooser.world, standings)
    if json:
        goals = [_standing(one) for one in standings]
        console.print_json({"world": chooser.world, "tries": len(chooser.tried), "skills": chooser.skills(),
                            "goals": goals})  # fmt: skip
        return
    screen = console.console()
    rows = [(one.goal.text, one.goal.verb, str(one.tries), str(one.successes), f"{one.competence:.2f}",
             f"{one.weight:.2f}", one.state) for one in standings]  # fmt: skip
    screen.print(console.table(("goal", "verb", "tries", "done", "p", "weight", "state"), rows))
    skills = [(verb, f"{p:.2f}") for verb, p in sorted(chooser.skills().items(), key=lambda pair: -pair[1])]
    screen.print(console.table(("verb", "p"), skills))
    screen.print(f"{len(chooser.tried)} tries of {len(rows)} goals in {chooser.world}", markup=False)
    if picture is not None:
        screen.print(f"Picture: {picture}", markup=False)


def _archive(path: Path) -> Path:
    """The archive that is meant: a file, or the newest one of a run's folder."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("generation-*/archive.jsonl"))
    if not found:
        raise UserError(f"{path}: holds no generation-*/archive.jsonl; give the folder of a run of agent self-improve")
    return found[-1]


def _draw(path: Path, world: str, standings: list[Standing]) -> None:
    """Where the goals stand, those that were tried most: a bar for the estimated chance of success."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = sorted(standings, key=lambda one: (-one.tries, one.goal.text))[:_MOST_DRAWN][::-1]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.28 * len(shown)), layout="constrained")
    axes.barh(
        [one.goal.text for one in shown],
        [one.competence for one in shown],
        color=[_COLOURS[one.state] for one in shown],
    )
    for at, one in enumerate(shown):
        axes.annotate(f" {one.successes} of {one.tries}", (one.competence, at), va="center", fontsize=8)
    for state, colour in _COLOURS.items():
        axes.barh([0], [0], color=colour, label=state)
    axes.set(title=f"Goals tried in {world}", xlabel="estimated chance of success", xlim=(0.0, 1.1))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise UserError(f"--picture {path}: {error.strerror or error}") from error
    finally:
        plt.close(figure)


def _view(env: str, suite: str | None, index: int, seed: int, chooser: Curriculum | None) -> SetterView:
    """What the setter sees of a practice level: its first frame, and what the archive tells."""
    from agent.cli import compose
    from tasks import world_tasks
    from tasks.setter import SetterView

    reset: dict[str, Any] = {"seed": seed}
    if suite is not None:
        chosen = world_tasks.suite(suite)
        if chosen.world != env.partition(":")[0]:
            raise UserError(f"--suite {suite} is played in world {chosen.world!r}, not in {env!r}")
        level = chosen.practice(seed, index)
        reset = {"seed": level.seed, "options": level.options}
    world = compose.world_factory(env)()
    try:
        observation, _ = world.reset(**reset)
        frame, tick_hz = observation["pixels"].copy(), world.tick_hz
    finally:
        world.close()
    tried, skills = (chooser.tried, chooser.skills()) if chooser else ((), {})
    return SetterView(env, (frame,), tried, skills, tick_hz, seed)


def _save(path: Path, view: SetterView) -> None:
    from PIL import Image

    try:
        Image.fromarray(view.frames[-1]).save(path, "PNG")
    except OSError as error:
        raise UserError(f"--picture {path}: {error.strerror or error}") from error


def _report(setter: str, view: SetterView, said: Proposed, choices: list[Choice] | None) -> dict[str, Any]:
    from tasks.goal_text import goal_of

    chosen = {id(choice.proposal): choice for choice in choices or ()}
    proposals = []
    for one in said.proposals:
        goal = goal_of(view.world, one.instruction)
        line: dict[str, Any] = {"instruction": one.instruction, "goal": goal.text, "verb": goal.verb,
                                "time_limit": one.time_limit, "why": one.why, "task": one.task}  # fmt: skip
        if choices is not None:
            choice = chosen.get(id(one))
            line["choice"] = choice and {**_standing(choice.standing), "rehearsal": choice.rehearsal}
        proposals.append(line)
    rejected = [{"text": one.text, "why": one.why} for one in said.rejected]
    return {"setter": setter, "world": view.world, "seed": view.seed, "proposals": proposals, "rejected": rejected}


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "goal": standing.goal.text,
        "verb": standing.goal.verb,
        "tries": standing.tries,
        "successes": standing.successes,
        "competence": standing.competence,
        "weight": standing.weight,
        "state": standing.state,
    }


def _table(report: dict[str, Any]) -> Any:
    """A row for each proposal and for what was rejected."""
    rows = []
    for line in report["proposals"]:
        why = line["why"]
        if "choice" in line:
            choice = line["choice"]
            why = f"chosen: {choice['state']}, p {choice['competence']:.2f}" if choice else "not chosen"
        rows.append((line["instruction"], line["verb"], str(line["time_limit"]), why))
    rows += [(line["text"], "", "", f"rejected: {line['why']}") for line in report["rejected"]]
    return console.table(("proposal", "verb", "ticks", "why"), rows, title=f"{report['setter']} in {report['world']}")
