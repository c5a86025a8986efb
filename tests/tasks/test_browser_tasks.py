"""Tasks in web pages: the verifier by JavaScript expressions, and the arena's tasks played by a script."""

from __future__ import annotations

import json
import math
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.loop.players import ScriptedPlayer
from agent.policy import Decision, PolicySpec
from agent.view import View
from envs import plugins
from envs.action import NEUTRAL, Action
from envs.browser.world import BrowserWorld
from tasks.play import play_task
from tasks.task import Task
from tasks.task_file import TasksFileError, load_tasks
from tasks.verifier import JavaScript
from tests.support.components import needs
from tests.support.thread_workers import THREADS

pytestmark = needs("chromium")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "browser"
NAME = "browser:examples/browser/game.yaml"


CELL = 0.5  # metres
SIDE = 44  # cells


class Walker:
    """Sees ground truth and goes to things by their names, one after the other, around what stands in the way."""

    def __init__(self, *names: str, light: bool = False) -> None:
        self.names, self.light = list(names), light
        self.steps: dict[tuple[int, int], int] = {}  # from each cell to the goal
        self.goal = ""

    def __call__(self, state: dict[str, Any]) -> Decision:
        now = state["page"]
        me, done = now["player"], {*now["collected"], *now["touched"]}
        goals = [t for name in self.names if name not in done for t in now["things"] if t["name"] == name]
        if not goals:
            return Decision((NEUTRAL,))
        goal = goals[0]
        if goal["name"] != self.goal:
            self.goal, self.steps = goal["name"], self.plan(now, goal)
        far = math.hypot(goal["x"] - me["x"], goal["z"] - me["z"])
        if self.light and far < 2.5:
            aim = self.turn(me, goal["x"], goal["z"]), math.degrees(math.atan2(0.7 - 1.6, far)) - me["pitch"]
            return Decision((Action(look=aim), Action(buttons=frozenset({"left"}))))
        x, z = goal["x"], goal["z"]
        if far > 2 * CELL + goal["radius"]:
            row, column = self.cell(me["x"], me["z"])
            near = [(row + i, column + j) for i in range(-2, 3) for j in range(-2, 3)]
            best = min(near, key=lambda cell: (self.steps.get(cell, 10**6), math.dist(cell, (row, column))))
            x, z = ((i + 0.5) * CELL - SIDE * CELL / 2 for i in best)
        return Decision((Action(keys=frozenset({"KeyW"}), look=(self.turn(me, x, z), 0.0)),) + (AHEAD,) * 3)

    def turn(self, me: dict[str, float], x: float, z: float) -> float:
        right = math.degrees(math.atan2(x - me["x"], me["z"] - z)) - me["yaw"]
        return max(-45.0, min(45.0, (right + 180) % 360 - 180))

    def cell(self, x: float, z: float) -> tuple[int, int]:
        return int((x + SIDE * CELL / 2) / CELL), int((z + SIDE * CELL / 2) / CELL)

    def plan(self, now: dict[str, Any], goal: dict[str, Any]) -> dict[tuple[int, int], int]:
        def free(cell: tuple[int, int]) -> bool:
            x, z = ((i + 0.5) * CELL - SIDE * CELL / 2 for i in cell)
            return all(
                max(abs(x - wall["x"]) - wall["width"] / 2, abs(z - wall["z"]) - wall["depth"] / 2) > 0.45
                for wall in now["walls"]
            ) and all(
                thing["name"] == goal["name"] or math.hypot(x - thing["x"], z - thing["z"]) > thing["radius"] + 0.65
                for thing in now["things"]
            )

        start = self.cell(goal["x"], goal["z"])
        steps, queue = {start: 0}, deque([start])
        while queue:
            row, column = queue.popleft()
            for cell in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if cell not in steps and 0 <= cell[0] < SIDE and 0 <= cell[1] < SIDE and free(cell):
                    steps[cell] = steps[row, column] + 1
                    queue.append(cell)
        return steps


AHEAD = Action(keys=frozenset({"KeyW"}))
PLAYED = {
    "go-to": ["red pillar"],
    "collect": ["blue gem"],
    "collect-all": ["red gem", "green gem", "blue gem"],
    "touch": ["yellow cube"],
    "stand-on": ["purple pad"],
    "light": ["green ball"],
    "in-order": ["red cube", "blue cube"],
}


@pytest.fixture(scope="module")
def arena() -> Iterator[BrowserWorld]:
    world = BrowserWorld(str(EXAMPLES / "game.yaml"), "64x48")
    yield world
    world.close()


