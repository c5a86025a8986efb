"""The CLIP model that ships: open_clip alone loads it, and it tells what was reached from what was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from agent.loop.players import ScriptedPlayer
from envs.doom.world import DoomWorld
from rewards.calibrated import check_trusted
from rewards.clip import SHIPPED, Clip
from rewards.reward import Reward, load_reward, score_pairs
from rewards.score import Score
from rewards.wrapper import FrameReward
from tasks.doom import suites
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from training.data.episodes import Recorder, read_episode
from training.data.footage import task_of
from training.evaluation.reward_cases import Case, cases_of
from training.evaluation.statistics import auroc

SEED = 555


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """What becomes of twelve of the expert's episodes in levels of evaluation."""
    root = tmp_path_factory.mktemp("expert")
    tasks = [t for t in suites.evaluation("doom-basic").tasks(SEED, 60) if t.verb in ("go_to", "look")][:12]
    with DoomWorld() as world:
        for number, task in enumerate(tasks):
            recorder = Recorder(root / f"{number}", task=task, policy="expert", durable=False)
            player = ScriptedPlayer(ExpertPolicy().start(task))
            play_task(world, player, task, subscribers=[recorder], observe="decision")
    episodes = [read_episode(path) for path in sorted(root.iterdir())]
    return [case for one in episodes for case in cases_of(one, [task_of(other) for other in episodes])]


@pytest.fixture(scope="module")
def clip() -> Reward:
    return load_reward("clip")


def test_open_clip_alone_loads_it(cases: list[Case]) -> None:
    name = f"local-dir:{SHIPPED}"
    model, prepare = open_clip.create_model_from_pretrained(name)
    model.eval()  # open_clip leaves it in training mode
    frame, said = cases[0].decision_frames()[0], "looking up"
    from PIL import Image

    with torch.no_grad():
        seen = model.encode_image(prepare(Image.fromarray(frame))[None], normalize=True)[0]
        read = model.encode_text(open_clip.get_tokenizer(name)([said]), normalize=True)[0]
    mine = Clip.load(str(SHIPPED)).encoder
    assert torch.allclose(mine.texts([said])[0], read, atol=1e-4)
    assert float(mine.images(frame[None])[0] @ seen) > 0.98, "Pillow and torch resize almost alike"
    assert sum(file.stat().st_size for file in Path(SHIPPED).iterdir()) < 15e6


def test_it_tells_what_was_reached(cases: list[Case], clip: Reward) -> None:
    results = score_pairs(clip, [(case.task, case) for case in cases])
    scored = [(one.value, case.success) for one, case in zip(results, cases, strict=True) if isinstance(one, Score)]
    assert len(scored) > 60
    values, truth = zip(*scored, strict=True)
    assert auroc(values, truth) > 0.85


def test_it_knows_how_wrong_it_is_and_scores_frames(cases: list[Case], clip: Reward) -> None:
    check_trusted(clip)
    assert isinstance(clip, FrameReward)
    goal = clip.goal("doom", "look up")
    chances = clip.chances([goal], np.zeros((1, 120, 160, 3), np.uint8))
    assert 0.0 <= float(chances[0]) <= 1.0
