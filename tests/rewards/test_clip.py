"""`clip`: the formula of the paper, held against a plain computation with open_clip itself."""

from __future__ import annotations

import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from PIL import Image

from envs.doom.world import DoomWorld
from envs.errors import UserError
from rewards.clip import Clip, ClipSettings, came_true
from rewards.clip_encoder import Preparation, load_encoder
from rewards.score import Failure, Score
from rewards.wrapper import FrameReward, RewardWrapper
from tasks import world_tasks
from tasks.task import Task
from tests.support.worlds import SquareWorld
from training.clip.models import begin, save_weights

Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, frames: Frames) -> Path:
    """A tiny CLIP with random weights, whose pictures are not all alike to it."""
    folder = tmp_path_factory.mktemp("clip") / "model"
    begin(folder, "clip-small-1", ["standing right in front of the red key", "looking up"] * 20, seed=1)
    clip = open_clip.create_model(f"local-dir:{folder}")
    with torch.no_grad():
        for module in clip.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1.0)
                module.momentum = 1.0
        clip.train()(Preparation((128, 128), (0.5,) * 3, (0.5,) * 3, "squash")(frames))
    save_weights(folder, clip)
    return folder


@pytest.fixture(scope="module")
def frames() -> Frames:
    world = DoomWorld()
    try:
        seen = [world.reset(seed=seed)[0]["pixels"] for seed in range(5)]
    finally:
        world.close()
    return np.stack(seen)


def test_it_is_what_open_clip_computes_itself(model: Path, frames: Frames) -> None:
    clip = Clip.load(str(model))
    goal = clip.goal("doom", "go to the red key")
    assert goal is not None
    chances = clip.chances([goal] * len(frames), frames)

    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    theirs.eval()
    tokenize = open_clip.get_tokenizer(f"local-dir:{model}")
    outcomes = world_tasks.of("doom").outcomes
    assert outcomes is not None
    others = outcomes.others("go to the red key")
    order = np.random.default_rng([0, zlib.crc32(b"doom")]).permutation(len(others))[:32]
    texts = [
        "standing right in front of the red key", *outcomes.contrasts("go to the red key"),
        *(others[i] for i in sorted(order.tolist())),
    ]  # fmt: skip
    with torch.inference_mode():
        pictures = theirs.encode_image(torch.stack([preprocess(Image.fromarray(one)) for one in frames]), True)
        said = theirs.encode_text(tokenize(texts), True)
        wanted = torch.softmax(theirs.logit_scale.exp() * pictures @ said.T, 1)[:, 0]
    assert chances == pytest.approx(wanted.numpy(), abs=2e-3)  # pictures are resized by other code, to 1 of 255
    assert goal.others.shape[0] == len(texts) - 1


def test_negatives_are_fixed_for_a_seed_and_others_for_another(model: Path) -> None:
    encoder = load_encoder(str(model))

    def others(seed: int) -> torch.Tensor:
        goal = Clip(encoder, ClipSettings(seed=seed)).goal("doom", "face the imp")
        assert goal is not None
        return goal.others

    assert torch.equal(others(3), others(3))
    assert not torch.equal(others(3), others(4))


def test_variants_and_prompts(model: Path, frames: Frames) -> None:
    encoder = load_encoder(str(model))
    seen = set()
    for settings in (
        ClipSettings(), ClipSettings(temperature=1.0), ClipSettings(negatives=0), ClipSettings(variant="cosine"),
        ClipSettings(variant="goal_baseline"), ClipSettings(prompt="a game: {instruction}"),
    ):  # fmt: skip
        clip = Clip(encoder, settings)
        goal = clip.goal("doom", "face the imp")
        assert goal is not None
        value = float(clip.chances([goal], frames[:1])[0])
        assert 0.0 <= value <= 1.0
        seen.add(round(value, 6))
    assert len(seen) == 6
    for wrong in ({"temperature": 0.0}, {"threshold": 2.0}, {"negatives": -1}, {"prompt": "nothing"}):
        with pytest.raises(ValueError, match=r"expected"):
            ClipSettings(**wrong)  # type: ignore[arg-type]


def test_a_goal_may_be_a_picture(model: Path, frames: Frames) -> None:
    clip = Clip.load(str(model))
    tasks = (world_tasks.suite("doom-pictures").task(1, index, evaluation=True) for index in range(20))
    task = next(task for task in tasks if task.picture)
    goal = clip.goal("doom", task.instruction, task.picture)
    assert goal is not None
    drawn = world_tasks.of("doom").picture(task.picture)
    assert drawn is not None
    own, other = clip.encoder.images(np.stack([drawn, drawn[::-1]]))
    assert float(own @ goal.wanted) == pytest.approx(1.0, abs=1e-4)
    assert float(other @ goal.wanted) < 0.99


class Film:
    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def decision_frames(self) -> Frames:
        return self._frames


