"""Workers on a Ray cluster of several nodes, one of which is killed while it works.

The cluster is real; its nodes share this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from envs import extras
from envs.errors import UserError
from tasks import world_tasks
from tasks.curriculum import Curriculum
from tasks.task import Task
from tests.support.model_server import FakeServer, chooses, says, serving
from tests.support.ray_cluster import ray_cluster
from tests.support.squares import Squares
from training.data.episodes import read_episode
from training.improve.collect import Collector, CollectSettings, LevelPlayed
from training.improve.scoring import Scorer, judge_with
from training.workers import ray_workers
from training.workers.hire import hire
from training.workers.workers import Failed, WorkersError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a busy machine makes it slow, and must not make it fail

LEVELS = 4
STEPS = ("tick", "keys", "buttons", "yaw", "pitch", "instruction", "decision", "thought")


def clever(handler: Any) -> None:
    """What a chat model says to a setter and to a judge."""
    said = [{"instruction": "look up", "seconds": 1, "why": "it is easy"}]
    asked = json.dumps(handler.body)
    (says(json.dumps({"tasks": said})) if "Propose" in asked else chooses({"7": 0.9, "8": 0.1}))(handler)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    with serving(clever) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(server: FakeServer) -> Iterator[Any]:
    """A cluster whose nodes know a key that this process doesn't know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("OPENAI_API_KEY", "key-of-the-node")
        with ray_cluster() as cluster:
            patch.delenv("OPENAI_API_KEY")
            yield cluster


def settings(out: Path, setter: str = "template") -> CollectSettings:
    (out / "levels").mkdir(parents=True)
    Curriculum("doom").save(out / "curriculum.jsonl")
    return CollectSettings(
        out, 1, "doom", "small", setter, out / "curriculum.jsonl", tries=2, proposals=3, time_limit=16,
        temperature=0.7, seed=0, sticky=0.2,
    )  # fmt: skip


def told(out: Path, played: dict[str, LevelPlayed]) -> dict[str, Any]:
    """All that was tried and done in each level."""
    return {
        level: (
            one,
            [read_episode(out / "episodes" / t.episode).steps.select(list(STEPS)).to_pydict() for t in one.tries],
        )
        for level, one in played.items()
    }


def test_a_node_that_is_killed_loses_nothing_and_doubles_nothing(cluster: Any, tmp_path: Path) -> None:
    suite = world_tasks.suite("doom-vault")
    levels = [suite.practice(0, index) for index in range(LEVELS)]
    here = Collector(settings(tmp_path / "here"))
    expected = {one.level: one for one in here.work(levels)}
    here.close()

    node = ray_workers.patiently(lambda: cluster.add_node(num_cpus=1))
    found: list[LevelPlayed] = []
    with hire(partial(Collector, settings(tmp_path / "ray")), f"ray:{cluster.address}") as workers:
        assert workers.count == 2
        while any(one.arriving is not None for one in workers._hired):  # type: ignore[attr-defined]
            assert len(list(workers.run([[]]))) == 1  # the work begins when both are there
        for _, result in workers.run([[level] for level in levels]):
            assert not isinstance(result, Failed), result
            found += result
            if len(found) == 2:
                cluster.remove_node(node, allow_graceful=False)  # SIGKILL
        assert workers.usage.again >= 1
        assert 0.0 < workers.usage.idle < 1.0
    assert sorted(one.level for one in found) == sorted(expected)
    played = {one.level: one for one in found}
    assert played == expected
    assert told(tmp_path / "ray", played) == told(tmp_path / "here", expected)
    episodes = sorted(path.name for path in (tmp_path / "ray" / "episodes").iterdir())
    assert episodes == sorted(one.episode for level in found for one in level.tries)


def test_setter_and_judge_behind_a_server_take_the_key_of_their_node(
    cluster: Any, server: FakeServer, tmp_path: Path
) -> None:
    told = settings(tmp_path, "llm:openai:clever")
    level = world_tasks.suite("doom-vault").practice(0, 0)
    with hire(partial(Collector, told), f"ray:{cluster.address}", most=1) as workers:
        ((_, (played,)),) = workers.run([[level]])
    assert [one.instruction for one in played.tries] == ["look up"] * 2
    asked = [(Task("t", one.instruction, "doom"), tmp_path / "episodes" / one.episode, False) for one in played.tries]
    with hire(partial(Scorer, "doom", "judge:openai:clever", "", False), f"ray:{cluster.address}", most=1) as workers:
        said = judge_with(workers, asked)
    assert [one.value is not None and one.success is not None for one in said] == [True, True]
    assert len(server.headers) >= 4
    assert {one["authorization"] for one in server.headers} == {"Bearer key-of-the-node"}
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"key-of-the-node" in content for content in kept)


def test_jobs_fail_die_and_end_as_those_of_a_crew(cluster: Any, tmp_path: Path) -> None:
    with hire(Squares, f"ray:{cluster.address}", most=1) as workers:
        jobs = [1, -4, tmp_path / "job", 5]
        assert dict(workers.run(jobs)) == {
            1: 1, -4: Failed("ArithmeticError: -4 is negative"), tmp_path / "job": "done by another", 5: 25,
        }  # fmt: skip
        assert workers.usage.again == 1
        with pytest.raises(WorkersError, match="the disk is full"):
            list(workers.run([2000]))
        assert dict(workers.run([lambda: 1])).popitem()[1].error  # what a job can't be compared with is an error too


def test_a_job_that_kills_every_worker_ends_the_work(cluster: Any) -> None:
    with (
        hire(Squares, f"ray:{cluster.address}", most=1) as workers,
        pytest.raises(WorkersError, match="a job lost its worker 4 times"),
    ):
        list(workers.run(["deadly"]))


def test_workers_that_cant_be_made_end_the_work(cluster: Any) -> None:
    with (
        hire(partial(int, "no worker"), f"ray:{cluster.address}", most=1) as workers,
        pytest.raises(WorkersError, match="no worker can be made: ValueError: invalid literal"),
    ):
        list(workers.run([1]))


def test_a_node_with_other_code_is_refused(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_workers, "digest", lambda: "other")
    with (
        hire(Squares, f"ray:{cluster.address}", most=1) as workers,
        pytest.raises(WorkersError, match="runs another ludens than this machine"),
    ):
        list(workers.run([1]))


def test_ray_alone_is_a_cluster_that_nobody_else_reaches(cluster: Any) -> None:
    with hire(Squares, "ray", most=1) as workers:
        assert dict(workers.run([3])) == {3: 9}
        listening = [
            connection.laddr.ip
            for process in psutil.Process().children(recursive=True)
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_an_address_without_a_cluster_is_one_line() -> None:
    with pytest.raises(UserError, match=r"--workers ray:127\.0\.0\.1:9: no Ray cluster: .*ray start --address"):
        hire(Squares, "ray:127.0.0.1:9")


def test_ray_client_is_refused() -> None:
    with pytest.raises(UserError, match="Ray Client is not supported"):
        hire(Squares, "ray:ray://head:10001")


def test_without_the_package_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "installed", lambda extra: extra != "ray")
    with pytest.raises(UserError, match=r"--workers ray needs ludens\[ray\]: pip install 'ludens\[ray\]'"):
        hire(Squares, "ray")
