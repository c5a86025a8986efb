"""RLlib trains on our tasks as Gymnasium makes them, unchanged."""

from __future__ import annotations

import math

import pytest

from training.workers.ray_workers import import_ray, patiently

pytestmark = pytest.mark.benchmark


def test_ppo_trains_on_a_task_of_doom(capsys: pytest.CaptureFixture[str]) -> None:
    ray = import_ray("")
    alone = {"address": "local", "include_dashboard": False, "num_cpus": 1, "object_store_memory": 2**28}
    patiently(lambda: ray.init(**alone, log_to_driver=False))
    try:
        from examples import rllib_ppo as example

        results = example.main(example.configured("ludens/doom-basic-v0", batch=64), iterations=2)
    finally:
        ray.shutdown()
    said = [line for line in capsys.readouterr().out.splitlines() if "mean return" in line]
    assert [line.split(",")[0] for line in said] == ["1: 64 steps", "2: 128 steps"]
    learned = [result["learners"]["default_policy"] for result in results]
    assert all(math.isfinite(of["total_loss"]) for of in learned)
    assert all(of["mean_kl_loss"] > 0.0 for of in learned)  # the policy is another one than that which played
