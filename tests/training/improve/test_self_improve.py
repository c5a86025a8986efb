"""Self-improvement, from setter to promotion: the whole loop in the real game, on as little as shows that it works."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from agent.cli import console, run, self_improve
from agent.small.checkpoint import SHIPPED, read_manifest
from envs.errors import UserError
from rewards.score import Failure, Score
from tasks.curriculum import Curriculum
from tasks.task import Task
from tests.support.thread_workers import no_processes
from training.data.episode_weights import WEIGHTS
from training.data.episodes import read_episode
from training.improve import evaluate, levels
from training.improve.ask import Question
from training.improve.audit import audit
from training.improve.generation import STAGES, Generation
from training.improve.loop import SelfImprovement
from training.improve.recipe import QUICK, ImproveRecipe
from training.improve.report import write_report
from training.improve.scoring import Judgement

TINY = {
    "generations": 1, "levels": 3, "tries": 2, "proposals": 2, "time_limit": 60, "episodes": 4, "passes": 1,
    "rehearsal_episodes": 2, "rehearsal_suites": ["doom-room"], "held_out": ["doom-vault-steps"], "old": ["doom-basic"],
    "least": 1, "doubt": False, "learner": "bc",
}  # fmt: skip
TasksOf = Callable[[str, Sequence[str], int], list[Task]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A run of one generation, by a reward that calls everything a success: the audit has to see that."""
    out = tmp_path_factory.mktemp("improve") / "run"
    recipe = ImproveRecipe.model_validate({**TINY, "reward": f"{__name__}:Flatterer"})
    with pytest.MonkeyPatch.context() as patch:
        no_processes(patch, "training.small.imitation")
        patch.setattr(levels, "evaluation_tasks", short_tasks)
        return out, SelfImprovement(recipe, out, workers=1).run()


def short_tasks(env: str, names: Sequence[str], episodes: int, made: TasksOf = levels.evaluation_tasks) -> list[Task]:
    """The tasks of an evaluation with a second and a half each: who fails plays a task to its last tick."""
    return [replace(task, time_limit=min(task.time_limit, 50)) for task in made(env, names, episodes)]


class Flatterer:
    """A reward that is always content."""

    name = "flatterer"
    sees_truth = False

    def score(self, task: Task, episodes: Any) -> list[Score | Failure]:
        assert task.verifier is None  # a reward gets no ground truth
        assert task.options == {}
        return [Score(100.0, True, "wonderful", self.name) for _ in episodes]


@pytest.mark.slow
def test_a_generation_leaves_a_folder_that_tells_all(finished: tuple[Path, list[dict[str, Any]]]) -> None:
    out, (summary,) = finished
    generation = Generation(out, 1)
    assert all(generation.done(stage) for stage in STAGES)
    tries = generation.result("collect")["tries"]
    assert len(tries) == summary["tried"] > 0
    assert len({one["id"] for one in tries}) == len(tries)
    weights = json.loads((generation.file("episodes") / WEIGHTS).read_text())
    told_anew = tuple(f"{kind}/" for kind in ("hindsight", "composed"))
    assert {name for name in weights if not name.startswith(told_anew)} <= {one["episode"] for one in tries}
    for one in tries:
        episode = read_episode(generation.file("episodes") / one["episode"])
        assert episode.success is None  # nobody judged while it was played
        assert episode.instruction == one["instruction"]
        assert episode.meta["decisions"] > 0
    archive = Curriculum.load(generation.file("archive.jsonl"))
    assert [one.id for one in archive.tried] == [one["id"] for one in tries]


@pytest.mark.slow
def test_the_candidate_has_learned_and_names_its_parent(finished: tuple[Path, list[dict[str, Any]]]) -> None:
    out, (summary,) = finished
    model = out / Generation(out, 1).result("learn")["model"]
    assert read_manifest(model)["parent"]["hash"]
    row = summary["held_out"]["doom-vault-steps"]
    assert row["n"] == 4
    assert row["parent"]["success"] is not None
    assert summary["promoted"] in (True, False)
    player = model if summary["promoted"] else SHIPPED
    recipe = ImproveRecipe.model_validate({**TINY, "reward": f"{__name__}:Flatterer"})
    assert SelfImprovement(recipe, out).player(2) == player


@pytest.mark.slow
def test_the_audit_sees_a_flatterer(finished: tuple[Path, list[dict[str, Any]]]) -> None:
    _, (summary,) = finished
    assert summary["judged"]["rate"] == 1.0
    assert summary["true"]["rate"] < 1.0  # tries of 60 ticks do not all succeed
    assert summary["gap"] == pytest.approx(100.0 * (1.0 - summary["true"]["rate"]))