def tasks_of(family: str) -> list[Task]:
    return [task for task in load_tasks(EXAMPLES / "tasks.yaml") if task.id.split("/")[0] == family]


def play(world: BrowserWorld, task: Task, walker: Walker) -> Any:
    spec = PolicySpec(View.stretched((48, 64)), tick_hz=35.0)
    return play_task(world, ScriptedPlayer(walker, spec=spec), task, observe="decision")


def test_the_example_has_tasks_of_seven_kinds() -> None:
    tasks = load_tasks(EXAMPLES / "tasks.yaml")
    assert {task.id.split("/")[0] for task in tasks} == set(PLAYED)
    assert len({task.id for task in tasks}) == len(tasks) == 45
    assert {task.world for task in tasks} == {NAME}
    assert tasks[0].options["javascript"]["success"] == 'game.at("red pillar")'


@pytest.mark.parametrize("family", PLAYED)
def test_who_knows_the_way_succeeds(arena: BrowserWorld, family: str) -> None:
    task = tasks_of(family)[0]
    outcome = play(arena, task, Walker(*PLAYED[family], light=family == "light"))
    assert outcome.success, (outcome.why, outcome.ticks)
    assert 0 < outcome.ticks < task.time_limit


@pytest.mark.parametrize(
    ("family", "name", "why"),
    [
        ("collect", "yellow gem", "took the yellow gem"),
        ("touch", "green cube", "touched the green cube"),
        ("stand-on", "orange pad", "stands on the orange pad"),
        ("light", "red ball", "lit the red ball"),
        ("in-order", "blue cube", "touched the blue cube first"),
    ],
)
def test_the_wrong_thing_is_a_failure_with_its_reason(arena: BrowserWorld, family: str, name: str, why: str) -> None:
    outcome = play(arena, tasks_of(family)[0], Walker(name, light=family == "light"))
    assert outcome.success is False
    assert outcome.why == why


def test_a_verdict_is_the_first_expression_that_holds() -> None:
    verifier = JavaScript(success="a > 1", failure="b")
    assert verifier.update({"javascript": {"success": False, "failure": False}}) is None
    verdict = verifier.update({"javascript": {"success": True, "failure": "too late"}})
    assert verdict is not None
    assert (verdict.success, verdict.why) == (True, "a > 1")
    verdict = verifier.update({"javascript": {"success": 0, "failure": "too late"}})
    assert verdict is not None
    assert (verdict.success, verdict.why) == (False, "too late")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            "world: 'browser:x.yaml', verifier: {name: touch}",
            r"verifier\.name: unknown verifier 'touch'; this world knows javascript, sequence",
        ),
        ("world: 'browser:x.yaml', verifier: {name: javascript}", r"verifier: .*success"),
        (
            "world: 'browser:x.yaml', verifier: {name: javascript, args: {success: 1}}",
            r"verifier: .*success: expected a JavaScript expression, got 1",
        ),
        ("verifier: {name: javascript, args: {success: won}}", r"verifier\.name: unknown verifier 'javascript'"),
    ],
)
def test_a_wrong_task_is_refused_with_its_place(tmp_path: Path, entry: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"tasks:\n- {{instruction: go, {entry}}}")
    with pytest.raises(TasksFileError, match=rf"mine\.yaml: tasks\[0\]\.{said}"):
        load_tasks(file)


def test_it_is_played_evaluated_and_looked_at_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "browser" in plugins.names("world"), "install the package anew: make setup"
    shutil.copytree(EXAMPLES, tmp_path / "examples" / "browser")
    file = tmp_path / NAME.partition(":")[2]
    small = file.read_text().replace("size: 320x240", "size: 64x48")  # the processor draws it
    file.write_text(f"{small}timeout: 240\n")  # a busy machine
    monkeypatch.chdir(tmp_path)
    args = ["collect the blue gem", "--env", NAME, "--policy", "random", "--time-limit", "1", "--out", "run", "--json"]
    assert cli.run(["play", *args]) == 0
    (episode,) = json.loads(capsys.readouterr().out)["episodes"]
    assert episode["outcome"]["ticks"] == 35
    assert not episode["outcome"]["problems"]
    text = (
        (EXAMPLES / "tasks.yaml")
        .read_text()
        .replace("count: 5", "count: 1")
        .replace("time_limit: ", "time_limit: 10 # ")
    )
    (tmp_path / "short.yaml").write_text(text.split("  - id: touch")[0])
    args = ["--tasks", "short.yaml", "--env", NAME, "--policy", "random", "--policy-only", "--workers", THREADS]
    assert cli.run(["eval", *args, "--json", "-"]) == 0
    assert "collect all" in capsys.readouterr().out
