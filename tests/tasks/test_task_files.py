"""Tasks files: what a person writes becomes tasks, and what is wrong is said in one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.errors import UserError
from tasks.doom.suites import EVALUATION_SEEDS
from tasks.task_file import TasksFileError, load_tasks

EXAMPLE = Path(__file__).parents[2] / "examples" / "tasks.yaml"


def things(task: object) -> list[tuple[str, str | None]]:
    return [(t["kind"], t["colour"]) for t in task.options["level"]["things"]]  # type: ignore[attr-defined]


def test_the_example_gives_tasks_whose_levels_hold_what_they_name() -> None:
    tasks = load_tasks(EXAMPLE)
    assert len({t.id for t in tasks}) == len(tasks) == 3 + 6 + 2
    assert {t.verb for t in tasks} == {"pick_up", "face"}
    assert all(t.seed >= EVALUATION_SEEDS for t in tasks)
    for task in tasks[3:9]:
        assert {("armor", "blue"), ("armor", "green"), ("orb", "blue")} <= set(things(task))
        assert task.verifier is not None
        assert [things(task)[i] for i in task.verifier.args["targets"]] == [("armor", "blue")]
        assert len(things(task)) <= 5
        assert task.options["level"]["rooms"][0]["theme"]["name"] in ("brick", "wood")
    assert load_tasks(EXAMPLE) == tasks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks:\n- {instruction: a, verifier: {name: fly}}", r"tasks\[0\]\.verifier\.name: .*'fly'; .*face"),
        ("tasks:\n- {instruction: look up}\n- {instruction: a, colour: red}", r"tasks\[1\]\.colour: unknown key"),
        ("tasks:\n- {verifier: {name: face}}", r"tasks\[0\]\.instruction\S*: is missing"),
        ("tasks: []", r"tasks: list should have at least 1 item"),
        ("- a", r"the file: "),
        ("tasks: [", r"line 1: not YAML"),
        ("tasks:\n- {instruction: sing a song}", r"tasks\[0\]\.verifier: is missing, and the grammar"),
        ("tasks:\n- {instruction: look up, seeds: [1], count: 2}", r"tasks\[0\]: give seeds, or seed and count"),
        ("tasks:\n- {instruction: look up, count: 0}", r"tasks\[0\]\.count: .*greater than or equal to 1"),
        (
            "tasks:\n- {instruction: a, verifier: {name: face, args: {targets: [red medikit]}}}",
            r"tasks\[0\]\.verifier\.args: unknown thing 'red medikit'",
        ),
        (
            "tasks:\n- {instruction: a, verifier: {name: face, args: {target: [imp]}}}",
            r"tasks\[0\]\.verifier: .*wrong arguments",
        ),
        (
            "tasks:\n- {instruction: a, verifier: {name: face, args: {targets: [99]}}}",
            r"tasks\[0\]\.verifier\.args\.targets\[0\]: the level holds no 99",
        ),
        (
            "tasks:\n- {instruction: a, verifier: {name: stand_still}, options: {generator: {theme: x}}}",
            r"tasks\[0\]\.options\.generator\.theme: unknown key; known: .*themes",
        ),
        (
            "tasks:\n- {instruction: a, verifier: {name: stand_still}, options: {generator: {themes: [moon]}}}",
            r"tasks\[0\]\.options\.generator: unknown theme 'moon'",
        ),
        (
            "tasks:\n- {instruction: a, verifier: {name: stand_still}, options: {level: {rooms: 1}}}",
            r"tasks\[0\]\.options\.level: not a level",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(TasksFileError, match=rf"^\S*mine\.yaml: {said}") as caught:
        load_tasks(file)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, UserError)


def test_a_missing_file_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(TasksFileError, match=r"none\.yaml: No such file"):
        load_tasks(tmp_path / "none.yaml")
