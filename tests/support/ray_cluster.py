"""A Ray cluster of several nodes on this machine, for tests: every node has processes and cores of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.workers.ray_workers import import_ray, patiently

# A node that is gone is missed after two seconds instead of ten.
_QUICK = {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "1000",
          "RAY_health_check_failure_threshold": "3", "RAY_health_check_initial_delay_ms": "1000"}  # fmt: skip


@contextmanager
def ray_cluster(cores: int = 1) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` whose head node has some cores. It listens on 127.0.0.1 alone."""
    os.environ.update(_QUICK)
    ray = import_ray("")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": cores, "include_dashboard": False}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
