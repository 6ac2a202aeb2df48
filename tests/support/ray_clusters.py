"""A cluster of Ray in one process: a head without CPUs, and nodes beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def connected_cluster(*cpus: int) -> Iterator[Any]:
    """Yields the cluster, to which this process is connected; it ends with the block.

    Args:
        cpus: The CPUs of each node besides the head.
    """
    import ray
    from ray.cluster_utils import Cluster

    from tune.execution.ray_cluster import DRIVER_SETTINGS

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**DRIVER_SETTINGS, "RAY_AUTH_MODE": "disabled"}.items():
            patch.setenv(name, value)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for number in cpus:
                cluster.add_node(num_cpus=number)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
