"""Workers by name: processes of this machine, an entry point, or an object. A wrong name is told before a start."""

from __future__ import annotations

import signal
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import app
from envs import plugins
from envs.errors import UserError
from tests.support.squares import Squares
from tests.support.thread_workers import THREADS, ThreadWorkers
from training.workers.crew import _STOP_SECONDS, Crew
from training.workers.hire import check, hire
from training.workers.workers import Failed, Workers, WorkersError


def done(workers: Workers, jobs: list[Any]) -> dict[Any, Any]:
    with workers:
        return dict(workers.run(jobs))


@pytest.mark.parametrize("spec", [2, "2", "crew:2", THREADS])
def test_jobs_are_done_whoever_does_them(spec: str | int) -> None:
    found = done(hire(Squares, spec), [1, 2, 3, -4, 5])
    assert found == {1: 1, 2: 4, 3: 9, -4: Failed("ArithmeticError: -4 is negative"), 5: 25}


def test_an_entry_point_gets_its_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("cluster", THREADS, plugins.GROUPS["workers"])
    known = plugins.entries("workers")
    monkeypatch.setattr(plugins, "entries", lambda kind: {**known, "cluster": entry})
    monkeypatch.setattr(ThreadWorkers, "opened", [])
    assert done(hire(Squares, "cluster:ray://here:10001"), [3]) == {3: 9}
    assert ThreadWorkers.opened == ["ray://here:10001"]


def test_there_are_no_more_processes_than_jobs() -> None:
    with hire(Squares, 5, most=1) as workers:
        assert isinstance(workers, Crew)
        assert workers.count == 1


def test_a_crew_is_closed_although_nobody_reads_what_it_sends() -> None:
    crew = Crew(Squares, 2)
    next(crew.run(["large", "large"]))  # what the other one sends is left in the pipe
    processes, start = list(crew._processes), time.monotonic()
    crew.close()
    assert time.monotonic() - start < _STOP_SECONDS - 5.0
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_second_interruption_kills_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(Squares, 2)
    assert next(crew.run([2, "slow"])) == (2, 4)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.workers.crew.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crew.close()
    assert -signal.SIGKILL in [process.exitcode for process in crew._processes]


def test_a_job_whose_process_dies_is_done_by_another(tmp_path: Path) -> None:
    job = tmp_path / "job"
    assert done(hire(Squares, 1), [job, 2]) == {job: "done by another", 2: 4}


@pytest.mark.parametrize("spec", [1, THREADS])
def test_an_error_that_a_person_can_mend_ends_the_work(spec: str | int) -> None:
    with hire(Squares, spec) as workers, pytest.raises(WorkersError, match="the disk is full"):
        list(workers.run([1, 2000]))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0", r"--workers 0: expected 1 to 256 processes"),
        ("-1", r"--workers -1: expected 1 to 256 processes"),
        ("257", r"--workers 257: expected 1 to 256 processes"),
        ("", r"--workers '': expected a number of processes, 1 to 256, or NAME:ARGUMENT"),
        ("two", r"--workers 'two': .* known: .*crew"),
        ("raey:auto", r"--workers 'raey:auto': .* an entry point of ludens.workers; known: "),
        ("2.5", "--workers '2.5': expected a number of processes"),
        ("no.such:Workers", "can't be loaded: ModuleNotFoundError"),
    ],
)
def test_a_spec_that_names_no_workers_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(spec)


def test_a_crew_of_no_number_is_refused() -> None:
    with pytest.raises(UserError, match="--workers crew:many: expected 1 to 256 processes"):
        hire(Squares, "crew:many")


@pytest.mark.parametrize("verb", [["eval"], ["record", "--out", "unused"]])
def test_a_wrong_option_is_one_line(verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*verb, "--workers", "many"])
    assert result.exit_code != 0
    assert isinstance(result.exception, UserError) or "--workers 'many'" in result.output
    assert not (tmp_path / "unused").exists()