def test_what_one_frame_cannot_show_gets_no_score(model: Path, frames: Frames) -> None:
    clip = Clip.load(str(model))
    keys, looks = Task("a", "pick up the red key", "doom"), Task("b", "look up", "doom")
    nothing, score = clip.score_pairs([(keys, Film(frames)), (looks, Film(frames))])
    assert isinstance(nothing, Failure)
    assert "pick up the red key" in nothing.why
    assert isinstance(score, Score)
    assert score.why.startswith("looking up: ")
    assert isinstance(clip.score(Task("c", "win", "my-own-world"), [Film(frames)])[0], Score), "any world has a prompt"


def test_a_goal_is_reached_where_the_end_shows_it_and_the_start_does_not() -> None:
    assert came_true([0.0, 0.6, 0.7]) == pytest.approx(0.6)
    assert came_true([0.1, 0.9]) == pytest.approx(0.8)
    assert came_true([1.0, 1.0, 1.0]) == 0.0, "it was so before"
    assert came_true([0.9, 0.1]) == 0.0
    assert came_true([0.5]) == 0.0, "a single frame is start and end"


def test_pictures_are_prepared_as_each_mode_says() -> None:
    white = np.full((1, 60, 80, 3), 255, np.uint8)
    plain = {"size": (32, 32), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    for mode, mean in (("squash", 1.0), ("shortest", 1.0), ("longest", 0.75)):
        made = Preparation(**plain, resize=mode)(white)  # type: ignore[arg-type]
        assert made.shape == (1, 3, 32, 32)
        assert float(made.mean()) == pytest.approx(mean, abs=0.01)


def test_wrong_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; expected a folder, ARCHITECTURE@WEIGHTS"):
        load_encoder("nothing")
    with pytest.raises(UserError, match="can't be loaded"):
        load_encoder("ViT-B-32@no-such-tag")
    with pytest.raises(UserError, match="can't be loaded"):
        load_encoder(str(tmp_path))


class Bright:
    """A FrameReward: the chance is the brightness of the frame."""

    name, sees_truth, threshold = "bright", False, 0.5

    def goal(self, world: str, instruction: str, picture: str = "") -> str | None:
        return None if instruction == "impossible" else instruction

    def chances(self, goals: list[str], frames: Frames) -> npt.NDArray[np.float32]:
        return (frames.reshape(len(frames), -1).mean(1) / 255.0).astype(np.float32)

    def score(self, task: Task, episodes: list[Film]) -> list[Score | Failure]:
        return [Score(100.0, len(episode.decision_frames()) > 5, "", self.name) for episode in episodes]


class Whole(Bright):
    goal = chances = None  # type: ignore[assignment]


def test_the_wrapper_gives_the_reward_and_hides_the_state() -> None:
    world = SquareWorld(length=8)
    reward = Bright()
    assert isinstance(reward, FrameReward)
    wrapped = RewardWrapper(world, reward, "be bright", name="square", ends=False, shaped=True)
    assert isinstance(wrapped, gymnasium.Wrapper)
    observation, info = wrapped.reset(seed=1)
    assert "state" not in info
    before = float(observation["pixels"].mean()) / 255.0
    observation, value, terminated, truncated, info = wrapped.step(world.action_space.sample())
    assert "state" not in info
    assert info["chance"] == pytest.approx(float(observation["pixels"].mean()) / 255.0, abs=1e-6)
    assert value == pytest.approx(info["chance"] - before, abs=1e-6)
    assert not terminated
    assert not truncated

    with pytest.raises(ValueError, match="sees ground truth"):
        RewardWrapper(world, "truth", "be bright", name="square")
    with pytest.raises(ValueError, match="can't show whether 'impossible' is done"):
        RewardWrapper(world, reward, "impossible", name="square")


def test_reaching_the_goal_ends_the_episode() -> None:
    world = SquareWorld(length=8)
    reward = Bright()
    reward.threshold = 0.0
    wrapped = RewardWrapper(world, reward, "be bright", name="square")
    wrapped.reset(seed=1)
    _, value, terminated, _, _ = wrapped.step(world.action_space.sample())
    assert (value, terminated) == (1.0, True)


def test_a_reward_of_whole_episodes_comes_at_their_end() -> None:
    world = SquareWorld(length=6)
    wrapped = RewardWrapper(world, Whole(), "do it", name="square")
    wrapped.reset(seed=1)
    values = []
    over = False
    while not over:
        _, value, terminated, truncated, _ = wrapped.step(world.action_space.sample())
        values.append(value)
        over = terminated or truncated
    assert values == [0.0] * 5 + [1.0]


def test_settings_come_with_the_model(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    replace(ClipSettings(), threshold=0.8, hold=3).save(folder)
    assert Clip.load(str(folder)).settings == ClipSettings(threshold=0.8, hold=3)
    (folder / "clip.json").write_text('{"threshold": 7}')
    with pytest.raises(UserError, match="no settings of a clip reward"):
        Clip.load(str(folder))
