"""A Ray cluster on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def ray_cluster() -> Iterator[Any]:
    """Start a cluster of three nodes, each with one core, and connect this process to it."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers are started in other folders; they import the packages of the tests.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        from ray.cluster_utils import Cluster

        # A machine that refuses connections is given up after a second; by default after 15.
        checks = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": checks}
        started = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            started.add_node(num_cpus=1, wait=False)
        started.wait_for_nodes()
        ray.init(address=started.address, log_to_driver=False)
        yield started
        ray.shutdown()
        started.shutdown()


def has_process(node: Any, title: bytes) -> bool:
    """Return whether a node runs a process whose title begins so, as that of an actor or a task."""
    (raylet,) = node.all_processes["raylet"]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and (entry / "cmdline").read_bytes().startswith(title):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == raylet.process.pid:
                    return True
    return False