@pytest.mark.slow
def test_a_flatterer_teaches_nothing_but_what_a_person_saw(
    finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = finished
    for name in ("rehearsal", "generation-001"):
        shutil.copytree(out / name, tmp_path / name, ignore=shutil.ignore_patterns("learned"))
    generation = Generation(tmp_path, 1)
    for stage in STAGES[2:]:
        generation.file(f"{stage}.json").unlink()
    asked: list[Question] = []

    def say_yes(question: Question, number: int, of: int) -> bool:
        asked.append(question)
        return True

    no_processes(monkeypatch)
    monkeypatch.setattr(levels, "evaluation_tasks", short_tasks)
    recipe = ImproveRecipe.model_validate(
        {**TINY, "reward": f"{__name__}:Flatterer", "doubt": True, "ask_me": 1, "least": 99, "least_trust": 0.6}
    )
    (summary,) = SelfImprovement(recipe, tmp_path, workers=1, ask=say_yes).run()
    built = generation.result("build")
    assert "backwards" in {row["kind"] for row in generation.result("score")["controls"]}
    for verb, counts in built["evidence"].items():
        assert counts["false_claims"] == counts["controls"] > 0
        assert counts["claimed"] == counts["tried"]
        assert built["beliefs"][verb]["weight"] == 0.0
    (question,) = asked
    assert built["answers"] == summary["learned_from"] == 1
    tries = {one["id"]: one["episode"] for one in generation.result("collect")["tries"]}
    assert set(json.loads((generation.file("episodes") / WEIGHTS).read_text())) == {tries[question.id]}
    assert not summary["promoted"]


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(finished: tuple[Path, list[dict[str, Any]]]) -> None:
    out, (summary,) = finished
    recipe = ImproveRecipe.model_validate({**TINY, "reward": f"{__name__}:Flatterer"})
    assert SelfImprovement(recipe, out, workers=1).run() == [summary]  # nothing is done twice
    generation = Generation(out, 1)
    generation.file("score.json").unlink()
    generation.file("promote.json").unlink()
    (again,) = SelfImprovement(recipe, out, workers=1).run()
    assert {**again, "minutes": 0} == {**summary, "minutes": 0}
    assert len(Curriculum.load(generation.file("archive.jsonl")).tried) == summary["tried"]
    with pytest.raises(UserError, match="another recipe"):
        SelfImprovement(ImproveRecipe.model_validate({**TINY, "seed": 5}), out)


@pytest.mark.slow
def test_the_report_shows_every_generation(finished: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    out, summaries = finished
    recipe = ImproveRecipe.model_validate({**TINY, "doubt": True}).model_dump(mode="json")
    page = write_report(tmp_path, recipe, summaries).read_text()
    assert "<video" not in page  # the folders of the generations are not there, and one is no comparison
    for number in (1, 2):
        shutil.copytree(out / "generation-001", tmp_path / f"generation-{number:03d}",
                        ignore=shutil.ignore_patterns("learned"))  # fmt: skip
    two = [*summaries, {**summaries[0], "generation": 2}]
    with_clips = write_report(tmp_path, recipe, two).read_text()
    videos = re.findall(r"data:video/mp4;base64,([\w+/=]+)", with_clips)
    assert len(videos) in (2, 4, 6)
    assert videos[::2] == videos[1::2]  # the same tries in both generations
    with av.open(io.BytesIO(base64.b64decode(videos[0]))) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) > 1
    assert "judged a success" in with_clips
    assert "precision believed" in page
    shutil.rmtree(tmp_path / "generation-002" / "episodes")
    assert "<video" not in write_report(tmp_path, recipe, two).read_text()
    write_report(tmp_path, recipe, summaries)
    assert "data:image/png;base64," in page
    assert "doom-vault-steps" in page
    verbs = summaries[0]["held_out_by_verb"]
    assert sum(one["n"] for one in verbs.values()) == summaries[0]["held_out"]["doom-vault-steps"]["n"]
    assert all(f"of these: {verb}<" in page for verb in verbs)
    assert ("Promoted" if summaries[0]["promoted"] else "Not promoted") in page
    assert json.loads((tmp_path / "report.json").read_text())["generations"] == summaries


def row(n: int, points: float, margin: float = 0.0) -> dict[str, Any]:
    return {"n": n, "points": points, "low": points - margin, "high": points + margin}


@pytest.mark.parametrize(
    ("held_out", "old", "promoted", "why"),
    [
        ({"a": row(100, 5.0)}, {"b": row(100, 0.0)}, True, "improve by 5.0"),
        ({"a": row(100, 5.0)}, {"b": row(100, -3.0)}, False, "b loses 3.0 points"),
        ({"a": row(100, 5.0)}, {"b": row(100, -2.0)}, True, "improve"),
        ({"a": row(100, 4.0), "c": row(300, -2.0)}, {"b": row(100, 1.0)}, False, "don't improve"),
        ({"a": row(100, 0.0)}, {}, False, "don't improve"),
    ],
)
def test_a_candidate_is_promoted_for_held_out_gains_without_old_losses(
    held_out: Mapping[str, Any], old: Mapping[str, Any], promoted: bool, why: str
) -> None:
    ruled, said = evaluate.verdict(held_out, old, most_loss=2.0)
    assert ruled is promoted
    assert why in said


@pytest.mark.parametrize(
    ("held_out", "old", "promoted", "why"),
    [
        ({"a": row(100, 5.0, 7.0)}, {"b": row(100, 0.0, 3.0)}, True, "improve by 5.0"),
        ({"a": row(100, 5.0, 9.0)}, {"b": row(100, 0.0, 3.0)}, False, "may be chance (-0.9 or more)"),
        ({"a": row(100, 5.0, 9.0), "c": row(100, 5.0, 9.0)}, {"b": row(100, 0.0, 3.0)}, True, "improve by 5.0"),
        ({"a": row(100, 5.0, 7.0)}, {"b": row(100, -3.0, 4.0)}, False, "b loses 3.0"),
        ({"a": row(100, 5.0, 7.0)}, {"b": row(100, -3.0, 5.0)}, True, "improve by 5.0"),
        ({"a": row(100, 5.0, 7.0)}, {"b": row(100, -1.9, 0.1)}, True, "improve by 5.0"),
    ],
)
def test_a_difference_counts_where_it_is_no_chance(
    held_out: Mapping[str, Any], old: Mapping[str, Any], promoted: bool, why: str
) -> None:
    ruled, said = evaluate.verdict(held_out, old, most_loss=2.0, confidence=0.9)
    assert ruled is promoted
    assert why in said


def test_the_comparison_is_paired() -> None:
    parent = {f"s/{i}": i < 50 for i in range(100)}
    candidate = {f"s/{i}": i < 60 for i in range(100)}
    (result,) = evaluate.compare(["s"], parent, candidate).values()
    assert (result["won"], result["lost"]) == (10, 0)
    assert result["points"] == pytest.approx(10.0)
    assert result["low"] > 0.0
    assert result["p"] == pytest.approx(2 * 0.5**10)
    tasks = [Task(f"s/{i}", "go", "doom", i, verb="press" if i < 60 else "face") for i in range(100)]
    verbs = evaluate.by_verb(tasks, parent, candidate)
    assert {verb: (one["n"], one["won"]) for verb, one in verbs.items()} == {"press": (60, 10), "face": (40, 0)}


def test_the_audit_counts_only_what_both_know() -> None:
    scores = {
        "a": Judgement(True, 90.0, "", "open"),
        "b": Judgement(True, 90.0, "", "press"),
        "c": Judgement(False, 10.0, "", "open"),
        "d": Judgement(None, None, "it broke"),
        "e": Judgement(True, 90.0, "", "open"),
    }
    found = audit(scores, {"a": True, "b": False, "c": False, "d": True, "e": None})
    assert found["judged"]["n"] == 4
    assert found["true"] == {**found["true"], "n": 3, "rate": pytest.approx(1 / 3)}
    assert found["gap"] == pytest.approx(100 * (2 / 3 - 1 / 3))
    assert found["precision"]["rate"] == pytest.approx(0.5)
    assert found["by_verb"]["press"]["precision"]["rate"] == 0.0


def test_wrong_options_are_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("levles: 3\n")
    for args, said in (
        (["--config", str(bad)], "levles"),
        (["--suite", "doom-valt"], "did you mean 'doom-vault'"),
        (["--reward", "juge"], "did you mean 'judge'"),
        (["--setter", "smal"], "did you mean 'small'"),
        (["--reward", "truth"], "doubt: false and hindsight: 0"),
        (["--policy", str(tmp_path / "nowhere")], "nowhere"),
    ):
        assert run(["self-improve", *args, "--out", str(tmp_path / "run")]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1
    assert ImproveRecipe.model_validate(QUICK).generations < ImproveRecipe().generations


def test_a_person_answers_in_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("maybe\nYes\nn\n\n"))
    question = Question("a", "open the door", Path("a.png"), Path("a"))
    screen = console.console()
    assert [self_improve._ask(screen, question, i, 4) for i in range(3)] == [True, False, None]
    with pytest.raises(EOFError):
        self_improve._ask(screen, question, 4, 4)
    assert "open the door\na.png" in capsys.readouterr().out
