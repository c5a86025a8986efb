"""What worlds bring: found by name, typed, with defaults for worlds that bring nothing."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from envs import plugins
from envs.errors import UserError
from tasks import world_tasks
from tasks.task import Task, VerifierSpec
from tasks.task_file import TasksFileError, load_tasks
from tasks.verifier import Sequential, Verdict
from tasks.world_tasks import WorldTasks

HERE = __name__


class Near:
    """A verifier of somebody's own world."""

    def __init__(self, at: int = 3) -> None:
        self._at = at

    def update(self, state: Any) -> Verdict | None:
        return Verdict(True, "is there") if state["x"] >= self._at else None


def test_a_verifier_may_be_named_by_where_it_is() -> None:
    spec = VerifierSpec(f"{HERE}:Near", {"at": 2})
    verifier = world_tasks.of("somebody's").verifier(spec)
    assert verifier.update({"x": 1}) is None
    assert verifier.update({"x": 2}) == Verdict(True, "is there")
    steps = [{"name": spec.name, "args": {"at": 1}}, {"name": spec.name}]
    both = world_tasks.of("doom").verifier(VerifierSpec("sequence", {"steps": steps}))
    assert isinstance(both, Sequential)
    assert both.update({"x": 2}) is None
    assert both.stage == 1
    assert both.update({"x": 3}) == Verdict(True, "is there")


@pytest.mark.parametrize("name", ["os:system", "json:loads", "pathlib:Path"])
def test_what_is_no_class_with_update_is_no_verifier_and_is_not_called(name: str) -> None:
    with pytest.raises(ValueError, match="expected a class with update"):
        world_tasks.of("doom").verifier(VerifierSpec(name, {}))


@pytest.mark.parametrize("name", ["os:abort", "json:loads"])
def test_a_file_of_somebody_else_chooses_no_verifier_that_runs_code(name: str) -> None:
    task = Task("t", "go", "anywhere", verifier=VerifierSpec(name, {}))
    with pytest.raises(ValueError, match=f"unknown verifier '{name}'"):
        world_tasks.verifier_of(task, references=False)
    nested = Task("t", "go", "anywhere", verifier=VerifierSpec("sequence", {"steps": [{"name": name}]}))
    with pytest.raises(ValueError, match=f"unknown verifier '{name}'"):
        world_tasks.verifier_of(nested, references=False)


@pytest.mark.parametrize("args", [{}, {"steps": 3}, {"steps": [{}]}, {"steps": []}])
def test_a_sequence_without_steps_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sequence"):
        world_tasks.of("doom").verifier(VerifierSpec("sequence", args))


def test_a_tasks_file_takes_a_verifier_of_ones_own(tmp_path: Any) -> None:
    file = tmp_path / "mine.yaml"
    text = "tasks:\n- {{instruction: go, world: field, verifier: {{name: '{name}', args: {{at: 5}}}}}}"
    file.write_text(text.format(name=f"{HERE}:Near"))
    (task,) = load_tasks(file)
    verifier = world_tasks.verifier_of(task)
    assert verifier is not None
    assert verifier.update({"x": 4}) is None
    file.write_text(text.format(name=f"{HERE}:Nothing"))
    with pytest.raises((TasksFileError, UserError), match="Nothing"):
        load_tasks(file)


def test_a_world_that_brings_nothing_has_defaults() -> None:
    nothing = world_tasks.of("somebody's:game")
    assert type(nothing) is WorldTasks
    assert nothing.suites == {}
    assert nothing.goals is None
    assert nothing.confirmation("go to the lamp") == ""
    assert nothing.task_from_instruction("go to the lamp", 0) is None
    assert not nothing.has_expert
    with pytest.raises(UserError, match="no expert"):
        nothing.expert(VerifierSpec("reward", {"at_least": 1}))
    assert nothing.verifier(VerifierSpec("reward", {"at_least": 1})).update({"return": 1.0}) is not None


@pytest.mark.parametrize("world", ["doom", "playroom", "minetest"])
def test_every_world_of_ours_brings_suites_an_expert_and_a_language(world: str) -> None:
    part = world_tasks.of(world)
    assert part.suites
    assert all(name.startswith(f"{world}-") and suite.world == world for name, suite in part.suites.items())
    assert part.has_expert
    task = next(iter(part.suites.values())).task(0, 0)
    assert task.world == world
    assert part.confirmation(task.instruction).startswith("ok ")
    assert part.task_from_instruction(task.instruction, 1) is not None


def test_an_unknown_suite_is_told_with_the_nearest_one() -> None:
    with pytest.raises(world_tasks.UnknownSuiteError, match="did you mean 'doom-basic'"):
        world_tasks.suite("doom-basics")
    with pytest.raises(ValueError, match="held out"):
        world_tasks.training("doom-vault")


def test_a_broken_part_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = plugins.entries

    def entries(kind: plugins.Kind) -> dict[str, EntryPoint]:
        broken = EntryPoint("ruin", "nowhere_at_all:Tasks", plugins.GROUPS[kind])
        return {**real(kind), **({"ruin": broken} if kind == "tasks" else {})}

    monkeypatch.setattr(plugins, "entries", entries)
    assert "doom-basic" in world_tasks.suites()
    with pytest.raises(plugins.BrokenPluginError, match="nowhere_at_all"):
        world_tasks.of("ruin")
