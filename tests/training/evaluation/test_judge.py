"""The judge: the episodes it learns from, its figures, and scores that are scores only where it could judge."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.small.judge_view import view
from agent.small.vocabulary import VOCABULARY
from rewards.calibration import Calibration, fit
from tasks.doom import suites
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.doom.language import read
from tasks.task import Task, thing_name
from tests.support.thread_workers import THREADS
from training.evaluation import judge, statistics
from training.small.judge_episodes import ADDED, SOURCES, collect, load
from training.small.judge_goals import REASON, judged_suite

Frames = npt.NDArray[np.uint8]
Lines = list[dict[str, Any]]
COUNTS = {"doom-room": 24, "judge-houses": 12}
TASK = Task("t", "go to the imp", "doom")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Lines]:
    return load(collect(tmp_path_factory.mktemp("training"), COUNTS, 3))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Lines]:
    return load(collect(tmp_path_factory.mktemp("evaluation"), COUNTS, 3, evaluation=True, workers=THREADS))


class Oracle:
    """Knows the truth about episodes that it is asked about in their order."""

    def __init__(self, truth: list[bool]) -> None:
        self._truth = itertools.cycle(truth)

    def judge(self, instructions: list[str], frames: Frames) -> list[tuple[float, str]]:
        assert frames.shape == (len(instructions), 8, 120, 160, 3)
        return [(100.0 * next(self._truth), "it knows") for _ in instructions]


class Brightness:
    """Judges by the light: a judge that any frames do for."""

    def judge(self, instructions: list[str], frames: Frames) -> list[tuple[float, str]]:
        return [(float(clip.mean()) / 2.56, "nothing was done") for clip in frames]


# The episodes


def test_at_least_half_are_failures_of_every_kind(training: tuple[Frames, Lines]) -> None:
    frames, lines = training
    assert frames.shape == (36, 8, 120, 160, 3)
    assert sum(not line["success"] for line in lines) >= 18
    assert Counter(line["source"] for line in lines) == {s: 12 if s == "success" else 6 for s in SOURCES}
    assert all(line["success"] == (line["source"] == "success") for line in lines)
    assert Counter(line["suite"] for line in lines) == COUNTS
    assert frames.reshape(36, -1).max(1).min() > 0


def test_reasons_are_short_and_in_words_that_the_model_has(training: tuple[Frames, Lines]) -> None:
    for line in training[1]:
        words = line["reason"].split()
        assert 0 < len(words) <= REASON
        assert set(words) <= set(VOCABULARY), line["reason"]


def test_a_success_speaks_of_what_the_instruction_names_and_a_failure_does_not(training: tuple[Frames, Lines]) -> None:
    named = 0
    for line in training[1]:
        meaning = read(line["instruction"])
        assert meaning is not None, line["instruction"]
        if meaning.verb in ("go_to", "face", "pick_up", "shoot", "touch") and meaning.kind:
            named += 1
            said = thing_name(meaning.kind, meaning.colour)
            if line["success"]:
                assert said.split()[-1] in line["reason"]
            elif not line["reason"].startswith("did not") and meaning.verb == line["verb"] == "pick_up":
                assert line["reason"] != f"took the {said}"
    assert named >= 12


def test_no_held_out_pair_is_named(training: tuple[Frames, Lines]) -> None:
    names = {thing_name(*pair) for pair in HELD_OUT_PAIRS}
    for line in training[1]:
        meaning = read(line["instruction"])
        assert meaning is None or (meaning.kind, meaning.colour) not in HELD_OUT_PAIRS
        assert not any(name in line["reason"] for name in names)


def test_evaluation_has_levels_of_its_own_and_a_new_one_for_every_episode(
    training: tuple[Frames, Lines], evaluation: tuple[Frames, Lines]
) -> None:
    assert all(line["seed"] < suites.EVALUATION_SEEDS for line in training[1])
    assert all(line["seed"] >= suites.EVALUATION_SEEDS for line in evaluation[1])
    assert len({line["seed"] for line in evaluation[1]}) == 36
    assert len({line["seed"] for line in training[1]}) < 18


def test_failures_that_look_done_are_added(tmp_path: Path) -> None:
    frames, lines = load(collect(tmp_path, {"doom-room-looks": 12}, 3, workers=THREADS, added=ADDED))
    assert Counter(line["source"] for line in lines) == {s: 4 if s == "success" else 1 for s in (*SOURCES, *ADDED)}
    assert all(line["success"] == (line["source"] == "success") for line in lines)
    by_source = {line["source"]: row for row, line in enumerate(lines)}
    rewound, already, success = (by_source[name] for name in ("rewound", "already", "success"))
    # backwards, a success ends where it began; what comes after one begins where it ended
    assert lines[rewound]["instruction"] == lines[success]["instruction"]
    apart = np.abs(frames[rewound, -1].astype(int) - frames[success, 0])
    assert apart.mean() < 2.0 < np.abs(frames[rewound, 0].astype(int) - frames[success, 0]).mean()
    assert lines[already]["decisions"] >= 8
    # how far each came: known of what was cut short, and not of what was so before
    far = {line["source"]: line["progress"] for line in lines}
    assert far["success"] == 1.0
    assert far["idle"] == far["wrong object"] == far["rewound"] == 0.0
    assert 0.0 < far["cut short"] < 1.0
    assert far["already"] is far["staring"] is far["relabelled"] is None
    with pytest.raises(ValueError, match="unknown kind of episode 'slow'; known: rewound"):
        collect(tmp_path, {"doom-room": 1}, 3, added=["slow"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_episodes(tmp_path: Path, training: tuple[Frames, Lines]) -> None:
    frames, lines = load(collect(tmp_path, COUNTS, 3, workers=THREADS))
    assert lines == training[1]
    assert (frames != training[0]).mean() < 1e-3  # the weapon sways as the episode before left it


@pytest.mark.parametrize("suite", ["doom-pairs", "doom-vault", "doom-compounds"])
def test_what_is_held_out_or_has_steps_is_refused(tmp_path: Path, suite: str) -> None:
    with pytest.raises(ValueError, match=suite):
        collect(tmp_path, {suite: 6}, 0)
    with pytest.raises(ValueError, match="whole"):
        load(tmp_path)


def test_a_judge_sees_the_first_frame_and_the_last_thirteen_decisions() -> None:
    frames = np.arange(20, dtype=np.uint8)[:, None, None, None]
    assert view(frames).ravel().tolist() == [0, 7, 11, 14, 16, 17, 18, 19]
    assert view(frames[:4]).ravel().tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="without a frame"):
        view(frames[:0])


# The figures


def test_an_oracle_ranks_everything_right_and_a_constant_nothing() -> None:
    truth = np.arange(100) % 3 == 0
    assert statistics.auroc(100.0 * truth, truth) == 1.0
    assert statistics.auroc(np.full(100, 7.0), truth) == 0.5
    assert statistics.auroc(-1.0 * truth, truth) == 0.0
    assert statistics.auroc_interval(100.0 * truth, truth) == (1.0, 1.0)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(80) < 0.3
    values = np.round(rng.normal(size=80) + truth, 1)  # rounded, so that there are ties
    pairs = np.sign(values[truth][:, None] - values[~truth][None, :])
    assert statistics.auroc(values, truth) == pytest.approx((pairs.mean() + 1.0) / 2.0)
    low, high = statistics.auroc_interval(values, truth)
    assert low < statistics.auroc(values, truth) < high


def test_the_threshold_lets_few_failures_pass_and_the_curve_means_chances() -> None:
    rng = np.random.default_rng(1)
    chance = rng.beta(0.4, 0.8, size=4000)
    truth, values = rng.random(4000) < chance, 100.0 * chance**3  # the right order, but far from a chance
    calibration = fit(values[:2000], truth[:2000], most_false=0.03)
    new, right = values[2000:], truth[2000:]
    assert (new[~right] >= calibration.threshold).mean() < 0.05
    assert (values[:2000][~truth[:2000]] >= calibration.threshold).mean() <= 0.03
    assert (new[right] >= calibration.threshold).mean() > 0.2
    raw = statistics.calibration_error(new / 100.0, right)
    assert statistics.calibration_error(calibration.chance(new), right) < 0.04 < raw
    assert len(calibration.values) < 400
    assert np.isfinite(fit([100.0, 100.0, 0.0], [True, False, False]).threshold)
    with pytest.raises(ValueError, match="failures"):
        fit([1.0, 2.0], [True, True])


def test_a_calibration_is_kept_beside_a_checkpoint(tmp_path: Path) -> None:
    kept = Calibration(62.5, (0.0, 40.0, 100.0), (0.1, 0.1, 0.9), progress=0.6)
    kept.save(tmp_path)
    assert Calibration.load(tmp_path) == kept
    assert kept.chance([20.0, 70.0]).tolist() == pytest.approx([0.1, 0.5])
    (tmp_path / "judge.json").write_text('{"threshold": 50, "values": [1, 0], "chances": [0, 1]}')
    with pytest.raises(ValueError, match="rising"):
        Calibration.load(tmp_path)
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.load(tmp_path / "elsewhere")


class Clock(Brightness):
    """Tells progress from a watch that it looks at."""

    def __init__(self, shares: list[float]) -> None:
        self._shares = iter(shares)

    def judge_progress(self, instructions: list[str], frames: Frames) -> list[tuple[float, str, float]]:
        return [(*said, next(self._shares)) for said in self.judge(instructions, frames)]


def test_progress_is_held_against_successes_that_were_cut_short(tmp_path: Path) -> None:
    _, lines = load(collect(tmp_path, {"doom-room": 6, "judge-houses": 6}, 3, evaluation=True, only=["cut short"]))
    assert {line["source"] for line in lines} == {"cut short"}
    true = [line["progress"] for line in lines]
    told = partial(judge.measure_progress, suite="doom-judge", episodes=12, seed=3, evaluation=True, workers=THREADS)
    knows, lost = told(Clock(true)), told(Clock([0.5] * 12))
    assert (knows["rank_correlation"], knows["error"]) == (pytest.approx(1.0), 0.0)
    assert (lost["rank_correlation"], lost["ci"]) == (0.0, [-1.0, 1.0])
    assert lost["error"] > 0.1


def test_an_oracle_is_measured_as_one(tmp_path: Path, evaluation: tuple[Frames, Lines]) -> None:
    frames, lines = evaluation
    truth = [line["success"] for line in lines]
    values, reasons = judge.ask(Oracle(truth), [line["instruction"] for line in lines], frames)
    report = judge.measure(values, reasons, lines, Calibration(50.0))
    assert (report["auroc"], report["false_positive"]["rate"], report["true_positive"]["rate"]) == (1.0, 0.0, 1.0)
    assert report["calibration_error"] == 0.0
    assert report["failures"] == 24
    assert {source: row["rate"] for source, row in report["by_source"].items()} == {s: s == "success" for s in SOURCES}
    json.dumps(report, allow_nan=False)
    same = [line["reason"] for line in lines]
    assert judge.measure(values, same, lines, Calibration(50.0))["reasons_exact"]["rate"] == 1.0
    fooled = judge.measure(100.0 - values, reasons, lines, Calibration(50.0))
    assert (fooled["auroc"], fooled["false_positive"]["rate"]) == (0.0, 1.0)
    judge.draw(tmp_path / "plot.png", report, values, truth)
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_judge_is_measured_from_the_command_line(tmp_path: Path) -> None:
    run = CliRunner()
    command = [
        "eval",
        "--suite",
        "doom-judge",
        "--policy",
        "tests.training.evaluation.test_judge:Brightness",
        "--episodes",
        "12",
        "--workers",
        THREADS,
    ]
    refused = run.invoke(app, command)
    assert refused.exit_code != 0
    assert "--calibrate" in str(refused.exception)
    done = run.invoke(app, [*command, "--calibrate", "--plot", str(tmp_path / "plot.png"), "--json", "-"])
    assert done.exit_code == 0, done.exception
    report = json.loads(done.stdout)
    assert report["episodes"] == 12
    assert report["auroc"] == report["no_language"]["auroc"]  # it does not read
    assert (tmp_path / "plot.png").exists()


def test_a_verb_that_fools_the_judge_gets_a_higher_threshold(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    verbs = np.repeat(["go_to", "press", "rare"], [400, 200, 30])
    truth = rng.random(630) < 0.5
    values = np.clip(np.where(truth, 70.0, 20.0) + rng.normal(0.0, 10.0, 630), 0.0, 100.0)
    fooled = (verbs == "press") & ~truth
    values[fooled] = rng.uniform(0.0, 90.0, fooled.sum())
    fitted = fit(values, truth, verbs=verbs.tolist())
    assert set(fitted.verbs) == {"press"}, "one verb has too few episodes, and one needs none of its own"
    assert fitted.threshold_of("press") > fitted.threshold == fitted.threshold_of("go_to")
    assert (values[fooled] >= fitted.threshold_of("press")).mean() <= 0.03
    fitted.save(tmp_path)
    assert Calibration.load(tmp_path) == fitted
    (tmp_path / "judge.json").write_text('{"threshold": 50, "values": [0], "chances": [0], "verbs": [1]}')
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.load(tmp_path)


def test_no_judge_learns_from_what_it_is_measured_on(tmp_path: Path) -> None:
    for name in ("doom-themes", "doom-vault", "doom-vault-steps", "judge-houses-themes"):
        assert judged_suite(name, evaluation=True).held_out
        with pytest.raises((ValueError, LookupError), match=name):
            collect(tmp_path, {name: 1}, 0, evaluation=False)


@pytest.mark.slow
def test_episodes_of_vaults_are_made_for_a_judge(tmp_path: Path) -> None:
    frames, lines = load(collect(tmp_path, dict.fromkeys(judge.SUITES["doom-judge-vault"], 9), 5, evaluation=True))
    assert len(frames) == 18
    assert {line["success"] for line in lines} == {True, False}
    assert {line["verb"] for line in lines} & {"unlock", "switch", "press"}
