"""A recorded episode as rewards see it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.episode import Step
from agent.loop.players import ScriptedPlayer
from agent.policy import Decision
from envs.action import NEUTRAL
from envs.doom.world import DoomWorld
from tasks.doom import suites
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from training.data.episodes import DamagedEpisodeError, EpisodeWriter, Recorder, read_episode
from training.data.footage import RecordedFootage, task_of


def test_a_frame_before_each_decision_and_one_after_the_last(tmp_path: Path) -> None:
    task = suites.training("doom-room").task(0, 1, evaluation=False)
    recorder = Recorder(tmp_path / "episode", task=task, policy="expert", durable=False)
    world = DoomWorld()
    try:
        player = ScriptedPlayer(ExpertPolicy().start(task))
        outcome = play_task(world, player, task, subscribers=[recorder], observe="decision")
    finally:
        world.close()
    episode = read_episode(tmp_path / "episode")
    footage = RecordedFootage(episode)
    frames = footage.decision_frames()
    assert frames.shape == (outcome.decisions + 1, 120, 160, 3)
    assert (frames[-1] == episode.frame(episode.meta["frames"] - 1)).all()
    assert (footage.success, footage.why) == (outcome.success, outcome.why)
    assert task_of(episode) == replace(task, options=json.loads(json.dumps(task.options)))  # lists for tuples
    video = tmp_path / "episode" / "video.mp4"
    video.write_bytes(video.read_bytes()[:-1])
    with pytest.raises(DamagedEpisodeError, match="SHA-256"):
        RecordedFootage(read_episode(tmp_path / "episode")).decision_frames()


def test_where_a_person_plays_every_fourth_tick_counts_and_a_starved_tick_does_not(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "episode", frame_size=(16, 16), tick_hz=35.0, durable=False)
    for tick in range(16):
        asked, starved = (0, False) if tick < 2 else (-1, tick < 6)  # one decision, four starved ticks, a person
        frame = np.full((16, 16, 3), 10 * tick, np.uint8)
        decision = Decision((NEUTRAL,)) if asked == 0 else None
        writer.add(Step(tick, frame, NEUTRAL, 0.0, "go", "x", starved, decision, asked, asked, {}))
    writer.finish({"success": None, "why": ""}, np.full((16, 16, 3), 160, np.uint8))
    episode = read_episode(tmp_path / "episode")
    assert RecordedFootage(episode).decision_frames()[:, 0, 0, 0].tolist() == [0, 80, 120, 160]
    assert task_of(episode).verifier is None
