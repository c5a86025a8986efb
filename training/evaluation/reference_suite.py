"""Reference suites: frozen tasks, versions and hashes, so that results of different people and days can be compared.

A reference suite is a YAML file such as ludens-bench-1.yaml beside this file. It names task suites with a seed and a
number of tasks, and it freezes what these mean: the SHA-256 of the tasks, the versions of the game engines, the SHA-256
of the game's data, and the SHA-256 of what the expert sees and what verifiers say in the first tasks of each suite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.capabilities import spec_of
from agent.episode import Frame, Outcome, Step, Subscriber
from agent.loop.players import ScriptedPlayer
from envs import plugins
from envs.errors import UserError
from envs.files import write_whole
from envs.world import World
from tasks import world_tasks
from tasks.play import play_task
from tasks.task import Task

FOLDER = Path(__file__).parent
PROBED = 2  # tasks of each suite that the expert plays


class Part(BaseModel):
    """`count` tasks of the suite `suite` under `seed`. `tasks`, `probe`: SHA-256 of the tasks, and of what the expert
    meets in the first PROBED of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    suite: str
    seed: int = Field(ge=0)
    count: int = Field(ge=1)
    tasks: str = ""
    probe: str = ""


class ReferenceSuite(BaseModel):
    """What the file says. `versions`: of packages that make the world. `files`: SHA-256 by PACKAGE/FILE. All parts are
    played in `world`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    about: str
    world: str
    versions: dict[str, str]
    files: dict[str, str]
    parts: list[Part] = Field(min_length=1)

    @property
    def sha256(self) -> str:
        """Of all that is frozen, the same however the file is written."""
        return _digest(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Difference:
    """Something that is not what the file has frozen."""

    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected[:16]}, found {self.found[:16]}"


def names() -> list[str]:
    """The reference suites that ship."""
    return sorted(path.stem for path in FOLDER.glob("ludens-bench-*.yaml"))


def load_reference(name: str) -> ReferenceSuite:
    """A reference suite by its name, or from a YAML file. Raises UserError."""
    path = FOLDER / f"{name}.yaml" if name in names() else Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise UserError(f"--bench {name}: expected one of {', '.join(names())}, or a YAML file like theirs")
    try:
        return ReferenceSuite.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else " ".join(str(error).split())
        raise UserError(f"--bench {path}: {why}") from error


def tasks_of(part: Part) -> list[Task]:
    """The tasks of a part, on levels of evaluation."""
    return list(world_tasks.suite(part.suite).tasks(part.seed, part.count))


def tasks_digest(tasks: Sequence[Task]) -> str:
    """The SHA-256 of tasks: instructions, levels, time limits and verifiers."""
    return _digest([_fields(task) for task in tasks])


def _fields(task: Task) -> dict[str, Any]:
    """A task's fields; suites that were frozen before tasks had a compass stay what they are."""
    fields = asdict(task)
    return fields if task.compass else {name: value for name, value in fields.items() if name != "compass"}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class _Seen(Subscriber):
    """Makes a digest of what was seen at each decision, and of the verdict."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def on_step(self, step: Step) -> None:
        if step.frame is not None:
            self.hash.update(step.frame.tobytes())

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        self.hash.update(json.dumps([outcome.success, outcome.why, outcome.ticks]).encode())
        if frame is not None:
            self.hash.update(frame.tobytes())


def probe(world: World, tasks: Sequence[Task]) -> str:
    """The SHA-256 of the frames and verdicts that the expert meets in the first PROBED tasks."""
    expert, seen = plugins.load("policy", "expert")(), _Seen()
    for task in tasks[:PROBED]:
        player = ScriptedPlayer(expert.start(task), spec=spec_of(expert))
        play_task(world, player, task, subscribers=[seen], observe="decision")
        player.close()
    return seen.hash.hexdigest()


def installed_versions(wanted: Mapping[str, str]) -> dict[str, str]:
    """The installed versions of packages; "none" for one that is not there."""
    found = {}
    for name in wanted:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def file_digests(wanted: Mapping[str, str]) -> dict[str, str]:
    """The SHA-256 of files in packages, by PACKAGE/FILE; "none" for one that is not there."""
    from importlib.resources import files

    found = {}
    for name in wanted:
        package, _, file = name.partition("/")
        try:
            found[name] = hashlib.sha256(files(package).joinpath(file).read_bytes()).hexdigest()
        except (ModuleNotFoundError, OSError):
            found[name] = "none"
    return found


def differences(suite: ReferenceSuite, world: World) -> list[Difference]:
    """All that is not as the suite has frozen it. `world`: to play the probes in."""
    now = frozen(suite, world)
    pairs = [(f"version of {name}", suite.versions[name], now.versions[name]) for name in suite.versions]
    pairs += [(f"file {name}", suite.files[name], now.files[name]) for name in suite.files]
    for then, part in zip(suite.parts, now.parts, strict=True):
        pairs.append((f"tasks of {part.suite}", then.tasks, part.tasks))
        pairs.append((f"probe of {part.suite}", then.probe, part.probe))
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def frozen(suite: ReferenceSuite, world: World) -> ReferenceSuite:
    """The suite with the versions and hashes of this machine."""
    parts = []
    for part in suite.parts:
        tasks = tasks_of(part)
        parts.append(part.model_copy(update={"tasks": tasks_digest(tasks), "probe": probe(world, tasks)}))
    return suite.model_copy(
        update={"versions": installed_versions(suite.versions), "files": file_digests(suite.files), "parts": parts}
    )


def part_of(task: Task) -> str:
    """The suite that a task is of: its id is SUITE/SEED/NUMBER."""
    return task.id.partition("/")[0]


def write_frozen(path: Path, suite: ReferenceSuite) -> None:
    """Write a suite to its file; the comment at the head of the file stays."""
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    text = yaml.safe_dump(suite.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)
    write_whole(path, "\n".join([*head, text]))
